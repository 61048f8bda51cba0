//! Finds everything that is wrong with a schemas folder at once: what loading refuses, and what loading does not check. The
//! latter is: versions that cannot read each other, documentation that is not useful, undefined kinds, and published
//! versions that were changed.

use std::collections::HashMap;
use std::path::Path;

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde::Serialize;

use super::error::{Finding, LoadError};
use super::file::{Compiled, SchemaFile};
use super::fingerprint::{UNIQUE_ID, id_collision, id_of};
use super::kinds::Kinds;
use super::location::Findings;
use super::published::{Published, PublishedVersion, version_name};
use super::source::{self, CommandFolder};
use super::wording;

/// The result of linting a folder.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How many versions were checked.
    pub versions: usize,
    /// What must be corrected.
    pub findings: Vec<Finding>,
    /// The versions that may still change: `provider/command/vN`.
    pub not_published: Vec<String>,
}

/// A version that was checked, for comparison with later ones.
struct Checked {
    version: u32,
    file: SchemaFile,
    schema: Option<Schema>,
}

/// Checks every file of the folder.
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
    if let Some(((one, a), (other, b))) = id_collision(ids) {
        let found = format!("versions of {one}/{a} and {other}/{b} with one schema id");
        report.findings.push(Finding::of_file(dir.to_owned(), found, UNIQUE_ID));
    }
    for (name, _) in published.0 {
        report.findings.push(Finding {
            path: dir.join(source::PUBLISHED),
            place: format!("$[{name:?}]"),
            found: "an entry without its file".to_owned(),
            allowed: "every published version stays in the folder".to_owned(),
        });
    }
    report
}

impl Report {
    fn extend(&mut self, errors: impl IntoIterator<Item = LoadError>) {
        self.findings.extend(errors.into_iter().map(Finding::from));
    }

    /// Checks the versions of one command. Removes their entries from `published`, and adds to `owners` which command has
    /// which fingerprint.
    fn command(
        &mut self,
        folder: &CommandFolder,
        kinds: Option<&Kinds>,
        published: &mut Published,
        owners: &mut HashMap<u64, (String, String)>,
    ) {
        let mut checked: Vec<Checked> = Vec::new();
        for (number, path) in &folder.versions {
            self.versions += 1;
            let name = version_name(&folder.provider, &folder.name, *number);
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
                    self.note(&file, found, "a record of its own for each command");
                }
                schema
            });
            let mut findings = Findings::default();
            let record = file.root();
            wording::check(&record, &mut findings);
            if let Some(kinds) = kinds {
                kinds.check(&record, &mut findings);
            }
            self.findings.extend(findings.0);
            let version = *number;
            let new = Checked { version, file, schema };
            checked.iter().for_each(|old| self.pair(&new, old));
            self.published(&new.file, name, entry);
            checked.push(new);
        }
    }

    /// Checks that a version only adds to an earlier one, and that each reads the records of the other.
    fn pair(&mut self, new: &Checked, old: &Checked) {
        let earlier = old.version;
        for mut finding in new.file.compare(&old.file.json) {
            finding.allowed.push_str(&format!(" (v{earlier})"));
            self.findings.push(finding);
        }
        let (Some(schema), Some(old_schema)) = (&new.schema, &old.schema) else {
            return;
        };
        for (writer, reader, what) in [
            (schema, old_schema, format!("records that v{earlier} cannot read")),
            (old_schema, schema, format!("a reader that cannot read v{earlier}")),
        ] {
            let cause = match SchemaCompatibility::can_read(writer, reader) {
                Ok(Compatibility::Full) => continue,
                Ok(Compatibility::Partial) => "not every record".to_owned(),
                Err(cause) => cause.to_string(),
            };
            let allowed = "FULL_TRANSITIVE: each version reads every other";
            self.note(&new.file, format!("{what}: {cause}"), allowed);
        }
    }

    fn published(&mut self, file: &SchemaFile, name: String, entry: Option<PublishedVersion>) {
        let Some(entry) = entry else {
            self.not_published.push(name);
            return;
        };
        // A file that is not a schema has its finding already.
        let Ok(now) = PublishedVersion::of(file) else { return };
        let allowed = "what was published; a change needs a new version, only documentation may differ";
        if now.fingerprint != entry.fingerprint {
            let found = format!("fingerprint {}, published was {}", now.fingerprint, entry.fingerprint);
            self.note(file, found, allowed);
        } else if now.sha256 != entry.sha256 {
            let found = "an attribute, a default or a logical type that differs from what was published";
            self.note(file, found.to_owned(), allowed);
        }
    }

    fn note(&mut self, file: &SchemaFile, found: String, allowed: &str) {
        self.findings.push(Finding::of_file(file.path.clone(), found, allowed));
    }
}
