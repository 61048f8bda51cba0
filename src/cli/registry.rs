//! `imbridge schemas register|verify`: registers the schemas folder with the registry, or compares the two.

use anyhow::{Context, Result};
use clap::Subcommand;

use super::ConfigFile;
use crate::app::{Config, load_schemas, subjects};
use crate::schema::registry::{Client, RegistryError, SUBJECT_COMPATIBILITY, published};
use crate::schema::{Catalogue, Command};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Register every version of every command and of the timeline, the oldest first, and print the result for each.
    ///
    /// New subjects first get the compatibility level FULL_TRANSITIVE. May be run again at any time: registered schemas
    /// do not change.
    Register(ConfigFile),
    /// Compare the registry with the schemas folder: each subject, its newest version and its compatibility level.
    ///
    /// Changes nothing. Exits with 1 if something differs.
    Verify(ConfigFile),
}

/// For `register`, whether the registry accepted every schema; for `verify`, whether it has every schema.
pub(super) fn run(verb: &Verb) -> Result<bool> {
    match verb {
        Verb::Register(file) => register(&file.load()),
        Verb::Verify(file) => verify(&file.load()),
    }
}

/// A client of the configured registry.
pub(super) fn client(config: &Config) -> Result<Client> {
    let registry = config.schemas.registry();
    Ok(Client::new(&registry.context(
        "schemas.registry_url is not set, so there is no registry",
    )?)?)
}

fn register(config: &Config) -> Result<bool> {
    let client = client(config)?;
    let (catalogue, _) = load_schemas(config)?;
    let mut all_registered = true;
    for (command, subject) in subjects(&config.kafka, &catalogue) {
        match register_one(&client, &catalogue, command, &subject) {
            Ok(()) => {}
            Err(cause @ (RegistryError::Unreachable { .. } | RegistryError::Unauthorized { .. })) => {
                return Err(cause.into());
            }
            Err(cause) => {
                println!("FAIL  {cause}");
                all_registered = false;
            }
        }
    }
    Ok(all_registered)
}

fn register_one(client: &Client, catalogue: &Catalogue, command: &Command, subject: &str) -> Result<(), RegistryError> {
    for version in catalogue.history(command) {
        let schema = published(version.schema()).expect("a catalogue's schemas are JSON");
        let (id, added) = client.register(subject, &schema)?;
        let what = if added { "registered" } else { "unchanged" };
        println!("ok    {subject} v{}: {what}, id {id}", version.version());
    }
    Ok(())
}

fn verify(config: &Config) -> Result<bool> {
    let client = client(config)?;
    let (catalogue, _) = load_schemas(config)?;
    let (mut count, mut differences) = (0, 0);
    for (command, subject) in subjects(&config.kafka, &catalogue) {
        count += 1;
        match difference(&client, command, &subject)? {
            None => println!("ok    {subject} v{}", command.version()),
            Some(difference) => {
                differences += 1;
                println!("FAIL  {subject}: {difference}");
            }
        }
    }
    println!("{count} schemas, {differences} differences");
    Ok(differences == 0)
}

/// How the registry differs from the command's newest version.
fn difference(client: &Client, command: &Command, subject: &str) -> Result<Option<String>, RegistryError> {
    let schema = published(command.schema()).expect("a catalogue's schemas are JSON");
    let ours = match client.look_up(subject, &schema) {
        Err(cause) if cause.is_unregistered() => {
            return Ok(Some(format!("{cause}; run imbridge schemas register")));
        }
        found => found?,
    };
    let latest = client.latest(subject)?;
    if latest != ours {
        let (version, newest) = (ours.version, latest.version);
        return Ok(Some(format!(
            "v{} is version {version} there, the newest is {newest}",
            command.version()
        )));
    }
    let level = client.compatibility(subject)?;
    if level != SUBJECT_COMPATIBILITY {
        return Ok(Some(format!(
            "its compatibility is {level}, {SUBJECT_COMPATIBILITY} is wanted"
        )));
    }
    Ok(None)
}
