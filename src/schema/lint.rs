//! Everything that is wrong with a schemas folder, in one go: what loading refuses, and what no loader sees - pairs of
//! versions that cannot read each other, documentation that says nothing, a kind that is not defined, a published version
//! that changed.

use std::collections::HashMap;
use std::path::Path;

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde::Serialize;

use super::error::{Finding, LoadError};
use super::file::{Compiled, SchemaFile};
use super::fingerprint::{OWN_ID, id_of, same_id};
use super::kinds::Kinds;
use super::location::{Faults, Located};
use super::published::{Entry, Published, entry_name};
use super::source::{self, CommandFolder};
use super::wording;

/// What linting a folder gave.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How many versions were looked at.
    pub versions: usize,
    /// What must be mended.
    pub findings: Vec<Finding>,
    /// Versions that may still change: `provider/command/vN`.
    pub not_published: Vec<String>,
}

/// Looks at every file of the folder.
pub fn lint(dir: &Path) -> Report {
    let mut report = Report::default();
    let (folders, errors) = source::scan(dir);
    report.extend(errors);
    let mut published = Published::read(dir).unwrap_or_else(|error| {
        report.extend([error]);
        Published::default()
    });
    let kinds = Kinds::read(dir).map_err(|error| report.extend([error])).ok();
    let mut owners = HashMap::new();
    for folder in &folders {
        report.command(folder, kinds.as_ref(), &mut published, &mut owners);
    }
    let ids = owners.iter().map(|(fingerprint, owner)| (owner, id_of(*fingerprint)));
    if let Some(((one, a), (other, b))) = same_id(ids) {
        report.note(
            dir,
            &format!("versions of {one}/{a} and {other}/{b} with one schema id"),
            OWN_ID,
        );
    }
    for (name, _) in published.0 {
        report.findings.push(Finding {
            path: dir.join(source::PUBLISHED),
            place: format!("$[{name:?}]"),
            found: "an entry whose file is gone".to_owned(),
            allowed: "every published version stays in the folder".to_owned(),
        });
    }
    report
}

impl Report {
    fn extend(&mut self, errors: impl IntoIterator<Item = LoadError>) {
        self.findings.extend(errors.into_iter().map(Finding::from));
    }

    /// Looks at one command's versions; takes their entries out of `published`, and notes in `owners` which command has
    /// which fingerprint.
    fn command(
        &mut self,
        folder: &CommandFolder,
        kinds: Option<&Kinds>,
        published: &mut Published,
        owners: &mut HashMap<u64, (String, String)>,
    ) {
        let mut before: Vec<(u32, SchemaFile, Option<Schema>)> = Vec::new();
        for (number, path) in &folder.versions {
            self.versions += 1;
            let name = entry_name(&folder.provider, &folder.name, *number);
            let entry = published.0.remove(&name);
            let file = match SchemaFile::read(path) {
                Ok(file) => file,
                Err(error) => {
                    self.extend([error]);
                    continue;
                }
            };
            let compiled = file.compile(folder, *number).map_err(|errors| self.extend(errors)).ok();
            let schema = compiled.map(|Compiled { command, schema }| {
                let owner = (folder.provider.clone(), folder.name.clone());
                let known = owners.entry(command.fingerprint()).or_insert_with(|| owner.clone());
                if *known != owner {
                    let found = format!("the same record as that of {}/{}", known.0, known.1);
                    self.note(path, &found, "a record of its own for each command");
                }
                schema
            });
            let mut faults = Faults::default();
            let record = Located::root(&file.json);
            wording::check(&record, &mut faults);
            if let Some(kinds) = kinds {
                kinds.check(&record, &mut faults);
            }
            self.extend(file.blame(faults));
            for (earlier, old, old_schema) in &before {
                self.pair(&file, schema.as_ref(), (*earlier, old, old_schema.as_ref()));
            }
            self.published(&file, name, entry);
            before.push((*number, file, schema));
        }
    }

    /// Whether a version only adds to an earlier one, and each reads what the other wrote.
    fn pair(&mut self, new: &SchemaFile, schema: Option<&Schema>, old: (u32, &SchemaFile, Option<&Schema>)) {
        let (earlier, old, old_schema) = old;
        for mut finding in new.breaks(&old.json).into_iter().map(Finding::from) {
            finding.allowed.push_str(&format!(" (v{earlier})"));
            self.findings.push(finding);
        }
        let (Some(schema), Some(old_schema)) = (schema, old_schema) else {
            return;
        };
        for (writer, reader, what) in [
            (schema, old_schema, format!("records that v{earlier} cannot read")),
            (old_schema, schema, format!("a reader that cannot read v{earlier}")),
        ] {
            let why = match SchemaCompatibility::can_read(writer, reader) {
                Ok(Compatibility::Full) => continue,
                Ok(Compatibility::Partial) => "not every record".to_owned(),
                Err(cause) => cause.to_string(),
            };
            let found = format!("{what}: {why}");
            self.note(&new.path, &found, "FULL_TRANSITIVE: each version reads every other");
        }
    }

    fn published(&mut self, file: &SchemaFile, name: String, entry: Option<Entry>) {
        let Some(entry) = entry else {
            self.not_published.push(name);
            return;
        };
        // What is no schema has its finding already.
        let Ok(now) = Entry::of(file) else { return };
        let allowed = "what was published; a change is a new version, only documentation may differ";
        if now.fingerprint != entry.fingerprint {
            let found = format!("fingerprint {}, published was {}", now.fingerprint, entry.fingerprint);
            self.note(&file.path, &found, allowed);
        } else if now.sha256 != entry.sha256 {
            let found = "an attribute, a default or a logical type that differs from what was published";
            self.note(&file.path, found, allowed);
        }
    }

    fn note(&mut self, path: &Path, found: &str, allowed: &str) {
        self.findings.push(Finding {
            path: path.to_owned(),
            place: "$".to_owned(),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        });
    }
}
