//! A PostgreSQL server of a test's own, in a folder of its own, and psql as its client.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{eventually, run};

/// A running server; killed when dropped.
pub struct Postgres {
    server: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Postgres {
    /// Starts an empty one, which trusts everybody on this machine.
    pub fn start() -> Postgres {
        let folder = tempfile::tempdir().expect("a temporary folder is to be had");
        if rustix::process::geteuid().is_root() {
            let owned = Command::new("chown").arg("nobody").arg(folder.path()).status();
            assert!(owned.expect("chown is there").success());
        }
        let data = folder.path().join("data");
        let made = run(program("initdb", folder.path())
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
            ])
            .arg(&data));
        assert_eq!(made.0, Some(0), "{}", made.2);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        let server = program("postgres", folder.path())
            .args(["-F", "-c", "listen_addresses=127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .stderr(Stdio::null())
            .spawn();
        let server = server.expect("PostgreSQL was installed by scripts/setup");
        let postgres = Postgres { server, folder, port };
        eventually("PostgreSQL", || {
            (run(&mut postgres.psql("SELECT")).0 == Some(0)).then_some(())
        });
        postgres
    }

    /// How any client reaches it.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What psql prints of statements, a row a line and columns apart by `|`; each must do.
    pub fn sql(&self, statements: &str) -> String {
        let file = self.folder.path().join("statements.sql");
        std::fs::write(&file, statements).expect("a temporary folder is writable");
        let (code, rows, error) = run(self.client().arg("-f").arg(file));
        assert_eq!(code, Some(0), "{error}");
        rows
    }

    fn psql(&self, statement: &str) -> Command {
        let mut psql = self.client();
        psql.args(["-c", statement]);
        psql
    }

    fn client(&self) -> Command {
        let mut psql = program("psql", self.folder.path());
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-d", &self.url()]);
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, which only its data minds.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// One of PostgreSQL's programs; the server refuses to run as root.
fn program(name: &str, folder: &Path) -> Command {
    let path = newest().join(name);
    let mut command = match rustix::process::geteuid().is_root() && name != "psql" {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=nobody",
                "--regid=nogroup",
                "--clear-groups",
                "--pdeathsig=KILL",
            ]);
            command.arg(path);
            command
        }
        false => Command::new(path),
    };
    command.current_dir(folder);
    command
}

/// Where Debian has the newest version's programs.
fn newest() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL was installed by scripts/setup");
    let versions = versions.map(|version| version.expect("it can be listed").path());
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions.max_by_key(number).expect("a version").join("bin")
}
