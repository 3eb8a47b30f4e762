//! Optimizers, schedules, penalties, clipping and accumulation against PyTorch, twenty steps of each: `tests/parity/training/make.py`.

use std::collections::BTreeMap;
use std::fs;

use netspec::network::{self, select, select_matrices};
use netspec::{
    Adam, AdamW, Clip, CrossEntropy, Optimizer, Penalty, Rates, Recipe, RmsProp, Schedule, Sgd, Stateful, WarmUp,
    Workspace,
};
use netspec_tests::reference::{relative_l2, root};
use safetensors::{Dtype, SafeTensors};

netspec::netspec! {
    model Small {
        input x [6];
        linear(8) as fc1;
        tanh;
        linear(3) as fc2;
    }
}

const BATCHES: usize = 20;
const SAMPLES: usize = 4;

/// How far our f32 and PyTorch's f64 may be apart behind twenty steps, of parameters and of losses: from 2e-8 to 4e-7 was measured.
const NEAR: f64 = 2e-6;

/// The fixture: every tensor by its name, in f64.
struct Fixture(BTreeMap<String, Vec<f64>>);

impl Fixture {
    fn read() -> Fixture {
        let path = root().join("tests/parity/training/optimizers.safetensors");
        let bytes = fs::read(path).expect("the fixture is there");
        let tensors = SafeTensors::deserialize(&bytes).expect("the fixture is whole");
        let numbers = |kind, data: &[u8]| -> Vec<f64> {
            match kind {
                Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes).into()).collect(),
                Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
                Dtype::I64 => data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f64).collect(),
                other => panic!("the fixture has no {other:?}"),
            }
        };
        let named = tensors.iter().map(|(name, tensor)| (name.to_owned(), numbers(tensor.dtype(), tensor.data())));
        Fixture(named.collect())
    }

    fn part(&self, name: &str) -> &[f64] {
        self.0.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
    }

    /// The names of cases, or of the learning rates' courses.
    fn cases(&self, are_rates: bool) -> Vec<&str> {
        let mut cases: Vec<&str> = self
            .0
            .keys()
            .filter_map(|name| name.split_once('/'))
            .filter_map(|(case, part)| match (case, part) {
                ("rates", course) => are_rates.then_some(course),
                (case, _) => (!are_rates).then_some(case),
            })
            .collect();
        cases.dedup();
        cases
    }

    /// The parameters of a case, or with the prefix `param.` those before the first step, as the model has them.
    fn params(&self, prefix: &str) -> Vec<f64> {
        let names = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];
        names.iter().flat_map(|name| self.part(&format!("{prefix}{name}")).to_vec()).collect()
    }
}

/// Twenty steps; compares losses and parameters. `rates` are for optimizers with a schedule.
fn check<O: Stateful>(fixture: &Fixture, case: &str, mut recipe: Recipe<O>, rates: Option<Rates>, groups: &[usize]) {
    let mut net = Small::new(0);
    for (param, value) in net.params_mut().iter_mut().zip(fixture.params("param.")) {
        *param = value as f32;
    }
    let inputs: Vec<[f32; 6]> =
        fixture.part("input").chunks_exact(6).map(|x| std::array::from_fn(|i| x[i] as f32)).collect();
    let labels: Vec<usize> = fixture.part("label").iter().map(|&label| label as usize).collect();
    let mut workspace = Workspace::with_threads(1);
    let (mut losses, mut batch) = (Vec::new(), 0);
    for (step, &group) in groups.iter().enumerate() {
        if let Some(rates) = rates {
            recipe.set_lr(rates.at(step as u64));
        }
        for _ in 0..group {
            let samples = batch * SAMPLES..(batch + 1) * SAMPLES;
            let (inputs, labels) = (&inputs[samples.clone()], &labels[samples]);
            let loss = net.step(&mut workspace, inputs, labels, &CrossEntropy, &mut recipe).expect("a batch");
            losses.push(f64::from(loss));
            batch += 1;
        }
        recipe.flush(net.params_mut());
    }
    assert_eq!(batch, BATCHES);
    let params: Vec<f64> = net.params().iter().copied().map(f64::from).collect();
    let apart = relative_l2(&params, &fixture.params(&format!("{case}/")), 0.0);
    let losses_apart = relative_l2(&losses, fixture.part(&format!("{case}/loss")), 0.0);
    println!("{case}: parameters {apart:.1e}, losses {losses_apart:.1e}");
    assert!(apart < NEAR, "{case}: parameters are {apart:.1e} apart");
    assert!(losses_apart < NEAR, "{case}: losses are {losses_apart:.1e} apart");
}

