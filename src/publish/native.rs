//! Functions of librdkafka that rust-rdkafka does not wrap: whether Kafka may have a failed message, the broker's error message,
//! validation of new topics, the rights of this client, and librdkafka's list of its own properties. Also requests that librdkafka
//! accepts from any client and rust-rdkafka only from a certain type. All other unsafe code is in `cli/embedded.rs`.
//!
//! Every function is safe: pointers do not leave this module, and [`Owned`] frees librdkafka's allocations on every path.

mod admin;
mod notice;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::fmt;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaAdminOp;
use rdkafka::{ClientContext, TopicPartitionList};

pub(super) use self::notice::Notice;

use self::admin::{Admin, MESSAGE_BYTES, Owned, array, check, milliseconds, out_of_memory, refused_option, text};

/// Whether the producer knows that Kafka does not have a message of a delivery report: it was never sent, or the broker refused it. If a
/// message was sent and not acknowledged, Kafka may have it.
pub(super) fn is_absent(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is borrowed, so it is alive; the call reads one of its fields.
    let status = unsafe { sys::rd_kafka_message_status(message.ptr()) };
    status == sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// The broker's error message for a message that it refused, if it sent one (Kafka 2.4 and later).
pub(super) fn produce_error(message: &BorrowedMessage<'_>) -> Option<String> {
    // SAFETY: the message is borrowed, so it is alive. The call is meant for a producer's messages. A consumer's message that has an
    // error never becomes a `BorrowedMessage`, and for one without an error the call returns null before it reads further fields.
    unsafe { text(sys::rd_kafka_message_produce_errstr(message.ptr())) }
}

/// librdkafka's documentation of its properties: lines of `name | C/P | allowed values | default | importance | text`, and headings.
pub(super) fn documented_properties() -> String {
    let (mut bytes, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the two variables outlive the stream, which is closed before they are read. The buffer ends with a zero, belongs to the
    // caller, and is freed after it was copied.
    unsafe {
        let stream = libc::open_memstream(&mut bytes, &mut length);
        assert!(!stream.is_null(), "there is memory for a list");
        sys::rd_kafka_conf_properties_show(stream);
        assert_eq!(libc::fclose(stream), 0, "there is memory for a list");
        let table = text(bytes);
        libc::free(bytes.cast());
        table.expect("librdkafka has properties")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewTopic {
    pub name: String,
    pub partitions: i32,
    pub replicas: i32,
    /// `retention.ms`, ...
    pub config: BTreeMap<String, String>,
}

/// Why the broker did not create a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicError {
    pub code: RDKafkaErrorCode,
    /// The broker's error message.
    pub text: String,
}

/// Creates topics, or asks the controller whether it would create them (`validate_only`). Returns each topic's name and outcome.
pub(super) fn create_topics(
    client: &Client<impl ClientContext>,
    topics: &[NewTopic],
    validate_only: bool,
    timeout: Duration,
) -> KafkaResult<Vec<(String, Result<(), TopicError>)>> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let native: Vec<_> = topics.iter().map(new_topic).collect::<KafkaResult<_>>()?;
    let mut pointers: Vec<_> = native.iter().map(Owned::pointer).collect();
    let admin = Admin::new(client, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout)?;
    admin.wait_for_the_operation(timeout)?;
    if validate_only {
        admin.validate_only()?;
    }
    let (first, length) = (pointers.as_mut_ptr(), pointers.len());
    let event = admin.ask(timeout, sys::RD_KAFKA_EVENT_CREATETOPICS_RESULT, |options, queue| {
        // SAFETY: client, topics, options and queue are alive. The call copies topics and options, and references the queue.
        unsafe { sys::rd_kafka_CreateTopics(client.native_ptr(), first, length, options, queue) }
    })?;
    let mut count = 0;
    // SAFETY: the event is of this type. The array and its elements live as long as the event, which outlives the loop. An element is
    // null if the broker omitted a topic.
    unsafe {
        let result = sys::rd_kafka_event_CreateTopics_result(event.pointer());
        let found = array(sys::rd_kafka_CreateTopics_result_topics(result, &mut count), count);
        Ok(found.filter_map(|topic| topic_outcome(topic)).collect())
    }
}

/// # Safety
/// `topic` must be a topic's result of an event that is alive.
unsafe fn topic_outcome(topic: *const sys::rd_kafka_topic_result_t) -> Option<(String, Result<(), TopicError>)> {
    // SAFETY: promised by the caller; the strings are copied.
    unsafe {
        let name = text(sys::rd_kafka_topic_result_name(topic))?;
        let outcome = check(sys::rd_kafka_topic_result_error(topic)).map_err(|code| {
            let message = text(sys::rd_kafka_topic_result_error_string(topic));
            let text = message.unwrap_or_else(|| code.to_string());
            TopicError { code, text }
        });
        Some((name, outcome))
    }
}

fn new_topic(topic: &NewTopic) -> KafkaResult<Owned<sys::rd_kafka_NewTopic_t>> {
    let name = CString::new(topic.name.as_str())?;
    let mut message = [0; MESSAGE_BYTES];
    // SAFETY: the name and the buffer are alive during the call, which copies the name.
    let native = unsafe {
        let (partitions, replicas) = (topic.partitions, topic.replicas);
        let native =
            sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replicas, message.as_mut_ptr(), message.len());
        Owned::new(native, sys::rd_kafka_NewTopic_destroy)
    };
    let native = native.ok_or_else(|| refused_option(&message))?;
    for (name, value) in &topic.config {
        let (name, value) = (CString::new(name.as_str())?, CString::new(value.as_str())?);
        // SAFETY: the topic is alive and so are the strings, which the call copies.
        let outcome = unsafe { sys::rd_kafka_NewTopic_set_config(native.pointer(), name.as_ptr(), value.as_ptr()) };
        check(outcome).map_err(KafkaError::AdminOp)?;
    }
    Ok(native)
}

/// An operation that the bridge needs a right for, named as in `kafka-acls.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Operation {
    Read,
    Write,
    Create,
    Describe,
    DescribeConfigs,
    IdempotentWrite,
}

