//! Where log lines go and how they look. Nobody waits for whoever reads them: a thread of its own writes them to standard error,
//! from a bounded queue, and what is lost is counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::{IntCounter, Registry, proto::MetricFamily};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::app::{Log, LogFormat};
use crate::callback::clip;
use crate::lifecycle::Levels;

/// Lines that wait to be written; those that there is no room for are lost.
const LINES_MAX: usize = 4096;
/// Bytes of a line: with all of them as long, 32 MiB wait. The rest of a longer one is cut off, also where that makes it no JSON.
const LINE_BYTES_MAX: usize = 8 << 10;
/// How long the end of the process waits for a reader who stands still.
const PATIENCE: Duration = Duration::from_secs(1);

/// The log of a process that serves. What waits is written when it is dropped, as far as it is read.
pub(super) struct Logging {
    pub levels: Levels,
    lost: Lost,
    writer: Option<WorkerGuard>,
}

impl Logging {
    /// From here on, what is logged goes to standard error, and so do panics; the levels can be changed later.
    pub fn start(log: &Log) -> Logging {
        let (levels, filter) = Levels::new(&log.level).expect("the configuration was checked");
        let lost = IntCounter::new(
            "imbridge_log_lines_lost_total",
            "Log lines that were not written: standard error took them too slowly, or not at all.",
        );
        let lost = lost.expect("the name is one");
        let (queue, writer) = NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_MAX)
            .thread_name("log")
            .finish(Stderr(lost.clone()));
        let logging = Logging {
            levels,
            lost: Lost {
                all: lost,
                dropped: queue.error_counter(),
                counted: Arc::default(),
            },
            writer: Some(writer),
        };
        let panics = queue.clone();
        // The usual hook writes by itself, and would stop a thread that panics before anybody notices that it does.
        std::panic::set_hook(Box::new(move |panic| {
            let (thread, trace) = (std::thread::current(), Backtrace::capture());
            let mut text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("unnamed"));
            if trace.status() == BacktraceStatus::Captured {
                text += &format!("stack backtrace:\n{trace}\n");
            }
            panics.clone().write_all(text.as_bytes()).ok();
        }));
        let lines = fmt::layer()
            .with_writer(move || Lines(queue.clone()))
            .log_internal_errors(false);
        let registry = tracing_subscriber::registry().with(filter);
        match log.format {
            LogFormat::Pretty => registry.with(lines.with_ansi(stderr().is_terminal())).init(),
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        }
        logging
    }

    /// Shows how many lines were lost, from the first on.
    ///
    /// # Errors
    /// When the registry has the name already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.lost.clone()))
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // Its own end is bounded too, but for what it prints where there is no room to say that it has come.
        let writer = self.writer.take();
        briefly(move || drop(writer));
    }
}

/// Says why the process ends; to nobody, where standard error takes nothing.
pub(super) fn last_words(words: String) {
    briefly(move || {
        writeln!(stderr(), "imbridge: {words}").ok();
    });
}

/// Does what may never end, and waits a moment for it.
pub(super) fn briefly(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(()).ok();
    });
    ended.recv_timeout(PATIENCE).ok();
}

/// The way of a line into the queue.
struct Lines(NonBlocking);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.len() <= LINE_BYTES_MAX {
            self.0.write_all(line)?;
        } else {
            let text = String::from_utf8_lossy(line);
            self.0
                .write_all(format!("{}\n", clip(&text, LINE_BYTES_MAX)).as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Standard error, from which nobody learns that its reader is gone; lines that it does not take are counted.
struct Stderr(IntCounter);

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if stderr().write_all(line).is_err() {
            self.0.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines that were lost.
#[derive(Clone)]
struct Lost {
    all: IntCounter,
    /// Those that the queue had no room for.
    dropped: ErrorCounter,
    /// How many of these are in `all`.
    counted: Arc<AtomicUsize>,
}

impl Collector for Lost {
    fn desc(&self) -> Vec<&Desc> {
        self.all.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let dropped = self.dropped.dropped_lines();
        let before = self.counted.fetch_max(dropped, Ordering::Relaxed);
        self.all.inc_by(dropped.saturating_sub(before) as u64);
        self.all.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Set in the process that this test starts: itself.
    const CHILD: &str = "IMBRIDGE_TEST_OF_PANICS";

    #[test]
    fn a_panic_reaches_standard_error_and_holds_up_nobody_where_that_is_full() {
        if std::env::var_os(CHILD).is_some() {
            let quiet = Log {
                level: "off".into(),
                ..Log::default()
            };
            let _logging = Logging::start(&quiet);
            let victim = std::thread::Builder::new().name("victim".into());
            assert!(victim.spawn(|| panic!("as a test")).unwrap().join().is_err());
            return;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = std::thread::current().name().unwrap().to_owned();
        child.args(["--exact", &name]).env(CHILD, "1").stdout(Stdio::null());
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("thread 'victim' panicked at ") && said.contains("as a test"),
            "{said}"
        );

        let (reader, mut writer) = std::io::pipe().unwrap();
        child.stderr(writer.try_clone().unwrap());
        let filling = std::thread::spawn(move || std::io::copy(&mut std::io::repeat(b'x'), &mut writer));
        assert!(child.status().unwrap().success());
        drop(reader);
        assert!(filling.join().unwrap().is_err());
    }
}
