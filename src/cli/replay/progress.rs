//! How far a sending has come, on standard error: a bar on a terminal, else a line every few seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR: usize = 30;
const ON_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    total: u64,
    begun: Instant,
    told: Instant,
    terminal: bool,
}

impl Progress {
    pub fn new(total: u64) -> Progress {
        Progress {
            total,
            begun: Instant::now(),
            told: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub fn tick(&mut self, done: u64) {
        let every = if self.terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.told.elapsed() >= every {
            self.tell(done);
            self.told = Instant::now();
        }
    }

    pub fn end(&self, done: u64) {
        self.tell(done);
        if self.terminal {
            eprintln!();
        }
    }

    fn tell(&self, done: u64) {
        let text = line(done, self.total, self.begun.elapsed());
        let mut err = std::io::stderr().lock();
        // Nobody is told of an error while telling.
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
    let full = (share * BAR as f64) as usize;
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    let left_s = if done == 0 { 0.0 } else { (total - done) as f64 / rate };
    format!(
        "[{}{}] {done} of {total}, {:.0} %, {rate:.0} a second, {left_s:.0} s left",
        "#".repeat(full),
        "-".repeat(BAR - full),
        share * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let text = line(25, 100, Duration::from_secs(5));
        assert_eq!(
            text,
            "[#######-----------------------] 25 of 100, 25 %, 5 a second, 15 s left"
        );
        assert!(line(0, 0, Duration::ZERO).contains("0 of 0, 0 %"));
        assert!(line(7, 7, Duration::from_secs(1)).contains("100 %, 7 a second, 0 s left"));
    }
}
