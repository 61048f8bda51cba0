//! Kafka Connect with the page's configuration, transformations and sink, writing into the table that the program
//! prints.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;

use crate::support::bridge::{Bridge, Home};
use crate::support::postgres::Postgres;
use crate::support::{documents, kafka, run, samples, variable, within};

const CREATED: &str = "tencent/Group.CallbackAfterCreateGroup";

/// An event of a bridge, and an empty table for it.
struct Case {
    home: Home,
    postgres: Postgres,
    _bridge: Bridge,
}

/// A running Connect; stopped when dropped.
struct Connect(Child);

impl Drop for Connect {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Case {
    fn new(name: &str) -> Case {
        let mut home = Home::new(name);
        home.without_timeline();
        let bridge = home.start();
        samples::post(&bridge, &[CREATED]);
        bridge.settle();
        let (code, statements, error) = run(home.command("schemas ddl --for postgres").arg(CREATED));
        assert_eq!(code, Some(0), "{error}");
        let postgres = Postgres::start();
        postgres.run_file(&write(&home, "table.sql", &statements));
        Case {
            home,
            postgres,
            _bridge: bridge,
        }
    }

    /// Starts Connect with the page's configuration, except for these replacements.
    fn connect(&self, changes: &[(&str, &str)]) -> Connect {
        let home = &self.home;
        let jars = variable("IMBRIDGE_TEST_CONNECT");
        let mut javac = Command::new("javac");
        javac.args(["-cp", &format!("{jars}/*"), "-d"]).arg(home.path());
        let (code, _, error) = run(javac.arg("tests/readers/connect/ByRegistry.java"));
        assert_eq!(code, Some(0), "{error}");
        let mut connector = documents::blocks("connect", "properties").remove(0) + "\n";
        let [_, (_, port), ..] = self.postgres.environment();
        let (topics, database) = (format!("topics={}.", home.prefix), format!("//127.0.0.1:{port}/"));
        let registry = home.registry();
        let own = [
            ("topics=im.", topics.as_str()),
            ("//localhost:5432/", &database),
            ("http://localhost:8081", &registry),
            ("io.confluent.connect.avro.AvroConverter", "ByRegistry"),
        ];
        for (documented, own) in own.iter().chain(changes) {
            assert_eq!(connector.matches(documented).count(), 1, "{documented}");
            connector = connector.replace(documented, own);
        }
        let worker = format!(
            "bootstrap.servers={}\noffset.storage.file.filename={}\nlisteners=http://127.0.0.1:0\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\nvalue.converter=ByRegistry\n\
             value.converter.schema.registry.url={registry}\nconsumer.auto.offset.reset=earliest\n",
            kafka::shared(),
            home.path().join("offsets").display()
        );
        let mut connect = Command::new("java");
        let classes = format!("{}:{jars}/*", home.path().display());
        connect.args(["-XX:TieredStopAtLevel=1", "-cp", &classes]);
        connect.arg("org.apache.kafka.connect.cli.ConnectStandalone");
        connect.arg(write(home, "worker.properties", &worker));
        connect.arg(write(home, "connector.properties", &connector));
        let log = std::fs::File::create(self.log()).expect("a temporary folder is writable");
        connect.stderr(log.try_clone().expect("a file")).stdout(log);
        Connect(connect.spawn().expect("it starts"))
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("connect.log")
    }

    /// What `found` returns from Connect's log or elsewhere, as soon as it returns something.
    fn until<T>(&self, connect: &mut Connect, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        within(Duration::from_secs(120), what, || {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let ended = connect.0.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "{log}");
            found(&log)
        })
    }
}

fn write(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.path().join(name);
    std::fs::write(&path, text).expect("a temporary folder is writable");
    path
}

#[test]
fn connect_writes_the_event_into_the_printed_table_by_the_pages_configuration() {
    let case = Case::new("connect");
    let mut connect = case.connect(&[]);
    let query = "SELECT \"GroupId\", \"Name\", \"EventTime\" AT TIME ZONE 'UTC' AS at, meta_app FROM tencent_group_after_create_group";
    let row = case.until(&mut connect, "Connect's row", |_| case.postgres.query(query).pop());
    let wanted = json!({"GroupId": "@TGS#2J4SZEAEL", "Name": "MyFirstGroup", "at": "2022-12-09T08:26:54.123", "meta_app": "1400000000"});
    assert_eq!(row, wanted);
}

#[test]
fn flatten_refuses_the_map_as_the_page_says_unless_it_is_dropped_before() {
    let case = Case::new("flatten");
    let page = std::fs::read_to_string("docs/consumers/connect.md").expect("it is there");
    let (_, message) = page.split_once("`Flatten` takes no map: \"").expect("the trap");
    let (message, _) = message.split_once('"').expect("the quote ends");
    let mut connect = case.connect(&[("transforms=drop,flat", "transforms=flat")]);
    case.until(&mut connect, "Flatten's fault", |log| {
        log.contains(message).then_some(())
    });
    assert!(
        case.postgres
            .query("SELECT 1 FROM tencent_group_after_create_group")
            .is_empty()
    );
}
