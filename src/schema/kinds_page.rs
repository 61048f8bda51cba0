//! Writes the kinds as a Markdown document: the definition of each, and the commands that declare it. Uses `kinds.json` and
//! the declarations in the schemas only.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::kinds::{Definition, Kinds};
use super::reference::escaped;
use super::{Catalogue, Command, LoadError};
use crate::callback::Phase;

const HEAD: &str = "# Kinds\n\n\
    This page is generated from the schemas by `imbridge schemas kinds`. Change the schemas, not this page.\n\n\
    A *kind* is what happened, in one vocabulary for all IM servers. An event has one kind or none. With the kind come:\n\n\
    - `actor`: the account that did it. It is null if the IM server does not report it.\n\
    - `targets`: the accounts to which it was done, each once. The list is empty if there are none or if the IM server does not report them.\n\n\
    The tables define each kind, list the commands that report it, and name what a command leaves out. For more detail, read the event's body.\n\n\
    - An event without a kind has no actor and no targets. It can still be important. A kind is defined only where IM servers report the same fact in different ways.\n\
    - A before-command has no kind. It asks whether something may happen. An after-command reports what happened.\n\
    - If a declaration lists the values of a field, another value gives no kind. An example is a new action of a newer IM server.\n\
    - A kind reports a state. It does not mean that the state was different before, because IM servers repeat events.\n\
    - The message kinds are for groups and for pairs of accounts. An event with a group's id is about the group.\n\
    - If two commands report the same fact, only one of them has the kind. So a message that also reaches a bot or a storage is counted once.\n";

/// Writes the document for a schemas folder and the catalogue that was loaded from it.
///
/// # Errors
/// If the folder's `kinds.json` cannot be read or is not valid.
pub fn kinds_page(dir: &Path, catalogue: &Catalogue) -> Result<String, LoadError> {
    let kinds = Kinds::read(dir)?;
    let mut page = String::from(HEAD);
    let declarations: Vec<_> = catalogue.commands().flat_map(declarations).collect();
    let mut providers: Vec<_> = catalogue.commands().map(|command| command.provider()).collect();
    providers.dedup();
    page.push_str("\n## What they mean\n\n| kind | what happened | actor | targets |\n|---|---|---|---|\n");
    for (name, kind) in &kinds.0 {
        let cell = |text: &Option<String>| escaped(text.as_deref().unwrap_or("none"));
        let (means, actor, targets) = (escaped(&kind.means), cell(&kind.actor), cell(&kind.targets));
        let _ = writeln!(page, "| `{name}` | {means} | {actor} | {targets} |");
    }
    page.push_str("\n## Who reports it\n\n| kind | provider | command | actor | targets | not reported |\n|---|---|---|---|---|---|\n");
    for (name, kind) in &kinds.0 {
        for provider in &providers {
            let mut rows = declarations
                .iter()
                .filter(|declared| declared.kind == *name && declared.command.provider() == *provider)
                .peekable();
            if rows.peek().is_none() {
                let _ = writeln!(page, "| `{name}` | {provider} | - | - | - | all of it |");
            }
            rows.for_each(|declared| declared.row(&mut page, kind));
        }
    }
    page.push_str("\n## Facts without a kind\n");
    for provider in providers {
        let _ = writeln!(page, "\n{provider}:\n");
        for command in catalogue.commands() {
            let has_kind = declarations
                .iter()
                .any(|declared| declared.command.name() == command.name());
            if command.provider() == provider && command.rule().phase == Phase::After && !has_kind {
                let doc = command.parsed()["doc"].as_str().map(escaped).unwrap_or_default();
                let _ = writeln!(page, "- `{}`: {doc}", command.name());
            }
        }
    }
    Ok(page)
}

/// A kind that a command has, always or for some values of a field.
struct Declaration<'c> {
    kind: String,
    command: &'c Command,
    /// ``, where `Info.Action` is `Login` ``. Empty for a kind that the command always has.
    when: String,
    attributes: Value,
}

fn declarations(command: &Command) -> Vec<Declaration<'_>> {
    let attributes = command.parsed()["imbridge"].take();
    let mut when: Vec<(String, String)> = Vec::new();
    match (&attributes["kind"], attributes["kind"]["is"].as_object()) {
        (Value::String(kind), _) => when.push((kind.clone(), String::new())),
        (by, Some(is)) => {
            let field = by["by"].as_str().unwrap_or_default();
            for (value, kind) in is {
                let kind = kind.as_str().unwrap_or_default().to_owned();
                let value = match value.as_str() {
                    "" => "absent".to_owned(),
                    value => format!("`{value}`"),
                };
                match when.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, values)) => values.push_str(&format!(" or {value}")),
                    None => when.push((kind, format!(", where `{field}` is {value}"))),
                }
            }
        }
        _ => {}
    }
    let declaration = |(kind, when)| Declaration {
        kind,
        command,
        when,
        attributes: attributes.clone(),
    };
    when.into_iter().map(declaration).collect()
}

impl Declaration<'_> {
    fn row(&self, page: &mut String, kind: &Definition) {
        let paths = |name: &str| match &self.attributes[name] {
            Value::Array(paths) => paths.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("`, `"),
            path => path.as_str().unwrap_or_default().to_owned(),
        };
        let cell = |name: &str, defined: &Option<String>| match (paths(name), defined) {
            (path, Some(_)) if !path.is_empty() => format!("`{}`", path.replace('|', "\\|")),
            (_, Some(_)) if self.attributes[name].is_array() => "nobody".to_owned(),
            _ => "-".to_owned(),
        };
        let (actor, targets) = (cell("actor", &kind.actor), cell("targets", &kind.targets));
        let missing = [
            (kind.actor.is_some() && actor == "-").then_some("the actor"),
            (kind.targets.is_some() && targets == "-").then_some("the targets"),
            self.attributes["lacks"].as_str(),
        ];
        let missing: Vec<_> = missing.into_iter().flatten().collect();
        let missing = escaped(&missing.join("; "));
        let Self {
            kind, command, when, ..
        } = self;
        let (provider, command) = command.names();
        let _ = writeln!(
            page,
            "| `{kind}` | {provider} | `{command}`{when} | {actor} | {targets} | {missing} |"
        );
    }
}
