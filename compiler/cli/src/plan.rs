//! `netc plan`.

use std::io::{self, Write};

use netspec_compiler::emit::planned;
use netspec_compiler::fuse;
use netspec_compiler::ops::thousands;

use crate::Verdict;
use crate::args::{Plan, PlanKind};
use crate::compile::{compile, report, verdict};

pub(crate) fn run(args: &Plan) -> io::Result<Verdict> {
    let outcome = compile(&args.file, args.params.values());
    report(&outcome)?;
    if let Some(checked) = &outcome.checked {
        let (kind, name) = match args.kind {
            PlanKind::Training => (fuse::PlanKind::Training, "training"),
            PlanKind::Inference => (fuse::PlanKind::Inference, "inference"),
            PlanKind::Evaluation => (fuse::PlanKind::Evaluation, "evaluation"),
            PlanKind::InputGradients => (fuse::PlanKind::InputGradients, "input gradients"),
            PlanKind::Probe => (fuse::PlanKind::Probe, "probe"),
        };
        if kind == fuse::PlanKind::InputGradients && checked.net.inputs.iter().all(|input| !input.has_gradient) {
            writeln!(
                io::stderr(),
                "error: {} has no such pass; an input is declared `with gradient` (in YAML `gradient: true`) for it",
                checked.net.name
            )?;
            return Ok(Verdict::Usage);
        }
        let planned = planned(checked, kind);
        writeln!(io::stdout(), "{}, {name}", checked.net.name)?;
        write!(io::stdout(), "{}", planned.plan)?;
        let batch = checked.net.train.as_ref().map_or(64, |train| train.batch);
        let heap = thousands(planned.heap(batch, 1));
        writeln!(io::stdout(), "in all, for a batch of {batch} on one thread: {heap} bytes")?;
    }
    Ok(verdict(&outcome, false))
}
