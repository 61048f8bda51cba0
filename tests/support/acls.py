"""Gives a principal these rights on a cluster and takes all others: acls.py BROKERS PRINCIPAL [OPERATION:KIND:PREFIX]..."""

import sys
import time

from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType,
)

brokers, principal, *rights = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})


def binding(right):
    operation, kind, prefix = right.split(":")
    return AclBinding(
        ResourceType[kind], prefix, ResourcePatternType.PREFIXED, principal, "*",
        AclOperation[operation], AclPermissionType.ALLOW,
    )


everything = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, principal, None, AclOperation.ANY, AclPermissionType.ANY
)
wanted = {binding(right) for right in rights}
found = set(admin.describe_acls(everything).result())
# Rights are granted before others are revoked, so that a right which stays is never missing.
for future in admin.create_acls(list(wanted - found)).values() if wanted - found else []:
    future.result()
taken = [
    AclBindingFilter(
        one.restype, one.name, one.resource_pattern_type, one.principal, one.host, one.operation, one.permission_type
    )
    for one in found - wanted
]
for future in admin.delete_acls(taken).values() if taken else []:
    future.result()
# The broker gets them from the controller a moment later.
deadline = time.monotonic() + 20
while set(admin.describe_acls(everything).result()) != wanted:
    if time.monotonic() > deadline:
        sys.exit("the broker does not have the rights after 20 s")
    time.sleep(0.05)
