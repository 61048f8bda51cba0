//! Breaks each rule of `tests/tidy.rs` on purpose, with texts of a few lines.

use super::*;

fn faulty(path: &str, text: &str) -> bool {
    !import_faults(path, text).is_empty()
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::a::B;\nuse crate::{\n    b, c::{D, e::F},\n    d::G,\n};\nfn f() -> crate::e::H {}\n// crate::f\nuse mycrate::g;\n";
    assert_eq!(crate_imports(text), ["a", "b", "c", "d", "e"]);
}

#[test]
fn siblings_and_upper_rows_must_not_be_imported() {
    assert!(faulty("spool/reader.rs", "use crate::provider::Event;"));
    assert!(faulty("publish/mod.rs", "use crate::forward::Composer;"));
    assert!(faulty("ingress/handler.rs", "fn f(x: crate::publish::Message) {}"));
    assert!(faulty("app/mod.rs", "use crate::{cli, spool};"));
    assert!(faulty("callback.rs", "use crate::lifecycle::Stop;"));
    assert!(!faulty(
        "ingress/handler.rs",
        "use crate::{provider::Verified, spool::Lane};\nuse crate::ingress::Config;"
    ));
    assert!(!faulty("cli/dev.rs", "use crate::schema::Catalogue;"));
}

#[test]
fn crates_of_other_parts_are_found_in_code_and_not_in_words() {
    assert!(faulty("ingress/mod.rs", "use rdkafka::ClientConfig;"));
    assert!(faulty("spool/record.rs", "    let x = serde_json::from_str(text);"));
    assert!(faulty("provider/mod.rs", "use {apache_avro::Schema, bytes::Bytes};"));
    assert!(faulty("forward/compose.rs", "use actix_web as web;"));
    assert!(!faulty(
        "ingress/mod.rs",
        "//! knows no rdkafka::Client\nlet level = \"rdkafka::x\";"
    ));
    assert!(!faulty("publish/publisher.rs", "use rdkafka::ClientConfig;"));
}

#[test]
fn ways_around_the_rules_and_unknown_parts_are_found() {
    assert!(faulty("spool/reader.rs", "use super::super::provider::Event;"));
    assert!(faulty("spool/mod.rs", "use super::provider::Event;"));
    assert!(faulty("spool/tests/mod.rs", "use super::super::provider::Event;"));
    assert!(!faulty("spool/mod.rs", "mod tests {\n    use super::*;\n}"));
    assert!(!faulty("spool/tests/mod.rs", "use super::Spool;"));
    assert!(faulty("helpers/mod.rs", ""));
}

#[test]
fn a_file_must_open_with_its_purpose_and_stay_short() {
    assert_eq!(file_faults("src/a.rs", "//! What it is.\n").len(), 0);
    for text in ["", "\n", "use std::fs;\n", "// A comment.\n"] {
        assert_eq!(file_faults("src/a.rs", text).len(), 1, "{text:?}");
    }
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(file_faults("src/a.rs", &long).len(), 1);
}

#[test]
fn unfinished_code_sleeping_tests_and_ignored_tests_are_found() {
    for word in unfinished() {
        let text = format!("//! It.\n    {word}\n// {word} in words\n");
        assert_eq!(file_faults("src/a.rs", &text), [format!("src/a.rs:2: {word}")]);
    }
    let sleeping = ["//! It.\nthread::sleep", "(time);\n"].concat();
    assert_eq!(file_faults("tests/pipeline/order.rs", &sleeping).len(), 1);
    assert_eq!(file_faults("src/spool/tests.rs", &sleeping).len(), 1);
    assert_eq!(file_faults("tests/torture/kill.rs", &sleeping).len(), 0);
    assert_eq!(file_faults("src/spool/writer.rs", &sleeping).len(), 0);
}

#[test]
fn unsafe_code_is_found_where_it_does_not_belong() {
    let text = "//! It.\nlet one = unsafe { two() };\n";
    assert_eq!(file_faults("src/a.rs", text).len(), 1);
    assert_eq!(file_faults("src/publish/native.rs", text).len(), 0);
}

#[test]
fn paths_of_one_machine_are_found() {
    for place in foreign_paths() {
        assert_eq!(
            path_faults("a.md", &format!("see\n{place}x\n")),
            ["a.md:2: a path that exists on one machine only"]
        );
    }
    assert_eq!(path_faults("a.md", "a network/shared folder"), Vec::<String>::new());
}

#[test]
fn the_median_is_the_middle() {
    assert_eq!(median(vec![300, 10, 20]), 20);
}
