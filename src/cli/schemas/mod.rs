//! `imbridge schemas`: lists and checks a schemas folder, and generates documents and tables from it. The rules of the
//! folder are in `schema`, the names of topics in `publish`.

mod ddl;
mod list;
mod new;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::publish::command_topic;
use crate::schema::{self, Catalogue};

#[derive(Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
    /// The schemas folder.
    #[arg(long, value_name = "FOLDER", default_value = "schemas", global = true)]
    dir: PathBuf,
}

#[derive(Subcommand)]
enum Verb {
    /// List each command with its version, topic, key and other rules.
    List {
        /// The first part of the topics' names, as kafka.topic_prefix.
        #[arg(long, default_value = "im")]
        prefix: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Report every fault of every file: what the bridge cannot load, incompatible versions, missing documentation, and
    /// published versions that changed.
    ///
    /// Exits with 1 if there is a fault. Versions that are not in schemas/published.json may still change; they are
    /// listed.
    Lint {
        /// If there is no fault, add all versions to schemas/published.json.
        #[arg(long)]
        publish: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Registry(super::registry::Verb),
    /// Add every version to schemas/published.json. After that it must not change.
    Publish,
    /// Print CRC-64-AVRO (as in the header of a record, and as Java prints it) and SHA-256 of each version's canonical
    /// form.
    Fingerprint {
        /// Commands as on the wire; by default, all.
        #[arg(value_name = "COMMAND")]
        commands: Vec<String>,
    },
    /// Print what reads a topic as a table: statements for ClickHouse, Flink or PostgreSQL, or a program for Spark.
    Ddl(ddl::Options),
    /// Draft a first version from sample bodies, or the next version with the fields that no version declares.
    ///
    /// The draft has a TODO for the meaning of each field, which lint does not accept.
    New(new::Options),
    /// Write the kinds of events as a Markdown document: what each means, and which commands have it.
    Kinds {
        /// The file to write; by default, standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the commands as a Markdown document.
    Docs {
        /// The file to write; by default, standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The first part of the topics' names, as kafka.topic_prefix.
        #[arg(long, default_value = "im")]
        prefix: String,
    },
}

/// False if lint finds a fault, or if the registry refuses or differs from a schema.
pub(super) fn run(options: Options) -> Result<bool> {
    let dir = options.dir;
    match options.verb {
        Verb::List { prefix, json } => {
            let list = list::render(&Catalogue::load(&dir)?, &prefix, json)?;
            write!(std::io::stdout(), "{list}")?;
        }
        Verb::Lint { publish, json } => return lint(&dir, publish, json),
        Verb::Publish => return lint(&dir, true, false),
        Verb::Registry(verb) => return super::registry::run(&verb),
        Verb::Ddl(options) => put(None, &ddl::run(&dir, &options)?)?,
        Verb::New(options) => new::run(&dir, &options)?,
        Verb::Kinds { out } => put(out, &schema::kinds_page(&dir, &Catalogue::load(&dir)?)?)?,
        Verb::Docs { out, prefix } => put(out, &docs(&Catalogue::load(&dir)?, &prefix))?,
        Verb::Fingerprint { commands } => {
            let prints = schema::fingerprints(&dir)?;
            let is_unknown = |name: &&String| !prints.iter().any(|it| it.command == **name);
            if let Some(unknown) = commands.iter().find(is_unknown) {
                bail!("{unknown}: no such command in {}", dir.display());
            }
            for print in prints {
                if commands.is_empty() || commands.contains(&print.command) {
                    writeln!(std::io::stdout(), "{}", list::fingerprint_line(&print))?;
                }
            }
        }
    }
    Ok(true)
}

fn put(out: Option<PathBuf>, page: &str) -> Result<()> {
    match out {
        Some(path) => fs::write(&path, page).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(write!(std::io::stdout(), "{page}")?),
    }
}

fn docs(catalogue: &Catalogue, prefix: &str) -> String {
    schema::reference(catalogue, |provider, command| command_topic(prefix, provider, command))
}

fn lint(dir: &Path, publish: bool, json: bool) -> Result<bool> {
    let report = schema::lint(dir);
    let clean = report.findings.is_empty();
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for finding in &report.findings {
            println!("{finding}");
        }
        if !publish {
            for name in &report.not_published {
                println!("{name}: not published yet");
            }
        }
        let (count, faults) = (report.versions, report.findings.len());
        println!(
            "{count} versions, {faults} faults, {} not published",
            report.not_published.len()
        );
    }
    if clean && publish {
        for name in schema::publish(dir)? {
            eprintln!("{name}: published");
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_of_commands_and_kinds_are_those_of_the_shipped_schemas() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let all = Catalogue::load(&root.join("schemas")).expect("the shipped folder loads");
        let kinds = schema::kinds_page(&root.join("schemas"), &all).expect("the shipped vocabulary");
        for (verb, name, page) in [
            ("docs", "reference/commands", docs(&all, "im")),
            ("kinds", "kinds", kinds),
        ] {
            let committed = fs::read_to_string(root.join(format!("docs/{name}.md"))).expect("it is committed");
            assert!(
                committed == page,
                "docs/{name}.md is stale: run `imbridge schemas {verb} --out docs/{name}.md`"
            );
        }
    }
}
