//! `imbridge check`: a line for each thing that `serve` needs.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use prometheus::Registry;
use rdkafka::consumer::Consumer;

use super::disk::Disk;
use super::topics;
use crate::app::{Config, refuse_another_delivery};
use crate::publish::{self, Finding, TopicPlan};
use crate::spool::{self, Spool};

const TIMEOUT: Duration = Duration::from_secs(5);

/// What was found so far.
#[derive(Default)]
struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, mark: &str, what: &str, finding: impl std::fmt::Display) {
        self.failed |= mark == "FAIL";
        // The verdict does not depend on whether somebody reads to the end.
        writeln!(std::io::stdout(), "{mark:<5} {what}: {finding}").ok();
    }
}

pub(super) fn run(config: &Config) -> ExitCode {
    let mut report = Report::default();
    report.line(
        "ok",
        "config",
        format!(
            "{} Tencent apps, {} OpenIM instances",
            config.tencent.len(),
            config.openim.len()
        ),
    );
    match spool(config) {
        Ok(line) => report.line("ok", "spool", line),
        Err(cause) => report.line("FAIL", "spool", format!("{cause:#}")),
    }
    disk(config, &mut report);
    match topics::wanted(config) {
        Ok((commands, topics)) => {
            let dir = config.schemas.dir.display();
            report.line("ok", "schemas", format!("{commands} commands in {dir}"));
            if let Err(cause) = kafka(config, &topics, &mut report) {
                report.line("FAIL", "kafka", format!("{cause:#}"));
            }
        }
        Err(cause) => report.line("FAIL", "schemas", format!("{cause:#}")),
    }
    if let Some(url) = &config.schemas.registry_url {
        match super::registry::client(config).and_then(|client| Ok(client.count_subjects()?)) {
            Ok(subjects) => report.line("ok", "registry", format!("{url} answers, {subjects} subjects")),
            Err(cause) => report.line("FAIL", "registry", format!("{cause:#}")),
        }
    }
    if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A disk that is slow, small or forgets makes callers wait or loses what they were promised.
fn disk(config: &Config, report: &mut Report) {
    let disk = match Disk::measure(&config.spool.dir) {
        Ok(disk) => disk,
        Err(cause) => return report.line("FAIL", "disk", format!("{}: {cause}", config.spool.dir.display())),
    };
    report.line("ok", "disk", &disk);
    for problem in disk.problems(&config.spool) {
        report.line("warn", "disk", problem);
    }
}

fn spool(config: &Config) -> Result<String> {
    let spool = Spool::open(&config.spool, spool::Metrics::new(&Registry::new())?)?;
    let mut reader = spool.reader();
    refuse_another_delivery(&mut reader, &config.kafka)?;
    let waiting = reader.appended() - reader.delivered();
    let line = format!(
        "{} is writable, {} holds {waiting} undelivered records",
        config.spool.dir.display(),
        spool.name()
    );
    spool.close();
    Ok(line)
}

fn kafka(config: &Config, topics: &[String], report: &mut Report) -> Result<()> {
    let client = publish::consumer(&config.kafka, "imbridge-check", &[])?;
    let Ok(metadata) = client.fetch_metadata(None, TIMEOUT) else {
        if let Some(advice) = publish::refusal(&client) {
            bail!(
                "{} refuses, or is refused: {advice} in kafka.properties",
                config.kafka.brokers
            );
        }
        bail!(
            "no answer from {} within 5 s; is kafka.brokers right, and does kafka.properties fit its security?",
            config.kafka.brokers
        );
    };
    report.line(
        "ok",
        "kafka",
        format!(
            "{} brokers answer at {}",
            metadata.brokers().len(),
            config.kafka.brokers
        ),
    );
    for plan in publish::plan(&config.kafka, topics)? {
        topic(&config.kafka, &plan, report);
    }
    Ok(())
}

fn topic(config: &publish::Config, plan: &TopicPlan, report: &mut Report) {
    let wanted = config.partitions;
    match plan.finding {
        Finding::Fits => report.line("ok", &plan.topic, format!("{wanted} partitions")),
        Finding::Missing if config.create_topics != publish::CreateTopics::Never => {
            report.line("ok", &plan.topic, "missing, serve creates it");
        }
        Finding::Missing => report.line(
            "FAIL",
            &plan.topic,
            "missing; create it, or set kafka.create_topics = \"on_demand\"",
        ),
        Finding::MorePartitions(found) => report.line(
            "warn",
            &plan.topic,
            format!("{found} partitions, kafka.partitions is {wanted}: keys stay in the first {wanted}"),
        ),
        Finding::TooFewPartitions(found) => report.line(
            "FAIL",
            &plan.topic,
            format!("{found} partitions, kafka.partitions is {wanted}: add partitions or lower the key"),
        ),
    }
    for drift in &plan.drift {
        let mark = if drift.fatal { "FAIL" } else { "warn" };
        report.line(mark, &plan.topic, topics::words(drift));
    }
}