#[test]
fn twenty_steps_are_pytorchs() {
    let fixture = Fixture::read();
    let mut done: Vec<&str> = Vec::new();
    fn plain<O: Optimizer>(optimizer: O) -> Recipe<O> {
        Recipe::new(optimizer)
    }
    macro_rules! cases {
        ($($case:literal: $recipe:expr;)*) => {$(
            check(&fixture, $case, $recipe, None, &[1; BATCHES]);
            done.push($case);
        )*};
    }
    let sgd = || plain(Sgd::new(0.1));
    let of = |names: &[&str]| select::<Small>(names).expect("they are there");
    let matrices = select_matrices::<Small>(&[]).expect("they are there");
    cases! {
        "sgd": sgd();
        "sgd_momentum": plain(Sgd::new(0.1).momentum(0.9).dampening(0.1).weight_decay(0.01));
        "sgd_nesterov": plain(Sgd::new(0.1).momentum(0.9).nesterov(true));
        "adam": plain(Adam::new(0.01).betas(0.8, 0.99).weight_decay(0.01));
        "adamw": plain(AdamW::new(0.01));
        "adamw_decay": plain(AdamW::new(0.02).betas(0.8, 0.99).eps(1e-6).weight_decay(0.5));
        "rmsprop": plain(RmsProp::new(0.01));
        "rmsprop_momentum":
            plain(RmsProp::new(0.01).alpha(0.9).eps(1e-6).momentum(0.8).weight_decay(0.01));
        "rmsprop_centered": plain(RmsProp::new(0.01).alpha(0.9).centered(true));
        "rmsprop_all":
            plain(RmsProp::new(0.01).alpha(0.9).momentum(0.8).centered(true).weight_decay(0.01));
        "l1": sgd().penalty(Penalty::l1(0.01));
        "l2": sgd().penalty(Penalty::l2(0.02));
        "l2_weights": sgd().penalty_on(Penalty::l2(0.02), matrices.clone());
        "l2_fc1": sgd().penalty_on(Penalty::l2(0.02), of(&["fc1"]));
        "elastic": sgd().penalty(Penalty::elastic(0.01, 0.02));
        "clip_norm": sgd().clip(Clip::Norm(0.5));
        "clip_value": sgd().clip(Clip::Value(0.05));
        "freeze": plain(Adam::new(0.01).weight_decay(0.1)).freeze(of(&["fc1"])).clip(Clip::Norm(0.3));
    }

    let accumulated = plain(Sgd::new(0.1).momentum(0.9)).penalty(Penalty::l2(0.02)).accumulate(4);
    check(&fixture, "accumulate", accumulated, None, &[4, 2, 4, 4, 4, 2]);
    let all = plain(AdamW::new(0.0)).penalty(Penalty::l1(0.001)).clip(Clip::Norm(0.5));
    let schedule = Schedule::Cosine { t_max: None, eta_min: 0.001 };
    let warm_up = Some(WarmUp { epochs: 5, start: 0.1 });
    let rates = Rates { lr: 0.02, schedule, warm_up, epochs: 20, steps: 1 };
    check(&fixture, "all", all, Some(rates), &[1; BATCHES]);
    done.extend(["accumulate", "all"]);

    done.sort_unstable();
    assert_eq!(done, fixture.cases(false), "every case of the fixture is one here");
}

