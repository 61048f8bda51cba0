//! `imbridge spool stat|list|export`: prints what a spool holds, with or without a running bridge.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::exported::{Exported, callback_of};
use super::filter::{Filter, rfc3339, safe};
use super::{Common, ConfigFile};
use crate::app::Config;
use crate::callback::Callback;
use crate::lifecycle::unix_ms;
use crate::provider::group_of;
use crate::spool::{FILE, InspectError, Inspector, Overview, Record};

/// Bytes of records that are read at a time. Short reads do not hold up a running bridge.
const READ_BYTES: usize = 256 << 10;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Print positions, the number and age of undelivered records, bytes, and the forwarder's notes.
    ///
    /// Exits with 1 if --verify finds a record whose bytes have changed.
    Stat {
        #[command(flatten)]
        common: Common,
        /// Read every record and check its checksum.
        #[arg(long)]
        verify: bool,
    },
    /// Print a line for each record: sequence number, time, state, bytes, provider, app, command, group.
    List {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        selection: Selection,
    },
    /// Print a JSON line with head and body for each record. `imbridge replay --from` reads them.
    Export {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        selection: Selection,
    },
}

#[derive(Args)]
pub(super) struct Selection {
    #[command(flatten)]
    filter: Filter,
    /// Only undelivered records.
    #[arg(long)]
    undelivered: bool,
}

impl Verb {
    pub fn file(&self) -> &ConfigFile {
        match self {
            Verb::Stat { common, .. } | Verb::List { common, .. } => &common.file,
            Verb::Export { file, .. } => file,
        }
    }
}

/// False if `stat --verify` finds a record whose bytes have changed.
pub(super) fn run(config: &Config, verb: &Verb) -> Result<bool> {
    let inspector = Inspector::open(&config.spool.dir)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut is_intact = true;
    match verb {
        Verb::Stat { common, verify } => {
            let overview = inspector.overview()?;
            let health = verify.then(|| verify_all(&inspector, &overview));
            is_intact = health.as_ref().is_none_or(Health::is_intact);
            if common.json {
                writeln!(out, "{:#}", stat_json(config, &overview, health.as_ref()))?;
            } else {
                write!(out, "{}", stat_text(config, &overview, health.as_ref()))?;
            }
        }
        Verb::List { common, selection } => select(&inspector, selection, |overview, record, callback| {
            let line = if common.json { json_line } else { text_line };
            let delivered = record.seq <= overview.delivered;
            Ok(writeln!(out, "{}", line(record, delivered, &callback))?)
        })?,
        Verb::Export { selection, .. } => select(&inspector, selection, |overview, record, callback| {
            let delivered = record.seq <= overview.delivered;
            let line = Exported::new(&overview.name, record, callback, delivered);
            serde_json::to_writer(&mut out, &line).map_err(std::io::Error::from)?;
            Ok(writeln!(out)?)
        })?,
    }
    out.flush()?;
    Ok(is_intact)
}

/// Calls `each` for every selected record that the spool holds now.
fn select(
    inspector: &Inspector,
    selection: &Selection,
    mut each: impl FnMut(&Overview, &Record, Result<Callback, String>) -> Result<()>,
) -> Result<()> {
    let overview = inspector.overview()?;
    let after = if selection.undelivered {
        overview.delivered
    } else {
        overview.retired
    };
    let mut left = selection.filter.limit;
    for record in records(inspector, after, &overview) {
        if left == 0 {
            break;
        }
        let record = record?;
        let callback = callback_of(&record);
        let filter = &selection.filter;
        let is_selected = match &callback {
            Ok(Callback { head, body }) => {
                filter.admits(head.command.as_deref(), head.received_at_ms, || group_of(body))
            }
            Err(_) => filter.admits(None, record.appended_at_ms, || None),
        };
        if is_selected {
            left -= 1;
            each(&overview, &record, callback)?;
        }
    }
    Ok(())
}

/// The records after the sequence number `after` up to the last one of the overview, read in pieces.
fn records(
    inspector: &Inspector,
    mut after: u64,
    overview: &Overview,
) -> impl Iterator<Item = Result<Record, InspectError>> {
    let mut piece = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if piece.as_slice().is_empty() && after < overview.appended {
            match inspector.read(after, READ_BYTES) {
                Ok(records) => piece = records.into_iter(),
                Err(cause) => return Some(Err(cause)),
            }
        }
        let record = piece.next().filter(|record| record.seq <= overview.appended)?;
        after = record.seq;
        Some(Ok(record))
    })
}

