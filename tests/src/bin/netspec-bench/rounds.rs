//! Rounds of a figure, and which of them count.

use netspec::Isa;
use serde_json::{Value, json};

use crate::{clock, peak};

/// A round's probe reaches this part of the best one, or the round is measured again.
const STEADY: f64 = 0.95;
/// How busy the cores may be before a round that uses them all.
const IDLE: f64 = 0.05;
/// How often a round is tried that does not count.
const TRIES: usize = 4;

/// All rounds of a run share the best probe.
pub(crate) struct Rounds {
    isa: Isa,
    by_wall: bool,
    best: f64,
}

/// The rounds of one figure.
pub(crate) struct Taken {
    pub(crate) samples: Vec<f64>,
    /// The lesser probe of each round, in GFLOP/s.
    probes: Vec<f64>,
    again: usize,
}

impl Rounds {
    pub(crate) fn new(isa: Isa, by_wall: bool) -> Rounds {
        Rounds { isa, by_wall, best: peak::probe(isa) }
    }

    fn probe(&mut self) -> f64 {
        let probe = peak::probe(self.isa);
        self.best = self.best.max(probe);
        probe
    }

    /// Measures so many rounds. One that was disturbed in every try still counts, with its probe; one without idle cores does not.
    pub(crate) fn take(&mut self, count: usize, mut round: impl FnMut() -> f64) -> Taken {
        let mut taken = Taken { samples: Vec::new(), probes: Vec::new(), again: 0 };
        for _ in 0..count {
            for last in (0..TRIES).map(|number| number + 1 == TRIES) {
                if self.by_wall && clock::busy().is_none_or(|busy| busy > IDLE) {
                    taken.again += 1;
                    continue;
                }
                let before = self.probe();
                let sample = round();
                let probe = before.min(self.probe());
                if last || probe >= STEADY * self.best {
                    taken.samples.push(sample);
                    taken.probes.push(probe);
                    break;
                }
                taken.again += 1;
            }
        }
        taken
    }
}

impl Taken {
    pub(crate) fn json(&self) -> Value {
        if self.samples.is_empty() {
            return json!({ "measured_again": self.again });
        }
        json!({
            "best": best(&self.samples),
            "median": median(&self.samples),
            "samples": self.samples,
            "probes": self.probes,
            "measured_again": self.again,
        })
    }
}

pub(crate) fn best(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(0.0, f64::max)
}

/// The middle one; of an even number the higher of both.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
