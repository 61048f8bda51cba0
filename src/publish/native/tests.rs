//! Against librdkafka's mock cluster: it answers no admin request, so here is what needs none, and that waiting ends. What a
//! broker answers is for `tests/pipeline/ability.rs`.

use std::sync::Mutex;
use std::time::Instant;

use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};

use super::*;

/// More than the linger of these producers.
const PATIENCE: Duration = Duration::from_secs(90);

/// Notes what became of each message.
#[derive(Default)]
struct Fates(Mutex<Vec<(bool, Option<String>)>>);

impl ClientContext for Fates {}

impl ProducerContext for Fates {
    type DeliveryOpaque = ();

    fn delivery(&self, outcome: &DeliveryResult<'_>, (): ()) {
        let (Ok(message) | Err((_, message))) = outcome;
        self.0
            .lock()
            .unwrap()
            .push((is_absent(message), produce_error(message)));
    }
}

fn producer() -> BaseProducer<Fates> {
    producer_that_lingers("60000")
}

fn producer_that_lingers(linger_ms: &str) -> BaseProducer<Fates> {
    let mut config = ClientConfig::new();
    config.set("test.mock.num.brokers", "1").set("linger.ms", linger_ms);
    config.create_with_context(Fates::default()).unwrap()
}

#[test]
fn the_fate_of_a_message_is_known_where_it_was_acknowledged_and_where_it_was_never_sent() {
    let producer = producer();
    let send = || {
        producer
            .send(BaseRecord::<str, str>::to("topic").payload("text"))
            .unwrap()
    };
    // A message whose topic becomes known in the middle of a flush may wait for its linger.
    producer.client().fetch_metadata(Some("topic"), PATIENCE).unwrap();
    send();
    producer.flush(PATIENCE).unwrap();
    send();
    producer.purge(PurgeConfig::default().queue());
    producer.flush(PATIENCE).unwrap();
    let fates = producer.context().0.lock().unwrap();
    assert_eq!(*fates, [(false, None), (true, None)]);
}

#[test]
fn an_admin_request_without_an_answer_ends_in_its_time() {
    let producer = producer();
    let started = Instant::now();
    let timeout = Duration::from_millis(300);
    let topic = NewTopic {
        name: "topic".into(),
        partitions: 1,
        replicas: 1,
        config: [("retention.ms".to_owned(), "1000".to_owned())].into(),
    };
    let client = producer.client();
    assert!(create_topics(client, std::slice::from_ref(&topic), true, timeout).is_err());
    // The mock cluster answers what is asked by metadata, and tells no rights.
    let names = ["topic".to_owned(), "topic".to_owned()];
    if let Ok(topics) = authorized_operations(client, &names, timeout) {
        assert!(
            topics.values().all(|allowed| !matches!(allowed, Ok(Some(_)))),
            "{topics:?}"
        );
    }
    assert!(!matches!(cluster_operations(client, timeout), Ok(Some(_))));
    assert!(settings(client, Owners::Topics(&names[..1]), timeout).is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
    let nowhere = NewTopic {
        name: "a\0b".into(),
        ..topic.clone()
    };
    assert!(matches!(
        create_topics(client, &[nowhere], true, timeout),
        Err(KafkaError::Nul(_))
    ));
    let less_than_none = NewTopic {
        partitions: -2,
        ..topic
    };
    let refused = create_topics(client, &[less_than_none], true, timeout);
    assert!(
        matches!(&refused, Err(KafkaError::AdminOpCreation(words)) if !words.is_empty()),
        "{refused:?}"
    );
}

#[test]
fn nothing_is_asked_about_no_topic() {
    let producer = producer();
    let second = Duration::from_secs(1);
    assert_eq!(create_topics(producer.client(), &[], false, second), Ok(Vec::new()));
    assert_eq!(
        settings(producer.client(), Owners::Topics(&[]), second),
        Ok(HashMap::new())
    );
    assert_eq!(
        authorized_operations(producer.client(), &[], second),
        Ok(HashMap::new())
    );
}

#[test]
fn operations_have_the_names_of_kafkas_tools() {
    let names: Vec<_> = (0..20)
        .filter_map(Operation::of)
        .map(|operation| operation.to_string())
        .collect();
    let expected = [
        "Read",
        "Write",
        "Create",
        "Describe",
        "DescribeConfigs",
        "IdempotentWrite",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_delivery_report_is_told_of_at_once_and_nothing_after_the_notice_is_gone() {
    let producer = producer_that_lingers("0");
    producer.client().fetch_metadata(Some("topic"), PATIENCE).unwrap();
    // It is told of what comes into an empty queue: a poll takes one event, and there are lines of log.
    (0..1000).for_each(|_| producer.poll(Duration::ZERO));
    let (told, news) = std::sync::mpsc::channel();
    let notice = Notice::new(producer.client(), Box::new(move || _ = told.send(()))).unwrap();
    producer
        .send(BaseRecord::<str, str>::to("topic").payload("text"))
        .unwrap();
    while producer.context().0.lock().unwrap().is_empty() {
        news.recv_timeout(PATIENCE).expect("it is told of");
        producer.poll(Duration::ZERO);
    }
    drop(notice);
    assert!(news.into_iter().count() < 1000, "the call is gone with the notice");
}