/// A record as `list` shows it.
fn text_line(record: &Record, delivered: bool, callback: &Result<Callback, String>) -> String {
    let state = if delivered { "delivered" } else { "waits" };
    let (seq, time, bytes) = (record.seq, rfc3339(record.appended_at_ms), record.data.len());
    let rest = match callback {
        Ok(Callback { head, body }) => {
            let command = head.command.as_deref().unwrap_or("-");
            let group = group_of(body).unwrap_or_else(|| "-".into());
            let source = format!("{}/{}", head.provider.as_str(), head.app);
            let unreadable = if head.unreadable { "  (refused: not JSON)" } else { "" };
            format!("{source:<20}  {command:<40}  {group}{unreadable}")
        }
        Err(problem) => format!("not a callback: {problem}"),
    };
    format!("{seq:>10}  {time}  {state:<9}  {bytes:>8}  {}", safe(&rest))
}

/// A record as `list --json` shows it.
fn json_line(record: &Record, delivered: bool, callback: &Result<Callback, String>) -> String {
    let mut line = json!({
        "seq": record.seq, "appended_at_ms": record.appended_at_ms, "delivered": delivered, "bytes": record.data.len()
    });
    match callback {
        Ok(Callback { head, body }) => {
            line["head"] = json!(head);
            line["group"] = json!(group_of(body));
        }
        Err(problem) => line["problem"] = json!(problem),
    }
    line.to_string()
}

/// The result of `--verify`.
#[derive(Default, Serialize)]
struct Health {
    intact: u64,
    changed: Vec<u64>,
    /// Why reading ended early.
    broken: Option<String>,
}

impl Health {
    fn is_intact(&self) -> bool {
        self.changed.is_empty() && self.broken.is_none()
    }
}

fn verify_all(inspector: &Inspector, overview: &Overview) -> Health {
    let mut health = Health::default();
    let mut after = overview.retired;
    for record in records(inspector, after, overview) {
        match record {
            Ok(record) => {
                after = record.seq;
                if record.intact {
                    health.intact += 1;
                } else {
                    health.changed.push(record.seq);
                }
            }
            Err(cause) => {
                health.broken = Some(match cause {
                    InspectError::Unreadable { cause, .. } => format!("after record {after}: {cause}"),
                    cause => cause.to_string(),
                });
                break;
            }
        }
    }
    health
}

fn age_s(overview: &Overview) -> f64 {
    let since_ms = overview.oldest_undelivered_ms;
    since_ms.map_or(0.0, |at_ms| (unix_ms() - at_ms).max(0) as f64 / 1000.0)
}

fn stat_text(config: &Config, overview: &Overview, health: Option<&Health>) -> String {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let waiting = overview.appended - overview.delivered;
    let oldest = if waiting > 0 {
        format!(", the oldest for {:.1} s", age_s(overview))
    } else {
        String::new()
    };
    let mut text = format!(
        "spool      {}
file       {}, format {}
waiting    {waiting} records{oldest}
positions  appended {}, delivered {}, deleted up to {}
bytes      {} in use of {}, file {}, WAL {}
",
        overview.name,
        config.spool.dir.join(FILE).display(),
        overview.format,
        overview.appended,
        overview.delivered,
        overview.retired,
        mib(overview.used_bytes),
        mib(config.spool.max_bytes),
        mib(overview.file_bytes),
        mib(overview.wal_bytes),
    );
    for (key, value) in &overview.notes {
        text.push_str(&format!("note       {key} = {value}\n"));
    }
    if let Some(health) = health {
        text.push_str(&format!("checksums  {} records are intact\n", health.intact));
        for seq in &health.changed {
            text.push_str(&format!(
                "FAIL       record {seq} has other bytes than were appended and becomes a dead letter\n"
            ));
        }
        if let Some(broken) = &health.broken {
            text.push_str(&format!("FAIL       {broken}\n"));
        }
    }
    text
}

fn stat_json(config: &Config, overview: &Overview, health: Option<&Health>) -> serde_json::Value {
    let notes: BTreeMap<_, _> = overview.notes.iter().cloned().collect();
    json!({
        "name": overview.name,
        "path": config.spool.dir.join(FILE),
        "format": overview.format,
        "appended": overview.appended,
        "delivered": overview.delivered,
        "retired": overview.retired,
        "undelivered": overview.appended - overview.delivered,
        "oldest_age_s": age_s(overview),
        "used_bytes": overview.used_bytes,
        "max_bytes": config.spool.max_bytes,
        "file_bytes": overview.file_bytes,
        "wal_bytes": overview.wal_bytes,
        "notes": notes,
        "verified": health,
    })
}
