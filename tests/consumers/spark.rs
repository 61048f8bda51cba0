//! Spark: the program that `imbridge schemas ddl` prints, over a topic with two versions of a record and over the
//! timeline.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::bridge::Home;
use crate::support::versions::{COMMAND, post_by_two_versions};
use crate::support::{run, variable};

/// The rows of a topic's table, after all messages have been read.
fn rows(home: &Home, name: &str, table: &str) -> Vec<Value> {
    let (code, printed, error) = run(home.command("schemas ddl --for spark").arg(name));
    assert_eq!(code, Some(0), "{error}");
    let query = "rows.writeStream";
    assert_eq!(printed.matches(query).count(), 1, "{printed}");
    let bounded = printed.replace(query, &format!("{query}.trigger(availableNow=True)"));
    let shown = format!("\nfor row in spark.table(\"{table}\").toJSON().collect():\n    print(row)\n");
    let path = home.path().join(format!("{table}.py"));
    std::fs::write(&path, bounded + &shown).expect("a temporary folder is writable");
    let jars = std::fs::read_dir(variable("IMBRIDGE_TEST_SPARK_JARS")).expect("made by scripts/setup");
    let jars = jars.map(|jar| jar.expect("it can be listed").path().display().to_string());
    let jars: Vec<_> = jars.filter(|jar| jar.ends_with(".jar")).collect();
    let arguments = format!(
        "--master local[1] --conf spark.ui.enabled=false --jars {} pyspark-shell",
        jars.join(",")
    );
    let mut spark = Command::new(variable("IMBRIDGE_TEST_SPARK"));
    spark
        .arg(&path)
        .current_dir(home.path())
        .env("PYSPARK_SUBMIT_ARGS", arguments);
    let (code, rows, error) = run(&mut spark);
    assert_eq!(code, Some(0), "{error}");
    let rows = rows.lines().filter(|line| line.starts_with('{'));
    rows.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn spark_reads_both_versions_and_the_timeline_into_tables() {
    let home = Home::new("spark");
    post_by_two_versions(&home);
    // The bridge that serves both versions.
    let _bridge = home.start();
    let mut typed = rows(&home, COMMAND, "tencent_group_after_change_group_owner");
    typed.sort_by_key(|row| row["GroupId"].to_string());
    let reasons: Vec<_> = typed
        .iter()
        .map(|row| [&row["ordering_key"], &row["Reason"], &row["unmapped"]])
        .collect();
    assert_eq!(
        reasons,
        [
            [&json!("new"), &json!("left"), &json!({})],
            [&json!("old"), &Value::Null, &json!({"Reason": "\"left\""})]
        ]
    );
    let mut timeline = rows(&home, "timeline", "timeline");
    timeline.sort_by_key(|row| row["group_id"].to_string());
    let ids = |rows: &[Value], id: fn(&Value) -> Value| rows.iter().map(id).collect::<Vec<_>>();
    assert_eq!(
        ids(&timeline, |row| row["event_id"].clone()),
        ids(&typed, |row| row["meta"]["event_id"].clone())
    );
}
