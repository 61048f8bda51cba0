//! The callbacks to replay, each with its position. It knows no Kafka and no HTTP.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::callback::Callback;
use crate::cli::exported::Exported;
use crate::provider::group_of;

/// A line of an export: a head, and the largest body as JSON text or base64.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// One callback to replay.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its position, which `--after` takes.
    pub id: String,
    pub command: Option<String>,
    /// Why it is a dead letter; empty if it is not one.
    pub reason: String,
    /// When it arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// Its key in Kafka, if it was read from there.
    pub key: Option<String>,
    /// The callback to post, or why there is none.
    pub callback: Result<Callback, String>,
}

impl Item {
    pub fn group(&self) -> Option<String> {
        let of_body = || group_of(&self.callback.as_ref().ok()?.body);
        self.key.clone().or_else(of_body)
    }
}

/// Items in the order in which they are sent. They can be read more than once.
pub(super) enum Source {
    /// The output of `imbridge spool export`.
    File(PathBuf),
    /// Dead letters.
    Letters(Vec<Item>),
}

impl Source {
    pub fn items(&self) -> Result<Box<dyn Iterator<Item = Result<Item>> + '_>> {
        match self {
            Source::Letters(letters) => Ok(Box::new(letters.iter().cloned().map(Ok))),
            Source::File(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                let mut lines = BufReader::new(file);
                let mut number = 0;
                Ok(Box::new(std::iter::from_fn(move || {
                    number += 1;
                    let item = next_item(&mut lines).transpose()?;
                    Some(item.with_context(|| {
                        format!(
                            "{} line {number}: not what imbridge spool export writes",
                            path.display()
                        )
                    }))
                })))
            }
        }
    }
}

fn next_item(lines: &mut BufReader<File>) -> Result<Option<Item>> {
    let mut line = Vec::new();
    std::io::Read::take(&mut *lines, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let exported: Exported = serde_json::from_slice(&line)?;
    let head = exported.head.as_ref();
    Ok(Some(Item {
        id: exported.id.clone(),
        command: head.and_then(|head| head.command.clone()),
        reason: String::new(),
        at_ms: head.map_or(exported.appended_at_ms, |head| head.received_at_ms),
        key: None,
        callback: exported.callback(),
    }))
}
