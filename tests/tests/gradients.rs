//! The f64 interpreter against itself: gradients by central differences, and the programs of one model against each other.

use std::collections::BTreeSet;

use netspec_compiler::Target;
use netspec_compiler::check::Checked;
use netspec_compiler::differentiate::differentiate_inputs;
use netspec_compiler::fuse::{PlanKind, fuse};
use netspec_compiler::ir::{Item, Kind, Op, Program, Store};
use netspec_compiler::lower::lower;
use netspec_compiler::ops::{LAYERS, elements};
use netspec_interpreter::{Batch, Samples, Trace, pack, run};
use netspec_tests::forms::{FORMS, WIRINGS, in_the_middle_text};
use netspec_tests::reference::{
    Numbers, Set, all_sets, compile_file, compile_text, keeps, models, mse, norm, relative_l2, small, training,
    unfused, verified,
};

/// A model and what it is run with.
struct Run {
    checked: Checked,
    params: Vec<f64>,
    statistics: Vec<f64>,
    inputs: Vec<Samples>,
    targets: Samples,
}

impl Run {
    /// Random weights, inputs and targets.
    fn new(checked: Checked, samples: usize, inputs: Option<Vec<Samples>>) -> Run {
        let mut numbers = Numbers(samples as u64);
        let (params, statistics) = numbers.weights(&lower(&checked));
        let inputs = inputs.unwrap_or_else(|| numbers.inputs(&checked, samples));
        let lens = checked.outputs.iter().map(|shape| elements(shape) as usize);
        let targets = lens.flat_map(|len| vec![len; samples]).map(|len| numbers.numbers(len)).collect();
        Run { checked, params, statistics, inputs, targets }
    }

    fn trace(&self, program: &Program, params: &[f64]) -> Trace {
        self.trace_with(program, params, &mut self.statistics.clone())
    }

    fn trace_with(&self, program: &Program, params: &[f64], statistics: &mut [f64]) -> Trace {
        let loss = |sample: usize, y: &[f64]| mse(y, &self.targets[sample]);
        run(program, params, statistics, &Batch { inputs: &self.inputs, loss: &loss, keeps: &keeps })
    }

    /// The programs of all plans, verified after each pass, and that they agree.
    fn plans_agree(&self) {
        let lowered = verified(lower(&self.checked));
        let unfused = unfused(&self.checked);
        let fused = training(&self.checked);
        let (mut before, mut after) = (self.statistics.clone(), self.statistics.clone());
        let a = self.trace_with(&unfused, &self.params, &mut before);
        let b = self.trace_with(&fused, &self.params, &mut after);
        // The same sums in the same order: not one bit differs.
        assert_eq!((&a.outputs, a.loss, &a.gradient, before), (&b.outputs, b.loss, &b.gradient, after));

        let probe = verified(fuse(lowered.clone(), PlanKind::Probe, Target::Cpu).0);
        let (inference, folded) = fuse(lowered, PlanKind::Inference, Target::Cpu);
        let inference = verified(inference);
        let (packed, mut statistics) = pack(&inference, &folded, &self.params, &self.statistics);
        let a = self.trace(&probe, &self.params);
        let b = self.trace_with(&inference, &packed, &mut statistics);
        for (a, b) in a.outputs.iter().flatten().zip(b.outputs.iter().flatten()) {
            // A folded weight is rounded once more than one that is not.
            let apart = relative_l2(b, a, 0.0);
            assert!(apart < 1e-12, "probe and inference differ by {apart}");
        }
    }

    /// The gradients of the inputs, as in inference, against central differences of the unfused program's loss.
    fn input_gradients_agree(&self) -> Result<(), String> {
        const STEP: f64 = 1e-5;
        let lowered = verified(lower(&self.checked));
        let probe = verified(fuse(lowered.clone(), PlanKind::Probe, Target::Cpu).0);
        let (program, folded) = fuse(lowered, PlanKind::InputGradients, Target::Cpu);
        let wanted = vec![true; self.inputs.len()];
        let program = verified(differentiate_inputs(verified(program), Target::Cpu, &wanted));
        let (packed, mut statistics) = pack(&program, &folded, &self.params, &self.statistics);
        let gradients = self.trace_with(&program, &packed, &mut statistics).outputs;
        let loss_at = |inputs: &[Samples]| {
            let nothing = |_: usize, _: &[f64]| (0.0, Vec::new());
            let batch = Batch { inputs, loss: &nothing, keeps: &keeps };
            let outputs = run(&probe, &self.params, &mut self.statistics.clone(), &batch).outputs;
            let losses = outputs.iter().flatten().zip(&self.targets).map(|(y, target)| mse(y, target).0);
            losses.sum::<f64>() / inputs[0].len() as f64
        };
        for (input, samples) in self.inputs.iter().enumerate() {
            let mut differences = samples.clone();
            for (sample, element) in (0..samples.len()).flat_map(|at| (0..samples[at].len()).map(move |to| (at, to))) {
                let at = |step: f64| {
                    let mut inputs = self.inputs.clone();
                    inputs[input][sample][element] += step;
                    loss_at(&inputs)
                };
                differences[sample][element] = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            }
            let (found, expected) = (gradients[input].concat(), differences.concat());
            // As of parameters.
            if relative_l2(&found, &expected, 0.1) > 1e-7 {
                return Err(format!("input {input}: {found:?}, by differences {expected:?}"));
            }
        }
        Ok(())
    }

