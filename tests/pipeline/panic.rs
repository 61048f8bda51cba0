//! A fault in the bridge itself: its forwarder panics in the middle of its work, and does not send delivered events
//! again. The bridge runs in the process of the test, which can make its log panic at a chosen line.

use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::rt::System;
use imbridge::app::{Bridge, Config};
use imbridge::lifecycle::{Levels, Stop};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;

use crate::support::bridge::{APP, Home};
use crate::support::client::Connection;
use crate::support::reader::consume;
use crate::support::{eventually, kafka};

const EVENTS: usize = 300;
/// A line that the forwarder logs while it composes.
const LINE: &str = "a copy was dropped";

/// Panics at the first line that contains [`LINE`].
#[derive(Default)]
struct Trap(AtomicBool);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Trap {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        if text.0 == LINE && !self.0.swap(true, Ordering::SeqCst) {
            panic!("as a test");
        }
    }
}

#[test]
fn after_a_panic_of_the_forwarder_no_delivered_event_is_sent_again() {
    let home = Home::new("panic");
    let config = Config::load(&home.config(), home.variables()).expect("a good configuration");
    let (levels, filter) = Levels::new("imbridge::forward=debug").expect("levels");
    tracing_subscriber::registry().with(filter).with(Trap::default()).init();
    let stop = Stop::default();
    let stopped = stop.clone();
    let bridge = std::thread::spawn(move || {
        System::new().block_on(async {
            let (bridge, _) = Bridge::start(&config, levels).expect("it starts");
            stopped.raised().await;
            bridge.drain().await;
        });
    });
    eventually("the bridge to be ready", || {
        let answer = Connection::open(home.admin_port)?.request("GET", "/readyz", &[], b"")?;
        (answer.status == 200).then_some(())
    });
    let mut connection = Connection::open(home.port).expect("the bridge listens");
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json");
    let mut post = |number: usize| {
        let body = format!(r#"{{"GroupId":"g","Name":"{number}","EventTime":"1670574414123"}}"#);
        assert_eq!(connection.post(&target, &body).expect("an answer").status, 200);
    };
    (0..EVENTS).for_each(&mut post);
    let metric = |name: &str| {
        let answer = Connection::open(home.admin_port)?.request("GET", "/metrics", &[], b"")?;
        let lines = answer.body.lines().filter(|line| line.starts_with(name));
        Some(
            lines
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>(),
        )
    };
    let delivered = |count: usize| {
        eventually("everything to be delivered", || {
            let published = metric("imbridge_messages_published_total")?;
            (published as usize >= count && metric("imbridge_spool_records ")? == 0.0).then_some(())
        });
    };
    delivered(EVENTS);
    // The same callback again is a copy.
    post(0);
    eventually("the panic", || {
        (metric("imbridge_producer_rebuilds_total{reason=\"panic\"}")? == 1.0).then_some(())
    });
    post(EVENTS);
    delivered(EVENTS + 1);
    stop.raise();
    bridge.join().expect("the bridge ends in order");
    let all = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let numbers: Vec<usize> = all
        .iter()
        .filter_map(|message| message.value.as_ref()?["Name"].as_str()?.parse().ok())
        .collect();
    assert_eq!(
        numbers,
        (0..=EVENTS).collect::<Vec<_>>(),
        "each is there once, in order"
    );
}
