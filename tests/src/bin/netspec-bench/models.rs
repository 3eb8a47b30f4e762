//! The models, and a call of each.

use std::fmt;
use std::time::Instant;

use netspec::network::{self, Network};
use netspec::{CrossEntropy, Error, Isa, Loss, Sample, Sgd, Workspace, random};
use serde_json::{Value, json};

use netspec_tests::clock::{self, cpu_seconds};

use crate::card::{self, Card, OnCard};

/// What a model is trained to or asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Forward, loss, backward, update.
    Train,
    /// Forward.
    Infer,
}

impl Pass {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pass::Train => "train",
            Pass::Infer => "infer",
        }
    }
}

/// What all measurements of a run share.
pub(crate) struct Setup {
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
}

/// A pass of a model over a batch of its own, again at each call.
type Call = Box<dyn FnMut()>;

/// A model that can be measured.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// Makes a call over a batch of so many images.
    call: fn(Pass, usize, &Setup) -> Call,
    /// Puts it on a card with batches of so many images.
    pub(crate) on_card: fn(Card, usize) -> Result<Box<dyn OnCard>, Error>,
}

/// Images a second.
pub(crate) struct Speed {
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    pub(crate) calls: usize,
}

/// Seconds that calls of one image took.
pub(crate) struct Times {
    pub(crate) first: f64,
    pub(crate) sorted: Vec<f64>,
}

impl Times {
    /// In microseconds.
    fn percentile(&self, percent: usize) -> f64 {
        self.sorted[(self.sorted.len() - 1) * percent / 100] * 1e6
    }

    pub(crate) fn json(&self) -> Value {
        let [p50, p99] = [50, 99].map(|percent| self.percentile(percent));
        json!({ "p50": p50, "p99": p99, "first": self.first * 1e6, "calls": self.sorted.len() })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [50, 99].map(|percent| self.percentile(percent));
        let (calls, first) = (self.sorted.len(), self.first * 1e6);
        write!(f, "p50 {p50:.1} us, p99 {p99:.1} us of {calls} calls; the first {first:.1} us")
    }
}

/// Calls before any clock runs.
pub(crate) const WARM_UP: usize = 10;

/// Calls of one image whose times are told, if they take no longer than [`MOST_ROUNDS`] rounds.
const CALLS: usize = 10_000;
const MOST_ROUNDS: f64 = 4.0;

impl Model {
    pub(crate) fn speed(&self, pass: Pass, batch: usize, setup: &Setup) -> Speed {
        let mut call = (self.call)(pass, batch, setup);
        (0..WARM_UP).for_each(|_| call());
        let clock::Speed { calls, cpu, wall } = clock::speed(setup.seconds, call);
        let images = (calls * batch) as f64;
        Speed { per_cpu_second: images / cpu, per_second: images / wall, calls }
    }

    /// Processor time of each call: a neighbour that runs in between is not in it.
    pub(crate) fn times(&self, pass: Pass, setup: &Setup) -> Times {
        let mut call = (self.call)(pass, 1, setup);
        let mut time = || {
            let begin = cpu_seconds();
            call();
            cpu_seconds() - begin
        };
        let first = time();
        let begin = Instant::now();
        let in_time = |count: &usize| *count == 0 || begin.elapsed().as_secs_f64() < MOST_ROUNDS * setup.seconds;
        let mut sorted: Vec<f64> = (0..CALLS).take_while(in_time).map(|_| time()).collect();
        sorted.sort_by(f64::total_cmp);
        Times { first, sorted }
    }
}

/// Numbers between -1 and 1.
pub(crate) fn numbers(count: usize) -> Vec<f32> {
    (0..count as u64).map(|at| 2.0 * random::unit(random::bits(&[at])) - 1.0).collect()
}

fn call<N>(pass: Pass, batch: usize, setup: &Setup) -> Call
where
    N: Network<Input: Sample, Output: Sample>,
    CrossEntropy: Loss<N::Output, Target = usize>,
{
    let mut workspace = Workspace::with_threads(setup.threads).with_isa(setup.isa);
    let mut model: N = network::new(0);
    let numbers = numbers(batch * N::Input::VALUES);
    let inputs = netspec::samples::<N>(&numbers).expect("whole samples").to_vec();
    match pass {
        Pass::Train => {
            let labels: Vec<usize> = (0..batch).map(|sample| sample % N::Output::VALUES).collect();
            // Small, so that the weights stay finite for as long as it takes.
            let mut sgd = Sgd::new(1e-3);
            Box::new(move || {
                network::step(&mut model, &mut workspace, &inputs, &labels, &CrossEntropy, &mut sgd).expect("a batch");
            })
        }
        Pass::Infer => {
            let zeros = vec![0.0; batch * N::Output::VALUES];
            let mut outputs = N::Output::of_flat(&zeros).expect("whole outputs").to_vec();
            Box::new(move || network::infer(&model, &mut workspace, &inputs, &mut outputs).expect("as many outputs"))
        }
    }
}

macro_rules! models {
    ($($module:ident = $path:literal $(, $param:ident = $value:literal)*;)*) => {
        mod specs {$(
            // The book keeps the bias before its batch norms.
            #[allow(deprecated)]
            pub(crate) mod $module {
                netspec::netspec!(pub(crate) Measured = $path $(, $param = $value)*);
            }
        )*}

        /// All of them.
        pub(crate) const MODELS: &[Model] = &[
            $(Model {
                name: stringify!($module),
                call: call::<specs::$module::Measured>,
                on_card: card::place::<specs::$module::Measured>,
            },)*
        ];
    };
}

models! {
    net = "../specs/net.yaml";
    width = "../specs/width.yaml";
    batch_norm = "../specs/batch_norm.yaml";
    res = "../specs/res.yaml";
    res_deep_10 = "../specs/res_deep.yaml", n_blocks = 10;
    res_deep_100 = "../specs/res_deep.yaml", n_blocks = 100;
    lenet_mnist = "../specs/lenet_mnist.yaml";
    fully_connected = "../specs/fully_connected.yaml";
    resnet18_cifar = "../specs/resnet18_cifar.yaml";
}
