//! A small load whose every acknowledgement has its time, on the clock that the shim uses too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::support::bridge::{APP, Bridge};

const COMMAND: &str = "Group.CallbackAfterCreateGroup";

/// An event that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    pub id: u64,
    pub at_ns: u64,
}

/// Posts from several clients, each event with a number that no other of this program has, and about `bytes` of body, until `enough`.
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
                acks.push(Ack { id, at_ns: now_ns() });
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

/// Where to post.
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

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
