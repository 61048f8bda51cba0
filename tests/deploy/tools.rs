//! Runs tools and reads their output.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::bridge::PROGRAM;
use crate::support::variable;

/// The output of a program.
pub struct Output {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The folder that `scripts/tools` filled.
pub fn folder() -> PathBuf {
    variable("IMBRIDGE_TEST_TOOLS").into()
}

/// One of its programs.
pub fn tool(name: &str) -> Command {
    Command::new(folder().join("bin").join(name))
}

/// Runs a program until it exits.
pub fn run(command: &mut Command) -> Output {
    run_with(command, "")
}

/// Runs a program with `input` on its standard input.
pub fn run_with(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A program may exit without reading everything. Its output counts.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    let output = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("writing does not panic");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Output {
        code: output.status.code(),
        out,
        err,
    }
}

/// Runs a program that must succeed; returns its output.
pub fn well(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(output.code, Some(0), "{command:?}:\n{}{}", output.out, output.err);
    output.out
}

/// The documents of a YAML text.
pub fn documents(yaml: &str) -> Vec<Value> {
    let output = run_with(&mut manifests(), yaml);
    assert_eq!(output.code, Some(0), "{}", output.err);
    serde_json::from_str(&output.out).expect("it prints JSON")
}

/// The only document of a YAML file.
pub fn document(path: &str) -> Value {
    let mut documents = documents(&text(path));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// The faults that Kubernetes of this version would report; empty if there are none.
pub fn kubernetes_faults(yaml: &str, version: &str) -> String {
    let mut command = manifests();
    command
        .args(["--kubernetes", version, "--crds"])
        .arg(folder().join("crds"));
    let output = run_with(&mut command, yaml);
    assert_eq!(output.code, Some(i32::from(!output.err.is_empty())), "{}", output.err);
    output.err
}

fn manifests() -> Command {
    let mut command = Command::new(folder().join("python/bin/python"));
    command.arg("tests/deploy/manifests.py");
    command
}

/// A file of the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// Runs `imbridge check` with a configuration in an otherwise empty environment. Its Kafka is not running; everything
/// else must be correct.
pub fn assert_bridge_takes(config: &str, environment: &[(String, String)]) {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let file = home.path().join("imbridge.toml");
    std::fs::write(&file, config).expect("a temporary folder is writable");
    let mut check = Command::new(PROGRAM);
    check.env_clear().args(["check", "--config"]).arg(&file);
    check.envs(environment.iter().map(|(name, value)| (name, value)));
    check.env("IMBRIDGE_SPOOL__DIR", home.path().join("spool"));
    check.env("IMBRIDGE_SCHEMAS__DIR", "schemas");
    check.env("IMBRIDGE_KAFKA__BROKERS", "127.0.0.1:1");
    let output = run(&mut check);
    let well = ["ok    config", "ok    spool", "ok    schemas"];
    assert!(
        well.iter().all(|part| output.out.contains(part)),
        "{config}\n{environment:?}\n{}{}",
        output.out,
        output.err
    );
}

/// Whether the program has the subcommands of a command line such as `serve --config /etc/imbridge/imbridge.toml`.
pub fn assert_command_line(arguments: &[String]) {
    let output = run(Command::new(PROGRAM).args(arguments).arg("--help"));
    assert!(
        output.code == Some(0) && output.out.contains("--config <FILE>"),
        "{arguments:?}: {}{}",
        output.out,
        output.err
    );
    assert!(arguments.iter().any(|argument| argument == "--config"), "{arguments:?}");
}

/// The texts of a JSON list.
pub fn strings(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts
        .map(|text| text.as_str().expect("a list of texts").to_owned())
        .collect()
}
