//! The compiler of netspec: a page describing a neural network is read, its shapes are proved, and it becomes plain Rust.
//!
//! It is pure: it reads files through a function the caller gives, prints nothing, and never panics on any text. The macro
//! and the command line tool are thin shells around [`compile`].

pub mod ast;
pub mod check;
pub mod diag;
pub mod differentiate;
pub mod emit;
pub mod fixes;
pub mod fuse;
pub mod ir;
pub mod layout;
pub mod limits;
pub mod lower;
pub mod net;
pub mod ops;
pub mod plan;
pub mod read;
pub mod receptive;
pub mod resolve;
pub mod schedule;
pub mod source;
pub mod summary;
pub mod target;

use diag::{Diagnostic, Findings};
use source::{Sources, Spelling};
pub use target::Target;

/// What is compiled.
#[derive(Clone, Debug)]
pub enum Main {
    /// A file, read through the caller's function; its ending tells the spelling.
    File(String),
    /// A text the caller holds already.
    Text {
        /// What to call it in diagnostics.
        path: String,
        /// The text.
        text: String,
        /// Its spelling.
        spelling: Spelling,
    },
}

/// What the caller sets.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values of the model's parameters, in place of their defaults.
    pub params: Vec<(String, i64)>,
    /// The machine the program is for.
    pub target: Target,
}

/// What a compilation gives, whether or not the spec is right.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every text that was read, the main one first (also one that could not be read, as an empty text).
    pub sources: Sources,
    /// The model's name, when the text has one, so that a macro can emit its items even on error.
    pub model_name: Option<String>,
    /// The proved model; present exactly when no diagnostic is an error.
    pub checked: Option<check::Checked>,
    /// Everything found, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    /// Whether the spec is right.
    pub fn is_ok(&self) -> bool {
        self.checked.is_some()
    }
}

/// Compiles a spec: the list of passes.
///
/// `read_file` gives the bytes of a path, or says why it cannot.
pub fn compile(main: Main, options: &Options, read_file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>) -> Outcome {
    let mut outcome = Outcome::default();
    let has_folder = matches!(main, Main::File(_));
    let Some(file) = read::load(main, read_file, &mut outcome.sources, &mut outcome.diagnostics) else {
        return outcome;
    };
    let specs = read::read(file, has_folder, read_file, &mut outcome.sources, &mut outcome.diagnostics);
    outcome.model_name = specs[0].model.as_ref().map(|model| model.name.text.clone());
    let mut findings = Findings::of_reading(outcome.diagnostics);
    if let Some(net) = resolve::resolve(&specs, options, &outcome.sources, &mut findings) {
        outcome.checked = check::check(net, &outcome.sources, options.target, &mut findings);
    }
    if findings.errors() > 0 {
        outcome.checked = None;
    }
    outcome.diagnostics = findings.told();
    outcome
}
