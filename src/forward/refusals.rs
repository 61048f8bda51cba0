//! What Kafka refuses for good: single records, and topics until an operator changes something. Their events become dead letters, and
//! the rest goes on. No I/O; time is an argument.
//!
//! A topic that refuses gets a period of grace, in which publishing waits and tries again. After it the topic is closed: its events
//! become dead letters, and once a minute the topic is tried again. Topics that begin to refuse in the same incident share one period of
//! grace, so that losing the right to twenty topics does not stop publishing twenty times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::publish::{Failure, Kind, Position, TopicRefused};

/// Between two attempts to publish to a closed topic.
const RETRY_EVERY: Duration = Duration::from_secs(60);

/// Why an event becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The header `imbridge-reason`.
    pub reason: &'static str,
    /// The error, as a label for metrics.
    pub error: String,
    /// The broker's error message.
    pub text: String,
}

/// A message that was refused, and its place in the spool.
pub(super) struct Refused {
    pub position: Position,
    pub failure: Failure,
}

/// What was refused, until its records are delivered.
#[derive(Debug)]
pub(super) struct Refusals {
    grace: Duration,
    /// Verdicts by record and place in it, and by topic: an event also has a message in the timeline.
    records: BTreeMap<(u64, u32), HashMap<String, Verdict>>,
    /// Messages of batches that were refused without the broker naming a message: each is sent alone, to find the one.
    suspects: BTreeSet<Position>,
    topics: HashMap<String, Topic>,
    incident: Option<Incident>,
    /// That of the timeline, which can refuse for years without using up the other topics' grace.
    timeline_incident: Option<Incident>,
}

/// A time in which topics refuse.
#[derive(Debug, Clone, Copy)]
struct Incident {
    began: Instant,
    /// When a topic refused last.
    last: Instant,
}

#[derive(Debug)]
struct Topic {
    verdict: Verdict,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Publishing waits for it.
    Grace,
    /// Its events become dead letters until the next attempt.
    Closed { retry_at: Instant },
    /// It is being tried again.
    Trying,
}

impl Refusals {
    /// With this period of grace for topics.
    pub fn new(grace: Duration) -> Refusals {
        Refusals {
            grace,
            records: BTreeMap::new(),
            suspects: BTreeSet::new(),
            topics: HashMap::new(),
            incident: None,
            timeline_incident: None,
        }
    }

    /// Takes in the messages that were refused in one session; true when one of them is now known to be the cause, so that the next
    /// session can begin at once.
    pub fn learn_records(&mut self, refused: &[Refused]) -> bool {
        let mut batches: BTreeMap<(&str, i32), Vec<&Refused>> = BTreeMap::new();
        let mut neighbours = BTreeSet::new();
        for refused in refused {
            let failure = &refused.failure;
            let place = (failure.topic.as_str(), failure.partition);
            if failure.kind == Kind::Record {
                batches.entry(place).or_default().push(refused);
            } else if failure.error == "InvalidDifferentRecord" {
                neighbours.insert(place);
            }
        }
        let mut certain = false;
        for (place, batch) in batches {
            let same_text = batch.iter().all(|other| other.failure.text == batch[0].failure.text);
            let is_named = batch.len() == 1 || neighbours.contains(&place) || !same_text;
            for Refused { position, failure } in batch {
                if is_named || self.suspects.remove(position) {
                    self.suspects.remove(position);
                    let verdict = Verdict {
                        reason: "refused",
                        error: failure.error.clone(),
                        text: format!("{}: {}", failure.topic, failure.text),
                    };
                    let record = self.records.entry((position.seq, position.index)).or_default();
                    record.insert(failure.topic.clone(), verdict);
                    certain = true;
                } else {
                    self.suspects.insert(*position);
                }
            }
        }
        certain
    }

    /// Takes in that a topic refuses: false while publishing waits for it, true when its events become dead letters from now on.
    pub fn learn_topic(&mut self, refused: &TopicRefused, is_timeline: bool, now: Instant) -> bool {
        let incident = if is_timeline {
            &mut self.timeline_incident
        } else {
            &mut self.incident
        };
        let goes_on = |incident: &Incident| now.saturating_duration_since(incident.last) <= self.grace.max(RETRY_EVERY);
        let began = incident.filter(goes_on).map_or(now, |incident| incident.began);
        *incident = Some(Incident { began, last: now });
        let verdict = Verdict {
            reason: "topic_refused",
            error: refused.error.clone(),
            text: refused.text.clone(),
        };
        let was = self.topics.get(&refused.topic).map(|topic| topic.state);
        let is_over = was.is_some_and(|state| state != State::Grace);
        let state = if is_over || now.saturating_duration_since(began) >= self.grace {
            State::Closed {
                retry_at: now + RETRY_EVERY,
            }
        } else {
            State::Grace
        };
        self.topics.insert(refused.topic.clone(), Topic { verdict, state });
        state != State::Grace
    }

    /// Lets closed topics be tried again when their minute is over.
    pub fn tick(&mut self, now: Instant) {
        for topic in self.topics.values_mut() {
            if matches!(topic.state, State::Closed { retry_at } if retry_at <= now) {
                topic.state = State::Trying;
            }
        }
    }

