//! The processes of `examples/sync-groups`, and the database with its tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::postgres::Postgres;
use crate::support::{kafka, within};

pub const EXAMPLE: &str = "examples/sync-groups";
/// Processes that keep the same copy. Each applies events that the others have not.
pub const COPIERS: usize = 2;
/// The time-out for the copy's progress, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The example's command, with its addresses.
pub fn copier(postgres: &Postgres, brokers: &str, registry: &str, topic: &str) -> Command {
    let python = std::env::var("IMBRIDGE_TEST_SYNC_GROUPS").expect("run by `make test` or `scripts/test`");
    let mut command = Command::new(python);
    command
        .arg(format!("{EXAMPLE}/sync_groups.py"))
        .envs(postgres.environment())
        .envs([("KAFKA", brokers), ("REGISTRY", registry), ("TOPIC", topic)]);
    command
}

/// A PostgreSQL with the example's tables.
pub fn postgres() -> Postgres {
    let postgres = Postgres::start();
    postgres.run_file(Path::new(&format!("{EXAMPLE}/schema.sql")));
    postgres
}

/// The example's processes. They are started again when they end, as by a supervisor.
pub struct Copiers<'a> {
    postgres: &'a Postgres,
    home: &'a Home,
    running: Vec<Child>,
    /// How often one has ended by itself.
    pub ended: u64,
}

impl<'a> Copiers<'a> {
    pub fn start(postgres: &'a Postgres, home: &'a Home) -> Copiers<'a> {
        let mut copiers = Copiers {
            postgres,
            home,
            running: Vec::new(),
            ended: 0,
        };
        copiers.running = (0..COPIERS).map(|_| copiers.one()).collect();
        copiers
    }

    fn one(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log());
        let topic = format!("{}.timeline", self.home.prefix);
        let mut copier = copier(self.postgres, &kafka::shared(), &self.home.registry(), &topic);
        copier
            .stderr(log.expect("a temporary folder is writable"))
            .spawn()
            .expect("python starts")
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("copiers.log")
    }

    /// Starts processes again that have ended by themselves, which they do when the bridge, their registry, is down.
    pub fn keep(&mut self) {
        for number in 0..self.running.len() {
            if self.running[number]
                .try_wait()
                .expect("a child can be waited for")
                .is_some()
            {
                self.ended += 1;
                self.running[number] = self.one();
            }
        }
    }

    /// Kills a process with SIGKILL and starts it again.
    pub fn kill(&mut self, number: usize) {
        self.end(number);
        self.running[number] = self.one();
    }

    fn end(&mut self, number: usize) {
        self.running[number].kill().ok();
        self.running[number].wait().expect("a child can be waited for");
    }

    /// What has been applied: by partition, the seq and part of the last event of each spool.
    pub fn seen(&self) -> BTreeMap<i64, Value> {
        let rows = self
            .postgres
            .query("SELECT partition, seen FROM positions WHERE seen <> '{}'");
        let row = |row: &Value| (row["partition"].as_i64().expect("a number"), row["seen"].clone());
        rows.iter().map(row).collect()
    }

    /// Waits until more has been applied than `before`, or everything.
    pub fn advance(
        &mut self,
        before: &BTreeMap<i64, Value>,
        everything: &BTreeMap<i64, Value>,
    ) -> BTreeMap<i64, Value> {
        let log = self.log();
        let logged = move || std::fs::read_to_string(&log).unwrap_or_default();
        within(PATIENCE, "the copy to come further", || {
            self.keep();
            assert!(self.ended < 1000, "{}", logged());
            let seen = self.seen();
            (seen == *everything || seen != *before).then_some(seen)
        })
    }
}

impl Drop for Copiers<'_> {
    fn drop(&mut self) {
        (0..self.running.len()).for_each(|number| self.end(number));
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.log()).unwrap_or_default());
        }
    }
}
