#!/usr/bin/env python3
"""YAML from standard input as JSON, a list of its documents, for tests that are written in Rust.

With --kubernetes VERSION every document is judged as an object of that Kubernetes first, by the schemas that it publishes and, for the
Prometheus operator's kinds, by the operator's own in the folder --crds. Fields that a schema does not know are faults. Faults go to
standard error, one a line, with exit code 1.
"""

import argparse
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

# The fast loader, if PyYAML was built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def strict(schema):
    """An OpenAPI schema of a CRD as a JSON schema that refuses what it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(part) for name, part in schema.items()}
    if isinstance(made.get("pattern"), str):
        # Go accepts flags anywhere, Python only at the beginning.
        made["pattern"] = made["pattern"].replace("^(?i)", "(?i)^")
    if "properties" in made and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def operators_schemas(folder):
    found = {}
    for path in pathlib.Path(folder).glob("*.yaml"):
        crd = yaml.load(path.read_text(), LOADER)["spec"]
        for version in crd["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # The operator does not describe an object's metadata, because Kubernetes does.
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{crd['group']}/{version['name']}", crd["names"]["kind"]] = schema
    return found


def faults(documents, version, operators):
    for document in documents:
        what = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
        schema = operators.get((document.get("apiVersion"), document.get("kind")))
        try:
            if schema:
                jsonschema.validate(document, schema)
            else:
                kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError as fault:
            yield f"{what}: {fault.message}"
        except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as fault:
            yield f"{what}: {'/'.join(map(str, fault.path))}: {fault.message}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubernetes", metavar="VERSION")
    parser.add_argument("--crds", metavar="FOLDER")
    options = parser.parse_args()
    documents = [document for document in yaml.load_all(sys.stdin, LOADER) if document is not None]
    found = []
    if options.kubernetes:
        found = list(faults(documents, options.kubernetes, operators_schemas(options.crds)))
    print("\n".join(found), file=sys.stderr, end="")
    json.dump(documents, sys.stdout, default=str)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
