//! The crate of a program.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use netspec_compiler::check::Checked;
use netspec_compiler::net::Train;
use netspec_compiler::ops::{Choice, Value};
use netspec_compiler::source::Sources;
use netspec_compiler::summary::summary;

use super::Problem;
use crate::expand::model;
use crate::summary::table;

/// A crate, as text.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest: String,
    pub(super) main: String,
    /// The versions of what it depends on, where they are known.
    pub(super) lock: Option<String>,
}

impl Package {
    pub(super) fn new(
        checked: &Checked,
        sources: &Sources,
        origin: &str,
        netspec: &Netspec,
    ) -> Result<Package, Problem> {
        let main = main(checked, sources, origin);
        let dependency = netspec.dependency()?;
        let lock = netspec.lock();
        let mut hasher = DefaultHasher::new();
        (&main, &dependency, &lock).hash(&mut hasher);
        let name = format!("{}-{:016x}", checked.net.name.to_lowercase(), hasher.finish());
        let manifest = format!(
            "\
[package]
name = \"{name}\"
version = \"0.0.0\"
edition = \"2024\"
publish = false

[dependencies]
netspec = {{ {dependency}, default-features = false, features = [\"threads\", \"trainer\"] }}

[profile.release]
opt-level = 3

[profile.dev.package.netspec]
opt-level = 3

# A workspace of its own, whatever is around its folder.
[workspace]
"
        );
        Ok(Package { name, manifest, main, lock })
    }
}

/// Where the crate `netspec` is taken from.
#[derive(Debug)]
pub(super) enum Netspec {
    /// A folder.
    Folder(PathBuf),
    /// The registry, in netc's own version.
    Registry,
}

impl Netspec {
    /// What the user names, else the checkout that netc was built from, else the registry.
    pub(super) fn find(named: Option<&Path>) -> Result<Netspec, Problem> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let Some(named) = named else {
            return Ok(crate_in(&checkout).map_or(Netspec::Registry, Netspec::Folder));
        };
        let found = crate_in(named).map(Netspec::Folder);
        found.ok_or_else(|| {
            Problem::new(format!("the crate `netspec` is neither in {0} nor in {0}/runtime", named.display()))
        })
    }

    /// As a manifest names it.
    fn dependency(&self) -> Result<String, Problem> {
        match self {
            Netspec::Registry => Ok(concat!("version = \"=", env!("CARGO_PKG_VERSION"), "\"").to_owned()),
            Netspec::Folder(folder) => {
                let wrong = || Problem::new(format!("the folder {} has a name that is no UTF-8", folder.display()));
                // The escapes of JSON are TOML's.
                let text = serde_json::to_string(folder.to_str().ok_or_else(wrong)?);
                Ok(format!("path = {}", text.map_err(|_| wrong())?))
            }
        }
    }

    /// The lock file of its workspace, so that a program has the versions that its tests had.
    fn lock(&self) -> Option<String> {
        match self {
            Netspec::Registry => None,
            Netspec::Folder(folder) => fs::read_to_string(folder.parent()?.join("Cargo.lock")).ok(),
        }
    }
}

/// The folder of the crate `netspec`: this one, or `runtime` in it.
fn crate_in(folder: &Path) -> Option<PathBuf> {
    let is_netspec = |folder: &PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.split_whitespace().eq(["name", "=", "\"netspec\""]))
    };
    // Canonical, since the program's own folder is another one.
    [folder.to_owned(), folder.join("runtime")].into_iter().find(is_netspec)?.canonicalize().ok()
}

/// The text of `main.rs`: the model, what the spec says of its training, a `main`.
fn main(checked: &Checked, sources: &Sources, origin: &str) -> String {
    let model = model(checked, sources, origin);
    let (name, version) = (&checked.net.name, env!("CARGO_PKG_VERSION"));
    let shapes = |shapes: Vec<&Vec<u64>>| {
        let shapes: Vec<String> = shapes.iter().map(|shape| format!("&{shape:?}")).collect();
        format!("&[{}]", shapes.join(", "))
    };
    let inputs = shapes(checked.net.inputs.iter().filter_map(|input| input.shape.as_ref()).collect());
    let outputs = shapes(checked.outputs.iter().collect());
    let summary = table(&summary(checked));
    let train = checked.net.train.as_ref().map_or("None".to_owned(), |it| format!("Some({})", train(it)));
    format!(
        "\
//! Made by netc {version}.

{model}
/// What the spec says of the training.
const DEFAULTS: ::netspec::trainer::Defaults = ::netspec::trainer::Defaults {{
    origin: {origin:?},
    summary: {summary:?},
    inputs: {inputs},
    outputs: {outputs},
    train: {train},
}};

fn main() -> ::std::process::ExitCode {{
    ::netspec::trainer::main::<{name}>(&DEFAULTS)
}}
"
    )
}

/// A train section.
fn train(train: &Train) -> String {
    let Train { batch, epochs, shuffle, seed, .. } = train;
    let data = train.data.as_ref().map_or("None".to_owned(), |it| format!("Some({})", data(it)));
    let loss = match train.loss.decl.name {
        "nll" => "Nll",
        "mse" => "Mse",
        _ => "CrossEntropy",
    };
    let eval_mode = if train.batch_statistics { "BatchStatistics" } else { "RunningStatistics" };
    let numerics = if train.exact { "Exact" } else { "Fast" };
    format!(
        "::netspec::trainer::Train {{
        data: {data},
        loss: ::netspec::trainer::Loss::{loss},
        optimizer: {},
        batch: {batch},
        epochs: {epochs},
        shuffle: {shuffle},
        seed: {seed},
        eval_mode: ::netspec::trainer::EvalMode::{eval_mode},
        numerics: ::netspec::trainer::Numerics::{numerics},
    }}",
        optimizer(&train.optimizer)
    )
}

/// An optimizer; its arguments have the names of the fields, and their defaults are filled in.
fn optimizer(choice: &Choice) -> String {
    let kind = if choice.decl.name == "adam" { "Adam" } else { "Sgd" };
    let field = |name: &str, value: &Value| match value {
        Value::Number(number) => format!("{name}: {number:?}"),
        other => format!("{name}: {other}"),
    };
    let fields: Vec<String> = choice.args.0.iter().map(|bound| field(bound.name, &bound.value)).collect();
    format!("::netspec::trainer::Optimizer::{kind} {{ {} }}", fields.join(", "))
}

fn data(choice: &Choice) -> String {
    let args = &choice.args;
    let file = match args.get("file") {
        Some(Value::Text(file)) => Some(file),
        _ => None,
    };
    let classes: Vec<&str> = match args.get("classes") {
        Some(Value::Words(words)) => words.iter().map(|word| word.text.as_str()).collect(),
        _ => Vec::new(),
    };
    let numbers = |name: &str| -> Vec<f32> {
        match args.get(name) {
            // A literal beyond f32 would be an error of rustc.
            Some(Value::Numbers(numbers)) => {
                numbers.iter().map(|&number| (number as f32).clamp(f32::MIN, f32::MAX)).collect()
            }
            _ => Vec::new(),
        }
    };
    format!(
        "::netspec::trainer::Data {{ name: {:?}, file: {file:?}, classes: &{classes:?}, mean: &{:?}, std: &{:?} }}",
        choice.decl.name,
        numbers("mean"),
        numbers("std"),
    )
}