    /// The gradient by central differences against that of `program`, each parameter by itself.
    ///
    /// The loss is of order 1, so a difference carries a rounding error of 1e-16 / STEP and, away from kinks, one of STEP^2 for the
    /// formula itself, both about 1e-11; a relative 1e-7 of gradients of order 0.01 and more leaves room for third derivatives, and
    /// a wrong formula is off by far more.
    fn gradients_agree(&self, program: &Program) -> Result<(), String> {
        const STEP: f64 = 1e-5;
        let gradient = self.trace(program, &self.params).gradient;
        let mut params = self.params.clone();
        let mut differences = Vec::new();
        for at in 0..params.len() {
            let mut loss_at = |value: f64| {
                params[at] = value;
                self.trace(program, &params).loss
            };
            let here = self.params[at];
            differences.push((loss_at(here + STEP) - loss_at(here - STEP)) / (2.0 * STEP));
            params[at] = here;
        }
        for (tensor, Set { name, offset }) in all_sets(program).filter(|(tensor, _)| tensor.trainable) {
            let of = offset..offset + elements(&tensor.shape) as usize;
            let (found, expected) = (&gradient[of.clone()], &differences[of]);
            // What is less than 0.1 counts as 0.1: the gradient of a bias before a batch norm is 0.
            if relative_l2(found, expected, 0.1) > 1e-7 {
                return Err(format!("{name}: {found:?}, by differences {expected:?}"));
            }
        }
        if gradient.iter().all(|gradient| gradient.abs() < 1e-3) {
            return Err("no gradient to speak of".to_owned());
        }
        Ok(())
    }
}

/// A layer between others, on a batch whose inputs pick one column each.
fn in_the_middle(shape: &str, layer: &str) -> Run {
    const SAMPLES: usize = 3;
    let text = in_the_middle_text(SAMPLES, shape, layer);
    let one_hot = |sample: usize| (0..SAMPLES).map(|at| f64::from(at == sample)).collect();
    Run::new(compile_text(&text), SAMPLES, Some(vec![(0..SAMPLES).map(one_hot).collect()]))
}

fn wired(body: &str) -> Run {
    Run::new(compile_text(&format!("model Wired {{ {body} }}")), 3, None)
}

#[test]
fn every_layer_in_the_middle_has_its_gradients() {
    // Those of layers of a user's own: tests/tests/custom.rs.
    for layer in LAYERS.iter().filter(|layer| !layer.is_foreign()) {
        let name = layer.decl().name;
        let mut forms = FORMS.iter().filter(|form| form.0 == name).peekable();
        assert!(forms.peek().is_some(), "`{name}` needs a line in FORMS");
        for (_, shape, statements) in forms {
            let run = in_the_middle(shape, statements);
            let uses_it = run.checked.net.to_string().contains(&format!("= {name}"));
            assert!(uses_it, "{statements}");
            run.plans_agree();
            run.gradients_agree(&training(&run.checked))
                .unwrap_or_else(|problem| panic!("[{shape}] {statements} {problem}"));
            run.input_gradients_agree().unwrap_or_else(|problem| panic!("[{shape}] {statements} {problem}"));
        }
    }
}

#[test]
fn unusual_wirings_have_their_gradients() {
    for (what, body) in WIRINGS {
        println!("{what}");
        let run = wired(body);
        run.plans_agree();
        run.gradients_agree(&training(&run.checked)).unwrap_or_else(|problem| panic!("{what}: {problem}"));
        run.input_gradients_agree().unwrap_or_else(|problem| panic!("{what}: {problem}"));
    }
}

/// The `at`th op of a body, counted through its loops.
fn op_at<'a>(body: &'a mut [Item], at: &mut usize) -> Option<&'a mut Op> {
    for item in body {
        match item {
            Item::Op(op) if *at == 0 => return Some(op),
            Item::Op(_) => *at -= 1,
            Item::Loop(looped) => {
                if let Some(op) = op_at(&mut looped.body, at) {
                    return Some(op);
                }
            }
        }
    }
    None
}

