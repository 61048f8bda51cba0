//! `imbridge schemas ddl`: statements that make a topic a table of some tool. The columns come from the schema, the
//! rest of each statement from a template file in this folder.

mod table;
mod types;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use self::table::Table;
use crate::app::{Config, load_schemas};
use crate::publish::{Timeline, command_topic};
use crate::schema::{Catalogue, Command, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tool {
    Clickhouse,
    Flink,
    Spark,
    Postgres,
}

#[derive(Args)]
pub(super) struct Options {
    /// The tool that reads the topic.
    #[arg(long = "for", value_name = "TOOL")]
    tool: Tool,
    /// Commands as on the wire, `provider/command` if both IM servers have one of this name, or `timeline`.
    #[arg(value_name = "COMMAND", required = true)]
    names: Vec<String>,
    /// The bridge's configuration, for the schemas folder, the topics' prefix, the brokers and the schema registry.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The first part of the topics' names, as kafka.topic_prefix.
    #[arg(long)]
    prefix: Option<String>,
    /// Brokers as the tool reaches them, host:port, separated by commas.
    #[arg(long)]
    brokers: Option<String>,
    /// The schema registry as the tool reaches it. It may be the bridge itself (schemas.listen).
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// The table's name: letters, digits and underscores, with a dot after a database or a schema.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
}

/// The statements for each of the topics.
pub(super) fn run(dir: &Path, options: &Options) -> Result<String> {
    let config = options.config.as_deref().map(crate::cli::load);
    let catalogue = match &config {
        Some(config) => load_schemas(config)?.0,
        None => Catalogue::load(dir)?.into(),
    };
    let config = config.unwrap_or_default();
    if config.schemas.framing == Style::SingleObject {
        bail!("schemas.framing is \"single-object\", which none of these tools reads; they need \"confluent\"");
    }
    if options.names.len() > 1 && (options.table.is_some() || options.tool == Tool::Spark) {
        bail!("--table and --for spark: one COMMAND is allowed");
    }
    let prefix = options.prefix.as_ref().unwrap_or(&config.kafka.topic_prefix);
    let registry = options.registry.clone().or_else(|| registry_of(&config));
    let common = [
        ("prefix", prefix.clone()),
        ("brokers", options.brokers.clone().unwrap_or(config.kafka.brokers)),
        (
            "registry",
            registry.context("--registry is needed: the bridge of this configuration does not serve its schemas")?,
        ),
    ];
    if let Some((name, value)) = common.iter().find(|(_, value)| value.contains(['\'', '"', '\\', '\n'])) {
        bail!("--{name} {value:?}: quotes, backslashes and line feeds are not allowed");
    }
    let mut texts = Vec::new();
    for name in &options.names {
        let (command, topic) = find(&catalogue, prefix, &config.timeline, name)?;
        let table = options.table.clone().unwrap_or_else(|| table_of(&topic, prefix));
        let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !table.split('.').all(plain) {
            bail!("--table {table:?}: letters, digits and underscores are allowed, and a dot between two names");
        }
        let table = Table::new(table, command.columns());
        let (text, mut blanks) = match options.tool {
            Tool::Clickhouse => table.clickhouse(),
            Tool::Flink => table.flink(),
            Tool::Spark => table.spark(),
            Tool::Postgres => table.postgres(),
        };
        blanks.push(("topic", topic));
        let filled = |text: String, (name, value): &(&str, String)| text.replace(&format!("<<{name}>>"), value);
        texts.push(blanks.iter().chain(&common).fold(text.to_owned(), filled));
    }
    Ok(texts.join("\n"))
}

/// The command of this name, and its topic.
fn find<'c>(catalogue: &'c Catalogue, prefix: &str, timeline: &Timeline, name: &str) -> Result<(&'c Command, String)> {
    if name == "timeline" {
        return Ok((catalogue.timeline(), timeline.topic(prefix)));
    }
    let is_named =
        |command: &&Command| command.name() == name || format!("{}/{}", command.provider(), command.name()) == name;
    let found: Vec<_> = catalogue.commands().filter(is_named).collect();
    match found[..] {
        [command] => Ok((command, command_topic(prefix, command.provider(), command.name()))),
        [] => bail!("{name}: no such command; allowed are \"timeline\" and those of `imbridge schemas list`"),
        _ => {
            let names: Vec<_> = found.iter().map(|it| format!("{}/{name}", it.provider())).collect();
            bail!("{name}: both IM servers have it; use {}", names.join(" or "))
        }
    }
}

