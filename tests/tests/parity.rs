//! The f64 interpreter against PyTorch.

use std::collections::BTreeSet;

use netspec_compiler::Target;
use netspec_compiler::fuse::{PlanKind, fuse};
use netspec_compiler::ir::Program;
use netspec_compiler::lower::lower;
use netspec_compiler::ops::LAYERS;
use netspec_interpreter::{Batch, Trace, pack, run};
use netspec_tests::parity::{Case, cases};
use netspec_tests::reference::training;

/// PyTorch ran in f64 too; what it found is stored in f32, each number within 2^-24 = 6e-8 of the truth. f32 implementations are
/// compared with 1e-5 for outputs and 1e-4 for gradients.
const TOLERANCE: f64 = 1e-7;
const STEPS: usize = 10;

fn trace(case: &Case, program: &Program, params: &[f64], statistics: &mut [f64]) -> Trace {
    let inputs = case.inputs();
    let loss = |sample: usize, y: &[f64]| case.loss(sample, y);
    let keeps = |draw| case.keeps(draw);
    run(program, params, statistics, &Batch { inputs: &inputs, loss: &loss, keeps: &keeps })
}

/// The output in evaluation mode.
fn evaluated(case: &Case, params: &[f64], statistics: &[f64]) -> Vec<f64> {
    let (program, folded) = fuse(lower(&case.checked), PlanKind::Inference, Target::Cpu);
    let (params, mut statistics) = pack(&program, &folded, params, statistics);
    trace(case, &program, &params, &mut statistics).outputs[0].concat()
}

fn agrees(case: &Case) -> Result<(), String> {
    let (mut params, mut statistics) = (case.params(), case.statistics());
    if case.loss.is_none() {
        return case.compare("output", &evaluated(case, &params, &statistics), TOLERANCE);
    }
    let program = training(&case.checked);
    let first = trace(case, &program, &params, &mut statistics);
    case.compare("output", &first.outputs[0].concat(), TOLERANCE)?;
    case.compare("loss", &[first.loss], TOLERANCE)?;
    case.compare_weights("grad", true, &first.gradient, TOLERANCE)?;
    case.compare_weights("stat_after", false, &statistics, TOLERANCE)?;
    let Some(lr) = case.lr else {
        return Ok(());
    };
    let mut gradient = first.gradient;
    for step in 0..STEPS {
        if step > 0 {
            gradient = trace(case, &program, &params, &mut statistics).gradient;
        }
        params.iter_mut().zip(&gradient).for_each(|(param, gradient)| *param -= lr * gradient);
    }
    case.compare_weights("trained", true, &params, TOLERANCE)?;
    case.compare_weights("trained", false, &statistics, TOLERANCE)?;
    case.compare("evaluated", &evaluated(case, &params, &statistics), TOLERANCE)
}

#[test]
fn the_interpreter_agrees_with_pytorch() {
    let problems: Vec<String> = cases().iter().filter_map(|case| agrees(case).err()).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_layer_has_a_case() {
    let cases = cases();
    let known = LAYERS.iter().filter(|layer| !layer.is_foreign());
    let all: BTreeSet<&str> = known.map(|layer| layer.decl().name).collect();
    // `layers` and `layers_norms`, say, are files of one kind.
    for kind in ["layers", "nonfinite"] {
        let of = cases.iter().filter(|case| case.file.starts_with(kind)).filter_map(|case| case.layer.as_deref());
        assert_eq!(of.collect::<BTreeSet<&str>>(), all, "tests/parity/make.py has a case for each layer in {kind}");
    }
}
