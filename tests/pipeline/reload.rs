//! SIGHUP: what can change without a restart changes under load. An invalid change has no effect.

use sha2::{Digest, Sha256};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::client::{Answer, Connection};
use crate::support::oracle::Plan;
use crate::support::reader::{Consumed, consume};
use crate::support::{eventually, kafka, schemas};

const SIGNED_APP: u64 = 1400000001;
const CREATED: &str = "Group.CallbackAfterCreateGroup";

/// Sends SIGHUP and waits until the reload has ended.
fn reload(bridge: &Bridge, outcome: &str) {
    let count = || bridge.metric(&["imbridge_reloads_total", &format!("outcome=\"{outcome}\"")]);
    let before = count();
    bridge.signal("HUP");
    eventually("the reload to be over", || (count() > before).then_some(()));
    let successful = f64::from(u8::from(outcome == "ok"));
    assert_eq!(bridge.metric(&["imbridge_last_reload_successful "]), successful);
}

fn post(bridge: &Bridge, command: &str, body: &str) -> Answer {
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={command}");
    bridge.connect().post(&target, body).expect("an answer")
}

/// The status of a callback that is signed with a token.
fn signed(bridge: &Bridge, token: &str) -> u16 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time = now.expect("after 1970").as_secs().to_string();
    let sign = hex::encode(Sha256::digest(format!("{token}{time}")));
    let target = format!("/tencent?SdkAppid={SIGNED_APP}&CallbackCommand={CREATED}&Sign={sign}&RequestTime={time}");
    let answer = bridge.connect().post(&target, r#"{"GroupId":"signed"}"#);
    answer.expect("an answer").status
}

fn of_key<'a>(messages: &'a [Consumed], key: &str) -> &'a Consumed {
    let found = messages.iter().find(|message| message.key.as_deref() == Some(key));
    found.unwrap_or_else(|| panic!("no message of {key}"))
}