impl Operation {
    /// The operation with librdkafka's number; `None` for one that the bridge does not need.
    fn of(number: u32) -> Option<Operation> {
        use Operation::{Create, Describe, DescribeConfigs, IdempotentWrite, Read, Write};
        use sys::rd_kafka_AclOperation_t as Native;
        let known = [
            (Native::RD_KAFKA_ACL_OPERATION_READ, Read),
            (Native::RD_KAFKA_ACL_OPERATION_WRITE, Write),
            (Native::RD_KAFKA_ACL_OPERATION_CREATE, Create),
            (Native::RD_KAFKA_ACL_OPERATION_DESCRIBE, Describe),
            (Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS, DescribeConfigs),
            (Native::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE, IdempotentWrite),
        ];
        let found = known.into_iter().find(|(native, _)| *native as u32 == number);
        found.map(|(_, operation)| operation)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// The operations that a broker allows; `None` if it does not report them (Kafka before 2.3), so that no operation counts as forbidden.
pub(super) type Allowed = Option<BTreeSet<Operation>>;

/// The operations that this client may use on each topic, or the broker's error for the topic. Needs the right to describe the topic.
pub(super) fn authorized_operations(
    client: &Client<impl ClientContext>,
    topics: &[String],
    timeout: Duration,
) -> KafkaResult<HashMap<String, Result<Allowed, RDKafkaErrorCode>>> {
    if topics.is_empty() {
        return Ok(HashMap::new());
    }
    // librdkafka refuses duplicate names.
    let names: BTreeSet<&String> = topics.iter().collect();
    let names: Vec<_> = names
        .into_iter()
        .map(|name| CString::new(name.as_str()))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the names are alive during the call, which copies them.
    let collection = unsafe {
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        Owned::new(collection, sys::rd_kafka_TopicCollection_destroy)
    };
    let collection = collection.ok_or_else(out_of_memory)?;
    let admin = Admin::new(client, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout)?;
    admin.include_authorized_operations()?;
    let event = admin.ask(timeout, sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT, |options, queue| {
        // SAFETY: client, topics, options and queue are alive. The call copies topics and options, and references the queue.
        unsafe { sys::rd_kafka_DescribeTopics(client.native_ptr(), collection.pointer(), options, queue) }
    })?;
    let mut count = 0;
    // SAFETY: the event is of this type. The array and its elements live as long as the event, which outlives the loop.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.pointer());
        let found = array(sys::rd_kafka_DescribeTopics_result_topics(result, &mut count), count);
        Ok(found.filter_map(|topic| topic_operations(topic)).collect())
    }
}

/// # Safety
/// `topic` must be a topic's description of an event that is alive.
unsafe fn topic_operations(
    topic: *const sys::rd_kafka_TopicDescription_t,
) -> Option<(String, Result<Allowed, RDKafkaErrorCode>)> {
    let mut count = 0;
    // SAFETY: promised by the caller; the name is copied. An error that is absent is null, and its code is "no error".
    unsafe {
        let name = text(sys::rd_kafka_TopicDescription_name(topic))?;
        let outcome = check(sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic)));
        let found = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        let allowed = operations(found.cast(), count);
        Some((name, outcome.map(|()| allowed)))
    }
}

