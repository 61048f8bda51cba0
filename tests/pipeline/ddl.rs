//! The output of `imbridge schemas ddl`, run by its tools over a sample of every command: ClickHouse and PostgreSQL
//! here, Flink and Spark in `make consumers`.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::support::bridge::Home;
use crate::support::postgres::Postgres;
use crate::support::registry::{Client, Decoded, read};
use crate::support::{self, documents, kafka, run, samples, talk};

fn ddl(home: &Home, tool: &str, names: &[String]) -> String {
    let (code, statements, error) = run(home.command("schemas ddl").args(["--for", tool]).args(names));
    assert_eq!(code, Some(0), "{error}");
    statements
}

/// The rows of the printed tables, or of queries to them, after `count` messages have arrived.
fn clickhouse(home: &Home, names: &[String], count: usize, queries: Option<&str>) -> String {
    let tables = home.path().join("tables.sql");
    std::fs::write(&tables, ddl(home, "clickhouse", names)).expect("a temporary folder is writable");
    let mut reader = support::python("IMBRIDGE_TEST_CONSUMERS", "tests/readers/tables.py");
    reader.arg(&tables);
    if let Some(queries) = queries {
        let path = home.path().join("queries.sql");
        std::fs::write(&path, queries).expect("a temporary folder is writable");
        reader.arg(path);
    }
    reader.args(["--brokers", &kafka::shared(), "--registry", &home.registry()]);
    reader.args(["--topic-prefix", &home.prefix, "--until-count", &count.to_string()]);
    let (code, rows, error) = run(&mut reader);
    assert_eq!(code, Some(0), "{error}");
    rows
}

#[test]
fn clickhouse_answers_the_examples_questions_and_that_of_its_page_from_the_timeline() {
    let mut home = Home::new("analytics");
    home.set("SCHEMAS__DIR", "schemas");
    let bridge = home.start();
    let count = talk::post(&bridge);
    let example = std::fs::read_to_string("examples/analytics/clickhouse.sql").expect("it is there");
    let queries = example + &documents::blocks("clickhouse", "sql")[0] + "\n";
    let rows = clickhouse(&home, &["timeline".to_owned()], 2 * count, Some(&queries));
    let rows: Vec<_> = rows.lines().map(|row| row.replace('\t', " ")).collect();
    assert_eq!(
        rows,
        [
            "2023-11-14 22:00:00 1400000000 t 2",
            "2023-11-14 22:00:00 main o 1",
            "2023-11-14 23:00:00 1400000000 t 1",
            "2023-11-14 1400000000 1 2",
            "2023-11-14 main 1 1",
            "main o 0 1",
            "1400000000 t 2 1",
            "message.sent 5 2",
            "members.left 2 2",
            "members.joined 1 1",
        ]
    );
}

/// What Python's stock reader reads from the same topics.
fn python(home: &Home, count: usize) -> Vec<Decoded> {
    read(Client::Python, &home.registry(), &kafka::shared(), &home.prefix, count)
}

#[test]
fn clickhouse_runs_the_statements_of_every_command_and_their_tables_have_its_records() {
    let (home, _bridge, commands) = samples::posted("ddl-clickhouse", false);
    let count = samples::events(&commands);
    let lines = clickhouse(&home, &commands, count, None);
    let rows = lines.lines().map(|line| serde_json::from_str(line).expect("a row"));
    let sorted = |messages| {
        let mut topics = samples::by_topic(&home.prefix, messages);
        topics
            .values_mut()
            .for_each(|records| records.sort_by_key(Value::to_string));
        topics
    };
    let (rows, python) = (sorted(rows.collect()), sorted(python(&home, count)));
    assert!(python.len() > 100, "{}", python.len());
    for (topic, records) in &python {
        assert_eq!(rows.get(topic), Some(records), "{topic}");
    }
}

/// The table's name in a statement, in quotes.
fn table(statements: &str) -> &str {
    let (_, rest) = statements.split_once("CREATE TABLE ").expect("a table");
    rest.split_once(' ').expect("columns").0
}

