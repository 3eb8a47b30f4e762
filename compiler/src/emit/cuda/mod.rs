//! Plan to CUDA C++: the text that `netc expand --cuda` prints, and the launches that run it.
//!
//! The text has the families of kernels that a model uses, `kernels/*.cuh`, then its sizes as constants, then its kernels: each calls a
//! function of a family with the sizes of one op, below the line of the spec that it comes from. A `repeat` is one kernel for each op of
//! its body, launched in a loop with other offsets.

mod calls;
mod launches;
mod source;

pub use launches::{Arg, Grid, Launch, Pass, Program, Step, Strided};

use super::{Planned, folded_len, lower_statistics, passes, planned_for};
use crate::check::Checked;
use crate::fuse::PlanKind;
use crate::net::LayerKind;
use crate::ops::elements;
use crate::source::Sources;
use crate::target::Target;
use calls::Emitter;
use source::{Source, Text};

/// A model for a graphics card; `origin` is where the spec is, as the user names it.
///
/// # Errors
///
/// Which layer runs on the processor alone, and why.
pub fn program(checked: &Checked, sources: &Sources, origin: &str) -> Result<Program, String> {
    runs_everywhere(checked, sources)?;
    let mut source = Source::default();
    let pass = |(kind, source): (PlanKind, &mut Source)| {
        let planned = planned_for(checked, kind, Target::Cuda);
        (field(kind), emit(checked, sources, &planned, source))
    };
    let emitted = passes(checked).map(|kind| pass((kind, &mut source))).collect();
    let head = format!("`{}`, from {origin}.", checked.net.name);
    let inputs = checked.net.inputs.iter().map(|input| input.shape.as_deref().map_or(0, elements)).collect();
    let output = |shape: &Vec<u64>| [elements(shape), shape[0], elements(shape) / shape[0]];
    let outputs = checked.outputs.iter().map(output).collect();
    let Text { text, families, own } = source.finish(&head);
    Ok(Program { source: text, families, own, inputs, outputs, passes: emitted })
}

/// The implementation of `netspec::cuda::program::OnDevice` for the struct of this name: Rust, beside that of [`super::program`].
pub fn on_device(checked: &Checked, sources: &Sources, name: &str, origin: &str) -> String {
    launches::on_device(name, &program(checked, sources, origin))
}

/// Says which layer has no kernel.
fn runs_everywhere(checked: &Checked, sources: &Sources) -> Result<(), String> {
    for layer in &checked.net.layers {
        if let LayerKind::Op(op) = &layer.kind
            && let Some(reason) = op.layer.cpu_only()
        {
            let (file, line) = (&sources.file(layer.head.file).path, sources.line(layer.head));
            let name = op.layer.decl().name;
            return Err(format!("{file}:{line}: `{name}` runs on the processor alone: {reason}"));
        }
    }
    Ok(())
}

/// The field of a pass, and what its kernels' names begin with.
fn field(kind: PlanKind) -> &'static str {
    match kind {
        PlanKind::Training => "train",
        PlanKind::Evaluation => "forward",
        PlanKind::Inference | PlanKind::Probe => "infer",
        PlanKind::InputGradients => "input_gradients",
    }
}

fn emit(checked: &Checked, sources: &Sources, planned: &Planned, source: &mut Source) -> Pass {
    let Planned { program, folded, plan, .. } = planned;
    let kind = plan.schedule.kind;
    let folded_len = if kind.infers() { folded_len(planned) } else { 0 };
    let folds = kind.infers().then_some(folded_len);
    let mut emitter = Emitter::new(checked, sources, planned, field(kind), folds, source);
    let mut fold = if folded_len > 0 { emitter.fold(folded, lower_statistics(program, folded)) } else { Vec::new() };
    let mut steps = if kind == PlanKind::Training { vec![Step::ClearGradients] } else { Vec::new() };
    let body = emitter.steps(&plan.schedule.steps);
    let packed = emitter.pack();
    if kind.infers() {
        fold.extend(packed)
    } else {
        steps.extend(packed)
    }
    steps.extend(body);
    let (state, folded) = emitter.weights_end();
    let result = |operand| {
        let address = plan.address(operand);
        (address.offset, address.len)
    };
    Pass {
        arena: plan.batch,
        scratch: emitter.scratch,
        state,
        folded,
        fold,
        steps,
        results: plan.schedule.outputs.iter().map(result).collect(),
    }
}
