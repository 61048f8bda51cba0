//! The progress of a replay on standard error: a bar on a terminal, otherwise a line every few seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR_CHARS: usize = 30;
const INTERVAL_ON_TERMINAL: Duration = Duration::from_millis(100);
const INTERVAL_ELSEWHERE: Duration = Duration::from_secs(5);

pub(super) struct ProgressBar {
    total: u64,
    begun: Instant,
    printed: Instant,
    terminal: bool,
}

impl ProgressBar {
    pub fn new(total: u64) -> ProgressBar {
        ProgressBar {
            total,
            begun: Instant::now(),
            printed: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub fn tick(&mut self, done: u64) {
        let interval = if self.terminal {
            INTERVAL_ON_TERMINAL
        } else {
            INTERVAL_ELSEWHERE
        };
        if self.printed.elapsed() >= interval {
            self.print(done);
            self.printed = Instant::now();
        }
    }

    pub fn end(&self, done: u64) {
        self.print(done);
        if self.terminal {
            eprintln!();
        }
    }

    fn print(&self, done: u64) {
        let text = line(done, self.total, self.begun.elapsed());
        let mut err = std::io::stderr().lock();
        // A failed write to standard error cannot be reported anywhere.
        if self.terminal {
            write!(err, "\r{text}\x1b[K").ok();
        } else {
            writeln!(err, "imbridge: {text}").ok();
        }
        err.flush().ok();
    }
}

fn line(done: u64, total: u64, took: Duration) -> String {
    let share = done as f64 / total.max(1) as f64;
    let full = (share * BAR_CHARS as f64) as usize;
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let left_s = if done == 0 { 0.0 } else { (total - done) as f64 / rate };
    format!(
        "[{}{}] {done} of {total}, {:.0} %, {rate:.0} a second, {left_s:.0} s left",
        "#".repeat(full),
        "-".repeat(BAR_CHARS - full),
        share * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_share_the_rate_and_the_time_left() {
        let text = line(25, 100, Duration::from_secs(5));
        assert_eq!(
            text,
            "[#######-----------------------] 25 of 100, 25 %, 5 a second, 15 s left"
        );
        assert!(line(0, 0, Duration::ZERO).contains("0 of 0, 0 %"));
        assert!(line(7, 7, Duration::from_secs(1)).contains("100 %, 7 a second, 0 s left"));
    }
}
