//! Every request that OpenIM's own client was seen to send, through the library: verified, answered as OpenIM accepts it, on
//! the right topic with the right key, and every value found again. It needs no Kafka.
//!
//! `tests/golden/openim/` has a line for each: the request of an OpenIM of that version, with `<secret>` in place of the secret,
//! and the key that it should get, null for that of the instance. The keys were not made by the bridge.

#[path = "support/held.rs"]
mod held;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbridge::app::{Config, load_schemas};
use imbridge::callback::Callback;
use imbridge::forward::{Composer, Metrics};
use imbridge::provider::{Privacy, Providers, RequestLine};
use imbridge::publish::{self, Message};
use imbridge::schema::Catalogue;
use imbridge::spool::Record;
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use serde_json::Value;

const NOW_MS: i64 = 1_795_873_465_418;
const SECRET: &str = "5f0c";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capture {
    command: String,
    #[serde(default)]
    variant: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: String,
    key: Option<String>,
}

fn captures() -> Vec<Capture> {
    let mut found = Vec::new();
    for version in ["main-2026-07", "v3.6.0", "v3.8.0"] {
        let text = std::fs::read_to_string(format!("tests/golden/openim/{version}.jsonl")).expect("it is committed");
        found.extend(text.lines().map(|line| Capture {
            variant: version.to_owned(),
            ..serde_json::from_str(line).expect("a capture")
        }));
    }
    found
}

/// Fields that OpenIM copies from the answer over the user's request even where the answer has none, from its source: those
/// that are no pointers in `pkg/callbackstruct`, and those whose pointer it replaces as a whole.
fn overwritten(command: &str) -> &'static [&'static str] {
    match command {
        "callbackBeforeSetGroupInfoCommand" => &["groupID", "groupName", "faceURL", "introduction"],
        "callbackBeforeSetGroupInfoExCommand" => &[
            "groupID",
            "groupName",
            "faceURL",
            "introduction",
            "ex",
            "needVerification",
            "lookMemberInfo",
            "applyMemberFriend",
        ],
        // v3.6 only; later versions leave an empty remark out.
        "callbackBeforeSetFriendRemark" => &["remark"],
        _ => &[],
    }
}

/// OpenIM goes on with the user's operation, and the operation is the one that the user asked for.
fn assert_accepted(answer: &[u8], command: &str, request: &Value) {
    let answer: Value = serde_json::from_slice(answer).expect("OpenIM parses the answer as JSON");
    let mut rest = answer.as_object().expect("an object").clone();
    for (field, value) in [
        ("actionCode", 0.into()),
        ("errCode", 0.into()),
        ("nextCode", 0.into()),
        ("errMsg", "".into()),
        ("errDlt", "".into()),
    ] {
        assert_eq!(rest.remove(field).as_ref(), Some(&value), "{command}: {field}");
    }
    for field in overwritten(command) {
        assert_eq!(
            answer.get(field),
            request.get(field),
            "{command}: {field} would be overwritten"
        );
        rest.remove(*field);
    }
    assert!(rest.is_empty(), "{command}: {rest:?} would be overwritten");
}