#[test]
fn the_check_finds_each_backward_op_that_is_missing() {
    let kinds = backward_ops_that_are_missed(
        "input x [2, 4, 4]; conv(2, kernel = 3, padding = 1) as a; tanh; batch_norm; \
         repeat 2 { skip { conv(2, kernel = 3, padding = 1); relu; } } max_pool(2) as b; from a; avg_pool(2) as c; \
         concat(b, c); dropout(0.2); log_softmax; flatten; linear(3); sigmoid;",
    );
    for kind in ["ConvGradInput", "MaxPoolGrad", "AvgPoolGrad", "BatchNormGrad", "Slice", "LinearGradWeight"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind} is in {kinds:?}");
    }
    let kinds = backward_ops_that_are_missed(
        "input x [2, 2, 2]; conv(4, kernel = 1) as v; narrow(1, start = 1, length = 2); permute(0, 2, 1, 3); conv(4, kernel = 1); \
         zero_pad((0, 1, 1, 0)); tanh; channel_shuffle(2); upsample(2, mode = bilinear) as map; global_avg_pool; sigmoid as gate; \
         multiply(map, gate); avg_pool(3); flatten; linear(3); sigmoid;",
    );
    for kind in ["Place", "Permute", "Frame", "Shuffle", "ResampleGrad", "Mul", "MulSum"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind} is in {kinds:?}");
    }
}

/// Leaves out one backward op of a model after the other, and asserts that the check finds each; gives their kinds.
fn backward_ops_that_are_missed(body: &str) -> Vec<String> {
    let run = wired(body);
    let program = training(&run.checked);
    run.gradients_agree(&program).expect("the whole program is right");
    let mut kinds = Vec::new();
    let mut is_backward = false;
    for at in 0.. {
        let mut broken = program.clone();
        let Some(op) = op_at(&mut broken.body, &mut { at }) else { break };
        is_backward |= matches!(op.kind, Kind::Loss(_));
        if !is_backward || matches!(op.kind, Kind::Loss(_) | Kind::Zero) {
            continue;
        }
        kinds.push(format!("{:?}", op.kind).split('(').next().unwrap_or_default().to_owned());
        // What it would write becomes 0; what it would add, it does not.
        (op.kind, op.reads) = (Kind::Zero, Vec::new());
        op.writes.retain(|(_, store)| *store == Store::Write);
        let kind = &kinds[kinds.len() - 1];
        assert!(run.gradients_agree(&broken).is_err(), "nothing is found without {kind}, op {at}");
    }
    kinds
}

/// The derivative along one direction, for models with too many parameters to try each.
fn gradients_agree_along(run: &Run, program: &Program) -> Result<(), String> {
    const STEP: f64 = 1e-6;
    let direction = Numbers(99).numbers(run.params.len());
    let length = norm(direction.iter().copied());
    let loss_at = |step: f64| {
        let moved = run.params.iter().zip(&direction).map(|(param, d)| param + step * d / length);
        run.trace(program, &moved.collect::<Vec<f64>>()).loss
    };
    let difference = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
    let gradient = run.trace(program, &run.params).gradient;
    let found = gradient.iter().zip(&direction).map(|(g, d)| g * d / length).sum::<f64>();
    // Rounding errors of 1e-16 / STEP; kinks between the two points, of which a large map with relu has some, shift it by as much as
    // they are apart.
    let bound = 1e-5 * norm(gradient.iter().copied());
    if (found - difference).abs() <= bound { Ok(()) } else { Err(format!("{found}, by differences {difference}")) }
}

#[test]
fn every_spec_has_its_gradients() {
    let names = models();
    assert!(names.len() >= 27);
    for name in names {
        let path = format!("specs/{name}.netspec");
        let run = Run::new(compile_file(&path, small(&name)), 2, None);
        let program = training(&run.checked);
        assert_eq!(program.params, run.checked.parameters, "{path}");
        run.plans_agree();
        gradients_agree_along(&run, &program).unwrap_or_else(|problem| panic!("{path}: {problem}"));
    }
}

#[test]
fn each_weight_has_its_own_place_and_name() {
    let models = WIRINGS.iter().map(|(_, body)| compile_text(&format!("model Wired {{ {body} }}")));
    for checked in models {
        let program = lower(&checked);
        assert_eq!(program.params, checked.parameters);
        let mut owners = [vec![None; program.params as usize], vec![None; program.statistics as usize]];
        let mut names = BTreeSet::new();
        for (tensor, Set { name, offset }) in all_sets(&program) {
            assert!(!name.contains('*') && names.insert(name.clone()), "{name}");
            let floats = &mut owners[usize::from(!tensor.trainable)][offset..][..elements(&tensor.shape) as usize];
            for owner in floats {
                assert_eq!(owner.replace(name.clone()), None, "{name}");
            }
        }
        assert!(owners.iter().flatten().all(Option::is_some), "{names:?}");
    }
}

