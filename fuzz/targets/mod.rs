//! The fuzz targets, one module for each kind of input. A target accepts any bytes and panics if a promise about them is
//! broken. libFuzzer calls them, and so does `tests/regressions.rs`, which does not need libFuzzer.

mod body;
mod config;
mod encoder;
mod record;
mod request_line;

use std::sync::{Arc, LazyLock};

use imbridge::app::{Config, load_schemas};
use imbridge::callback::CommandTable;
use imbridge::provider::Providers;
use imbridge::schema::Catalogue;
use serde::de::IgnoredAny;

/// A target. It accepts any bytes.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const ALL: [(&str, Target); 6] = [
    ("request_line", request_line::run),
    ("tencent_body", body::tencent),
    ("openim_body", body::openim),
    ("encoder", encoder::run),
    ("record", record::run),
    ("config", config::run),
];

/// The target with this name.
pub fn find(name: &str) -> Option<Target> {
    ALL.iter().find(|(found, _)| *found == name).map(|(_, target)| *target)
}

/// The time of every input, so that a result does not depend on when an input is replayed.
const NOW_MS: i64 = 1_700_000_000_000;
/// The content of `fuzz/secret.txt`.
const SECRET: &str = "fuzzed-secret";

/// An app with a signature and one without, an OpenIM server with a secret and one without.
const SENDERS: &str = r#"
[[tencent]]
sdk_app_id = 1400000000
[[tencent]]
sdk_app_id = 1400000001
token = "file:fuzz/secret.txt"
[[openim]]
name = "open"
[[openim]]
name = "hidden"
secret = "file:fuzz/secret.txt"
"#;

/// The bridge's parts with the shipped schemas. The working directory must be the repository.
struct World {
    catalogue: Arc<Catalogue>,
    commands: Arc<CommandTable>,
    providers: Providers,
    config: Config,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let config = Config::parse("senders", SENDERS, std::iter::empty()).expect("a good configuration");
    let (catalogue, commands) = load_schemas(&config).expect("the shipped folder loads");
    World {
        providers: Providers::new(&config.tencent, &config.openim, Arc::clone(&commands)),
        catalogue,
        commands,
        config,
    }
});

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The first line, and the rest behind it. Without a line feed, the first line is empty.
fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&[], data),
    }
}
