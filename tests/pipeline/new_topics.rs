//! A topic that is still being created does not delay earlier messages, and is used as soon as it is ready.

use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::proxy::{Loss, Request, behind_a_proxy};
use crate::support::{eventually, within};

const CREATED: &str = "Group.CallbackAfterCreateGroup";
const OWNER: &str = "Group.CallbackAfterChangeGroupOwner";
const CHANGED: &str = "Group.CallbackAfterGroupAttrChanged";

fn post(bridge: &Bridge, command: &str) {
    assert_eq!(bridge.post(command, r#"{"GroupId":"g"}"#).status, 200);
}

#[test]
fn a_new_topic_costs_no_connection_and_earlier_messages_are_delivered_meanwhile() {
    for delivery in ["idempotent", "transactional"] {
        let (kafka, proxy) = behind_a_proxy(&format!("new-{delivery}"));
        let mut home = Home::with_brokers("new-topics", &kafka.brokers);
        home.set("KAFKA__DELIVERY", delivery);
        let bridge = home.start();
        let published = |command: &str| bridge.metric(&["imbridge_messages_published_total", command]);
        post(&bridge, CREATED);
        bridge.settle();

        let connections = proxy.connections();
        post(&bridge, OWNER);
        eventually("the first event of a new topic", || {
            (published(OWNER) == 1.0).then_some(())
        });
        assert_eq!(proxy.connections(), connections, "{delivery}");

        // The next topic is not created while the admin request runs, and messages are in flight when it is requested.
        proxy.slow(Duration::from_millis(300), 0);
        proxy.lose(Request::CreateTopics, Loss::Request);
        post(&bridge, CREATED);
        post(&bridge, CHANGED);
        within(Duration::from_secs(10), "what was sent before", || {
            (published(CREATED) == 2.0).then_some(())
        });
        eventually("the new topic to be asked for", || (proxy.lost() > 0).then_some(()));
        assert_eq!(published(CHANGED), 0.0);

        // The messages behind it are one batch of the next session.
        post(&bridge, "Group.NotInAnySchema");
        assert_eq!(bridge.post("", "").status, 400);
        proxy.slow(Duration::ZERO, 0);
        proxy.lose_nothing();
        let asked = proxy.requests(Request::CreateTopics);
        bridge.settle();
        assert_eq!(published(CHANGED), 1.0);
        assert_eq!(
            proxy.requests(Request::CreateTopics) - asked,
            1,
            "{delivery}: three topics, one request"
        );
    }
}
