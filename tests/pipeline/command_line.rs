//! The command line as a new user meets it: help, an invalid configuration, `check`, `dev` and the commands of the
//! README.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::bridge::{Home, PROGRAM, free_ports};
use crate::support::{documents, eventually, run};

#[test]
fn help_and_version_say_what_there_is() {
    let (code, help, _) = run(Command::new(PROGRAM).arg("--help"));
    assert_eq!(code, Some(0));
    assert!(
        [
            "serve",
            "dev",
            "check",
            "topics",
            "tail",
            "spool",
            "simulate",
            "replay",
            "schemas",
            "durable before the"
        ]
        .iter()
        .all(|part| help.contains(part)),
        "{help}"
    );
    let (code, version, _) = run(Command::new(PROGRAM).arg("--version"));
    assert_eq!(
        (code, version.trim()),
        (Some(0), concat!("imbridge ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_bad_configuration_ends_with_64_and_says_where_and_what() {
    let home = Home::with_brokers("config", "127.0.0.1:1");
    home.configure("[server]\nmax_body_bites = 7");
    let (code, _, error) = run(&mut home.command("serve"));
    assert_eq!(code, Some(64));
    let path = home.config().display().to_string();
    assert!(
        [path.as_str(), "server", "max_body_bites", "max_body_bytes"]
            .iter()
            .all(|part| error.contains(part)),
        "{error}"
    );
    let (code, _, error) = run(Command::new(PROGRAM).args(["serve", "--config", "/nowhere.toml"]));
    assert_eq!(code, Some(64));
    assert!(error.contains("/nowhere.toml"), "{error}");
}

#[test]
fn check_reports_faults_and_successes() {
    let mut home = Home::new("check");
    home.configure("[[tencent]]\nsdk_app_id = 7\ntoken = \"env:TOKEN\"\nallow = [\"192.0.2.1\"]\n[[openim]]\nname = \"hidden\"\nsecret = [\"env:SECRET\", \"env:TOKEN\"]\nbasic_auth = \"env:BASIC\"");
    for (name, secret) in [
        ("TOKEN", "planted-t"),
        ("SECRET", "planted-s"),
        ("BASIC", "planted:p/a"),
    ] {
        home.environment(name, secret);
    }
    let (code, lines, _) = run(&mut home.command("check"));
    assert!(!lines.contains("planted"), "{lines}");
    assert_eq!(code, Some(0), "{lines}");
    assert!(
        [
            "ok    config",
            "ok    sender: 1400000000 passes at /tencent, not signed",
            "ok    sender: 7 passes at /tencent, signed",
            "ok    sender: main passes at /openim/<command>",
            "ok    sender: hidden passes at /openim/<secret>/<command>",
            "ok    spool",
            "ok    schemas: 4 commands",
            "ok    kafka",
            ".dead-letter: missing, serve creates it"
        ]
        .iter()
        .all(|part| lines.contains(part)),
        "{lines}"
    );

    home.set("KAFKA__CREATE_TOPICS", "never");
    let (code, lines, _) = run(&mut home.command("check"));
    assert_eq!(code, Some(1));
    assert!(
        lines.contains("FAIL")
            && lines.contains("is missing, and kafka.create_topics does not let the bridge create it"),
        "{lines}"
    );

    home.set("KAFKA__CREATE_TOPICS", "on_demand");
    run(&mut home.command("topics apply"));
    home.set("KAFKA__PARTITIONS", "5");
    let (code, lines, _) = run(&mut home.command("check"));
    assert_eq!(code, Some(1));
    assert!(lines.contains("4 partitions, kafka.partitions is 5"), "{lines}");

    home.set("KAFKA__BROKERS", "127.0.0.1:1");
    let (code, lines, _) = run(&mut home.command("check"));
    assert_eq!(code, Some(1));
    assert!(
        lines.contains("127.0.0.1:1 of kafka.brokers cannot be reached"),
        "{lines}"
    );

    let schema = home.schemas().join("tencent/Group.CallbackAfterCreateGroup/v1.avsc");
    std::fs::write(&schema, "{").unwrap();
    let (code, lines, _) = run(&mut home.command("check"));
    assert_eq!(code, Some(1));
    assert!(
        lines.contains("FAIL  schemas") && lines.contains("Group.CallbackAfterCreateGroup/v1.avsc"),
        "{lines}"
    );
}

#[test]
fn the_example_configuration_is_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = Command::new(PROGRAM);
    check.args(["check", "--config", "config/imbridge.example.toml"]);
    check
        .env("IMBRIDGE_SPOOL__DIR", folder.path())
        .env("IMBRIDGE_KAFKA__BROKERS", "127.0.0.1:1");
    check.env("IM_TOKEN", "t").env("OPENIM_SECRET", "s");
    let (code, lines, error) = run(&mut check);
    // Kafka is not running. Everything that is checked before it is correct.
    assert_eq!(code, Some(1), "{lines}{error}");
    assert!(
        ["ok    config", "ok    spool", "ok    schemas", "FAIL  kafka"]
            .iter()
            .all(|part| lines.contains(part)),
        "{lines}{error}"
    );
}

/// The first `curl` command of a text, with its continuation lines joined.
fn curl_of(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.trim_start().starts_with("curl "));
    let mut command = String::new();
    for line in lines {
        command.push_str(line.trim().trim_end_matches('\\'));
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    command
}

/// Runs `dev` on free ports, runs the curl command that `pick` makes from its output, and waits for the event.
fn dev_with(pick: impl Fn(&str) -> String) {
    let [kafka, port, admin, registry] = free_ports();
    let ports = [
        ("--kafka-port", kafka),
        ("--port", port),
        ("--admin-port", admin),
        ("--registry-port", registry),
    ];
    let arguments = ports
        .iter()
        .flat_map(|(flag, port)| [(*flag).to_owned(), port.to_string()]);
    let mut dev = Command::new(PROGRAM)
        .arg("dev")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(dev.stdout.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .all(|line| sender.send(line).is_ok())
    });
    let mut seen = String::new();
    let mut read_until = |end: &str| {
        eventually(end, || {
            if let Ok(line) = lines.recv_timeout(Duration::from_millis(100)) {
                seen.push_str(&line);
                seen.push('\n');
            }
            seen.contains(end).then(|| seen.clone())
        })
    };
    let greeting = read_until("nothing is kept");
    let page = format!("http://127.0.0.1:{admin}/");
    assert!(greeting.contains(&format!("status     {page} ")), "{greeting}");
    let (_, page, _) = run(Command::new("curl").args(["-sS", &page]));
    assert!(page.contains("<html"), "{page}");
    let curl = pick(&greeting).replace(":8080/", &format!(":{port}/"));
    let status = Command::new("bash")
        .args(["-c", &curl])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("bash is there");
    assert!(status.success(), "{curl}");
    let printed = read_until("\"unmapped\"");
    assert!(
        printed.contains("im.tencent.Group.CallbackAfterCreateGroup partition"),
        "{printed}"
    );
    assert!(
        printed.contains(r#""Name": "MyFirstGroup""#) && printed.contains("ce_id: "),
        "{printed}"
    );
    let [kafka, registry] = [kafka, registry].map(|port| format!("127.0.0.1:{port}"));
    let hint = read_until("python reader.py");
    let kcat = hint.lines().find(|line| line.trim_start().starts_with("kcat -b"));
    let (code, keys, errors) = run(Command::new("bash").args(["-c", kcat.expect("a line for kcat")]));
    assert!(
        code == Some(0) && keys.starts_with("@TGS#2J4SZEAEL ce_"),
        "{keys}{errors}"
    );
    let registry = format!("http://{registry}");
    assert!(
        hint.contains(&format!("python reader.py {kafka} {registry}\n")),
        "{hint}"
    );
    let line = documents::python("im", &kafka, &registry);
    assert!(line.contains(" MyFirstGroup "), "{line}");
    Command::new("kill")
        .arg(dev.id().to_string())
        .status()
        .expect("kill is there");
    assert!(eventually("dev to end", || dev.try_wait().expect("a child can be waited for")).success());
    reader.join().expect("the reader does not panic");
}

#[test]
fn dev_prints_a_curl_line_that_works_and_then_the_event() {
    dev_with(curl_of);
}

#[test]
fn the_readmes_curl_line_works() {
    let readme = std::fs::read_to_string("README.md").expect("there is a README");
    let curl = curl_of(&readme);
    assert!(curl.contains("Group.CallbackAfterCreateGroup"), "{curl}");
    dev_with(|_| curl.clone());
}
