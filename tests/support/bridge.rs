//! A running `imbridge serve` with its own folder, topic prefix and ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::client::{Answer, Connection};
use super::{eventually, kafka, schemas, within};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_imbridge");
/// The Tencent app that every test bridge accepts.
pub const APP: u64 = 1400000000;

/// The number of log lines that a failed test prints.
const LAST_WORDS: usize = 40;

/// Everything that a bridge keeps over restarts.
pub struct Home {
    folder: tempfile::TempDir,
    /// The first part of its topics.
    pub prefix: String,
    /// The public port.
    pub port: u16,
    /// The admin port.
    pub admin_port: u16,
    /// The port of its own schema registry, if it has no other.
    pub registry_port: u16,
    settings: Vec<(String, String)>,
}

/// A running bridge; killed when dropped.
pub struct Bridge {
    child: Child,
    port: u16,
    admin_port: u16,
    log: PathBuf,
}

impl Home {
    /// A home on the shared Kafka, with the four commands.
    pub fn new(name: &str) -> Home {
        Home::with_brokers(name, &kafka::shared())
    }

    /// A home on another Kafka.
    pub fn with_brokers(name: &str, brokers: &str) -> Home {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        schemas::copy(&schemas::FOUR, &folder.path().join("schemas"));
        let [port, admin_port, registry_port] = free_ports();
        let mut home = Home {
            folder,
            prefix: format!("{unique}-{name}"),
            port,
            admin_port,
            registry_port,
            settings: Vec::new(),
        };
        home.set("SERVER__LISTEN", format!("127.0.0.1:{port}"));
        home.set("ADMIN__LISTEN", format!("127.0.0.1:{admin_port}"));
        home.set("SCHEMAS__LISTEN", format!("127.0.0.1:{registry_port}"));
        home.set("KAFKA__BROKERS", brokers);
        home.set("KAFKA__TOPIC_PREFIX", home.prefix.clone());
        home.set("SPOOL__DIR", home.path().join("spool").display().to_string());
        home.set("SCHEMAS__DIR", home.schemas().display().to_string());
        let config = format!(
            "[[tencent]]\nsdk_app_id = {APP}\n\n[[openim]]\nname = \"main\"\n\n[kafka]\npartitions = 4\nreplication_factor = 1\n"
        );
        std::fs::write(home.config(), config).expect("a temporary folder is writable");
        home
    }

    /// The homes of one deployment whose bridges answer after Kafka: they share the topics, and each has its own spool
    /// and name.
    pub fn replicas<const N: usize>(name: &str, brokers: &str) -> [Home; N] {
        let mut homes: [Home; N] = std::array::from_fn(|_| Home::with_brokers(name, brokers));
        let prefix = homes[0].prefix.clone();
        for (ordinal, home) in homes.iter_mut().enumerate() {
            home.set("KAFKA__TOPIC_PREFIX", &prefix);
            home.set("SPOOL__ID", format!("imbridge-{ordinal}"));
            home.set("SERVER__ANSWER_AFTER", "kafka");
            home.prefix.clone_from(&prefix);
        }
        homes
    }

    /// Overrides a key by its environment variable, without the prefix.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.environment(&format!("IMBRIDGE_{key}"), value);
    }

    /// Sets a variable of the bridge's environment.
    pub fn environment(&mut self, name: &str, value: impl Into<String>) {
        self.settings.push((name.to_owned(), value.into()));
    }

    /// Its bridge writes no timeline.
    pub fn without_timeline(&mut self) {
        self.set("TIMELINE__ENABLED", "false");
    }

    /// Whether its bridge writes a timeline.
    pub fn has_timeline(&self) -> bool {
        !self
            .settings
            .iter()
            .any(|(name, _)| name == "IMBRIDGE_TIMELINE__ENABLED")
    }

    /// Adds lines to the configuration file.
    pub fn configure(&self, lines: &str) {
        let text = std::fs::read_to_string(self.config()).expect("it was written");
        std::fs::write(self.config(), format!("{text}\n{lines}\n")).expect("a temporary folder is writable");
    }

    /// The folder of all its files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The schemas folder.
    pub fn schemas(&self) -> PathBuf {
        self.path().join("schemas")
    }

    /// The URL of its own schema registry.
    pub fn registry(&self) -> String {
        format!("http://127.0.0.1:{}", self.registry_port)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("imbridge.toml")
    }

    /// The variables of the bridge's environment.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.settings.iter().cloned()
    }

    /// The program with this home's configuration. A verb may have two words.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(verb.split_whitespace())
            .arg("--config")
            .arg(self.config())
            .envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts the bridge and waits until it is ready.
    pub fn start(&self) -> Bridge {
        self.start_until(200)
    }

    /// Starts the bridge and waits until it reports that it is not ready.
    pub fn start_unready(&self) -> Bridge {
        self.start_until(503)
    }

    fn start_until(&self, readiness: u16) -> Bridge {
        self.spawn().until(readiness)
    }

    /// Starts the bridge.
    pub fn spawn(&self) -> Bridge {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a temporary folder is writable");
        self.spawn_with(Stdio::null(), log)
    }

    /// Starts the bridge with these for its standard output and its log.
    pub fn spawn_with(&self, out: impl Into<Stdio>, log: impl Into<Stdio>) -> Bridge {
        let mut serve = self.command("serve");
        Bridge {
            child: serve.stdout(out).stderr(log).spawn().expect("the program was built"),
            port: self.port,
            admin_port: self.admin_port,
            log: self.log(),
        }
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }
}

