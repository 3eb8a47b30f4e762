//! Rounds of a figure, and which of them count.

use netspec::Isa;
use netspec_tests::clock;
use serde_json::{Value, json};

use crate::peak;

/// A round's probe reaches this part of the best one, or the round is measured again.
const STEADY: f64 = 0.95;
/// How busy the cores may be before a round that uses them all.
const IDLE: f64 = 0.05;
/// How many rounds are tried for each that counts.
const TRIES: usize = 4;

/// All rounds of a run share the best probe.
pub(crate) struct Rounds {
    isa: Isa,
    by_wall: bool,
    best: f64,
}

/// The rounds of one figure that count.
pub(crate) struct Taken {
    pub(crate) samples: Vec<f64>,
    /// The lesser probe of each, in GFLOP/s.
    probes: Vec<f64>,
    tries: usize,
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

    /// Measures until so many rounds were steady. When that does not come, those with the best probes count; of wall clocks, none that
    /// did not begin on idle cores.
    pub(crate) fn take(&mut self, count: usize, mut round: impl FnMut() -> f64) -> Taken {
        let (mut rounds, mut tries) = (Vec::new(), 0);
        while tries < TRIES * count {
            let steady = rounds.iter().filter(|(probe, _)| *probe >= STEADY * self.best).count();
            if steady == count {
                break;
            }
            tries += 1;
            if self.by_wall && clock::busy().is_none_or(|busy| busy > IDLE) {
                continue;
            }
            let before = self.probe();
            let sample = round();
            rounds.push((before.min(self.probe()), sample));
        }
        rounds.sort_by(|(probe, _), (other, _)| other.total_cmp(probe));
        rounds.truncate(count);
        let (probes, samples) = rounds.into_iter().unzip();
        Taken { samples, probes, tries }
    }
}

impl Taken {
    pub(crate) fn json(&self) -> Value {
        if self.samples.is_empty() {
            return json!({ "tries": self.tries });
        }
        json!({
            "best": best(&self.samples),
            "median": median(&self.samples),
            "samples": self.samples,
            "probes": self.probes,
            "tries": self.tries,
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
