//! The kinds as a Markdown document for readers: what each means, and which command of which provider says it. Made from
//! `kinds.json` and the declarations alone.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::kinds::{Definition, Kinds};
use super::reference::escaped;
use super::{Catalogue, LoadError};
use crate::callback::Phase;

const HEAD: &str = "# Kinds\n\n\
    Made from the schemas by `imbridge schemas kinds`; change those, not this.\n\n\
    A *kind* says what happened, in one vocabulary for all IM servers. An event has one kind or none. With it come:\n\n\
    - `actor`: the account that did it, or null where the IM server does not say;\n\
    - `targets`: the accounts to which it was done, each once; empty where there are none, or the IM server does not say.\n\n\
    The tables define each kind, and say where it comes from and what is missing there. Where a kind does not say enough, the body does.\n\n\
    - An event without a kind has neither actor nor targets. It may matter all the same: a kind exists where IM servers say the same thing in different ways.\n\
    - A before-command has no kind. It asks whether something may happen; whether it did, an after-command says.\n\
    - A value that a declaration does not list - a new action of a newer IM server - gives no kind.\n\
    - A kind says that something is so, not that it was otherwise before: IM servers repeat events.\n\
    - The message kinds are for groups and for pairs of accounts: an event with a group's id is about the group.\n\
    - Where two commands say the same fact, one of them has the kind: a message that reaches a bot or storage is not sent twice.\n";

/// Writes the document for a schemas folder and what was loaded from it.
///
/// # Errors
/// When the folder's `kinds.json` cannot be read, or is no vocabulary.
pub fn kinds_page(dir: &Path, catalogue: &Catalogue) -> Result<String, LoadError> {
    let kinds = Kinds::read(dir)?;
    let mut page = String::from(HEAD);
    let declarations: Vec<_> = catalogue.commands().flat_map(declarations).collect();
    let mut providers: Vec<_> = catalogue.commands().map(|command| command.provider()).collect();
    providers.dedup();
    page.push_str("\n## What they mean\n\n| kind | what happened | actor | targets |\n|---|---|---|---|\n");
    for (name, kind) in &kinds.0 {
        let says = |text: &Option<String>| escaped(text.as_deref().unwrap_or("none"));
        let means = escaped(&kind.means);
        let _ = writeln!(
            page,
            "| `{name}` | {means} | {} | {} |",
            says(&kind.actor),
            says(&kind.targets)
        );
    }
    page.push_str("\n## Who says it\n\n| kind | provider | command | actor | targets | does not say |\n|---|---|---|---|---|---|\n");
    for (name, kind) in &kinds.0 {
        for provider in &providers {
            let mut own = declarations
                .iter()
                .filter(|said| said.kind == *name && said.provider == *provider)
                .peekable();
            if own.peek().is_none() {
                let _ = writeln!(page, "| `{name}` | {provider} | - | - | - | all of it |");
            }
            own.for_each(|said| said.row(&mut page, kind));
        }
    }
    page.push_str("\n## Facts without a kind\n");
    for provider in providers {
        let _ = writeln!(page, "\n{provider}:\n");
        let silent = catalogue.commands().filter(|command| {
            let said = declarations.iter().any(|said| said.command == command.name());
            command.provider() == provider && command.rule().phase == Phase::After && !said
        });
        silent.for_each(|command| {
            let doc = command.parsed()["doc"].as_str().map(escaped).unwrap_or_default();
            let _ = writeln!(page, "- `{}`: {doc}", command.name());
        });
    }
    Ok(page)
}

/// A kind that a command has, for some values of a field or always.
struct Declaration<'c> {
    kind: String,
    provider: &'c str,
    command: &'c str,
    /// ` where Info.Action is Login`
    when: String,
    attributes: Value,
}

fn declarations(command: &super::Command) -> Vec<Declaration<'_>> {
    let attributes = command.parsed()["imbridge"].take();
    let mut when: Vec<(String, String)> = Vec::new();
    match (&attributes["kind"], attributes["kind"]["is"].as_object()) {
        (Value::String(kind), _) => when.push((kind.clone(), String::new())),
        (by, Some(is)) => {
            let field = by["by"].as_str().unwrap_or_default();
            for (value, kind) in is {
                let kind = kind.as_str().unwrap_or_default().to_owned();
                let value = if value.is_empty() {
                    "absent".to_owned()
                } else {
                    format!("`{value}`")
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
        provider: command.provider(),
        command: command.name(),
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
        let cell = |name: &str, said: &Option<String>| match (paths(name), said) {
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
        let _ = writeln!(
            page,
            "| `{}` | {} | `{}`{} | {actor} | {targets} | {} |",
            self.kind,
            self.provider,
            self.command,
            self.when,
            escaped(&missing.join("; "))
        );
    }
}
