//! The image's recipe, as far as it can be checked without building the image.

use std::path::Path;
use std::process::Command;

use crate::support::bridge::Home;
use crate::tools::{assert_command_line, document, run, text, well};

/// The instructions, each on one line.
fn instructions() -> Vec<String> {
    let joined = text("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn arguments<'a>(instructions: &'a [String], name: &str) -> Vec<&'a str> {
    let prefix = format!("{name} ");
    instructions
        .iter()
        .filter_map(|line| line.strip_prefix(prefix.as_str()))
        .collect()
}

#[test]
fn the_image_runs_the_program_as_an_unprivileged_user() {
    let instructions = instructions();
    let user = arguments(&instructions, "USER");
    assert!(user.len() == 1 && !user[0].starts_with('0'), "{user:?}");
    let list =
        |name: &str| serde_json::from_str::<Vec<String>>(arguments(&instructions, name)[0]).expect("a JSON list");
    assert_eq!(list("ENTRYPOINT"), ["imbridge"]);
    let command = instructions
        .iter()
        .filter_map(|line| line.strip_prefix("CMD "))
        .next_back()
        .expect("a CMD");
    assert_command_line(&serde_json::from_str::<Vec<String>>(command).expect("a JSON list"));
    let least = text("Cargo.toml");
    let least = least
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .expect("a version")
        .trim_matches('"');
    let from = arguments(&instructions, "FROM");
    assert!(from[0].starts_with(&format!("rust:{least}-")), "{from:?}");
    let debian = from[0]
        .split([' ', '-'])
        .find(|word| *word == "bookworm")
        .expect("a Debian");
    assert!(from[1].contains(debian), "built on {} and run on {}", from[0], from[1]);
}

#[test]
fn chart_and_compose_file_have_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = document("helm/imbridge/Chart.yaml");
    let image = document("docker-compose.yml")["services"]["bridge"]["image"].clone();
    assert_eq!(chart["appVersion"], version);
    assert_eq!(image, format!("imbridge:{version}"));
}

#[test]
fn files_that_the_build_needs_are_not_ignored() {
    let kept: Vec<String> = text(".dockerignore")
        .lines()
        .filter_map(|line| Some(line.strip_prefix('!')?.to_owned()))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for path in &kept {
        assert!(Path::new(path).exists(), "{path} is not there");
        let to = folder.path().join(path);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("it is writable");
        well(Command::new("cp").args(["-r", path]).arg(to));
    }
    for instruction in instructions()
        .iter()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from"))
    {
        let source = instruction.split(' ').nth(1).expect("a source");
        assert!(
            folder.path().join(source).exists(),
            "{instruction}: .dockerignore keeps {source} away"
        );
    }
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args([
        "metadata",
        "--locked",
        "--offline",
        "--format-version",
        "1",
        "--no-deps",
    ]);
    let output = well(metadata.current_dir(folder.path()));
    assert!(output.contains("\"imbridge\""), "{output}");
}

#[test]
fn the_health_check_distinguishes_a_bridge_ready_or_not_from_none() {
    let instructions = instructions();
    let check = arguments(&instructions, "HEALTHCHECK")[0];
    let (_, list) = check.split_once("CMD ").expect("a command");
    let list: Vec<String> = serde_json::from_str(list).expect("a JSON list");
    let mut home = Home::with_brokers("health", "127.0.0.1:1");
    let script = list[2].replace("/9464", &format!("/{}", home.admin_port));
    let mut ask = Command::new(&list[0]);
    ask.args([&list[1], &script]);
    let ready = home.start();
    assert_eq!(run(&mut ask).code, Some(0), "{script}");
    ready.kill();
    assert_eq!(run(&mut ask).code, Some(1), "{script}");
    home.set("SPOOL__MIN_FREE_BYTES", i64::MAX.to_string());
    let full = home.start_unready();
    assert_eq!(run(&mut ask).code, Some(0), "{script}");
    full.kill();
}
