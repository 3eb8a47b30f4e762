//! What the tests of generated models share: data of the interpreter for the runtime, and what both draw.

use netspec::Optimizer;
use netspec_interpreter::{Draw, Samples};

pub(crate) fn narrow(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&number| number as f32).collect()
}

pub(crate) fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&number| f64::from(number)).collect()
}

/// A feed of inputs `[input][sample][element]`.
pub(crate) fn feed(inputs: &[Samples]) -> impl Fn(usize, usize, &mut [f32]) + Sync + '_ {
    |sample, input, to| to.iter_mut().zip(&inputs[input][sample]).for_each(|(to, &from)| *to = from as f32)
}

/// Leaves the parameters as they are.
pub(crate) struct Still;

impl Optimizer for Still {
    fn update(&mut self, _: &mut [f32], _: &[f32]) {}
}

/// The draw of the first step of a workspace, as the generated code keys it; `p` is the probability of each use of a dropout.
pub(crate) fn keeps(p: impl Fn(u32) -> f64) -> impl Fn(Draw) -> bool {
    move |draw| {
        let key = (u64::from(draw.of) << 32) + draw.iteration;
        let bits = netspec::random::bits(&[0, 0, key, draw.sample as u64, draw.unit as u64]);
        f64::from(netspec::random::unit(bits)) >= p(draw.of)
    }
}
