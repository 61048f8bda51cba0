//! Counts answers and their times, for one second and in total. It knows no HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::filter::safe;
use crate::cli::post::Outcome;

/// The upper bound of each bucket is this factor above that of the one before. The first bound is 10 us.
const STEP: f64 = 1.05;
const FIRST_S: f64 = 10e-6;

/// The counts of one second, or the totals.
#[derive(Default)]
pub(super) struct Tally {
    posted: u64,
    accepted: u64,
    /// By status, or by the kind of failure: the count, and the last text or error message.
    refused: BTreeMap<String, (u64, String)>,
    /// By bucket, how many callbacks were accepted within its time.
    times: BTreeMap<i32, u64>,
    longest: Duration,
}

impl Tally {
    pub fn note(&mut self, outcome: &Outcome, took: Duration) {
        self.posted += 1;
        let (kind, text) = match outcome {
            Outcome::Accepted => {
                self.accepted += 1;
                let bucket = (took.as_secs_f64() / FIRST_S).max(1.0).log(STEP).ceil() as i32;
                *self.times.entry(bucket).or_default() += 1;
                self.longest = self.longest.max(took);
                return;
            }
            Outcome::Refused(0, text) => ("no connection".to_owned(), text),
            Outcome::Refused(status, text) => (status.to_string(), text),
            Outcome::Unknown(text) => ("no answer".to_owned(), text),
        };
        let refused = self.refused.entry(kind).or_default();
        refused.0 += 1;
        refused.1.clone_from(text);
    }

    /// The time within which this share of the accepted callbacks was answered, in milliseconds.
    fn at_ms(&self, share: f64) -> f64 {
        let wanted = (self.accepted as f64 * share).ceil() as u64;
        let mut seen = 0;
        let bucket = self.times.iter().find(|(_, count)| {
            seen += *count;
            seen >= wanted.max(1)
        });
        let end_ms = bucket.map_or(0.0, |(bucket, _)| FIRST_S * STEP.powi(*bucket) * 1000.0);
        end_ms.min(self.longest.as_secs_f64() * 1000.0)
    }

    fn count_refused(&self) -> u64 {
        self.refused.values().map(|(count, _)| count).sum()
    }

    fn as_json(&self) -> Value {
        let refused: BTreeMap<_, _> = self.refused.iter().map(|(kind, (count, _))| (kind, count)).collect();
        json!({
            "posted": self.posted, "accepted": self.accepted, "refused": refused,
            "p50_ms": self.at_ms(0.5), "p99_ms": self.at_ms(0.99),
        })
    }

    pub fn line(&self, number: u64, json: bool) -> String {
        if json {
            let mut line = self.as_json();
            line["second"] = json!(number);
            return line.to_string();
        }
        let kinds = self.refused.iter().map(|(kind, (count, _))| format!("{kind}: {count}"));
        let kinds = match kinds.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => none,
            kinds => format!(" ({kinds})"),
        };
        format!(
            "{number:>6} s  posted {:>6}  accepted {:>6}  refused {}{kinds}  p50 {:.2} ms  p99 {:.2} ms",
            self.posted,
            self.accepted,
            self.count_refused(),
            self.at_ms(0.5),
            self.at_ms(0.99)
        )
    }

    pub fn all_accepted(&self) -> bool {
        self.posted == self.accepted
    }

    pub fn summary(&self, took: Duration, json: bool) -> String {
        let (took_s, longest_ms) = (took.as_secs_f64(), self.longest.as_secs_f64() * 1000.0);
        if json {
            let mut line = self.as_json();
            line["took_s"] = json!(took_s);
            line["longest_ms"] = json!(longest_ms);
            return line.to_string();
        }
        let mut text = format!(
            "{} posted in {took_s:.1} s ({:.1} a second), {} accepted, {} refused; p50 {:.2} ms, p99 {:.2} ms, longest {longest_ms:.2} ms",
            self.posted,
            self.posted as f64 / took_s,
            self.accepted,
            self.count_refused(),
            self.at_ms(0.5),
            self.at_ms(0.99)
        );
        for (kind, (count, last)) in &self.refused {
            text.push_str(&format!("\n{kind}: {count}, the last: {}", safe(last)));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_five_percent_and_refusals_are_counted_by_kind() {
        let mut tally = Tally::default();
        for number in 1..=1000u64 {
            tally.note(&Outcome::Accepted, Duration::from_micros(number * 100));
        }
        tally.note(&Outcome::Refused(503, "full".into()), Duration::ZERO);
        tally.note(&Outcome::Unknown("broke off".into()), Duration::ZERO);
        let [half, most] = [0.5, 0.99].map(|share| tally.at_ms(share));
        assert!(
            (50.0..52.6).contains(&half) && (99.0..=100.0).contains(&most),
            "{half} {most}"
        );
        assert!(!tally.all_accepted());
        let text = tally.summary(Duration::from_secs(10), false);
        assert!(
            text.contains("1002 posted in 10.0 s (100.2 a second), 1000 accepted, 2 refused")
                && text.contains("503: 1, the last: full")
                && text.contains("no answer: 1"),
            "{text}"
        );
    }
}
