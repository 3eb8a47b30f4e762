//! `netc check`.

use std::io::{self, Write};

use netspec_compiler::Outcome;
use netspec_compiler::diag::{Code, render};
use netspec_compiler::summary::{Summary, summary};
use serde::Serialize;

use crate::Verdict;
use crate::args::{Check, CheckFormat};
use crate::compile::{compile, report, verdict};
use crate::text::{Inputs, Outputs, arrow};
use netspec_compiler::ops::thousands;

pub(crate) fn run(args: &Check) -> io::Result<Verdict> {
    let params = args.params.values();
    let mut worst = Verdict::Good;
    let mut explain: Option<Code> = None;
    for path in &args.files {
        let outcome = compile(path, params);
        print_findings(&outcome, args.format)?;
        let verdict = verdict(&outcome, args.deny_warnings);
        if verdict == Verdict::Good
            && let Some(checked) = &outcome.checked
        {
            print_model(&path.to_string_lossy(), &summary(checked), args.format)?;
        }
        worst = worst.max(verdict);
        explain = explain.or(outcome.diagnostics.iter().map(|diagnostic| diagnostic.code).min());
    }
    if let (Some(code), CheckFormat::Human) = (explain, args.format) {
        writeln!(io::stderr(), "`netc explain {code}` says more about it")?;
    }
    Ok(worst)
}

/// What was found; with `--format json` the standard output holds nothing but JSON lines.
fn print_findings(outcome: &Outcome, format: CheckFormat) -> io::Result<()> {
    match format {
        CheckFormat::Human => report(outcome),
        CheckFormat::Short => outcome
            .diagnostics
            .iter()
            .try_for_each(|diagnostic| writeln!(io::stderr(), "{}", render::short(diagnostic, &outcome.sources))),
        CheckFormat::Json => outcome
            .diagnostics
            .iter()
            .try_for_each(|diagnostic| writeln!(io::stdout(), "{}", render::json(diagnostic, &outcome.sources))),
    }
}

/// A right model, one line.
fn print_model(file: &str, summary: &Summary, format: CheckFormat) -> io::Result<()> {
    let Summary { model, parameters, .. } = summary;
    let line = match format {
        CheckFormat::Human | CheckFormat::Short => {
            format!("{file}: {model}, {} parameters, {}", thousands(*parameters), arrow(summary))
        }
        CheckFormat::Json => {
            let (input, output) = (Inputs(&summary.input), Outputs(&summary.output));
            serde_json::to_string(&Model { file, model, parameters: *parameters, input, output })?
        }
    };
    writeln!(io::stdout(), "{line}")
}

#[derive(Serialize)]
struct Model<'a> {
    file: &'a str,
    model: &'a str,
    parameters: u64,
    input: Inputs<'a>,
    output: Outputs<'a>,
}