    /// Why a message at this position is not sent to this topic; `None` when it is sent.
    pub fn verdict(&self, position: Position, topic: &str) -> Option<&Verdict> {
        if self.records.is_empty() && self.topics.is_empty() {
            return None;
        }
        let record = self.records.get(&(position.seq, position.index));
        let record = record.and_then(|record| record.get(topic));
        let closed = || self.topics.get(topic).filter(|_| self.is_closed(topic));
        record.or_else(|| Some(&closed()?.verdict))
    }

    /// Whether this topic's events become dead letters.
    pub fn is_closed(&self, topic: &str) -> bool {
        let topic = self.topics.get(topic);
        topic.is_some_and(|topic| matches!(topic.state, State::Closed { .. }))
    }

    /// Whether the message must be sent alone, so that a refusal concerns no other message.
    pub fn is_suspect(&self, position: Position) -> bool {
        !self.suspects.is_empty() && self.suspects.contains(&position)
    }

    /// A message of this topic is delivered; true when the topic had refused.
    pub fn delivered(&mut self, topic: &str) -> bool {
        !self.topics.is_empty() && self.topics.remove(topic).is_some()
    }

    /// Forgets records up to this one: they are delivered.
    pub fn forget(&mut self, seq: u64) {
        self.records.retain(|(refused, _), _| *refused > seq);
        self.suspects.retain(|position| position.seq > seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn at(seq: u64) -> Position {
        Position { seq, index: 0, part: 0 }
    }

    fn refused(seq: u64, error: &str, text: &str, kind: Kind) -> Refused {
        let failure = Failure::of(kind, error, text);
        Refused {
            position: at(seq),
            failure,
        }
    }

    fn topic(name: &str) -> TopicRefused {
        TopicRefused {
            topic: name.into(),
            error: "TopicAuthorizationFailed".into(),
            text: "no WRITE".into(),
        }
    }

    fn dead_lettered(refusals: &Refusals, seq: u64) -> Option<&'static str> {
        refusals.verdict(at(seq), "t").map(|verdict| verdict.reason)
    }

    #[test]
    fn of_a_batch_only_the_record_that_the_broker_names_is_refused() {
        let mut refusals = Refusals::new(GRACE);
        let batch = [
            refused(1, "InvalidDifferentRecord", "a neighbour", Kind::Consequence),
            refused(2, "InvalidRecord", "no key", Kind::Record),
            refused(3, "InvalidDifferentRecord", "a neighbour", Kind::Consequence),
        ];
        assert!(refusals.learn_records(&batch));
        assert_eq!(
            [1, 2, 3].map(|seq| dead_lettered(&refusals, seq)),
            [None, Some("refused"), None]
        );
        refusals.forget(2);
        assert_eq!(dead_lettered(&refusals, 2), None);
    }

    #[test]
    fn of_a_batch_that_is_refused_whole_each_message_is_sent_alone_and_judged_by_itself() {
        let mut refusals = Refusals::new(GRACE);
        let batch = [1, 2].map(|seq| refused(seq, "MessageSizeTooLarge", "too large", Kind::Record));
        assert!(!refusals.learn_records(&batch));
        assert_eq!((refusals.is_suspect(at(1)), refusals.is_suspect(at(2))), (true, true));
        assert_eq!([1, 2].map(|seq| dead_lettered(&refusals, seq)), [None, None]);
        assert!(refusals.learn_records(&batch[1..]));
        assert_eq!([1, 2].map(|seq| dead_lettered(&refusals, seq)), [None, Some("refused")]);
    }

    #[test]
    fn a_topic_is_waited_for_then_closed_and_tried_again_each_minute() {
        let (mut refusals, began) = (Refusals::new(GRACE), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        assert!(!refusals.learn_topic(&topic("t"), false, began));
        assert!(!refusals.learn_topic(&topic("t"), false, after(55)));
        assert_eq!(dead_lettered(&refusals, 1), None);
        assert!(refusals.learn_topic(&topic("t"), false, after(60)));
        assert_eq!(dead_lettered(&refusals, 1), Some("topic_refused"));
        refusals.tick(after(119));
        assert_eq!(dead_lettered(&refusals, 1), Some("topic_refused"));
        refusals.tick(after(120));
        assert_eq!(dead_lettered(&refusals, 1), None, "it is tried again");
        assert!(
            refusals.learn_topic(&topic("t"), false, after(121)),
            "without another grace"
        );
        assert!(refusals.delivered("t"));
        assert!(!refusals.learn_topic(&topic("t"), false, after(1000)), "it begins anew");
    }

    #[test]
    fn a_timeline_that_refuses_takes_no_topics_grace() {
        let (mut refusals, began) = (Refusals::new(GRACE), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        refusals.learn_topic(&topic("timeline"), true, began);
        assert!(refusals.learn_topic(&topic("timeline"), true, after(60)));
        assert!(!refusals.learn_topic(&topic("t"), false, after(61)));
    }

    #[test]
    fn topics_of_one_incident_share_one_grace_and_a_later_incident_has_its_own() {
        let (mut refusals, began) = (Refusals::new(GRACE), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        refusals.learn_topic(&topic("t"), false, began);
        refusals.learn_topic(&topic("t"), false, after(60));
        assert!(refusals.learn_topic(&topic("u"), false, after(61)));
        assert!(!refusals.learn_topic(&topic("v"), false, after(1000)));
    }
}
