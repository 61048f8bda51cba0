//! `imbridge check`: a line for each thing that `serve` needs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use prometheus::Registry;
use rdkafka::consumer::Consumer;

use crate::app::{Config, load_schemas, refuse_another_delivery};
use crate::forward::{self, Composer};
use crate::publish::{self, Finding};
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
        println!("{mark:<5} {what}: {finding}");
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
    match topics(config) {
        Ok((line, topics)) => {
            report.line("ok", "schemas", line);
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

fn topics(config: &Config) -> Result<(String, Vec<String>)> {
    let (catalogue, commands) = load_schemas(config)?;
    let line = format!(
        "{} commands in {}",
        catalogue.commands().len(),
        config.schemas.dir.display()
    );
    let metrics = forward::Metrics::new(&Registry::new())?;
    Ok((
        line,
        Composer::new(catalogue, commands, &config.kafka, "check", metrics).topics(),
    ))
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
    for (topic, finding) in publish::findings(&metadata, topics, config.kafka.partitions) {
        let wanted = config.kafka.partitions;
        match finding {
            Finding::Fits => report.line("ok", &topic, format!("{wanted} partitions")),
            Finding::Missing if config.kafka.create_topics => report.line("ok", &topic, "missing, serve creates it"),
            Finding::Missing => report.line("FAIL", &topic, "missing; create it, or set kafka.create_topics = true"),
            Finding::MorePartitions(found) => {
                report.line(
                    "warn",
                    &topic,
                    format!("{found} partitions, kafka.partitions is {wanted}: keys stay in the first {wanted}"),
                );
            }
            Finding::TooFewPartitions(found) => {
                report.line(
                    "FAIL",
                    &topic,
                    format!("{found} partitions, kafka.partitions is {wanted}: add partitions or lower the key"),
                );
            }
        }
    }
    Ok(())
}
