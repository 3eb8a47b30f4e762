//! The generated text of two models, whole: what a person reads in `netc expand`; and of one what is its own in `netc expand --cuda`, with
//! its launches.
//!
//! `NETSPEC_BLESS=1 cargo test -p netspec-tests --test expand` writes the files of `golden/` anew: read the difference.

use std::fs;
use std::path::Path;

use netspec_compiler::check::Checked;
use netspec_compiler::emit::cuda::{Arg, Grid, Launch, Pass, Program, Step};
use netspec_compiler::emit::{self, Naming};
use netspec_compiler::source::Sources;
use netspec_compiler::{Main, Options, compile};

fn golden(name: &str, spec: &str, params: &[(&str, i64)], text: impl FnOnce(&Checked, &Sources) -> String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let params = params.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let options = Options { params, ..Options::default() };
    let outcome = compile(Main::File(spec.to_owned()), &options, &mut |path| {
        fs::read(root.join(path)).map_err(|error| error.to_string())
    });
    let checked = outcome.checked.as_ref().expect("a right spec");
    let text = text(checked, &outcome.sources);
    let path = root.join("tests/golden").join(name);
    if std::env::var_os("NETSPEC_BLESS").is_some() {
        fs::write(&path, &text).expect("a golden can be written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        text == wanted,
        "{} differs from line {} on; NETSPEC_BLESS=1 writes it anew",
        path.display(),
        differs.map_or("the end".to_owned(), |line| (line + 1).to_string())
    );
    assert!(text.lines().all(|line| line.chars().count() <= 160), "lines fit a screen");
}

/// A model on a card, but for the families of kernels that all models share: its sizes and kernels, then what each pass launches.
fn cuda(program: &Program) -> String {
    let mut text = format!("// Behind {}:\n\n{}", program.families.join(", "), &program.source[program.own..]);
    for (name, Pass { arena, scratch: [fixed, of_sample], state, folded, fold, steps, .. }) in &program.passes {
        text += &format!(
            "\n// {name}, of n samples: {arena} n floats of values, {fixed} + {of_sample} n of scratch, {state} of state, {folded} folded\n"
        );
        text += &[launched(fold), launched(steps)].concat();
    }
    text
}

/// Steps, one a line: kernels, their blocks and threads, and what they are given.
fn launched(steps: &[Step]) -> String {
    let of_step = |step: &Step| match step {
        Step::Launch(launch) => format!("//     {}\n", launch_text(launch)),
        Step::ClearGradients => "//     gradients become 0\n".to_owned(),
        Step::Loss(kinds) => {
            let of_kinds: String =
                kinds.iter().map(|(_, launch)| format!("//     {}\n", launch_text(launch))).collect();
            format!("//     one of these, by the loss:\n{of_kinds}")
        }
        Step::Loop { .. } => unreachable!("the model has no repeat"),
    };
    steps.iter().map(of_step).collect()
}

fn launch_text(Launch { kernel, grid, threads, args }: &Launch) -> String {
    let Grid { fixed, of_sample, per_block, y, z } = grid;
    let args = args.iter().map(|arg| match arg {
        Arg::Value(at) => format!("value {}", at.first),
        Arg::Params(at) => format!("params {}", at.first),
        Arg::Gradients(at) => format!("gradients {}", at.first),
        other => format!("{other:?}"),
    });
    let args = args.collect::<Vec<_>>().join(", ");
    let items = match (fixed, of_sample) {
        (fixed, 0) => format!("{fixed}"),
        (0, 1) => "n".to_owned(),
        (0, of_sample) => format!("{of_sample} n"),
        (fixed, of_sample) => format!("({fixed} + {of_sample} n)"),
    };
    let items = if *per_block == 1 { items } else { format!("{items} / {per_block}") };
    let others = if (*y, *z) == (1, 1) { String::new() } else { format!(" x {y} x {z}") };
    format!("{kernel}, {items}{others} blocks of {threads}: {args}")
}

/// A model's Rust.
fn rust(origin: &str) -> impl FnOnce(&Checked, &Sources) -> String {
    move |checked, sources| {
        emit::program(checked, sources, Naming { visibility: "pub", name: &checked.net.name, origin })
    }
}

#[test]
fn net() {
    golden("net.rs", "specs/net.yaml", &[], rust("specs/net.yaml"));
}

#[test]
fn net_on_a_card() {
    let program = |checked: &Checked, sources: &Sources| emit::cuda::program(checked, sources, "specs/net.yaml");
    golden("net.cu", "specs/net.yaml", &[], |checked, sources| cuda(&program(checked, sources).expect("kernels")));
}

#[test]
fn res_deep_of_three_blocks() {
    let origin = "specs/res_deep.yaml with n_blocks = 3";
    golden("res_deep_3.rs", "specs/res_deep.yaml", &[("n_blocks", 3)], rust(origin));
}
