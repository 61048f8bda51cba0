//! Input: a command on the first line, or none, and a body. The body is refused only if it is not JSON or nothing names a
//! command. Otherwise the answer is JSON of a bounded size, the spool's record gives back the same callback, and the events
//! are JSON.

use bytes::Bytes;
use imbridge::callback::{Callback, Provider};
use imbridge::provider::{RequestLine, Verified, expand, group_of};

use super::{NOW_MS, WORLD, first_line, is_json};

pub fn tencent(data: &[u8]) {
    run(Provider::Tencent, data);
}

pub fn openim(data: &[u8]) {
    run(Provider::OpenIm, data);
}

fn run(provider: Provider, data: &[u8]) {
    let (command, body) = first_line(data);
    let body = Bytes::copy_from_slice(body);
    match WORLD.providers.read(sender(provider, command), body.clone(), NOW_MS) {
        Ok(callback) => {
            assert!(is_json(&body), "accepted, but not JSON");
            assert_eq!(callback.body, body);
            accepted(&callback);
        }
        Err(unreadable) => {
            assert_eq!(unreadable.callback.body, body);
            assert!(unreadable.callback.head.unreadable);
            let refusal = &unreadable.refusal;
            match refusal.reason {
                "no_command" => assert!(is_json(&body) && command.is_empty(), "{refusal:?}"),
                "not_json" => assert!(!is_json(&body), "{refusal:?}"),
                other => panic!("a body must not be refused for {other}"),
            }
            assert!(is_json(&refusal.body()));
        }
    }
}

fn sender(provider: Provider, command: &[u8]) -> Verified {
    let encoded: String = form_urlencoded::byte_serialize(command).collect();
    let (path, query) = match provider {
        Provider::Tencent => ("/tencent", format!("SdkAppid=1400000000&CallbackCommand={encoded}")),
        Provider::OpenIm => ("/openim", format!("command={encoded}")),
    };
    let line = RequestLine {
        method: "POST",
        path,
        query: &query,
        client: None,
        header: &|_| None,
    };
    WORLD.providers.verify(&line, NOW_MS).expect("an open sender")
}

fn accepted(callback: &Callback) {
    let size = callback.body.len();
    assert!(
        callback
            .head
            .command
            .as_ref()
            .is_some_and(|command| !command.is_empty())
    );
    let rule = WORLD.providers.rule(&callback.head);
    let answer = WORLD.providers.success(callback, rule);
    assert!(is_json(&answer), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.len() <= 8 * size + 1024, "{} bytes answer {size}", answer.len());
    assert_eq!(
        Callback::from_record(&callback.to_record().into()).expect("a record"),
        *callback
    );
    group_of(&callback.body);
    if let Ok(events) = expand(callback, &WORLD.commands) {
        let mut bytes = 0;
        for (event, index) in events.iter().zip(0..) {
            assert_eq!(event.index, index);
            assert!(is_json(&event.body), "{}", String::from_utf8_lossy(&event.body));
            bytes += event.body.len();
        }
        // Names are encoded again, so one raw control byte may become six bytes.
        assert!(bytes <= 6 * size + 16, "{bytes} bytes of events in {size}");
    }
}
