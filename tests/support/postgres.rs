//! A PostgreSQL of one test: the installed programs, a new folder and a free port.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::bridge::free_ports;
use super::{eventually, run};

/// The user for tests that run as root, because PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// A running server. It is stopped and its data are deleted when it is dropped.
pub struct Postgres {
    server: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Postgres {
    /// A new server with an empty database. It would lose data in a power failure, which does not happen in tests.
    pub fn start() -> Postgres {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let is_root = std::fs::metadata(folder.path()).expect("it was made").uid() == 0;
        if is_root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let data = folder.path().join("data");
        let (code, _, errors) = run(program("initdb", is_root)
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--pgdata",
            ])
            .arg(&data));
        assert_eq!(code, Some(0), "initdb: {errors}");
        let [port] = free_ports();
        let log = std::fs::File::create(folder.path().join("log")).expect("a temporary folder is writable");
        let server = program("postgres", is_root)
            .args(["-F", "-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it is there");
        let postgres = Postgres {
            server,
            port,
            _folder: folder,
        };
        eventually("PostgreSQL to answer", || {
            (run(postgres.psql().args(["-c", "SELECT 1"])).0 == Some(0)).then_some(())
        });
        postgres
    }

    /// The variables by which clients find it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let (host, user) = ("127.0.0.1".to_owned(), "postgres".to_owned());
        [
            ("PGHOST", host),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", user.clone()),
            ("PGDATABASE", user),
        ]
    }

    /// Runs the statements of a file.
    pub fn run_file(&self, path: &Path) {
        let (code, _, errors) = run(self.psql().arg("-f").arg(path));
        assert_eq!(code, Some(0), "{}: {errors}", path.display());
    }

    /// The rows of a query, as objects.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let query = format!("SELECT coalesce(json_agg(row), '[]') FROM ({query}) AS row");
        let (code, rows, errors) = run(self.psql().args(["-c", &query]));
        assert_eq!(code, Some(0), "{query}: {errors}");
        serde_json::from_str(&rows).expect("PostgreSQL prints JSON")
    }

    /// psql, which stops at the first error and prints only values.
    fn psql(&self) -> Command {
        let mut psql = program("psql", false);
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
        ])
        .envs(self.environment());
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: stops at once, but frees its shared memory.
        let pid = self.server.id().to_string();
        Command::new("kill").args(["-QUIT", &pid]).status().ok();
        self.server.wait().ok();
    }
}

/// A program of PostgreSQL, run as `nobody` if the test runs as root. Debian installs them outside of `PATH`.
fn program(name: &str, by_nobody: bool) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name));
    let path = found
        .filter(|path| path.exists())
        .max()
        .unwrap_or_else(|| PathBuf::from(name));
    if !by_nobody {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            &format!("--reuid={NOBODY}"),
            &format!("--regid={NOBODY}"),
            "--clear-groups",
        ])
        .arg(path)
        // It would complain about a working folder that it may not enter.
        .current_dir("/");
    command
}
