//! The format and the way of log lines. A thread of its own writes them to standard error from a bounded queue, so no
//! other thread waits for their reader. Lost lines are counted.

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

/// Lines in the queue. If it is full, further lines are lost.
const LINES_MAX: usize = 4096;
/// Bytes of a line, so the queue holds 32 MiB at most. A longer line is cut, even if it is then no valid JSON.
const LINE_BYTES_MAX: usize = 8 << 10;
/// How long the exit of the process waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The log of a process. When it is dropped, queued lines are written for up to [`PATIENCE`].
pub(super) struct Logging {
    pub levels: Levels,
    lost: Lost,
    writer: Option<WorkerGuard>,
}

impl Logging {
    /// Sends log lines and panics to standard error from now on. The levels can be changed later.
    pub fn start(log: &Log) -> Logging {
        let (levels, filter) = Levels::new(&log.level).expect("the configuration was checked");
        let lost = IntCounter::new(
            "imbridge_log_lines_lost_total",
            "Log lines that were lost: standard error accepted them too slowly, or not at all.",
        );
        let lost = lost.expect("a valid name");
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
        // The default hook writes to standard error itself. If that blocks, a panicking thread hangs before its end is
        // noticed.
        std::panic::set_hook(Box::new(move |panic| {
            let (thread, trace) = (std::thread::current(), Backtrace::capture());
            let mut text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("unnamed"));
            if trace.status() == BacktraceStatus::Captured {
                text += &format!("stack backtrace:\n{trace}\n");
            }
            panics.clone().write_all(text.as_bytes()).ok();
        }));
        let lines = fmt::layer().with_writer(move || Lines(queue.clone()));
        let lines = lines.log_internal_errors(false);
        let registry = tracing_subscriber::registry().with(filter);
        match log.format {
            LogFormat::Pretty => registry.with(lines.with_ansi(stderr().is_terminal())).init(),
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        }
        logging
    }

    /// Registers the counter of lost lines.
    ///
    /// # Errors
    /// If the registry has a metric of this name already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.lost.clone()))
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // The guard's own wait is bounded, but it prints a message if the queue is full, and printing may block.
        let writer = self.writer.take();
        briefly(move || drop(writer));
    }
}

/// Prints why the process ends. Gives up after [`PATIENCE`] if standard error blocks.
pub(super) fn print_error(message: String) {
    briefly(move || {
        writeln!(stderr(), "imbridge: {message}").ok();
    });
}

/// Does work that may block for ever on a thread of its own, and waits for it for up to [`PATIENCE`].
pub(super) fn briefly(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(()).ok();
    });
    ended.recv_timeout(PATIENCE).ok();
}

/// Writes lines into the queue, cut to [`LINE_BYTES_MAX`].
struct Lines(NonBlocking);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if line.len() <= LINE_BYTES_MAX {
            self.0.write_all(line)?;
        } else {
            let text = String::from_utf8_lossy(line);
            let line = format!("{}\n", clip(&text, LINE_BYTES_MAX));
            self.0.write_all(line.as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Standard error. Failed writes are counted and not returned, for example after the reader has closed the pipe.
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

/// Counts lost lines.
#[derive(Clone)]
struct Lost {
    all: IntCounter,
    /// Lines that did not fit into the queue.
    dropped: ErrorCounter,
    /// How many of `dropped` are counted in `all` already.
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
    fn a_panic_reaches_standard_error_and_does_not_block_if_that_is_full() {
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
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}");
        assert!(
            printed.contains("thread 'victim' panicked at ") && printed.contains("as a test"),
            "{printed}"
        );

        let (reader, mut writer) = std::io::pipe().unwrap();
        child.stderr(writer.try_clone().unwrap());
        let filling = std::thread::spawn(move || std::io::copy(&mut std::io::repeat(b'x'), &mut writer));
        assert!(child.status().unwrap().success());
        drop(reader);
        assert!(filling.join().unwrap().is_err());
    }
}
