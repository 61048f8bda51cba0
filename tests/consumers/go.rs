//! The program of the page for Go.

use std::process::Command;

use crate::support::bridge::Home;
use crate::support::{documents, kafka, run, samples, variable};

#[test]
fn the_pages_reader_in_go_prints_the_event() {
    let mut home = Home::new("go");
    home.without_timeline();
    let bridge = home.start();
    samples::post(&bridge, &["tencent/Group.CallbackAfterCreateGroup"]);
    bridge.settle();
    documents::written(&documents::blocks("go", "go")[0], &home.prefix, home.path(), "main.go");
    for file in ["go.mod", "go.sum"] {
        let from = format!("tests/readers/go/{file}");
        std::fs::copy(from, home.path().join(file)).expect("a temporary folder is writable");
    }
    let cache = std::path::absolute("target/go").expect("a path");
    let mut go = Command::new(variable("IMBRIDGE_TEST_GO"));
    go.args(["build", "-o", "reader", "."]).current_dir(home.path());
    go.env("GOCACHE", cache.join("cache"))
        .env("GOPATH", &cache)
        .env("GOFLAGS", "-modcacherw");
    let (code, _, error) = run(&mut go);
    assert_eq!(code, Some(0), "{error}");
    let mut reader = Command::new(home.path().join("reader"));
    let line = documents::first_line(reader.args([kafka::shared(), home.registry()]));
    assert!(line.starts_with("@TGS#2J4SZEAEL MyFirstGroup "), "{line}");
}
