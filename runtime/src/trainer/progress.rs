//! What is seen of an epoch while it runs, on the error output: on a terminal a bar, else a line from time to time.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines, and between two looks of a bar at what only a graphics card knows.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_OF_BAR: Duration = Duration::from_millis(200);

/// What is seen of an epoch.
pub(super) struct Progress {
    /// Which epoch it is.
    name: String,
    /// Its steps.
    steps: usize,
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// When something was last shown, or the epoch began.
    last: Instant,
}

impl Progress {
    /// An epoch of so many steps.
    pub(super) fn new(name: String, steps: usize) -> Progress {
        let bar = io::stderr().is_terminal().then(|| ProgressBar::new(steps as u64).with_prefix(name.clone()));
        if let Some(bar) = &bar
            && let Ok(style) =
                ProgressStyle::with_template("{prefix}  {bar:32}  step {pos} of {len}, {eta} left  {msg}")
        {
            bar.set_style(style);
        }
        Progress { name, steps, bar, last: Instant::now() }
    }

    /// Whether it is time to show something.
    pub(super) fn is_due(&self) -> bool {
        self.last.elapsed() >= if self.bar.is_some() { PAUSE_OF_BAR } else { PAUSE }
    }

    /// So many steps are done; the loss of the last one.
    pub(super) fn step(&mut self, done: usize, loss: f64) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(format!("loss {loss:.4}"));
            }
            None if self.is_due() => eprintln!("{}  step {done} of {}  loss {loss:.4}", self.name, self.steps),
            None => return,
        }
        self.last = Instant::now();
    }

    /// All steps are done.
    pub(super) fn evaluating(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message("evaluating");
        }
    }

    /// Leaves the line to others.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
