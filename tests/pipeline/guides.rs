//! The commands in the guides: shell blocks marked `sh run` run beside a running bridge and a real Kafka.

use std::path::Path;
use std::process::Command;

use crate::support::bridge::{Home, PROGRAM};
use crate::support::run;

const CREATE: &str = "Group.CallbackAfterCreateGroup";

/// The blocks of a page that are marked to run, without the indentation of a list.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(page).expect("it is there");
    let parts = text.split("```sh run\n").skip(1);
    let blocks = parts.map(|part| part.split("```").next().expect("a block ends"));
    blocks
        .map(|block| block.lines().map(|line| format!("{}\n", line.trim_start())).collect())
        .collect()
}

fn guides() -> Vec<String> {
    let folder = std::fs::read_dir("docs/guide").expect("it is there");
    let mut pages: Vec<String> = folder
        .map(|entry| entry.expect("it can be read").path().display().to_string())
        .collect();
    pages.sort();
    pages
}

/// A folder as a reader of the guides would have it, with an event and a dead letter in Kafka.
#[test]
fn the_commands_in_the_guides_work() {
    let mut home = Home::new("guides");
    home.environment("PREFIX", home.prefix.clone());
    let bridge = home.start();
    assert_eq!(bridge.post(CREATE, "{\"GroupId\":\"@TGS#2J4SZEAEL\"}").status, 200);
    assert_eq!(bridge.post(CREATE, "[]").status, 200, "a dead letter");
    bridge.settle();
    let programs = Path::new(PROGRAM).parent().expect("it is in a folder").display();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("there is one"));
    let mut count = 0;
    for page in guides() {
        for block in blocks(&page) {
            let block = block
                .replace(":8080", &format!(":{}", home.port))
                .replace(":9464", &format!(":{}", home.admin_port));
            let mut shell = Command::new("bash");
            shell.args(["-euo", "pipefail", "-c", &block]).current_dir(home.path());
            let (code, out, errors) = run(shell.env("PATH", &path).envs(home.variables()));
            assert_eq!(code, Some(0), "{page}:\n{block}\n{out}{errors}");
            count += 1;
        }
    }
    assert!(count > 8, "{count} blocks");
}