#[test]
fn postgres_runs_the_statements_of_every_command_and_loads_its_records_once() {
    let (home, _bridge, commands) = samples::posted("ddl-postgres", true);
    let names: Vec<_> = commands.iter().cloned().chain(["timeline".to_owned()]).collect();
    let printed = ddl(&home, "postgres", &names);
    let messages = python(&home, 2 * samples::events(&commands));
    let mut script = format!("ALTER DATABASE postgres SET timezone = 'UTC';\n{printed}");
    let mut queries = Vec::new();
    for (topic, statements) in by_topic(&printed) {
        let insert: String = statements
            .split_once("--\n")
            .expect("how to load it")
            .1
            .lines()
            .map(|line| line.trim_start_matches("-- ").to_owned() + "\n")
            .collect();
        script += &format!("PREPARE load (text, jsonb) AS {insert}");
        for message in messages.iter().filter(|message| message.topic == topic) {
            let literal = |text: String| format!("'{}'", text.replace('\'', "''"));
            let (key, record) = (literal(message.key.clone()), literal(message.value.to_string()));
            // Twice, as after a restart.
            script += &format!("EXECUTE load ({key}, {record});\n").repeat(2);
        }
        script += "DEALLOCATE load;\n";
        let rows = format!(
            "SELECT '{topic}' AS topic, to_jsonb(t) AS columns FROM {} t",
            table(statements)
        );
        queries.push(rows);
    }
    let postgres = Postgres::start();
    let path = home.path().join("load.sql");
    std::fs::write(&path, script).expect("a temporary folder is writable");
    postgres.run_file(&path);
    let rows = postgres.query(&queries.join(" UNION ALL "));
    assert_eq!(rows.len(), messages.len());
    for message in &messages {
        let wanted = flat(&message.value, &message.key);
        let found = rows.iter().filter(|row| row["topic"] == message.topic.as_str());
        let found: Vec<_> = found.map(|row| plain(&row["columns"], &wanted)).collect();
        assert!(found.contains(&wanted), "{}: {wanted:#?}\n{found:#?}", message.topic);
    }
}

/// The statements of all topics, one after another.
fn by_topic(printed: &str) -> Vec<(String, &str)> {
    let parts = printed
        .split_inclusive("ON CONFLICT DO NOTHING;\n")
        .filter(|part| !part.trim().is_empty());
    let parts = parts.map(|part| part.trim_start_matches(['\n']));
    parts
        .map(|part| {
            let topic = part
                .trim_start_matches("-- ")
                .split_once(" in PostgreSQL")
                .expect("a topic")
                .0;
            (topic.to_owned(), part)
        })
        .collect()
}

/// A record as its row must be: the fields of records are columns, and null values are left out.
fn flat(record: &Value, key: &str) -> Map<String, Value> {
    fn put(row: &mut Map<String, Value>, name: &str, value: &Value) {
        match value {
            Value::Object(fields) if name != "unmapped" => {
                let above = if name.is_empty() {
                    String::new()
                } else {
                    format!("{name}_")
                };
                fields
                    .iter()
                    .for_each(|(field, value)| put(row, &format!("{above}{field}"), value));
            }
            Value::Null => {}
            value => drop(row.insert(name.to_owned(), value.clone())),
        }
    }
    let mut row = Map::new();
    put(&mut row, "", record);
    row.insert("ordering_key".to_owned(), json!(key));
    row
}

/// A row without null values. Instants are in milliseconds if `like` has numbers for them.
fn plain(row: &Value, like: &Map<String, Value>) -> Map<String, Value> {
    let full = row
        .as_object()
        .expect("a row")
        .iter()
        .filter(|(_, value)| !value.is_null());
    let plain = full.map(|(name, value)| match (value, like.get(name)) {
        (Value::String(text), Some(Value::Number(_))) => {
            let time = humantime::parse_rfc3339(&text.replace("+00:00", "Z")).expect("an instant");
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
            (name.clone(), json!(since.as_millis() as u64))
        }
        _ => (name.clone(), value.clone()),
    });
    plain.collect()
}
