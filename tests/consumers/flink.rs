//! Flink SQL: the statements that the program prints, over topics with one version and with two versions of a record.

use std::process::Command;

use crate::support::bridge::Home;
use crate::support::versions::{COMMAND, post_by_two_versions};
use crate::support::{documents, kafka, run, samples, talk, variable};

/// The rows of the statements' queries, as Flink prints them.
pub fn flink(home: &Home, statements: &str) -> Vec<String> {
    let path = home.path().join("statements.sql");
    std::fs::write(&path, statements).expect("a temporary folder is writable");
    let jars = variable("IMBRIDGE_TEST_FLINK");
    let mut flink = Command::new("java");
    flink.args([
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &format!("{jars}/*"),
        "tests/readers/flink/Sql.java",
    ]);
    let (code, rows, error) = run(flink.arg(&path));
    assert_eq!(code, Some(0), "{error}");
    rows.lines().map(str::to_owned).collect()
}

/// The printed tables, bounded so that queries end.
pub fn tables(home: &Home, names: &[&str]) -> String {
    let (code, printed, error) = run(home.command("schemas ddl --for flink").args(names));
    assert_eq!(code, Some(0), "{error}");
    let endless = "'scan.startup.mode' = 'earliest-offset',";
    assert_eq!(printed.matches(endless).count(), names.len());
    printed.replace(endless, &format!("{endless} 'scan.bounded.mode' = 'latest-offset',"))
}

/// The columns of a row.
fn columns(row: &str) -> Vec<&str> {
    let inner = row.trim_start_matches("+I[").trim_end_matches(']');
    inner.split(", ").collect()
}

#[test]
fn flink_takes_the_table_of_every_command_and_reads_some() {
    let commands = samples::all();
    let mut home = Home::new("flink-ddl");
    home.set("SCHEMAS__DIR", "schemas");
    home.set("HISTORY__WINDOW_S", "0");
    let bridge = home.start();
    // A list of records, records without lists, a record that is named twice, and one of the other IM server.
    let some = [
        "tencent/Group.CallbackAfterCreateGroup",
        "tencent/State.StateChange",
        "tencent/Live.CallbackAfterStartBattle",
        "openim/callbackAfterCreateGroupCommand",
    ];
    samples::post(&bridge, &some);
    bridge.settle();
    let names: Vec<_> = commands.iter().map(String::as_str).chain(["timeline"]).collect();
    let mut statements = tables(&home, &names);
    let all: Vec<_> = statements
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE TABLE ")?.strip_suffix(" ("))
        .map(str::to_owned)
        .collect();
    assert_eq!(all.len(), names.len());
    for table in &all {
        statements += &format!("EXPLAIN SELECT * FROM {table};\n");
    }
    let tables_of_some = [
        "tencent_group_after_create_group",
        "tencent_state_state_change",
        "tencent_live_after_start_battle",
    ];
    for table in tables_of_some.iter().chain(&["openim_after_create_group_command"]) {
        statements += &format!(
            "SELECT 'typed', ordering_key, meta.app, meta.event_id, CAST(meta.received_at AS STRING) FROM {table};\n"
        );
    }
    statements += "SELECT 'line', ordering_key, app, event_id, CAST(received_at AS STRING) FROM timeline;\n";
    let rows = flink(&home, &statements);
    let explained = rows
        .iter()
        .filter(|row| row.contains("== Optimized Execution Plan =="))
        .count();
    assert_eq!(explained, all.len());
    let of = |kind: &str| {
        let rows = rows.iter().filter(|row| row.starts_with(&format!("+I[{kind}, ")));
        let mut rows: Vec<_> = rows.map(|row| columns(row)[1..].join(" ")).collect();
        rows.sort();
        rows
    };
    assert_eq!(of("typed").len(), samples::events(&some));
    assert_eq!(of("typed"), of("line"));
}

#[test]
fn flink_runs_the_pages_sql_over_the_event() {
    let mut home = Home::new("flink");
    home.without_timeline();
    let bridge = home.start();
    samples::post(&bridge, &["tencent/Group.CallbackAfterCreateGroup"]);
    bridge.settle();
    let mut sql = documents::blocks("flink", "sql").remove(0);
    for (documented, own) in [
        ("'im.tencent.", format!("'{}.tencent.", home.prefix)),
        ("'localhost:9092'", format!("'{}'", kafka::shared())),
        ("'http://localhost:8081'", format!("'{}'", home.registry())),
    ] {
        assert_eq!(sql.matches(documented).count(), 1, "{documented}");
        sql = sql.replace(documented, &own);
    }
    let rows = flink(&home, &(sql + "\n")).join("\n");
    assert!(rows.starts_with("+I[@TGS#2J4SZEAEL, MyFirstGroup, 2, "), "{rows}");
}

#[test]
fn flink_answers_the_examples_questions_from_the_timeline() {
    let mut home = Home::new("flink-analytics");
    home.set("SCHEMAS__DIR", "schemas");
    let bridge = home.start();
    talk::post(&bridge);
    let example = std::fs::read_to_string("examples/analytics/flink.sql").expect("it is there");
    let rows = flink(&home, &(tables(&home, &["timeline"]) + &example));
    // Without the hour or day, which is that of the test.
    let mut rows: Vec<_> = rows.iter().map(|row| columns(row)[1..].join(" ")).collect();
    rows.sort();
    let mut wanted = [
        "1400000000 t 3",
        "main o 1",
        "1400000000 1 2",
        "main 1 1",
        "1400000000 t 2 1",
        "main o 0 1",
    ];
    wanted.sort_unstable();
    assert_eq!(rows, wanted);
}

#[test]
fn flink_reads_both_versions_by_the_table_of_either() {
    let mut home = Home::new("flink-evolution");
    home.without_timeline();
    let first = tables(&home, &[COMMAND]);
    post_by_two_versions(&home);
    // The bridge that serves both versions.
    let _bridge = home.start();
    let second = tables(&home, &[COMMAND]);
    assert!(!first.contains("`Reason`") && second.contains("`Reason`"));
    let query = |columns: &str| format!("SELECT {columns} FROM tencent_group_after_change_group_owner;\n");
    let sorted = |statements: String| {
        let mut rows = flink(&home, &statements);
        rows.sort();
        rows
    };
    let by_first = sorted(first + &query("GroupId, NewOwner_Account, unmapped['Reason']"));
    assert_eq!(by_first, ["+I[new, b, null]", "+I[old, b, \"left\"]"]);
    let by_second = sorted(second + &query("GroupId, NewOwner_Account, Reason"));
    assert_eq!(by_second, ["+I[new, b, left]", "+I[old, b, null]"]);
}
