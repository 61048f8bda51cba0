//! What the forwarder remembers of earlier events, to find copies of them and missing numbers of groups. It gets every event in order,
//! and knows neither Kafka nor the spool.

use serde::Deserialize;
use tracing::debug;

use super::metrics::Metrics;
use super::recent::Latest;
use super::repeats::{Arrival, ContentId, Repeats};
use super::sequences::{Irregularity, Sequences, Step};
use crate::callback::{Head, SHOWN_BYTES_MAX, clip};
use crate::schema::Numbered;

/// Groups with a gap or disorder that the status page shows.
const NAMED_MAX: usize = 100;

/// `[history]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seconds in which an equal callback with an identity of its own is a copy, and dropped; 0 drops nothing.
    pub window_s: u32,
    /// Callbacks to look back at most.
    pub max_callbacks: u32,
    /// Groups whose last message number is remembered.
    pub max_groups: u32,
    /// Whether a missing number is a gap: it is where all of a group's messages come to this bridge. Not a key of the file.
    #[serde(skip)]
    pub count_gaps: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            window_s: 300,
            max_callbacks: 100_000,
            max_groups: 100_000,
            count_gaps: true,
        }
    }
}

impl Config {
    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let limits = [
            ("window_s", self.window_s, 86_400),
            ("max_callbacks", self.max_callbacks, 10_000_000),
            ("max_groups", self.max_groups, 10_000_000),
        ];
        let beyond = limits.into_iter().find(|(_, value, most)| value > most);
        beyond.map(|(key, value, most)| (key, format!("{value}: at most {most} is allowed")))
    }
}

/// An event that is about to become a message.
pub(super) struct Seen<'a> {
    pub head: &'a Head,
    pub command: &'a str,
    pub arrival: Arrival,
    /// Where its body has an identity.
    pub id: Option<ContentId>,
    pub numbered: Option<Numbered>,
}

pub(super) struct History {
    pub repeats: Repeats,
    sequences: Sequences,
    count_gaps: bool,
    /// Groups with a gap or disorder.
    pub irregularities: Latest<Irregularity>,
    pub(super) metrics: Metrics,
    /// The last event that was counted. Events up to here are composed again and not counted again.
    counted: (u64, u32),
}

impl History {
    pub fn new(config: &Config, metrics: Metrics) -> History {
        History {
            repeats: Repeats::new(config.window_s, config.max_callbacks),
            sequences: Sequences::new(config.max_groups),
            count_gaps: config.count_gaps,
            irregularities: Latest::new(NAMED_MAX),
            metrics,
            counted: (0, 0),
        }
    }

    /// Takes the next event; false for a copy, which must not be sent.
    pub fn admit(&mut self, seen: Seen<'_>) -> bool {
        let position = (seen.arrival.seq, seen.arrival.index + 1);
        let first_time = position > self.counted;
        self.counted = self.counted.max(position);
        let copy = seen.id.is_some_and(|id| self.repeats.is_copy(id, seen.arrival));
        if copy && first_time {
            let provider = seen.head.provider.as_str();
            debug!(
                provider,
                command = seen.command,
                seq = seen.arrival.seq,
                "a copy was dropped"
            );
            self.metrics
                .duplicates
                .with_label_values(&[provider, seen.command])
                .inc();
        } else if first_time {
            self.count(seen);
        }
        !copy
    }

    fn count(&mut self, seen: Seen<'_>) {
        let Some(Numbered { group, number }) = seen.numbered else {
            return;
        };
        let provider = seen.head.provider.as_str();
        let step = self.sequences.step((provider, &seen.head.app, &group), number);
        self.metrics.sequence_groups.set(self.sequences.len() as i64);
        let last = match step {
            Step::First | Step::Next => return,
            Step::Gap { .. } if !self.count_gaps => return,
            Step::Gap { last, missing } => {
                let gaps = self.metrics.sequence_gaps.with_label_values(&[provider]);
                gaps.inc_by(missing);
                last
            }
            Step::Disorder { last } => {
                self.metrics.sequence_disorder.with_label_values(&[provider]).inc();
                last
            }
        };
        let group = clip(&group, SHOWN_BYTES_MAX);
        debug!(
            provider,
            command = seen.command,
            group = &*group,
            last,
            number,
            "a group's numbers do not follow one another"
        );
        let irregularity = Irregularity {
            provider,
            app: seen.head.app.clone(),
            command: seen.command.to_owned(),
            group: group.into_owned(),
            expected: last.saturating_add(1),
            got: number,
            at_ms: seen.arrival.received_at_ms,
        };
        self.irregularities.add(irregularity, Irregularity::is_of);
    }
}
