//! `imbridge check`: prints a line for each thing that `serve` needs.

mod kafka;
mod senders;

use std::io::Write;

use anyhow::{Context as _, Result};
use prometheus::Registry;

use super::disk::Disk;
use super::topics;
use crate::app::{Config, refuse_another_delivery};
use crate::spool::{self, Spool};

/// Prints findings, and remembers whether one of them is a failure.
#[derive(Default)]
struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, mark: &str, what: &str, finding: impl std::fmt::Display) {
        self.failed |= mark == "FAIL";
        // A closed standard output does not change the result.
        writeln!(std::io::stdout(), "{mark:<5} {what}: {finding:#}").ok();
    }

    /// The value of a look-up; prints its failure.
    fn found<T>(&mut self, what: &str, outcome: Result<T, impl std::fmt::Display>) -> Option<T> {
        outcome.map_err(|cause| self.line("FAIL", what, cause)).ok()
    }
}

/// True if nothing failed.
pub(super) fn run(config: &Config) -> bool {
    let mut report = Report::default();
    let (tencent, openim) = (config.tencent.len(), config.openim.len());
    report.line(
        "ok",
        "config",
        format!("{tencent} Tencent apps, {openim} OpenIM instances"),
    );
    senders::check(config, &mut report);
    // The spool stays open until the end. So no bridge can run on it, and the trial transaction fences off none.
    let spool = report.found("spool", spool(config));
    if let Some((_, line)) = &spool {
        report.line("ok", "spool", line);
    }
    disk(config, &mut report);
    answers(config, &mut report);
    if let Some((commands, topics)) = report.found("schemas", topics::wanted(config)) {
        let dir = config.schemas.dir.display();
        report.line("ok", "schemas", format!("{commands} commands in {dir}"));
        let spool = spool.as_ref().map(|(spool, _)| spool.name());
        kafka::check(&config.kafka, &topics, spool.as_deref(), &mut report);
    }
    if let Some(url) = &config.schemas.registry_url {
        let subjects = super::registry::client(config).and_then(|client| Ok(client.count_subjects()?));
        if let Some(subjects) = report.found("registry", subjects) {
            report.line("ok", "registry", format!("{url} answers, {subjects} subjects"));
        }
    }
    if let Some(listen) = config.schemas.listen() {
        let line = format!("the bridge serves its schemas itself on {listen}");
        report.line("ok", "registry", line);
    }
    if let Some((spool, _)) = spool {
        spool.close();
    }
    !report.failed
}

/// A slow disk makes callers wait. A small or volatile disk loses or refuses callbacks.
fn disk(config: &Config, report: &mut Report) {
    let disk = Disk::measure(&config.spool.dir).with_context(|| config.spool.dir.display().to_string());
    let Some(disk) = report.found("disk", disk) else { return };
    report.line("ok", "disk", &disk);
    for problem in disk.problems(&config.spool) {
        report.line("warn", "disk", problem);
    }
}

/// Answers that wait for Kafka are as safe as Kafka's replicas.
fn answers(config: &Config, report: &mut Report) {
    let Some(hold) = config.server.hold() else { return };
    let line = format!("an answer waits for Kafka, {} ms at most", hold.as_millis());
    report.line("ok", "server.answer_after", line);
    let replicas = config.kafka.replication_factor;
    if replicas < 3 {
        let line = format!(
            "kafka.replication_factor is {replicas}: acknowledged events survive the loss of a bridge's disk, but not of a broker's; with 3 replicas and min.insync.replicas 2 they survive both"
        );
        report.line("warn", "server.answer_after", line);
    }
}

fn spool(config: &Config) -> Result<(Spool, String)> {
    let spool = Spool::open(&config.spool, spool::Metrics::new(&Registry::new())?)?;
    let mut reader = spool.reader();
    let appended = reader.appended();
    refuse_another_delivery(&mut reader, appended, &config.kafka)?;
    let waiting = appended - reader.delivered();
    let line = format!(
        "{} is writable, {} holds {waiting} undelivered records",
        config.spool.dir.display(),
        spool.name()
    );
    Ok((spool, line))
}
