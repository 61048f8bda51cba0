//! Tests with librdkafka's mock cluster. It answers no admin request, so these tests cover everything else, and that requests time
//! out. A real broker's answers are tested in `tests/pipeline/ability.rs`.

use std::sync::Mutex;
use std::time::Instant;

use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};

use super::*;

/// Longer than the linger of these producers.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Records [`is_absent`] and [`produce_error`] of each delivery report.
#[derive(Default)]
struct Outcomes(Mutex<Vec<(bool, Option<String>)>>);

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, outcome: &DeliveryResult<'_>, (): ()) {
        let (Ok(message) | Err((_, message))) = outcome;
        self.0
            .lock()
            .unwrap()
            .push((is_absent(message), produce_error(message)));
    }
}

fn producer() -> BaseProducer<Outcomes> {
    producer_that_lingers("60000")
}

fn producer_that_lingers(linger_ms: &str) -> BaseProducer<Outcomes> {
    let mut config = ClientConfig::new();
    config.set("test.mock.num.brokers", "1").set("linger.ms", linger_ms);
    config.create_with_context(Outcomes::default()).unwrap()
}

#[test]
fn an_acknowledged_message_is_present_and_one_that_was_never_sent_is_absent() {
    let producer = producer();
    let send = || {
        producer
            .send(BaseRecord::<str, str>::to("topic").payload("text"))
            .unwrap()
    };
    // A message whose topic becomes known during a flush may wait for its linger.
    producer.client().fetch_metadata(Some("topic"), TIMEOUT).unwrap();
    send();
    producer.flush(TIMEOUT).unwrap();
    send();
    producer.purge(PurgeConfig::default().queue());
    producer.flush(TIMEOUT).unwrap();
    let outcomes = producer.context().0.lock().unwrap();
    assert_eq!(*outcomes, [(false, None), (true, None)]);
}

#[test]
fn an_admin_request_without_an_answer_times_out() {
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
    // The mock cluster answers requests that use metadata, and reports no rights.
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
    let zero_in_name = NewTopic {
        name: "a\0b".into(),
        ..topic.clone()
    };
    assert!(matches!(
        create_topics(client, &[zero_in_name], true, timeout),
        Err(KafkaError::Nul(_))
    ));
    let negative_partitions = NewTopic {
        partitions: -2,
        ..topic
    };
    let refused = create_topics(client, &[negative_partitions], true, timeout);
    assert!(
        matches!(&refused, Err(KafkaError::AdminOpCreation(message)) if !message.is_empty()),
        "{refused:?}"
    );
}

#[test]
fn an_empty_list_of_topics_needs_no_request() {
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
fn a_delivery_report_runs_the_callback_at_once_until_the_notice_is_dropped() {
    let producer = producer_that_lingers("0");
    producer.client().fetch_metadata(Some("topic"), TIMEOUT).unwrap();
    // Only an event that enters an empty queue runs the callback. A poll takes one event, and the queue has log lines.
    (0..1000).for_each(|_| producer.poll(Duration::ZERO));
    let (sender, calls) = std::sync::mpsc::channel();
    let notice = Notice::new(producer.client(), Box::new(move || _ = sender.send(()))).unwrap();
    producer
        .send(BaseRecord::<str, str>::to("topic").payload("text"))
        .unwrap();
    while producer.context().0.lock().unwrap().is_empty() {
        calls.recv_timeout(TIMEOUT).expect("the callback runs");
        producer.poll(Duration::ZERO);
    }
    drop(notice);
    assert!(
        calls.into_iter().count() < 1000,
        "the callback is dropped with the notice"
    );
}
