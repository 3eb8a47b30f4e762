//! `netc plan`.

use std::io::{self, Write};

use netspec_compiler::emit::{passes, planned};
use netspec_compiler::fuse::PlanKind;

use crate::Verdict;
use crate::args::Plan;
use crate::compile::{compile, report, verdict};

pub(crate) fn run(args: &Plan) -> io::Result<Verdict> {
    let outcome = compile(&args.file, args.params.values());
    report(&outcome)?;
    if let Some(checked) = &outcome.checked {
        let mut out = io::stdout().lock();
        for (index, kind) in passes(checked).enumerate() {
            let name = match kind {
                PlanKind::Training => "training",
                PlanKind::Evaluation => "evaluation",
                PlanKind::Inference => "inference",
                PlanKind::Probe => "probe",
            };
            let rule = if index == 0 { "" } else { "\n" };
            write!(out, "{rule}{}, {name}\n\n{}", checked.net.name, planned(checked, kind).plan)?;
        }
    }
    Ok(verdict(&outcome, false))
}
