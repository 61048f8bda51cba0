//! Kafka Connect with the page's configuration, its transformations and its sink, into the table that the program prints.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::bridge::Home;
use crate::support::postgres::Postgres;
use crate::support::{documents, kafka, run, samples, within};

const CREATED: &str = "tencent/Group.CallbackAfterCreateGroup";

#[test]
fn connect_writes_the_event_into_the_printed_table_by_the_pages_configuration() {
    let mut home = Home::new("connect");
    home.without_timeline();
    let bridge = home.start();
    samples::post(&bridge, &[CREATED]);
    bridge.settle();
    let (code, statements, error) = run(home.command("schemas ddl --for postgres").arg(CREATED));
    assert_eq!(code, Some(0), "{error}");
    let postgres = Postgres::start();
    let path = home.path().join("table.sql");
    std::fs::write(&path, statements).expect("a temporary folder is writable");
    postgres.run_file(&path);
    let [_, (_, port), ..] = postgres.environment();

    let jars = std::env::var("IMBRIDGE_TEST_CONNECT").expect("run by make consumers");
    let mut javac = Command::new("javac");
    javac.args(["-cp", &format!("{jars}/*"), "-d"]).arg(home.path());
    let (code, _, error) = run(javac.arg("tests/readers/connect/ByRegistry.java"));
    assert_eq!(code, Some(0), "{error}");
    let mut connector = documents::blocks("connect", "properties").remove(0) + "\n";
    for (documented, own) in [
        ("topics=im.", format!("topics={}.", home.prefix)),
        ("//localhost:5432/", format!("//127.0.0.1:{port}/")),
        ("http://localhost:8081", home.registry()),
        ("io.confluent.connect.avro.AvroConverter", "ByRegistry".to_owned()),
    ] {
        assert_eq!(connector.matches(documented).count(), 1, "{documented}");
        connector = connector.replace(documented, &own);
    }
    let worker = format!(
        "bootstrap.servers={}\noffset.storage.file.filename={}\nlisteners=http://127.0.0.1:0\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\nvalue.converter=ByRegistry\n\
         value.converter.schema.registry.url={}\nconsumer.auto.offset.reset=earliest\n",
        kafka::shared(),
        home.path().join("offsets").display(),
        home.registry()
    );
    let [worker_file, connector_file] =
        ["worker.properties", "connector.properties"].map(|name| home.path().join(name));
    std::fs::write(&worker_file, worker).expect("a temporary folder is writable");
    std::fs::write(&connector_file, connector).expect("a temporary folder is writable");
    let log = std::fs::File::create(home.path().join("connect.log")).expect("a temporary folder is writable");
    let mut connect = Command::new("java");
    connect.args([
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &format!("{}:{jars}/*", home.path().display()),
    ]);
    connect
        .arg("org.apache.kafka.connect.cli.ConnectStandalone")
        .args([worker_file, connector_file]);
    let again = log.try_clone().expect("a file");
    let mut connect = connect
        .stdout(Stdio::from(log))
        .stderr(again)
        .spawn()
        .expect("it starts");
    let query = "SELECT \"GroupId\", \"Name\", \"EventTime\" AT TIME ZONE 'UTC' AS at, meta_app FROM tencent_group_after_create_group";
    let row = within(std::time::Duration::from_secs(120), "Connect's row", || {
        let ended = connect.try_wait().expect("a child can be waited for");
        let log = || std::fs::read_to_string(home.path().join("connect.log")).unwrap_or_default();
        assert!(ended.is_none(), "{}", log());
        postgres.query(query).pop()
    });
    connect.kill().ok();
    connect.wait().expect("it ends");
    let wanted = json!({"GroupId": "@TGS#2J4SZEAEL", "Name": "MyFirstGroup", "at": "2022-12-09T08:26:54.123", "meta_app": "1400000000"});
    assert_eq!(row, wanted);
}
