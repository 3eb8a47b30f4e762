//! The generated text, whole, of two models: what a person reads in `netc expand`, and of one in `netc expand --cuda`.
//!
//! `NETSPEC_BLESS=1 cargo test -p netspec-tests --test expand` writes the files of `golden/` anew: read the difference.

use std::fs;
use std::path::Path;

use netspec_compiler::check::Checked;
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
    let cuda = |checked: &Checked, sources: &Sources| emit::cuda::program(checked, sources, "specs/net.yaml");
    golden("net.cu", "specs/net.yaml", &[], |checked, sources| cuda(checked, sources).expect("kernels").source);
}

#[test]
fn res_deep_of_three_blocks() {
    let origin = "specs/res_deep.yaml with n_blocks = 3";
    golden("res_deep_3.rs", "specs/res_deep.yaml", &[("n_blocks", 3)], rust(origin));
}