fn change_everything_under_load(delivery: &str) {
    let mut home = Home::new(&format!("reload-{delivery}"));
    home.set("KAFKA__DELIVERY", delivery);
    let token = home.path().join("token");
    std::fs::write(&token, "first").unwrap();
    home.configure(&format!(
        "[[tencent]]\nsdk_app_id = {SIGNED_APP}\ntoken = \"file:{}\"\n",
        token.display()
    ));
    let bridge = home.start();
    let load = Plan::new(&home).start();
    eventually("some load", || {
        (bridge.metric(&["imbridge_requests_total"]) > 300.0).then_some(())
    });
    assert_eq!((signed(&bridge, "first"), signed(&bridge, "second")), (200, 403));
    let body = |group: &str| format!(r#"{{"GroupId":"{group}","Name":"Wilhelmina"}}"#);
    assert_eq!(post(&bridge, "Group.CallbackBeforeTest", &body("early")).status, 200);

    // Callbacks that are spooled before a reload and composed after it are handled as if they had come later.
    eventually("the command without a schema to arrive as one", || {
        let published = bridge.metric(&["imbridge_messages_published_total", ".tencent.unknown"]);
        (published > 0.0).then_some(())
    });

    std::fs::write(&token, "second").unwrap();
    let command = schemas::add_before_command(&home.schemas());
    home.configure(&format!(
        "[log]\nlevel = \"info,imbridge=debug\"\n\n[[privacy]]\ncommands = [\"{command}\"]\npaths = [\"Name\"]\naction = \"drop\"\n"
    ));
    reload(&bridge, "ok");
    assert_eq!((signed(&bridge, "first"), signed(&bridge, "second")), (403, 200));
    assert_eq!(
        bridge.admin("/log/level").unwrap(),
        (200, "info,imbridge=debug\n".into())
    );
    assert_eq!(post(&bridge, command, &body("late")).status, 200);
    for _ in 0..5 {
        reload(&bridge, "ok");
    }
    assert_eq!(post(&bridge, command, &body("later")).status, 200);
    let accepted = bridge.metric(&["imbridge_requests_total"]);
    eventually("load after the reloads", || {
        (bridge.metric(&["imbridge_requests_total"]) > accepted + 300.0).then_some(())
    });
    let ledger = load.stop();
    bridge.settle();

    assert_eq!(
        bridge.metric(&["imbridge_requests_refused_total"]),
        2.0,
        "the two wrong signatures"
    );
    assert_eq!(
        bridge.metric(&["imbridge_producer_rebuilds_total"]),
        0.0,
        "{}",
        bridge.log()
    );
    assert_eq!(
        bridge.metric(&["imbridge_messages_replayed_total"]),
        0.0,
        "nothing is gone through again"
    );
    let verdict = ledger.judge(&kafka::shared(), &home);
    verdict.assert_kept();
    assert!(ledger.acknowledged > 600, "only {}", ledger.acknowledged);
    let messages = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert!(of_key(&messages, "early").topic.ends_with(".tencent.unknown"));
    for group in ["late", "later"] {
        let message = of_key(&messages, group);
        assert!(message.topic.ends_with(command), "{group} is in {}", message.topic);
        let value = message.value.as_ref().expect("a record").to_string();
        assert!(!value.contains("Wilhelmina"), "the privacy rule is not used: {value}");
    }
    assert!(bridge.terminate().success());
}

#[test]
fn everything_that_can_change_changes_under_load_and_nothing_is_lost_or_refused() {
    change_everything_under_load("idempotent");
}

#[test]
fn the_same_with_transactions() {
    change_everything_under_load("transactional");
}

#[test]
fn an_invalid_file_keeps_the_old_state_and_is_reported() {
    let home = Home::new("broken-reload");
    let bridge = home.start();
    let good = std::fs::read_to_string(home.config()).unwrap();
    let schema = home.schemas().join("tencent").join(CREATED).join("v1.avsc");
    let good_schema = std::fs::read_to_string(&schema).unwrap();
    let with = |lines: &str| format!("{lines}\n{good}");
    let cases = [
        ("this is not toml".to_owned(), &good_schema[..], "TOML"),
        (with("[log]\nlevel = \"loud\"\n"), &good_schema, "is no level"),
        (with("[log]\ncolour = \"red\"\n"), &good_schema, "colour"),
        (
            with("[[tencent]]\nsdk_app_id = 7\ntoken = \"file:/nowhere/at/all\"\n"),
            &good_schema,
            "/nowhere/at/all",
        ),
        (good.clone(), "{ no schema", "v1.avsc"),
    ];
    for (config, schema_text, text) in &cases {
        std::fs::write(home.config(), config).unwrap();
        std::fs::write(&schema, schema_text).unwrap();
        reload(&bridge, "failed");
        let line = bridge.logged(text);
        assert!(line.contains("the reload failed"), "{line}");
        assert_eq!(post(&bridge, CREATED, r#"{"GroupId":"g"}"#).status, 200);
        assert_eq!(bridge.admin("/log/level").unwrap().1, "info\n");
    }
    assert_eq!(bridge.metric(&["imbridge_reloads_total", "failed"]), cases.len() as f64);

    // Keys that need a restart are named, and the other changes are used.
    std::fs::write(&schema, &good_schema).unwrap();
    std::fs::write(home.config(), with("[log]\nlevel = \"debug\"\n[server]\nworkers = 3\n")).unwrap();
    let began = bridge.metric(&["imbridge_last_reload_success_timestamp_seconds "]);
    reload(&bridge, "ok");
    assert!(bridge.metric(&["imbridge_last_reload_success_timestamp_seconds "]) >= began);
    assert_eq!(bridge.admin("/log/level").unwrap().1, "debug\n");
    let line = bridge.logged("only after a restart");
    assert!(line.contains("server.workers"), "{line}");
    bridge.settle();
    let messages = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(messages.len(), cases.len(), "encoded by the schema as it was");
    assert!(messages.iter().all(|message| message.value.is_some()));
}

#[test]
fn a_new_admin_token_is_asked_for_from_a_reload_on() {
    let home = Home::with_brokers("admin-token", "127.0.0.1:1");
    let token = home.path().join("token");
    std::fs::write(&token, "first").unwrap();
    home.configure(&format!("[admin]\ntoken = \"file:{}\"\n", token.display()));
    let bridge = home.start();
    let status = |token: &str| {
        let mut connection = Connection::open(home.admin_port).expect("it listens");
        let sent = format!("Bearer {token}");
        let answer = connection.request("GET", "/metrics", &[("Authorization", &sent)], b"");
        answer.expect("an answer").status
    };
    assert_eq!([status("first"), status("second")], [200, 401]);
    std::fs::write(&token, "second").unwrap();
    bridge.signal("HUP");
    eventually("the new token to be taken", || (status("second") == 200).then_some(()));
    assert_eq!(status("first"), 401);
    assert!(!bridge.log().contains("only after a restart"), "{}", bridge.log());
}

#[test]
fn a_reload_keeps_used_nonces_and_the_callback_counts_of_senders() {
    const HMAC: &str = "9da6f6c982b08f501f9d3b12aceb38f9a19c82cdbfa02d4af2ab8b368cb3adf5";
    let mut home = Home::with_brokers("memory", "127.0.0.1:1");
    // For the nonce `n-1`, computed with Python's hmac and SHA-256.
    home.environment("HMAC", "planted-hmac");
    home.environment("PATH_OF_SIGNED", "signed");
    home.configure(&format!(
        "[[tencent]]\nsdk_app_id = {SIGNED_APP}\nrate_per_s = 1\nburst = 60\n\n[[openim]]\nname = \"signed\"\nsecret = \"env:PATH_OF_SIGNED\"\n\n[openim.signature]\nsecret = \"env:HMAC\"\n"
    ));
    let bridge = home.start();
    let nonce = || {
        let headers = [("X-Nonce", "n-1"), ("X-Signature", HMAC)];
        let answer = bridge
            .connect()
            .request("POST", "/openim/signed/callbackX", &headers, b"{}");
        answer.expect("an answer").status
    };
    let accepted = || {
        let target = format!("/tencent?SdkAppid={SIGNED_APP}&CallbackCommand={CREATED}");
        let mut connection = bridge.connect();
        let mut post = || {
            connection
                .post(&target, r#"{"GroupId":"g"}"#)
                .expect("an answer")
                .status
        };
        (0..60).filter(|_| post() == 200).count()
    };
    assert_eq!([nonce(), nonce()], [200, 403]);
    assert_eq!(accepted(), 60);
    reload(&bridge, "ok");
    assert_eq!(nonce(), 403, "it was used before the reload");
    let again = accepted();
    assert!(again < 40, "{again} more at once, of a burst that was used up");
}

#[test]
fn levels_change_by_the_admin_port_from_the_next_line_on() {
    let home = Home::new("levels");
    let bridge = home.start();
    let set = |levels: &str| bridge.administer("PUT", "/log/level", levels);
    assert_eq!(bridge.administer("GET", "/log/level", ""), (200, "info\n".into()));
    assert_eq!(set("error").0, 204);
    for nonsense in ["", "loud", "info,imbridge::forward=loud"] {
        let (status, text) = set(nonsense);
        assert_eq!(status, 400, "{nonsense}");
        assert!(text.contains("error, warn, info, debug, trace"), "{text}");
    }
    assert_eq!(bridge.administer("GET", "/log/level", "").1, "error\n");
    assert_eq!(set("warn,imbridge::admin=info\n").0, 204);
    bridge.logged("set by the admin port");
    let log = bridge.log();
    let reported = log.lines().filter(|line| line.contains("set by the admin port"));
    assert_eq!(
        reported.count(),
        1,
        "the first change silences itself, the second lets itself through: {log}"
    );
    assert!(bridge.administer("PUT", "/log/level", &"info,".repeat(100_000)).0 >= 400);
}
