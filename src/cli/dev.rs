//! `imbridge dev`: runs the whole bridge with an embedded broker, and prints the events.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use rdkafka::message::Message;

use super::consume::Reading;
use super::embedded::Broker;
use super::logging::{Logging, briefly};
use super::serve::until_signal;
use super::show::Shown;
use crate::app::{Bridge, Config, load_schemas};
use crate::lifecycle::Stop;
use crate::publish;
use crate::schema::{Catalogue, Decoder};

/// The mock cluster creates topics with this number of partitions.
const PARTITIONS: i32 = 4;
/// How often new topics are looked for.
const REFRESH: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(super) struct Options {
    /// The port of the embedded Kafka broker.
    #[arg(long, default_value_t = 9092, value_name = "PORT")]
    kafka_port: u16,
    /// The port for callbacks.
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    port: u16,
    /// The port for metrics and probes.
    #[arg(long, default_value_t = 9464, value_name = "PORT")]
    admin_port: u16,
    /// The port of the schema registry.
    #[arg(long, default_value_t = 8081, value_name = "PORT")]
    registry_port: u16,
    /// The schemas folder.
    #[arg(long, default_value = "schemas", value_name = "DIR")]
    schemas: PathBuf,
    /// The Tencent app whose callbacks are accepted.
    #[arg(long, default_value_t = 1400000000, value_name = "ID")]
    sdk_app_id: u64,
}

pub(super) fn run(options: &Options) -> Result<bool> {
    let folder = std::env::temp_dir().join(format!("imbridge-dev-{}", std::process::id()));
    let outcome = actix_web::rt::System::new().block_on(serve(options, &folder));
    std::fs::remove_dir_all(&folder).ok();
    outcome.map(|()| true)
}

async fn serve(options: &Options, folder: &std::path::Path) -> Result<()> {
    println!(
        "imbridge dev: starting a Kafka broker and the bridge, with their files in {}",
        folder.display()
    );
    let broker = Broker::start(options.kafka_port).await?;
    let config = config(options, folder, &broker)?;
    let logging = Logging::start(&config.log);
    let (catalogue, _) = load_schemas(&config)?;
    let commands = catalogue.commands().len();
    let (mut bridge, _) = Bridge::start(&config, logging.levels.clone())?;
    logging.register(&bridge.registry)?;
    let stop = Stop::default();
    let registry = bridge.registry_address.expect("it is configured");
    let printer = print_events(&config.kafka, catalogue, registry, stop.clone())?;
    greet(&config, &bridge, registry, commands);
    tokio::select! {
        asked = until_signal() => asked?,
        cause = bridge.failed() => return Err(cause),
    }
    bridge.drain().await;
    stop.raise();
    briefly(move || drop(printer.join()));
    Ok(())
}

fn config(options: &Options, folder: &std::path::Path, broker: &Broker) -> Result<Config> {
    let app = options.sdk_app_id;
    let senders = format!("[[tencent]]\nsdk_app_id = {app}\n[[openim]]\nname = 'dev'\n");
    let mut config = Config::parse("dev", &senders, [])?;
    config.server.listen = format!("127.0.0.1:{}", options.port);
    config.server.shutdown_timeout_s = 1;
    config.admin.listen = format!("127.0.0.1:{}", options.admin_port);
    config.spool.dir = folder.to_owned();
    config.spool.id = "dev".into();
    config.kafka.brokers = broker.address.to_string();
    config.kafka.partitions = PARTITIONS;
    config.kafka.mock = true;
    config.schemas.dir = options.schemas.clone();
    config.schemas.listen = Some(format!("127.0.0.1:{}", options.registry_port));
    config.log.level = "warn".into();
    config.shutdown.drain_timeout_s = 3;
    Ok(config)
}

fn greet(config: &Config, bridge: &Bridge, registry: SocketAddr, commands: usize) {
    let (address, app) = (bridge.address, config.tencent[0].sdk_app_id);
    println!(
        "imbridge dev: {commands} commands have a schema

  Kafka      {kafka}     (kcat -b {kafka} -L)
  Tencent    http://{address}/tencent
  OpenIM     http://{address}/openim/<command>
  schemas    http://{registry}   (a schema registry, for any consumer's deserializer)
  status     http://{admin}/   (a page for a browser; metrics at /metrics)

Try it in another terminal:

  curl 'http://{address}/tencent?SdkAppid={app}&CallbackCommand=Group.CallbackAfterCreateGroup&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI' \\
    -d '{{\"CallbackCommand\":\"Group.CallbackAfterCreateGroup\",\"GroupId\":\"@TGS#2J4SZEAEL\",\"Name\":\"MyFirstGroup\",\"EventTime\":\"1670574414123\"}}'

Each event is printed here when it has arrived in Kafka. Ctrl-C ends it; nothing is kept.
",
        kafka = config.kafka.brokers,
        admin = bridge.admin_address,
    );
}

/// How to read `topic` with stock consumers.
fn how_to_read(topic: &str, kafka: &str, registry: SocketAddr) -> String {
    format!(
        "
Read it with a stock consumer, in another terminal:

  kcat -b {kafka} -C -t {topic} -o beginning -e -f '%k %h\\n'

kcat shows keys and headers. The value is Avro; its schema is in the registry at http://{registry}.
docs/consumers/python.md has a reader of values in Python: python reader.py {kafka} http://{registry}
"
    )
}

/// Reads every topic from its beginning and prints each message with its decoded value. After the first message it also
/// prints how to read it with a stock consumer.
fn print_events(
    config: &publish::Config,
    catalogue: Arc<Catalogue>,
    registry: SocketAddr,
    stop: Stop,
) -> Result<std::thread::JoinHandle<()>> {
    let prefix = format!("{}.", config.topic_prefix);
    // Each of its events is in its command's topic too, and must be printed once only.
    let timeline = config.timeline.as_ref().map(|it| it.topic(&config.topic_prefix));
    let kafka = config.brokers.clone();
    let mut reading = Reading::new(config)?;
    let mut decoder = Decoder::new(catalogue, None);
    let print = move || {
        let mut refreshed = None::<Instant>;
        let mut is_first = true;
        while !stop.is_raised() {
            if refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
                let is_wanted = |topic: &str| topic.starts_with(&prefix) && timeline.as_deref() != Some(topic);
                // If the broker does not answer in time, the next refresh tries again.
                reading.refresh(is_wanted).ok();
                refreshed = Some(Instant::now());
            }
            if let Some(Ok(message)) = reading.next() {
                let shown = Shown::new(&message, &mut decoder).pretty();
                let hint = std::mem::take(&mut is_first).then(|| how_to_read(message.topic(), &kafka, registry));
                // The reader has closed standard output. The bridge keeps running.
                if writeln!(std::io::stdout(), "{shown}\n{}", hint.unwrap_or_default()).is_err() {
                    return;
                }
            }
        }
    };
    Ok(std::thread::Builder::new().name("dev-printer".into()).spawn(print)?)
}
