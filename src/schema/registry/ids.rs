//! The registry's id of each schema, for a publisher that must not block. A thread looks up the ids that are not known yet,
//! and retries until the registry has them.
//!
//! A schema is requested once. Its look-up ends when the registry has the id or when the schema is no longer in use. If the
//! registry is down or does not have the schema, publishing waits; this is counted and logged.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tracing::{info, warn};

use super::cache::{Cache, CachedId};
use super::{Client, Config, Metrics, RegistryError, published, subject_of};
use crate::lifecycle::Backoff;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A schema whose id is needed.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The topic of its records.
    pub topic: &'a str,
    /// CRC-64-AVRO.
    pub fingerprint: u64,
    /// The file's text.
    pub schema: &'a str,
}

/// The ids that are known, by fingerprint, and the thread that looks up others. Dropping it ends the thread.
pub struct Ids {
    known: HashMap<u64, u32>,
    requested: HashSet<u64>,
    // At most one message for each command, so neither channel grows beyond the catalogue.
    requests: Sender<Request>,
    answers: Receiver<(u64, u32)>,
}

/// A message to the thread.
enum Request {
    LookUp(LookUp),
    /// Give up the look-ups of all schemas but these.
    Retain(HashSet<u64>),
}

struct LookUp {
    fingerprint: u64,
    subject: String,
    schema: String,
    /// How often in a row it failed for the same reason.
    failures: u64,
    reason: &'static str,
}

impl Ids {
    /// Starts the thread. `cache` is the file in which ids are kept.
    ///
    /// # Errors
    /// If the trusted authorities cannot be read. It is no error if the registry does not answer.
    pub fn start(config: &Config, cache: PathBuf, metrics: Metrics) -> io::Result<Ids> {
        let (requests, received) = unbounded();
        let (answer, answers) = unbounded();
        let mut worker = Worker {
            client: Client::new(config)?,
            registry: config.name(),
            auto_register: config.auto_register,
            cache: Cache::open(cache),
            metrics,
            open: VecDeque::new(),
        };
        std::thread::Builder::new()
            .name("registry".into())
            .spawn(move || worker.serve(&received, &answer))?;
        Ok(Ids {
            known: HashMap::new(),
            requested: HashSet::new(),
            requests,
            answers,
        })
    }

    /// The id, if it is known. If it is not, the thread looks it up, and the caller must ask again later.
    pub fn id(&mut self, question: Question<'_>) -> Option<u32> {
        if let Some(id) = self.known.get(&question.fingerprint) {
            return Some(*id);
        }
        self.known.extend(self.answers.try_iter());
        if self.requested.insert(question.fingerprint) {
            let look_up = LookUp {
                fingerprint: question.fingerprint,
                subject: subject_of(question.topic),
                schema: published(question.schema).expect("a catalogue's schemas are JSON"),
                failures: 0,
                reason: "",
            };
            self.send(Request::LookUp(look_up));
        }
        self.known.get(&question.fingerprint).copied()
    }

    /// Ends the look-ups of all schemas but these, which are in use from now on.
    pub fn retain(&mut self, fingerprints: impl IntoIterator<Item = u64>) {
        let kept: HashSet<u64> = fingerprints.into_iter().collect();
        let requested = self.requested.len();
        self.requested
            .retain(|fingerprint| kept.contains(fingerprint) || self.known.contains_key(fingerprint));
        if self.requested.len() < requested {
            self.send(Request::Retain(kept));
        }
    }

    fn send(&self, request: Request) {
        self.requests
            .send(request)
            .expect("the thread ends only after this is dropped");
    }
}

/// The state of the thread.
struct Worker {
    client: Client,
    registry: String,
    auto_register: bool,
    cache: Cache,
    metrics: Metrics,
    /// Look-ups without a result.
    open: VecDeque<LookUp>,
}

impl Worker {
    fn serve(&mut self, requests: &Receiver<Request>, answers: &Sender<(u64, u32)>) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            requests.try_iter().for_each(|request| self.take(request));
            let Some(mut look_up) = self.open.pop_front() else {
                match requests.recv() {
                    Ok(request) => self.take(request),
                    Err(_) => return,
                }
                continue;
            };
            match self.id(&look_up) {
                Ok(id) => {
                    backoff.reset();
                    self.metrics.waiting.set(i64::from(!self.open.is_empty()));
                    if answers.send((look_up.fingerprint, id)).is_err() {
                        return;
                    }
                }
                Err(cause) => {
                    self.metrics.waiting.set(1);
                    self.metrics.errors.with_label_values(&[cause.reason()]).inc();
                    look_up.failures = if look_up.reason == cause.reason() {
                        look_up.failures + 1
                    } else {
                        1
                    };
                    look_up.reason = cause.reason();
                    log_failure(&look_up, &cause);
                    self.open.push_back(look_up);
                    match requests.recv_timeout(backoff.wait()) {
                        Ok(request) => self.take(request),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            }
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            // It goes first: it may succeed, while the others have failed before.
            Request::LookUp(look_up) => self.open.push_front(look_up),
            Request::Retain(kept) => {
                self.open.retain(|look_up| kept.contains(&look_up.fingerprint));
                if self.open.is_empty() {
                    self.metrics.waiting.set(0);
                }
            }
        }
    }

    fn id(&mut self, look_up: &LookUp) -> Result<u32, RegistryError> {
        if let Some(id) = self.cache.get(&self.registry, &look_up.subject, look_up.fingerprint) {
            return Ok(id);
        }
        let id = if self.auto_register {
            let (id, added) = self.client.register(&look_up.subject, &look_up.schema)?;
            if added {
                info!(subject = look_up.subject, id, "registered a schema");
            }
            id
        } else {
            self.client.look_up(&look_up.subject, &look_up.schema)?.id
        };
        let entry = CachedId {
            registry: self.registry.clone(),
            subject: look_up.subject.clone(),
            fingerprint: look_up.fingerprint.to_be_bytes(),
            id,
        };
        // Without the file, the id is looked up again after the next start.
        if let Err(cause) = self.cache.put(entry) {
            warn!(subject = look_up.subject, %cause, "cannot write the file of registry ids");
        }
        Ok(id)
    }
}

/// Logs the failures number 1, 2, 4, 8 and so on, and each twelfth: one line a minute in a long outage.
fn log_failure(look_up: &LookUp, cause: &RegistryError) {
    let LookUp { subject, failures, .. } = look_up;
    if !failures.is_power_of_two() && !failures.is_multiple_of(12) {
        return;
    }
    if cause.is_unregistered() {
        warn!(
            subject,
            attempts = failures,
            "the schema is not in the registry: publishing waits until it is registered; run imbridge schemas register"
        );
    } else {
        warn!(subject, attempts = failures, %cause, "cannot get a schema id from the registry: publishing waits, callbacks stay in the spool");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_look_up_of_a_schema_that_is_no_longer_in_use_ends_and_can_be_requested_again() {
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
            // One of the two still waits.
            ids.retain([2, 3]);
            assert_eq!(ids.requested, HashSet::from([2]));
            until(1);
            ids.retain([3]);
            until(0);
        }
    }
}