/// A bridge without ports and without Kafka.
struct Bench {
    _secret: tempfile::TempDir,
    providers: Providers,
    composer: Composer,
    catalogue: Arc<Catalogue>,
    metrics: Registry,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder is to be had");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, SECRET).expect("a temporary folder is writable");
        let text = format!("[[openim]]\nname = \"main\"\nsecret = \"file:{}\"\n", secret.display());
        let config = Config::parse("captures.toml", &text, std::iter::empty()).expect("it is well");
        let (catalogue, commands) = load_schemas(&config).expect("the shipped schemas");
        let metrics = Registry::new();
        let counters = Metrics::new(&metrics).expect("a registry of its own");
        let providers = Providers::new(&config.tencent, &config.openim, Arc::clone(&commands));
        let (kafka, privacy) = (publish::Config::default(), Privacy::new(&config.privacy));
        let composer = Composer::new(Arc::clone(&catalogue), commands, &kafka, "s.1", counters).with_privacy(privacy);
        Bench {
            _secret: folder,
            providers,
            composer,
            catalogue,
            metrics,
        }
    }

    fn receive(&self, target: &str, headers: &BTreeMap<String, String>, body: &str) -> Callback {
        let target = target.replace("<secret>", SECRET);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.as_str())
        };
        let line = RequestLine {
            method: "POST",
            path,
            query,
            client: None,
            header: &header,
        };
        let sender = self
            .providers
            .verify(&line, NOW_MS)
            .unwrap_or_else(|refusal| panic!("{target}: {refusal:?}"));
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.providers
            .read(sender, body, NOW_MS)
            .unwrap_or_else(|refusal| panic!("{target}: {refusal:?}"))
    }

    fn compose(&mut self, seq: u64, callback: &Callback) -> Vec<Message> {
        let record = Record {
            seq,
            appended_at_ms: NOW_MS,
            data: callback.to_record().into(),
            intact: true,
        };
        self.composer
            .compose(&record, &|_| usize::MAX)
            .expect("no registry, no wait")
    }
}

#[test]
fn all_that_openim_sends_is_accepted_answered_and_held() {
    let mut bench = Bench::new();
    let captures = captures();
    assert_eq!(captures.len(), 247);
    for (seq, capture) in (1..).step_by(2).zip(&captures) {
        let what = format!("{} of {}", capture.command, capture.variant);
        let callback = bench.receive(&capture.target, &capture.headers, &capture.body);
        let mut sent: Value = serde_json::from_str(&capture.body).expect("JSON");
        assert_accepted(
            &bench.providers.success(&callback, bench.providers.rule(&callback.head)),
            &capture.command,
            &sent,
        );

        let messages = bench.compose(seq, &callback);
        let [message] = messages.as_slice() else {
            panic!("{what}: {} messages", messages.len());
        };
        assert_eq!(*message.slot.topic, format!("im.openim.{}", capture.command), "{what}");
        assert_eq!(message.key, capture.key.as_deref().unwrap_or("main"), "{what}");
        // The same once more is a copy only with an id that OpenIM gave it; its callers choose all others, and repeat them.
        let copied = bench.compose(seq + 1, &callback).is_empty();
        let unique = sent["serverMsgID"].as_str().is_some_and(|id| !id.is_empty());
        assert_eq!(copied, unique, "{what}");

        let decoded = bench.catalogue.decode(&message.payload);
        let mut held = decoded.unwrap_or_else(|cause| panic!("{what}: {cause}")).record;
        let operation = capture.headers["Operationid"].as_str();
        assert_eq!(held["meta"]["app"], "main");
        assert_eq!(
            held["meta"]["request_id"].as_str().unwrap_or_default(),
            operation,
            "{what}"
        );
        // OpenIM's own secret is the one value that does not arrive.
        if sent.as_object_mut().expect("an object").remove("secret").is_some() {
            assert!(capture.command.ends_with("UserRegisterCommand"), "{what}");
        }
        let unmapped = held["unmapped"].take();
        held::assert_held(&sent, &held, &unmapped, "");
        assert!(
            !unmapped.to_string().contains("secret") && held.get("secret").is_none(),
            "{what}"
        );
    }
}

#[test]
fn numbers_that_openim_gives_to_what_it_does_not_post_are_no_gaps() {
    let mut bench = Bench::new();
    // Joins, removals and changes of the group took the numbers between.
    for (seq, number) in (1..).zip([1, 2, 5, 9, 4]) {
        let body = format!(r#"{{"groupID":"g","serverMsgID":"m{number}","seq":{number}}}"#);
        let callback = bench.receive(
            "/openim/<secret>/callbackAfterMsgSaveDBCommand",
            &BTreeMap::new(),
            &body,
        );
        assert_eq!(bench.compose(seq, &callback).len(), 1);
    }
    let text = TextEncoder::new()
        .encode_to_string(&bench.metrics.gather())
        .expect("metrics are text");
    let counted: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("imbridge_sequence") && !line.ends_with(" 0"))
        .collect();
    assert_eq!(counted, Vec::<&str>::new());
}
