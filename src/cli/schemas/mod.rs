//! `imbridge schemas`: what is in a schemas folder, whether it is right, and what else is made of it. Thin: the folder's
//! rules are those of `schema`, the topics' names those of `publish`.

mod ddl;
mod list;
mod new;
mod topic;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::publish::command_topic;
use crate::schema::{self, Catalogue};

/// What to do with which folder.
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
    /// Each command with its version, topic, key and the rest of what the bridge does with it.
    List {
        /// The first part of the topics' names, as kafka.topic_prefix.
        #[arg(long, default_value = "im")]
        prefix: String,
        /// JSON, for machines.
        #[arg(long)]
        json: bool,
    },
    /// Every fault of every file: what loading refuses, versions that cannot read each other, empty words, and published versions
    /// that changed.
    ///
    /// Exits with 1 when there is a fault. A version that schemas/published.json does not hold may still change; it is named.
    Lint {
        /// Note all versions as published, when there is no fault.
        #[arg(long)]
        publish: bool,
        /// JSON, for machines.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Registry(super::registry::Verb),
    /// Note every version that is not in schemas/published.json there: from now on it must not change.
    Publish,
    /// CRC-64-AVRO (as in the header of a record, and as Java prints it) and SHA-256 of each version's canonical form.
    Fingerprint {
        /// Commands as on the wire; all when there is none.
        #[arg(value_name = "COMMAND")]
        commands: Vec<String>,
    },
    /// What makes a topic a table: statements for ClickHouse, Flink or PostgreSQL, or a program for Spark.
    Ddl(ddl::Options),
    /// Draft a first version from sample bodies, or the next one with the fields that no version declares.
    ///
    /// What the fields mean is left to you: the draft says TODO, which lint refuses.
    New(new::Options),
    /// The kinds of events as a Markdown document: what each means, and which commands say it.
    Kinds {
        /// Where to write it; the standard output when it is not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// The commands as a Markdown document.
    Docs {
        /// Where to write it; the standard output when it is not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The first part of the topics' names, as kafka.topic_prefix.
        #[arg(long, default_value = "im")]
        prefix: String,
    },
}

/// False when lint finds a fault, or the registry is not as it should be.
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
            if let Some(unknown) = commands
                .iter()
                .find(|name| !prints.iter().any(|it| it.command == **name))
            {
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
