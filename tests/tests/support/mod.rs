//! What the tests of the language share.

#![allow(dead_code)] // Each test uses its part.

use netspec_compiler::diag::Severity;
use netspec_compiler::source::Spelling;
use netspec_compiler::summary::summary;
use netspec_compiler::{Main, Options, Outcome, compile};

pub(crate) fn compile_with(text: &str, spelling: Spelling, params: &[(&str, i64)]) -> Outcome {
    let params = params.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let main = Main::Text { path: "spec".to_owned(), text: text.to_owned(), spelling };
    compile(main, &Options { params, ..Options::default() }, &mut |path| Err(format!("`{path}` is not to be read")))
}

pub(crate) fn netspec(text: &str) -> Outcome {
    compile_with(text, Spelling::Netspec, &[])
}

pub(crate) fn yaml(text: &str) -> Outcome {
    compile_with(text, Spelling::Yaml, &[])
}

/// A model of one input `x` of this shape.
pub(crate) fn model(input: &str, body: &str) -> String {
    format!("model Net {{ input x {input}; {body} }}")
}

/// What is found, one a line: the code, and the text that is blamed.
pub(crate) fn findings(outcome: &Outcome) -> Vec<String> {
    let found = outcome.diagnostics.iter();
    found.map(|finding| format!("{} {}", finding.code, outcome.sources.text(finding.primary()))).collect()
}

/// A right model in short, else what is found in it.
///
/// A layer is `name kind shape`, with its trainable parameters behind `=` if it has any and how often it runs behind `*` if
/// more than once; a layer inside another begins with `>`; warnings stand at the end.
pub(crate) fn told(outcome: &Outcome) -> String {
    let Some(checked) = &outcome.checked else {
        assert!(outcome.diagnostics.iter().any(|finding| finding.severity() == Severity::Error));
        return findings(outcome).join("; ");
    };
    let mut told: Vec<String> = Vec::new();
    for row in summary(checked).layers {
        let shape: Vec<String> = row.output.iter().map(u64::to_string).collect();
        let mut line = format!("{}{} {} {}", ">".repeat(row.depth), row.name, row.kind, shape.join("x"));
        if row.parameters > 0 {
            line += &format!(" ={}", row.parameters);
        }
        if row.times > 1 {
            line += &format!(" *{}", row.times);
        }
        told.push(line);
    }
    told.extend(findings(outcome));
    told.join("; ")
}

/// Compares what is told of each text with what is to be told, and shows all that differ.
#[track_caller]
pub(crate) fn compare(cases: impl IntoIterator<Item = (String, Outcome, String)>) {
    let mut problems = Vec::new();
    for (text, outcome, expected) in cases {
        let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = told(&outcome);
        if told.split_whitespace().collect::<Vec<_>>().join(" ") != expected {
            problems.push(format!("{text}\n  expected {expected}\n  but it is {told}\n"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
