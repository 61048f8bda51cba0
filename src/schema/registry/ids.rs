//! The number of each schema, for a publisher that must not block: what is not known yet is asked by a thread of its own,
//! again and again, until the registry has an answer.
//!
//! A question is asked once and stays until it is answered, or until its schema is no longer in use. Nothing fails: a registry that is down, or does not have the
//! schema, makes the publisher wait, which is counted and told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tracing::{info, warn};

use super::cache::{Cache, Entry};
use super::{Client, Config, Metrics, RegistryError, published, subject_of};
use crate::lifecycle::Backoff;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Which schema is meant.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The topic that its records go to.
    pub topic: &'a str,
    /// CRC-64-AVRO; one for each command's newest version.
    pub fingerprint: u64,
    /// The file's text.
    pub schema: &'a str,
}

/// What is known of the registry's numbers, and who asks for more. Dropping it ends the thread.
pub struct Ids {
    known: HashMap<u64, u32>,
    asked: HashSet<u64>,
    // One for each command at most, so neither channel grows beyond the catalogue.
    orders: Sender<Order>,
    answers: Receiver<(u64, u32)>,
}

/// What the thread is told.
enum Order {
    Ask(Asked),
    /// Of the questions, only those about these schemas are still asked.
    Retain(HashSet<u64>),
}

struct Asked {
    fingerprint: u64,
    subject: String,
    schema: String,
    /// How often it failed for the same reason.
    failures: u64,
    reason: &'static str,
}

impl Ids {
    /// Starts the thread; `cache` is the file that remembers.
    ///
    /// # Errors
    /// When the authorities to trust cannot be read. The registry may be absent.
    pub fn start(config: &Config, cache: PathBuf, metrics: Metrics) -> io::Result<Ids> {
        let (orders, received) = unbounded();
        let (answer, answers) = unbounded();
        let mut desk = Desk {
            client: Client::new(config)?,
            registry: config.name(),
            auto_register: config.auto_register,
            cache: Cache::open(cache),
            metrics,
            open: VecDeque::new(),
        };
        std::thread::Builder::new()
            .name("registry".into())
            .spawn(move || desk.serve(&received, &answer))?;
        Ok(Ids {
            known: HashMap::new(),
            asked: HashSet::new(),
            orders,
            answers,
        })
    }

    /// The number, if it is known; if not, it is being asked for, and the caller comes again.
    pub fn id(&mut self, question: Question<'_>) -> Option<u32> {
        if let Some(id) = self.known.get(&question.fingerprint) {
            return Some(*id);
        }
        self.known.extend(self.answers.try_iter());
        if self.asked.insert(question.fingerprint) {
            let asked = Asked {
                fingerprint: question.fingerprint,
                subject: subject_of(question.topic),
                schema: published(question.schema).expect("a catalogue's schemas are JSON"),
                failures: 0,
                reason: "",
            };
            self.send(Order::Ask(asked));
        }
        self.known.get(&question.fingerprint).copied()
    }

    /// New schemas are in use, known by their fingerprints: questions about others end, whatever the registry says.
    pub fn retain(&mut self, fingerprints: impl IntoIterator<Item = u64>) {
        let kept: HashSet<u64> = fingerprints.into_iter().collect();
        let asked = self.asked.len();
        self.asked
            .retain(|fingerprint| kept.contains(fingerprint) || self.known.contains_key(fingerprint));
        if self.asked.len() < asked {
            self.send(Order::Retain(kept));
        }
    }

    fn send(&self, order: Order) {
        self.orders.send(order).expect("the thread lives as long as this");
    }
}

/// The thread's side.
struct Desk {
    client: Client,
    registry: String,
    auto_register: bool,
    cache: Cache,
    metrics: Metrics,
    /// Questions without an answer.
    open: VecDeque<Asked>,
}

