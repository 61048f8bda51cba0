//! The whole configuration: one TOML file. An environment variable can override each key. Every part defines and checks its own
//! table; this file reads and combines them.

mod changes;
mod origin;
mod schemas;

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use changes::Written;
use origin::Origin;
pub use schemas::Schemas;

use crate::callback::Provider;
use crate::lifecycle::Levels;
use crate::provider::{OpenImConfig, PrivacyConfig, TencentConfig};
use crate::secret::{Secret, without_user};
use crate::{admin, forward, ingress, publish, spool};

/// A callback may reach the spool this much later than it arrived.
const KEEP_MORE_MS: i64 = 60_000;
const PREFIX: &str = "IMBRIDGE_";

/// The configuration of every part.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The public port.
    pub server: ingress::Config,
    /// The admin port.
    pub admin: admin::Config,
    /// The Tencent apps.
    pub tencent: Vec<TencentConfig>,
    /// The OpenIM servers.
    pub openim: Vec<OpenImConfig>,
    /// Rules for fields that must not leave the bridge.
    pub privacy: Vec<PrivacyConfig>,
    /// The spool.
    pub spool: spool::Config,
    /// Kafka.
    pub kafka: publish::Config,
    /// The topic with the events of all commands in order.
    pub timeline: publish::Timeline,
    /// The schemas folder and the registry.
    pub schemas: Schemas,
    /// What the bridge remembers of earlier events.
    pub history: forward::Config,
    /// Logging.
    pub log: Log,
    /// The shutdown.
    pub shutdown: Shutdown,
    /// The keys as they were written, to find what a reload changes.
    #[serde(skip)]
    written: Written,
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or levels by part, in the syntax of `tracing`: `info`, `warn,imbridge::forward=debug`.
    pub level: String,
    /// The format of a line.
    pub format: LogFormat,
    /// An OpenTelemetry collector for the spans of sampled requests: `http://host:4318`.
    pub otlp_endpoint: Option<String>,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: "info".into(),
            format: LogFormat::Pretty,
            otlp_endpoint: None,
        }
    }
}

impl Log {
    /// What is wrong with a value: the key and what is allowed.
    fn problem(&self) -> Option<(&'static str, String)> {
        if let Err(cause) = Levels::check(&self.level) {
            return Some(("level", cause.to_string()));
        }
        let endpoint = self.otlp_endpoint.as_ref()?;
        let host = endpoint.strip_prefix("http://").filter(|host| !host.is_empty());
        if host.is_some_and(|host| !host.contains(['@', '?', '#', ' '])) {
            return None;
        }
        let allowed = "http://host:port is allowed, the address of a collector that takes OTLP over HTTP";
        Some(("otlp_endpoint", format!("{:?}: {allowed}", without_user(endpoint))))
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[shutdown]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Seconds to answer requests in progress and to deliver the spool. Undelivered records stay there for the next start.
    pub drain_timeout_s: u64,
    /// Seconds at its begin in which callbacks are still accepted while `/readyz` is already 503. A load balancer that checks it then
    /// sends nothing to a closed port.
    pub leave_s: u64,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            drain_timeout_s: 20,
            leave_s: 0,
        }
    }
}

impl Shutdown {
    /// What is wrong with a value: the key and what is allowed.
    fn problem(&self) -> Option<(&'static str, String)> {
        const DAY_S: u64 = 24 * 3600;
        let (drain_timeout_s, leave_s) = (self.drain_timeout_s, self.leave_s);
        if drain_timeout_s > DAY_S {
            let problem = format!("{drain_timeout_s}: at most {DAY_S} is allowed");
            return Some(("drain_timeout_s", problem));
        }
        let problem = || format!("{leave_s}: at most drain_timeout_s is allowed, because it is part of that time");
        (leave_s > drain_timeout_s).then(|| ("leave_s", problem()))
    }
}

/// A configuration that cannot be used. The message names the place, the problem, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    problem: String,
}