/// The registry's URL. For the bridge itself, its URL on this machine: its other addresses are unknown.
fn registry_of(config: &Config) -> Option<String> {
    if let Some(registry) = config.schemas.registry() {
        return registry.urls.first().cloned();
    }
    let (_, port) = config.schemas.listen()?.rsplit_once(':')?;
    Some(format!("http://localhost:{port}"))
}

/// The topic without its prefix, as a name that most tools accept unquoted: `tencent_group_after_create_group`. The
/// word callback is left out, because PostgreSQL cuts names at 63 bytes.
fn table_of(topic: &str, prefix: &str) -> String {
    let topic = topic.strip_prefix(prefix).unwrap_or(topic).trim_start_matches('.');
    let mut name = String::new();
    let mut was_lower = false;
    for c in topic.replace("Callback", "").replace("callback", "").chars() {
        if c.is_ascii_uppercase() && was_lower {
            name.push('_');
        }
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        });
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn ddl(line: &str) -> Result<String> {
        let words = std::iter::once("ddl").chain(line.split_whitespace());
        let options = Line::try_parse_from(words)?.options;
        run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"), &options)
    }

    #[test]
    fn names_of_tables_and_columns_are_unique_and_short_enough_for_postgres() {
        let catalogue = Catalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")).expect("it loads");
        let mut tables = HashSet::new();
        for command in catalogue.commands() {
            let topic = command_topic("im", command.provider(), command.name());
            let table = table_of(&topic, "im");
            assert!(table.len() < 64 && tables.insert(table.clone()), "{table}");
            let (_, blanks) = Table::new(table.clone(), command.columns()).postgres();
            let columns = blanks.iter().find(|(name, _)| *name == "columns").expect("columns");
            let mut own = HashSet::new();
            let mut names = columns.1.split('"').skip(1).step_by(2);
            assert!(names.all(|column| column.len() < 64 && own.insert(column)), "{table}");
        }
        assert!(tables.contains("tencent_group_after_create_group"), "{tables:?}");
    }

    #[test]
    fn flags_are_filled_in_and_the_order_tells_copies_of_an_event_by_their_position() {
        let text = ddl("--for clickhouse timeline --prefix chat --brokers k:1 --registry http://r --table im.events");
        let text = text.expect("statements");
        for part in [
            "CREATE TABLE `im`.`events` (",
            "ORDER BY (`app`, `ordering_key`, `spool`, `seq`, `part`)",
            "CREATE TABLE `im`.`events_queue` (",
            "kafka_broker_list = 'k:1'",
            "kafka_topic_list = 'chat.timeline'",
            "format_avro_schema_registry_url = 'http://r'",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("<<"), "{text}");
    }

    #[test]
    fn invalid_arguments_are_refused_with_the_allowed_ones() {
        for (line, reason) in [
            ("--for mysql timeline", "clickhouse, flink, spark, postgres"),
            (
                "--for flink Group.New",
                "allowed are \"timeline\" and those of `imbridge schemas list`",
            ),
            (
                "--for flink timeline --table a-b",
                "letters, digits and underscores are allowed",
            ),
            (
                "--for flink timeline --brokers a'b",
                "quotes, backslashes and line feeds are not allowed",
            ),
            ("--for spark timeline Group.New", "one COMMAND is allowed"),
        ] {
            let refused = ddl(line).expect_err("it is refused").to_string();
            assert!(refused.contains(reason), "{line}: {refused}");
        }
    }
}