#[test]
fn learning_rates_are_pytorchs() {
    let fixture = Fixture::read();
    let plain = |schedule| Rates { lr: 0.1, schedule, warm_up: None, epochs: 24, steps: 1 };
    let cycle =
        |pct_start, div_factor, final_div_factor| Schedule::OneCycle { pct_start, div_factor, final_div_factor };
    let courses = [
        ("cosine", plain(Schedule::Cosine { t_max: None, eta_min: 0.01 })),
        ("cosine_again", plain(Schedule::Cosine { t_max: Some(8), eta_min: 0.0 })),
        ("exponential", plain(Schedule::Exponential { gamma: 0.9 })),
        // Five epochs of five steps.
        ("one_cycle", Rates { epochs: 5, steps: 5, ..plain(cycle(0.3, 25.0, 1e4)) }),
        ("one_cycle_slow", Rates { epochs: 5, steps: 5, ..plain(cycle(0.55, 5.0, 100.0)) }),
        ("step", plain(Schedule::Step { every: 5, gamma: 0.3 })),
        (
            "warm_up",
            Rates { warm_up: Some(WarmUp { epochs: 6, start: 0.2 }), ..plain(Schedule::Step { every: 4, gamma: 0.5 }) },
        ),
    ];
    assert_eq!(courses.map(|(course, _)| course).as_slice(), fixture.cases(true));
    for (course, rates) in courses {
        let wanted = fixture.part(&format!("rates/{course}"));
        for (step, &wanted) in wanted.iter().enumerate() {
            let found = rates.at(step as u64);
            // PyTorch goes from rate to rate, so that its roundings add up.
            assert!((found - wanted).abs() < 1e-13, "{course}, step {step}: {found}, wanted {wanted}");
        }
    }
}

#[test]
fn four_batches_are_one_of_four_times_the_size() {
    let inputs: Vec<[f32; 6]> =
        (0..32).map(|sample| std::array::from_fn(|i| ((7 * sample + 3 * i) % 11) as f32 / 5.0 - 1.0)).collect();
    let labels: Vec<usize> = (0..32).map(|sample| sample % 3).collect();
    let trained = |size: usize, batches: usize| {
        let mut net = Small::new(3);
        let mut recipe = Recipe::new(Sgd::new(0.1).momentum(0.9)).accumulate(batches);
        let mut workspace = Workspace::with_threads(1);
        for _ in 0..5 {
            for (inputs, labels) in inputs.chunks(size).zip(labels.chunks(size)) {
                net.step(&mut workspace, inputs, labels, &CrossEntropy, &mut recipe).expect("a batch");
            }
            recipe.flush(net.params_mut());
        }
        net.params().iter().copied().map(f64::from).collect::<Vec<_>>()
    };
    // Sums in another order.
    assert!(relative_l2(&trained(4, 4), &trained(16, 1), 0.0) < 1e-6);
    // 7 batches of 5 or fewer: a group of 4 and one of 3, of 20 and 12 samples.
    assert!(relative_l2(&trained(5, 4), &trained(20, 1), 0.0) < 1e-6);
}

/// Layers that the page freezes.
mod frozen {
    netspec::netspec! {
        model Small {
            input x [6];
            linear(8) as fc1;
            tanh;
            linear(5) as fc2;
            tanh;
            linear(3) as fc3;
        }
        train Small {
            loss cross_entropy;
            optimizer sgd(lr = 0.1);
            freeze [fc1, "fc3.weight", "fc3.bias"];
        }
    }
}

mod trained {
    netspec::netspec! {
        model Small {
            input x [6];
            linear(8) as fc1;
            tanh;
            linear(5) as fc2;
            tanh;
            linear(3) as fc3;
        }
    }
}

#[test]
fn no_gradient_is_made_of_frozen_layers() {
    let inputs: Vec<[f32; 6]> =
        (0..9).map(|sample| std::array::from_fn(|i| (sample as f32 - i as f32).sin())).collect();
    let labels = [0, 1, 2, 0, 1, 2, 0, 1, 2];
    let mut workspace = Workspace::with_threads(1);
    let (whole, part) = (trained::Small::new(1), frozen::Small::new(1));
    assert_eq!(whole.params(), part.params());
    let [mut of_whole, mut of_part] = [(); 2].map(|()| vec![f32::NAN; whole.params().len()]);
    let losses = [
        whole.gradients(&mut workspace, &inputs, &labels, &CrossEntropy, &mut of_whole),
        part.gradients(&mut workspace, &inputs, &labels, &CrossEntropy, &mut of_part),
    ];
    assert_eq!(losses[0], losses[1]);
    let places = |name: &str| network::select::<trained::Small>(&[name]).expect("it is there");
    for place in places("fc2") {
        assert_eq!(of_part[place.clone()], of_whole[place.clone()]);
        assert!(of_part[place].iter().all(|gradient| *gradient != 0.0));
    }
    for place in places("fc1").into_iter().chain(places("fc3")) {
        assert!(of_part[place].iter().all(|gradient| *gradient == 0.0));
    }
}