impl Config {
    /// Reads the file and the environment.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line, the key and what is allowed. It repeats a value only if that cannot be a secret.
    pub fn load(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| error(&file, cause))?;
        Config::parse(&file, &text, environment)
    }

    /// Reads a text as if it stood in `file`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        file: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut origin = Origin::new(file, text);
        let mut table: Table = text.parse().map_err(|cause: toml::de::Error| {
            let place = origin.place(cause.span().map_or(0, |span| span.start));
            error(&place, format!("not valid TOML: {}", cause.message()))
        })?;
        for (name, value) in environment {
            if let Some(keys) = name.strip_prefix(PREFIX).filter(|keys| keys.contains("__")) {
                let path = set(&mut table, keys, typed(&value)).map_err(|problem| error(&name, problem))?;
                origin.overrides.insert(path, (name, value));
            }
        }
        let mut config = Config::from_table(table, &origin)?;
        config.resolve_property_secrets(&origin)?;
        config.check(&origin)?;
        config.kafka.timeline = config.timeline.enabled.then(|| config.timeline.clone());
        config.spool.keep = config.keep();
        config.spool.hold = config.server.hold();
        config.kafka.awaited = config.spool.hold.is_some();
        // With several replicas, each sees only some of a group's messages.
        config.history.count_gaps = config.spool.hold.is_none();
        Ok(config)
    }

    /// The providers that have a configured sender.
    pub fn providers(&self) -> Vec<Provider> {
        let tencent = (!self.tencent.is_empty()).then_some(Provider::Tencent);
        let openim = (!self.openim.is_empty()).then_some(Provider::OpenIm);
        tencent.into_iter().chain(openim).collect()
    }

    /// How long delivered records stay in the spool, so that repeated callbacks are recognised after a restart.
    fn keep(&self) -> Option<spool::Keep> {
        let window_ms = i64::from(self.history.window_s) * 1000;
        (window_ms > 0).then(|| spool::Keep {
            ms: window_ms + KEEP_MORE_MS,
            records: self.history.max_callbacks.into(),
        })
    }

    fn from_table(mut table: Table, origin: &Origin<'_>) -> Result<Config, ConfigError> {
        let mut overrides = origin.overrides.clone();
        loop {
            let problem = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
                Ok(config) => {
                    let written = Written(table);
                    return Ok(Config { written, ..config });
                }
                Err(problem) => problem,
            };
            let path = problem.path().to_string();
            match overrides.remove(&origin::plain(&path)) {
                // A string that looks like a number, for a key that needs a string: `IMBRIDGE_SPOOL__ID=7`.
                Some((name, value)) if problem.inner().to_string().contains("expected a string") => {
                    let keys = name.strip_prefix(PREFIX).expect("overrides have the prefix");
                    set(&mut table, keys, Value::String(value)).map_err(|problem| error(&name, problem))?;
                }
                _ => return Err(error(&origin.of(&path), without_value(problem.inner().message()))),
            }
        }
    }

    /// Replaces references to secrets in `kafka.properties` by their values.
    fn resolve_property_secrets(&mut self, origin: &Origin<'_>) -> Result<(), ConfigError> {
        for (name, value) in self.kafka.properties.iter_mut() {
            if value.starts_with("env:") || value.starts_with("file:") {
                *value = Secret::try_from(value.clone())
                    .map_err(|cause| error(&origin.of(&format!("kafka.properties.{name:?}")), cause))?
                    .expose()
                    .to_owned();
            }
        }
        Ok(())
    }

    fn check(&self, origin: &Origin<'_>) -> Result<(), ConfigError> {
        let own = |table: &str, problem: Option<(&str, String)>| {
            problem.map(|(key, problem)| error(&origin.of(&format!("{table}.{key}")), problem))
        };
        let kafka = self.kafka.problem();
        let found = own("server", self.server.problem())
            .or_else(|| own("admin", self.admin.problem()))
            .or_else(|| own("spool", self.spool.problem()))
            .or_else(|| own("history", self.history.problem()))
            .or_else(|| {
                let mut rules = self.privacy.iter().enumerate();
                rules.find_map(|(index, rule)| own(&format!("privacy.{index}"), rule.problem()))
            })
            .or_else(|| own("log", self.log.problem()))
            .or_else(|| own("schemas", self.schemas.problem()))
            .or_else(|| own("shutdown", self.shutdown.problem()))
            .or_else(|| own("timeline", self.timeline.problem()))
            .or_else(|| kafka.and_then(|(key, problem)| own("kafka", Some((&key, problem)))))
            .or_else(|| self.sender_problem().map(|problem| error(origin.file, problem)));
        found.map_or(Ok(()), Err)
    }

    fn sender_problem(&self) -> Option<String> {
        let problem_of = |table: &str, index: usize, problem: Option<(&str, String)>| {
            problem.map(|(key, problem)| format!("{table}[{index}].{key}: {problem}"))
        };
        let mut tencent = self.tencent.iter().enumerate();
        let mut openim = self.openim.iter().enumerate();
        let own = tencent
            .find_map(|(index, app)| problem_of("tencent", index, app.problem()))
            .or_else(|| openim.find_map(|(index, instance)| problem_of("openim", index, instance.problem())));
        if own.is_some() {
            return own;
        }
        if self.tencent.is_empty() && self.openim.is_empty() {
            return Some(
                "no sender: at least one [[tencent]] with sdk_app_id or one [[openim]] with name is needed".into(),
            );
        }
        let open = self.openim.iter().filter(|instance| instance.secret.is_none()).count();
        if open > 1 {
            return Some(format!(
                "openim: {open} instances have no secret; at most one may have none, because their paths would be the same"
            ));
        }
        let shared = |one: &OpenImConfig, other: &OpenImConfig| match (&one.secret, &other.secret) {
            (Some(one), Some(other)) => one.any(|secret| other.matches(secret.expose())),
            _ => false,
        };
        let twice = (1..self.openim.len()).find_map(|index| {
            let mut before = self.openim[..index].iter();
            before
                .find(|other| shared(&self.openim[index], other))
                .map(|other| (index, &other.name))
        });
        if let Some((index, name)) = twice {
            return Some(format!(
                "openim[{index}].secret: {name:?} has it too; each instance needs its own secret, because the secret identifies it"
            ));
        }
        let mut names: Vec<String> = self.tencent.iter().map(|app| app.sdk_app_id.to_string()).collect();
        names.extend(self.openim.iter().map(|instance| format!("openim {:?}", instance.name)));
        names.sort();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1])?;
        Some(format!(
            "{} is configured twice; each sender may be configured only once",
            twice[0]
        ))
    }
}