#[test]
fn names_of_nested_repeats_have_an_index_for_each() {
    let names = |body: &str| -> Vec<String> {
        let checked = compile_text(&format!("model Names {{ input x [2]; {body} }}"));
        all_sets(&lower(&checked)).map(|(_, set)| set.name).filter(|name| name.ends_with("weight")).collect()
    };
    let separate = ["o.0.i.0.l.weight", "o.0.i.1.l.weight", "o.1.i.0.l.weight", "o.1.i.1.l.weight"];
    assert_eq!(names("repeat 2 as o { repeat 2 as i { linear(2) as l; } }"), separate);
    assert_eq!(names("repeat 2 as o { repeat 2 tied as i { linear(2) as l; } }"), [separate[0], separate[2]]);
    assert_eq!(names("repeat 2 tied as o { repeat 2 as i { linear(2) as l; } }"), separate[..2]);
    assert_eq!(names("repeat 2 tied as o { repeat 2 tied as i { linear(2) as l; } }"), separate[..1]);
}

/// Runs the inference program of a model on one input.
fn infer(body: &str, params: &[f64], input: &[&[f64]]) -> Samples {
    let checked = compile_text(&format!("model Infer {{ {body} }}"));
    let (program, _) = fuse(lower(&checked), PlanKind::Inference, Target::Cpu);
    let inputs = [input.iter().map(|sample| sample.to_vec()).collect()];
    let loss = |_: usize, _: &[f64]| unreachable!("inference has no loss");
    run(&program, params, &mut [], &Batch { inputs: &inputs, loss: &loss, keeps: &keeps }).outputs.remove(0)
}

#[test]
fn the_worked_convolution() {
    let outputs = infer(
        "input x [1, 2]; conv(1, kernel = 2, bias = false);",
        &[1.5199, 0.8276],
        &[&[-1.3681, 0.8410], &[-1.1009, 0.0678]],
    );
    for (output, expected) in outputs.iter().zip([-1.3833, -1.6172]) {
        assert_eq!(output.len(), 1);
        // The example's four decimals, twice rounded.
        assert!((output[0] - expected).abs() < 1e-4, "{output:?}");
    }
}

#[test]
fn kernels_set_by_hand() {
    let image: Vec<f64> = Numbers(5).numbers(36);
    let body = "input x [1, 6, 6]; conv(1, kernel = 3, padding = 1);";
    let blurred = infer(body, &[vec![1.0 / 9.0; 9], vec![0.0]].concat(), &[&image]);
    let edges = infer(body, &[-1.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0, 0.0, 1.0, 0.0], &[&image]);
    let pixel = |row: usize, column: usize| {
        // One beside the image has been added to each.
        let inside = (1..=6).contains(&row) && (1..=6).contains(&column);
        if inside { image[(row - 1) * 6 + column - 1] } else { 0.0 }
    };
    for row in 1..=6 {
        for column in 1..=6 {
            let column_sum = |column: usize| (row - 1..=row + 1).map(|row| pixel(row, column)).sum::<f64>();
            let at = (row - 1) * 6 + column - 1;
            let mean = (column_sum(column - 1) + column_sum(column) + column_sum(column + 1)) / 9.0;
            assert!((blurred[0][at] - mean).abs() < 1e-12);
            assert!((edges[0][at] - (column_sum(column + 1) - column_sum(column - 1))).abs() < 1e-12);
        }
    }
}

#[test]
fn a_trace_shows_each_iteration() {
    let run = wired("input x [1]; repeat 3 as r { linear(1, bias = false) as l; tanh as t; }");
    let program = verified(fuse(lower(&run.checked), PlanKind::Probe, Target::Cpu).0);
    let trace = run.trace(&program, &run.params);
    let mut x = run.inputs[0].clone();
    for (iteration, weight) in run.params.iter().enumerate() {
        for (name, act) in [("r.*.l", false), ("r.*.t", true)] {
            x.iter_mut().for_each(|x| x[0] = if act { x[0].tanh() } else { weight * x[0] });
            let values = trace.named(&program, name);
            assert_eq!(values.len(), 3);
            assert_eq!(values[iteration], (&[iteration as u64][..], &x));
        }
    }
    assert_eq!(trace.outputs, [x]);
}