impl Desk {
    fn serve(&mut self, orders: &Receiver<Order>, answers: &Sender<(u64, u32)>) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            orders.try_iter().for_each(|order| self.take(order));
            let Some(mut asked) = self.open.pop_front() else {
                match orders.recv() {
                    Ok(order) => self.take(order),
                    Err(_) => return,
                }
                continue;
            };
            match self.answer(&asked) {
                Ok(id) => {
                    backoff.reset();
                    self.metrics.waiting.set(i64::from(!self.open.is_empty()));
                    if answers.send((asked.fingerprint, id)).is_err() {
                        return;
                    }
                }
                Err(cause) => {
                    self.metrics.waiting.set(1);
                    self.metrics.errors.with_label_values(&[cause.reason()]).inc();
                    asked.failures = if asked.reason == cause.reason() {
                        asked.failures + 1
                    } else {
                        1
                    };
                    asked.reason = cause.reason();
                    tell(&asked, &cause);
                    self.open.push_back(asked);
                    match orders.recv_timeout(backoff.wait()) {
                        Ok(order) => self.take(order),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            // A new one may have an answer where the others have none.
            Order::Ask(asked) => self.open.push_front(asked),
            Order::Retain(kept) => {
                self.open.retain(|asked| kept.contains(&asked.fingerprint));
                if self.open.is_empty() {
                    self.metrics.waiting.set(0);
                }
            }
        }
    }

    fn answer(&mut self, asked: &Asked) -> Result<u32, RegistryError> {
        if let Some(id) = self.cache.get(&self.registry, &asked.subject, asked.fingerprint) {
            return Ok(id);
        }
        let id = if self.auto_register {
            let (id, added) = self.client.register(&asked.subject, &asked.schema)?;
            if added {
                info!(subject = asked.subject, id, "registered a schema");
            }
            id
        } else {
            self.client.look_up(&asked.subject, &asked.schema)?.id
        };
        let entry = Entry {
            registry: self.registry.clone(),
            subject: asked.subject.clone(),
            fingerprint: asked.fingerprint.to_be_bytes(),
            id,
        };
        // The number is good without the file too; it is only asked for again after the next start.
        if let Err(cause) = self.cache.put(entry) {
            warn!(subject = asked.subject, %cause, "cannot write down the registry's ids");
        }
        Ok(id)
    }
}

/// An outage of hours is one line a minute, not a flood.
fn tell(asked: &Asked, cause: &RegistryError) {
    let Asked { subject, failures, .. } = asked;
    if !failures.is_power_of_two() && !failures.is_multiple_of(12) {
        return;
    }
    if cause.is_unregistered() {
        warn!(
            subject,
            attempts = failures,
            "the schema is not in the registry: publishing waits; run imbridge schemas register"
        );
    } else {
        warn!(subject, attempts = failures, %cause, "no schema id from the registry: publishing waits, callbacks are kept in the spool");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_question_about_a_schema_that_is_no_longer_in_use_ends_and_can_be_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            urls: vec!["http://127.0.0.1:1".into()],
            auth: None,
            ca: None,
            auto_register: false,
            timeout: Duration::from_secs(1),
        };
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let mut ids = Ids::start(&config, folder.path().join("ids.json"), metrics.clone()).unwrap();
        let question = |fingerprint| Question {
            topic: "im.a",
            fingerprint,
            schema: "{\"type\": \"string\"}",
        };
        let until = |waiting: i64| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while metrics.waiting.get() != waiting {
                assert!(
                    Instant::now() < deadline,
                    "imbridge_registry_waiting does not become {waiting}"
                );
                std::thread::yield_now();
            }
        };
        for _ in 0..2 {
            assert_eq!((ids.id(question(1)), ids.id(question(2))), (None, None));
            until(1);
            // One of the two goes on waiting.
            ids.retain([2, 3]);
            assert_eq!(ids.asked, HashSet::from([2]));
            until(1);
            ids.retain([3]);
            until(0);
        }
    }
}
