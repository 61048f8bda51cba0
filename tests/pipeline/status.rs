//! The status page in a real browser: what it shows while all is well, and during faults.

use serde_json::Value;

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::oracle::Plan;
use crate::support::{node, run};

/// What a browser saw: light and dark, with the sizes of a desktop and of a phone.
fn look(bridge: &Bridge) -> Vec<Value> {
    let (code, text, errors) = run(node().arg("tests/readers/status.js").arg(bridge.admin_url("/")));
    assert_eq!(code, Some(0), "the browser failed: {errors}");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn well_made(seen: &[Value], host: &str) {
    assert_eq!(seen.len(), 4);
    for it in seen {
        let view = format!("{} {}", it["colorScheme"], it["size"]);
        assert_eq!(it["faults"], serde_json::json!([]), "{view}");
        assert_eq!(it["violations"], serde_json::json!([]), "{view}: what axe-core finds");
        well_plotted(it, &view);
        assert_eq!(it["hosts"], serde_json::json!([host]), "{view} asks others");
        assert!(
            it["overflow_px"].as_i64() <= Some(0),
            "{view} is wider than its window: {}",
            it["overflow_px"]
        );
        assert!(
            it["least_contrast"].as_f64() >= Some(4.5),
            "{view} is hard to read: {}",
            it["least_contrast"]
        );
        assert_eq!(it["scripts_run"], 0, "{view} takes what was sent for markup");
        let dark = it["background"].as_f64().expect("a number") < 0.2;
        assert_eq!(dark, it["colorScheme"] == "dark", "{view}");
    }
}

/// Axes with units, a legend, and the values at the cursor's time. The reader makes up the hour that is shown.
fn well_plotted(it: &Value, view: &str) {
    let drawn: Vec<&str> = it["drawn"]
        .as_array()
        .expect("texts")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for label in ["records", "age", "per second"] {
        assert!(drawn.contains(&label), "{view}: no axis {label:?} in {drawn:?}");
    }
    assert!(drawn.iter().any(|text| text.starts_with("time, ")), "{view}: {drawn:?}");
    let times = it["times"].as_array().expect("texts");
    assert!(!times.is_empty(), "{view}: the axis of an hour names no time");
    let latest = [
        "time: now, records: 359, age of the oldest: 6 min",
        "time: now, callbacks answered: 359 /s, messages published: 718 /s",
    ];
    assert_eq!(it["latest"], serde_json::json!(latest), "{view}");
    let named = [
        "records: at most 359, age of the oldest: at most 6 min",
        "callbacks answered: at most 359 /s, messages published: at most 718 /s",
    ];
    assert_eq!(it["named"], serde_json::json!(named), "{view}");
    let [depth, rates] = [0, 1].map(|plot| it["hovered"][plot].as_str().expect("text"));
    let (time, depth) = depth.split_once(", ").expect("a time first");
    assert!(time.len() == "time: 00:00:00".len(), "{view}: {time}");
    let records: u32 = between(depth, "records: ", ", age of the oldest: 3 min")
        .parse()
        .expect("a number");
    assert!(
        (170..190).contains(&records),
        "{view}: {depth} in the middle of 0 to 359"
    );
    let values = format!(
        "{time}, callbacks answered: {records} /s, messages published: {} /s",
        records * 2
    );
    assert_eq!(rates, values, "{view}: the cursor is in both plots");
    // Numbers that are zero are not listed.
    for counted in it["counted"]
        .as_array()
        .expect("texts")
        .iter()
        .filter_map(Value::as_str)
    {
        let zero = counted.split([' ', ',', ';']).any(|word| word == "0");
        assert!(!zero, "{view} lists what did not happen: {counted}");
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let inner = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    inner.unwrap_or_else(|| panic!("not {before:?}...{after:?}: {text}"))
}

#[test]
fn the_status_page_shows_that_all_is_well_or_the_faults() {
    let mut home = Home::new("status");
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    let bridge = home.start();
    Plan::new(&home).with("each", 5).start().finish();
    let broken = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json");
    let markup = r#"["<img src=x onerror=alert(1)>"]"#;
    assert_eq!(bridge.connect().post(&broken, markup).expect("an answer").status, 200);
    bridge.settle();
    let seen = look(&bridge);
    well_made(&seen, &format!("127.0.0.1:{}", home.admin_port));
    for it in &seen {
        let tiles = [&it["tiles"]["accepting"], &it["tiles"]["kafka"], &it["tiles"]["behind"]];
        assert_eq!(tiles, ["accepting", "connected", "nothing waits"]);
        assert_eq!(it["counted"][3], "nothing");
        let text = it["text"].as_str().expect("text");
        for part in ["Group.CallbackAfterCreateGroup", "not_an_object 1", "ago"] {
            assert!(text.contains(part), "no {part:?} in: {text}");
        }
    }
    assert!(bridge.terminate().success());

    home.set("KAFKA__BROKERS", "127.0.0.1:1");
    home.set("SPOOL__MIN_FREE_BYTES", i64::MAX.to_string());
    let bridge = home.start_unready();
    let seen = look(&bridge);
    well_made(&seen, &format!("127.0.0.1:{}", home.admin_port));
    assert_eq!(seen[0]["tiles"]["accepting"], "not accepting");
    assert_eq!(seen[0]["tiles"]["kafka"], "not connected");
    assert!(seen[0]["text"].as_str().expect("text").contains("spool.min_free_bytes"));
}
