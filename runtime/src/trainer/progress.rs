//! What is seen of an epoch while it runs, on the error output: on a terminal a bar, else a line from time to time.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// What is seen of an epoch.
pub(super) enum Progress {
    /// A bar.
    Bar(ProgressBar),
    /// Lines.
    Lines {
        /// Which epoch it is.
        name: String,
        /// Its steps.
        steps: usize,
        /// When the last line was written, or the epoch began.
        last: Instant,
    },
}

impl Progress {
    /// An epoch of so many steps.
    pub(super) fn new(name: String, steps: usize) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress::Lines { name, steps, last: Instant::now() };
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix}  {bar:32}  step {pos} of {len}, {eta} left  {msg}") {
            bar.set_style(style);
        }
        Progress::Bar(bar.with_prefix(name))
    }

    /// So many steps are done; the loss of the last one.
    pub(super) fn step(&mut self, done: usize, loss: f32) {
        match self {
            Progress::Bar(bar) => {
                bar.set_position(done as u64);
                bar.set_message(format!("loss {loss:.4}"));
            }
            Progress::Lines { name, steps, last } => {
                if last.elapsed() >= PAUSE {
                    *last = Instant::now();
                    eprintln!("{name}  step {done} of {steps}  loss {loss:.4}");
                }
            }
        }
    }

    /// All steps are done.
    pub(super) fn evaluating(&self) {
        if let Progress::Bar(bar) = self {
            bar.set_message("evaluating");
        }
    }

    /// Leaves the line to others.
    pub(super) fn end(self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
