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
            PlanKind::Probe => (fuse::PlanKind::Probe, "probe"),
        };
        let outputs = checked.outputs.len();
        if kind == fuse::PlanKind::Training && outputs > 1 {
            writeln!(
                io::stderr(),
                "error: {} has {outputs} outputs, and training is of one; `--kind inference` has a plan",
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
