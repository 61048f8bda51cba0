//! `imbridge simulate`: posts callbacks as both IM servers do, at a fixed rate, and reports the bridge's answers.

mod tally;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use fastrand::Rng;

use super::post::{Pace, Poster, own_url, rate};
use crate::app::Config;
use crate::lifecycle::{Stop, unix_ms};
use tally::Tally;
use world::World;

/// Threads that post. With more, this machine would be the bottleneck.
const CONNECTIONS_MAX: usize = 1024;

#[derive(Args)]
pub(super) struct Options {
    /// The configuration: its senders, their secrets, its schemas, its port.
    #[arg(long, value_name = "FILE", required_unless_present = "url")]
    config: Option<PathBuf>,
    /// The bridge to post to, instead of server.listen on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Without --config: the Tencent app.
    #[arg(long, value_name = "ID", conflicts_with = "config")]
    sdk_app_id: Option<u64>,
    /// Without --config: the Tencent app's token, as env:NAME or file:PATH.
    #[arg(long, value_name = "SECRET", requires = "sdk_app_id")]
    token: Option<String>,
    /// Without --config: post as an OpenIM server too.
    #[arg(long, conflicts_with = "config")]
    openim: bool,
    /// Without --config: the secret in OpenIM's path, as env:NAME or file:PATH.
    #[arg(long, value_name = "SECRET", requires = "openim")]
    openim_secret: Option<String>,
    /// Without --config: the schemas folder, whose samples are posted.
    #[arg(long, value_name = "DIR", default_value = "schemas", conflicts_with = "config")]
    schemas: PathBuf,
    /// Callbacks per second, over all connections.
    #[arg(long, value_name = "COUNT", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// Connections. Each has one callback in flight, and a group's callbacks use the same connection.
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    connections: usize,
    /// How long, such as 30s or 10m. By default, until Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// The number of groups.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    groups: usize,
    /// Only this command; may be given several times.
    #[arg(long = "command", value_name = "NAME")]
    commands: Vec<String>,
    /// Print JSON lines: one per second, and a last one with the totals.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The configuration file, or a configuration made of the flags.
    fn config(&self) -> Result<Config> {
        if let Some(path) = &self.config {
            return Ok(super::load(path));
        }
        let secret = |key: &str, source: &Option<String>| match source {
            Some(source) => format!("{key} = {}\n", serde_json::json!(source)),
            None => String::new(),
        };
        let mut text = String::new();
        if let Some(id) = self.sdk_app_id {
            let token = secret("token", &self.token);
            text.push_str(&format!("[[tencent]]\nsdk_app_id = {id}\n{token}"));
        }
        if self.openim {
            let secret = secret("secret", &self.openim_secret);
            text.push_str(&format!("[[openim]]\nname = \"openim\"\n{secret}"));
        }
        if text.is_empty() {
            bail!("no sender: --sdk-app-id, --openim or --config is needed");
        }
        let mut config = Config::parse("the flags", &text, [])?;
        config.schemas.dir = self.schemas.clone();
        Ok(config)
    }
}

/// Shared by all connections.
struct Shared {
    world: World,
    tallies: Mutex<Tallies>,
    stop: Stop,
    ends: Option<Instant>,
}

#[derive(Default)]
struct Tallies {
    /// Since the last line that was printed.
    second: Tally,
    total: Tally,
}

/// Whether everything was accepted.
pub(super) fn run(options: &Options) -> Result<bool> {
    let config = options.config()?;
    if options.groups == 0 || !(1..=CONNECTIONS_MAX).contains(&options.connections) {
        bail!("--groups of at least 1 and --connections from 1 to {CONNECTIONS_MAX} are allowed");
    }
    let url = options.url.clone().map_or_else(|| own_url(&config), Ok)?;
    let shared = Shared {
        world: World::new(&config, &options.commands, unix_ms() / 1000)?,
        tallies: Mutex::default(),
        stop: super::stop_at_signal()?,
        ends: options.duration.map(|duration| Instant::now() + duration),
    };
    eprintln!(
        "imbridge: {} a second to {url}, {} commands, {} groups, {} connections",
        options.rate,
        shared.world.commands(),
        options.groups,
        options.connections
    );
    let posters = (0..options.connections).map(|_| Poster::new(&url, &config));
    let posters: Vec<_> = posters.collect::<Result<_>>()?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let spawn = |(number, poster)| {
            // Each group has one connection. A connection without groups posts nothing.
            let own: Vec<usize> = (number..options.groups).step_by(options.connections).collect();
            let busy = options.connections.min(options.groups) as f64;
            // The connections start one after another, so that the rate is even from the start.
            let pace = Pace::new(
                Duration::from_secs_f64(number as f64 / options.rate),
                Duration::from_secs_f64(busy / options.rate),
            );
            let shared = &shared;
            scope.spawn(move || shared.post(poster, &own, pace))
        };
        let threads: Vec<_> = posters.iter().enumerate().map(spawn).collect();
        let outcome = watch(&shared, &threads, begun, options.json);
        shared.stop.raise();
        outcome
    })?;
    let total = std::mem::take(&mut shared.tallies().total);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", total.summary(begun.elapsed(), options.json))?;
    Ok(total.all_accepted())
}

/// Prints a line per second until all threads have ended.
fn watch(shared: &Shared, threads: &[ScopedJoinHandle<'_, ()>], begun: Instant, json: bool) -> Result<()> {
    for number in 1.. {
        let next = begun + Duration::from_secs(number);
        let have_ended = || threads.iter().all(ScopedJoinHandle::is_finished);
        while Instant::now() < next && !have_ended() {
            let left = next.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        if have_ended() {
            break;
        }
        let second = std::mem::take(&mut shared.tallies().second);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", second.line(number, json))?;
        out.flush()?;
    }
    Ok(())
}

impl Shared {
    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one connection: posts a callback, waits for its answer, and waits until the next one is due.
    fn post(&self, poster: &Poster<'_>, groups: &[usize], mut pace: Pace) {
        let mut rng = Rng::new();
        while !groups.is_empty() && !self.is_over() {
            let left = pace.left();
            if !left.is_zero() {
                // Short steps, so that a stop takes effect soon.
                std::thread::sleep(left.min(Duration::from_millis(50)));
                continue;
            }
            pace.step();
            let group = groups[rng.usize(..groups.len())];
            let callback = self.world.callback(group, &mut rng, unix_ms());
            let started = Instant::now();
            let outcome = poster.post(&callback);
            let took = started.elapsed();
            let mut tallies = self.tallies();
            tallies.second.note(&outcome, took);
            tallies.total.note(&outcome, took);
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_raised() || self.ends.is_some_and(|ends| Instant::now() >= ends)
    }
}