fn error(place: &str, problem: impl ToString) -> ConfigError {
    ConfigError {
        place: place.to_owned(),
        problem: problem.to_string().trim_end().to_owned(),
    }
}

/// serde's error message. If a table or a list is expected, the message omits the value, which may be a secret.
fn without_value(message: &str) -> String {
    let expected = message
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.rsplit_once(", expected "))
        .map(|(_, expected)| expected)
        .filter(|expected| {
            ["struct ", "a map", "a sequence"]
                .iter()
                .any(|kind| expected.starts_with(kind))
        });
    expected.map_or_else(
        || message.to_owned(),
        |expected| format!("invalid type, expected {}", expected.replace("struct", "the table")),
    )
}

/// `7`, `true` and `["a"]` are read as TOML reads them; anything else is a string.
fn typed(value: &str) -> Value {
    let parsed = value.trim().parse();
    parsed.unwrap_or_else(|_| Value::String(value.to_owned()))
}

/// Sets the key of an environment variable, such as `SERVER__LISTEN` or `TENCENT__0__TOKEN`. Returns its path, `server.listen` or
/// `tencent.0.token`.
fn set(table: &mut Table, keys: &str, value: Value) -> Result<String, String> {
    let mut parts: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
    if let [_, map, name] = &mut parts[..]
        && (map == "properties" || map == "topic_config")
    {
        *name = name.replace('_', ".");
    }
    let last = parts
        .pop()
        .filter(|last| !last.is_empty())
        .ok_or("the name ends with __: a key is missing")?;
    let path = parts.iter().chain([&last]).cloned().collect::<Vec<_>>().join(".");
    let mut names = parts.into_iter().peekable();
    let mut place = table;
    while let Some(name) = names.next() {
        let index = names
            .next_if(|next| next.parse::<usize>().is_ok())
            .and_then(|index| index.parse::<usize>().ok());
        let next = place.entry(name.clone()).or_insert_with(|| match index {
            Some(_) => Value::Array(Vec::new()),
            None => Value::Table(Table::new()),
        });
        place = match (next, index) {
            (Value::Table(table), None) => table,
            (Value::Array(list), Some(index)) => {
                if index == list.len() {
                    list.push(Value::Table(Table::new()));
                }
                let next = list.len();
                let element = list
                    .get_mut(index)
                    .ok_or_else(|| format!("{name}__{index}: the next free number is {next}"))?;
                element
                    .as_table_mut()
                    .ok_or_else(|| format!("{name}.{index} is not a table"))?
            }
            (Value::Array(_), None) => return Err(format!("{name} is a list: {name}__0 is its first element")),
            _ => return Err(format!("{name} is not a table")),
        };
    }
    place.insert(last, value);
    Ok(path)
}

#[cfg(test)]
mod tests;