impl Bridge {
    /// Waits until it is ready.
    pub fn ready(self) -> Bridge {
        self.until(200)
    }

    fn until(mut self, readiness: u16) -> Bridge {
        eventually("the bridge to be ready", || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("the bridge ended with {status}:\n{}", self.log());
            }
            self.admin("/readyz").filter(|(status, _)| *status == readiness)
        });
        self
    }

    /// A connection to the public port.
    pub fn connect(&self) -> Connection {
        Connection::open(self.port).expect("the bridge listens")
    }

    /// Posts a Tencent callback of a command on a new connection.
    pub fn post(&self, command: &str, body: &str) -> Answer {
        let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json");
        self.connect().post(&target, body).expect("an answer")
    }

    /// Status and body of a path of the admin port; nothing if it does not answer.
    pub fn admin(&self, path: &str) -> Option<(u16, String)> {
        let answer = Connection::open(self.admin_port)?.request("GET", path, &[], b"")?;
        Some((answer.status, answer.body))
    }

    /// Status and body of any request to the admin port.
    pub fn administer(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut connection = Connection::open(self.admin_port).expect("the admin port listens");
        let answer = connection.request(method, path, &[], body.as_bytes());
        let answer = answer.expect("an answer");
        (answer.status, answer.body)
    }

    /// The address of a path of the admin port.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    /// A metric's value, summed over the lines whose name and labels contain all of `parts`. The topic of the timeline,
    /// which has every event once more, counts only if it is named.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let (_, text) = self.admin("/metrics").expect("the admin port answers");
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
            .filter(|line| !line.contains(".timeline\"") || parts.iter().any(|part| part.contains("timeline")));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until everything that was appended is delivered and recorded, as long as the number falls.
    pub fn settle(&self) {
        self.settle_within(Duration::from_secs(60));
    }

    /// The same, with another limit for the time without progress.
    pub fn settle_within(&self, patience: Duration) {
        let waiting = || self.metric(&["imbridge_spool_records "]);
        let mut least = f64::INFINITY;
        while least > 0.0 {
            least = within(patience, "fewer records to wait", || {
                Some(waiting()).filter(|waiting| *waiting < least)
            });
        }
        // The gauge has the value of the last tick, so two readings that are a tick apart must both be zero.
        let mut zeros = 0;
        within(patience, "the spool to be delivered", || {
            zeros = if waiting() == 0.0 { zeros + 1 } else { 0 };
            (zeros > 15).then_some(())
        });
    }

    /// The peak memory of the process in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    /// The current memory of the process in bytes.
    pub fn resident_memory_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    fn memory_bytes(&self, which: &str) -> u64 {
        let status = self.process("status");
        let line = status.lines().find(|line| line.starts_with(which));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("Linux has it in KiB") * 1024
    }

    /// The limit of open files of the process.
    pub fn open_files(&self) -> u64 {
        let limits = self.process("limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        soft.expect("Linux has it")
    }

    fn process(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the bridge runs on Linux")
    }

    /// Everything that was logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log was made at the start")
    }

    /// Waits until a line that contains `part` is logged; returns the last such line. Another thread writes the
    /// log.
    pub fn logged(&self, part: &str) -> String {
        eventually(&format!("{part:?} to be logged"), || {
            let log = self.log();
            let line = log.lines().rfind(|line| line.contains(part));
            line.map(str::to_owned)
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("the bridge runs");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends a signal; `name` is without SIG.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill is there").success(), "SIG{name} was not sent");
    }

    /// Sends SIGTERM; returns the exit status.
    pub fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it exits; returns the exit status.
    pub fn ended(mut self) -> ExitStatus {
        eventually("the bridge to exit", || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
            eprintln!("the bridge of the failed test logged last:\n{}", last.join("\n"));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Ports that are not in use at the moment.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
