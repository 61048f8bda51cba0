//! A small load that notes the time of each acknowledgement, on the shim's clock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::campaign::monotonic_ns;
use crate::support::bridge::{APP, Bridge};

const COMMAND: &str = "Group.CallbackAfterCreateGroup";

/// An event that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    pub id: u64,
    pub at_ns: u64,
}

/// Posts from several clients until `enough`. Each event has a number that is unique in this program, and a body of
/// about `bytes`.
pub fn post(bridge: &Bridge, clients: usize, bytes: usize, enough: impl Fn() -> bool + Sync) -> Vec<Ack> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    let client = |_: usize| {
        let mut connection = bridge.connect();
        let mut acks = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            let Some(answer) = connection.post(&target(), body(id, bytes)) else {
                break;
            };
            if answer.status == 200 {
                let at_ns = monotonic_ns();
                acks.push(Ack { id, at_ns });
            }
            if enough() {
                done.store(true, Ordering::Relaxed);
            }
        }
        acks
    };
    std::thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> = (0..clients).map(|at| scope.spawn(move || client(at))).collect();
        let acks = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a client does not panic"));
        acks.collect()
    })
}

/// The target to post to.
pub fn target() -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}&contenttype=json")
}

fn body(id: u64, bytes: usize) -> String {
    let padding = "x".repeat(bytes);
    json!({"GroupId": format!("g{}", id % 32), "Name": id.to_string(), "EventTime": 1670574414123u64, "Introduction": padding}).to_string()
}

/// The number of the event that a record holds.
pub fn id_of(record: &[u8]) -> Option<u64> {
    let mark = br#""Name":""#;
    let at = record.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let digits = record[at..].split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