/// The operations that this client may use on the cluster.
pub(super) fn cluster_operations(client: &Client<impl ClientContext>, timeout: Duration) -> KafkaResult<Allowed> {
    let admin = Admin::new(client, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, timeout)?;
    admin.include_authorized_operations()?;
    let event = admin.ask(timeout, sys::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT, |options, queue| {
        // SAFETY: client, options and queue are alive. The call copies the options, and references the queue.
        unsafe { sys::rd_kafka_DescribeCluster(client.native_ptr(), options, queue) }
    })?;
    let mut count = 0;
    // SAFETY: the event is of this type, and the array lives as long as the event, which outlives the reading.
    unsafe {
        let result = sys::rd_kafka_event_DescribeCluster_result(event.pointer());
        let found = sys::rd_kafka_DescribeCluster_result_authorized_operations(result, &mut count);
        Ok(operations(found.cast(), count))
    }
}

/// Reads numbers instead of librdkafka's enumeration: a number that the bindings do not know must not become a value of their enum.
///
/// # Safety
/// `found` must be null or point to `count` numbers.
unsafe fn operations(found: *const u32, count: usize) -> Allowed {
    if found.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let number = |index| unsafe { found.add(index).read() };
    Some((0..count).map(number).filter_map(Operation::of).collect())
}

/// The owners of the requested settings.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owners<'a> {
    Topics(&'a [String]),
    /// The broker with this id, which answers the request itself.
    Broker(i32),
}

/// Names of settings and their values.
pub(super) type Settings = HashMap<String, String>;

/// The settings of topics or of a broker, by the owner's name, as far as the cluster reports them. Needs the right to describe
/// configurations.
pub(super) fn settings(
    client: &Client<impl ClientContext>,
    owners: Owners<'_>,
    timeout: Duration,
) -> KafkaResult<HashMap<String, Settings>> {
    use sys::rd_kafka_ResourceType_t::{RD_KAFKA_RESOURCE_BROKER, RD_KAFKA_RESOURCE_TOPIC};
    let (kind, names) = match owners {
        Owners::Topics(names) => (RD_KAFKA_RESOURCE_TOPIC, names.to_vec()),
        Owners::Broker(id) => (RD_KAFKA_RESOURCE_BROKER, vec![id.to_string()]),
    };
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let resource = |name: String| {
        let name = CString::new(name)?;
        // SAFETY: the name is alive during the call, which copies it.
        let resource = unsafe {
            let resource = sys::rd_kafka_ConfigResource_new(kind, name.as_ptr());
            Owned::new(resource, sys::rd_kafka_ConfigResource_destroy)
        };
        resource.ok_or_else(out_of_memory)
    };
    let resources: Vec<_> = names.into_iter().map(resource).collect::<KafkaResult<_>>()?;
    let mut pointers: Vec<_> = resources.iter().map(Owned::pointer).collect();
    let admin = Admin::new(client, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout)?;
    let (first, length) = (pointers.as_mut_ptr(), pointers.len());
    let event = admin.ask(timeout, sys::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT, |options, queue| {
        // SAFETY: client, resources, options and queue are alive. The call copies resources and options, and references the queue.
        unsafe { sys::rd_kafka_DescribeConfigs(client.native_ptr(), first, length, options, queue) }
    })?;
    let mut count = 0;
    // SAFETY: the event is of this type. The array and its elements live as long as the event, which outlives the loop.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConfigs_result(event.pointer());
        let first = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        let found = array(first, count);
        Ok(found.filter_map(|resource| settings_of(resource)).collect())
    }
}

/// A resource's name and settings; `None` if the broker refused to report them.
///
/// # Safety
/// `resource` must be a resource of an event that is alive.
unsafe fn settings_of(resource: *const sys::rd_kafka_ConfigResource_t) -> Option<(String, Settings)> {
    let mut count = 0;
    // SAFETY: promised by the caller; the strings are copied.
    unsafe {
        check(sys::rd_kafka_ConfigResource_error(resource)).ok()?;
        let entries = array(sys::rd_kafka_ConfigResource_configs(resource, &mut count), count);
        let entries = entries.filter_map(|entry| {
            let name = text(sys::rd_kafka_ConfigEntry_name(entry))?;
            Some((name, text(sys::rd_kafka_ConfigEntry_value(entry))?))
        });
        Some((text(sys::rd_kafka_ConfigResource_name(resource))?, entries.collect()))
    }
}

/// Replaces each offset of the list (`Offset::End` or a time) by the one that its leader reports: one request for each leader.
pub(super) fn find_offsets(
    client: &Client<impl ClientContext>,
    list: &mut TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<()> {
    // SAFETY: client and list are alive, and the list is borrowed exclusively.
    let outcome = unsafe { sys::rd_kafka_offsets_for_times(client.native_ptr(), list.ptr(), milliseconds(timeout)) };
    check(outcome).map_err(KafkaError::OffsetFetch)
}

#[cfg(test)]
mod tests;
