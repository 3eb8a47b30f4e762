//! Kinks: decisions that rounding may turn.
//!
//! ReLU passes a gradient above zero, other activations have bends of their own, and max-pooling passes it to the largest element. Two right runs of a model whose values differ
//! by rounding may decide differently where a value lies that close to zero, or two that close to each other; their gradients then
//! differ by far more than rounding, with nothing wrong. A gradient is right if it is that of the reference for some way to decide what
//! is so close, and what the reference decides otherwise it decides on a value that is no farther off than rounding.

use std::collections::HashMap;

use netspec_compiler::ir::{Item, Kind, Program, ValueId, Window};
use netspec_interpreter::Samples;

use crate::reference::norm;

/// How close is close, as a part of the root mean square of a sample's value: what outputs may be off by, too.
pub const CLOSE: f64 = 1e-5;

/// As many decisions as one run may turn. One is rare: of 2,142 runs of the specs two turned one, and none two.
const MOST: u32 = 3;

/// A decision that is close: an element of a value, and what it would be on the other side.
#[derive(Clone, Debug, PartialEq)]
pub struct Kink {
    value: ValueId,
    iterations: Vec<u64>,
    sample: usize,
    element: usize,
    other: f64,
}

/// Finds the decisions of a run that are close, and takes those of a run otherwise.
#[derive(Debug)]
pub struct Kinks {
    /// What reads a value, of those that decide.
    readers: HashMap<ValueId, Vec<Decider>>,
    /// Those that are close.
    pub found: Vec<Kink>,
}

#[derive(Clone, Debug)]
enum Decider {
    /// The derivative of an activation, which jumps at these.
    Bends(Vec<f64>),
    MaxPool(Window),
}

impl Kinks {
    /// Of a program whose nonlinearities are ops of their own.
    pub fn of(program: &Program) -> Kinks {
        let mut kinks = Kinks { readers: HashMap::new(), found: Vec::new() };
        kinks.body(&program.body);
        kinks
    }

    fn body(&mut self, body: &[Item]) {
        for item in body {
            match item {
                Item::Loop(looped) => self.body(&looped.body),
                Item::Op(op) => {
                    let decider = match op.kind {
                        Kind::Act(act) => Decider::Bends(act.kinks()),
                        Kind::Curve(curve) => Decider::Bends(curve.kinks()),
                        Kind::MaxPool(_, window) => Decider::MaxPool(window),
                        Kind::Conv(.., act) | Kind::Linear(.., act) | Kind::BatchNorm(_, _, act, _)
                            if !act.kinks().is_empty() =>
                        {
                            panic!("{:?} hides a decision", op.kind)
                        }
                        _ => continue,
                    };
                    self.readers.entry(op.reads[0]).or_default().push(decider);
                }
            }
        }
    }

    /// Looks at a value as it is written.
    pub fn look(&mut self, value: ValueId, iterations: &[u64], samples: &Samples) {
        for reader in self.readers.get(&value).into_iter().flatten() {
            for (sample, x) in samples.iter().enumerate() {
                let close = CLOSE * norm(x.iter().copied()) / (x.len() as f64).sqrt();
                let turned = match reader {
                    Decider::Bends(bends) => bends.iter().flat_map(|&bend| sides(x, bend, close)).collect(),
                    Decider::MaxPool(window) => maxima(window, x, close),
                };
                let kink = |(element, other)| Kink { value, iterations: iterations.to_vec(), sample, element, other };
                self.found.extend(turned.into_iter().map(kink));
            }
        }
    }

    /// Tries ways to decide what is close, the fewest turned first, until one is within `tolerance`; `apart` says how far one is. Gives
    /// the distance of the nearest, and what it turns.
    ///
    /// # Panics
    ///
    /// When more is close than random numbers explain.
    pub fn nearest(&self, tolerance: f64, mut apart: impl FnMut(&[&Kink]) -> f64) -> (f64, Vec<Kink>) {
        assert!(self.found.len() <= 12, "{} decisions are close", self.found.len());
        let mut ways: Vec<u32> = (0..1 << self.found.len()).filter(|way: &u32| way.count_ones() <= MOST).collect();
        ways.sort_by_key(|way| way.count_ones());
        let mut nearest = (f64::INFINITY, Vec::new());
        for way in ways {
            let turned = self.found.iter().enumerate().filter(|(at, _)| way >> at & 1 == 1).map(|(_, kink)| kink);
            let turned: Vec<&Kink> = turned.collect();
            let found = apart(&turned);
            if found < nearest.0 {
                nearest = (found, turned.into_iter().cloned().collect());
            }
            if found <= tolerance {
                break;
            }
        }
        nearest
    }
}

/// Turns decisions of a value as it is written.
pub fn turn(kinks: &[&Kink], value: ValueId, iterations: &[u64], samples: &mut Samples) {
    for kink in kinks.iter().filter(|kink| kink.value == value && kink.iterations == iterations) {
        samples[kink.sample][kink.element] = kink.other;
    }
}

/// The elements that are close to a bend, each with what it would be on the other side.
fn sides(x: &[f64], bend: f64, close: f64) -> Vec<(usize, f64)> {
    let near = x.iter().enumerate().filter(|(_, x)| (*x - bend).abs() < close);
    // A step that no sum with a number of the bend's size loses.
    let step = (bend.abs() * 1e-15).max(f64::MIN_POSITIVE);
    near.map(|(at, &x)| (at, if x > bend { bend - step } else { bend + step })).collect()
}

/// The elements that are close to the maximum of a window and not it, each as it would be above it. Equal ones are none: the first
/// of them is everybody's. Nor is a zero, which is what ReLU cuts to: it is on no side of anything, and passes no gradient.
fn maxima(window: &Window, x: &[f64], close: f64) -> Vec<(usize, f64)> {
    let plane = window.size.iter().product::<u64>() as usize;
    let mut found = Vec::new();
    for (channel, x) in x.chunks_exact(plane).enumerate() {
        for places in windows(window) {
            let max = places.iter().map(|&place| x[place]).fold(f64::NEG_INFINITY, f64::max);
            let near = places.into_iter().filter(|&place| x[place] != 0.0 && x[place] < max && x[place] > max - close);
            found.extend(near.map(|place| (channel * plane + place, max.next_up())));
        }
    }
    found
}

/// The places in a channel that each window sees.
fn windows(window: &Window) -> Vec<Vec<usize>> {
    let Window { size, out_size, kernel, stride, padding, dilation } = window;
    let cells = |sizes: [u64; 3]| {
        (0..sizes.iter().product())
            .map(move |at: u64| [at / sizes[2] / sizes[1], at / sizes[2] % sizes[1], at % sizes[2]])
    };
    let place = |out: [u64; 3], tap: [u64; 3]| {
        let along = |axis: usize| {
            let padded = out[axis] * stride[axis] + tap[axis] * dilation[axis];
            padded.checked_sub(padding[axis]).filter(|&place| place < size[axis])
        };
        Some(((along(0)? * size[1] + along(1)?) * size[2] + along(2)?) as usize)
    };
    cells(*out_size).map(|out| cells(*kernel).filter_map(|tap| place(out, tap)).collect()).collect()
}
