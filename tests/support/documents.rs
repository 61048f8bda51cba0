//! The code in docs/consumers/, run unchanged except for the topics' prefix.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::bridge::Home;
use super::{kafka, node, variable};

/// The code blocks of a language on a page.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("docs/consumers/{page}.md")).expect("it is there");
    let begin = format!("```{language}\n");
    let blocks = text
        .split(&begin)
        .skip(1)
        .map(|rest| rest.split_once("\n```").expect("it ends").0);
    blocks.map(str::to_owned).collect()
}

/// Writes a reader's program to a file in `folder`, for topics with this prefix.
pub fn written(code: &str, prefix: &str, folder: &Path, name: &str) -> std::path::PathBuf {
    assert!(code.contains("\"im."), "{code}");
    let path = folder.join(name);
    std::fs::write(&path, code.replace("\"im.", &format!("\"{prefix}."))).expect("a temporary folder is writable");
    path
}

/// The first line that a reader prints, which then reads for ever. kafkajs logs JSON to the same output.
pub fn first_line(program: &mut Command) -> String {
    let mut child = program.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    let line = lines.find(|line| !line.starts_with('{'));
    child.kill().ok();
    child.wait().expect("it ends");
    line.expect("an event")
}

/// The line that the Python page's reader prints for an event.
pub fn python(prefix: &str, brokers: &str, registry: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = written(&blocks("python", "python")[0], prefix, folder.path(), "reader.py");
    first_line(super::python("IMBRIDGE_TEST_PYTHON", path).args([brokers, registry]))
}

/// The line that the TypeScript page's reader prints.
pub fn javascript(home: &Home) -> String {
    let path = written(&blocks("typescript", "js")[0], &home.prefix, home.path(), "reader.js");
    first_line(node().arg(path).args([kafka::shared(), home.registry()]))
}

/// The line that one of the Java page's programs prints.
pub fn java(home: &Home, number: usize) -> String {
    let path = written(
        &blocks("java", "java")[number],
        &home.prefix,
        home.path(),
        "Reader.java",
    );
    let mut java = Command::new("java");
    java.args([
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &format!("{}/*", variable("IMBRIDGE_TEST_JARS")),
    ]);
    first_line(java.arg(path).args([kafka::shared(), home.registry()]))
}
