//! The crate of a program.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use netspec_compiler::check::Checked;
use netspec_compiler::emit::cuda::on_device;
use netspec_compiler::net::{Loss, Train};
use netspec_compiler::ops::{Choice, Value, losses};
use netspec_compiler::source::Sources;
use netspec_compiler::summary::summary;

use super::Problem;
use super::tricks::tricks;
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
        cuda: bool,
    ) -> Result<Package, Problem> {
        let main = main(checked, sources, origin, cuda);
        let dependency = netspec.dependency()?;
        let lock = netspec.lock();
        let mut hasher = DefaultHasher::new();
        (&main, &dependency, &lock).hash(&mut hasher);
        let name = format!("{}-{:016x}", checked.net.name.to_lowercase(), hasher.finish());
        let features = if cuda { "\"threads\", \"trainer\", \"cuda\"" } else { "\"threads\", \"trainer\"" };
        let manifest = format!(
            "\
[package]
name = \"{name}\"
version = \"0.0.0\"
edition = \"2024\"
publish = false

[dependencies]
netspec = {{ {dependency}, default-features = false, features = [{features}] }}

[profile.release]
opt-level = 3

[profile.dev.package.netspec]
opt-level = 3

[profile.dev.package.matrixmultiply]
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
fn main(checked: &Checked, sources: &Sources, origin: &str, cuda: bool) -> String {
    let mut model = model(checked, sources, origin);
    let (name, version, defaults) = (&checked.net.name, env!("CARGO_PKG_VERSION"), defaults(checked, origin));
    if cuda {
        model.push('\n');
        model.push_str(&on_device(checked, sources, name, origin));
    }
    let main = if cuda { "main_on_card" } else { "main" };
    format!(
        "\
//! Made by netc {version}.

{model}
/// What the spec says of the training.
const DEFAULTS: ::netspec::trainer::Defaults = {defaults};

fn main() -> ::std::process::ExitCode {{
    ::netspec::trainer::{main}::<{name}>(&DEFAULTS)
}}
"
    )
}

/// What the spec says of the training, and what the program must know of the model.
fn defaults(checked: &Checked, origin: &str) -> String {
    let shapes = |shapes: Vec<&Vec<u64>>| {
        let shapes: Vec<String> = shapes.iter().map(|shape| format!("&{shape:?}")).collect();
        format!("&[{}]", shapes.join(", "))
    };
    let inputs = shapes(checked.net.inputs.iter().filter_map(|input| input.shape.as_ref()).collect());
    let outputs = shapes(checked.outputs.iter().collect());
    let summary = table(&summary(checked));
    let train = checked.net.train.as_ref().map_or("None".to_owned(), |it| format!("Some({})", train(it)));
    format!(
        "::netspec::trainer::Defaults {{
    origin: {origin:?},
    summary: {summary:?},
    inputs: {inputs},
    outputs: {outputs},
    train: {train},
}}"
    )
}

/// A train section.
fn train(train: &Train) -> String {
    let Train { batch, epochs, shuffle, seed, .. } = train;
    let data = train.data.as_ref().map_or("None".to_owned(), |it| format!("Some({})", data(it)));
    let losses: Vec<String> = train.losses.iter().map(loss).collect();
    let losses = losses.join(", ");
    let eval_mode = if train.batch_statistics { "BatchStatistics" } else { "RunningStatistics" };
    let numerics = if train.exact { "Exact" } else { "Fast" };
    format!(
        "::netspec::trainer::Train {{
        data: {data},
        losses: &[{losses}],
        optimizer: {},
        batch: {batch},
        epochs: {epochs},
        shuffle: {shuffle},
        seed: {seed},
        eval_mode: ::netspec::trainer::EvalMode::{eval_mode},
        numerics: ::netspec::trainer::Numerics::{numerics},
        tricks: {},
    }}",
        optimizer(&train.optimizer),
        tricks(&train.tricks)
    )
}

/// A loss of an output.
fn loss(loss: &Loss) -> String {
    let choice = &loss.choice;
    let number = |name: &str, or: f64| literal(choice.args.number(name).unwrap_or(or));
    let numbers = |name: &str| {
        let numbers: Vec<f32> = losses::numbers(choice, name).iter().map(|&number| literal(number)).collect();
        format!("&{numbers:?}")
    };
    let kind = match choice.decl.name {
        "nll" => format!("Nll {{ class_weights: {} }}", numbers("class_weights")),
        "mse" => "Mse".to_owned(),
        "l1" => "L1".to_owned(),
        "smooth_l1" => format!("SmoothL1 {{ beta: {:?} }}", number("beta", 1.0)),
        "huber" => format!("Huber {{ delta: {:?} }}", number("delta", 1.0)),
        "bce_with_logits" => format!("BceWithLogits {{ pos_weight: {} }}", numbers("pos_weight")),
        _ => format!(
            "CrossEntropy {{ label_smoothing: {:?}, class_weights: {} }}",
            number("label_smoothing", 0.0),
            numbers("class_weights")
        ),
    };
    let (output, weight) = (loss.output.unwrap_or(0), number("weight", 1.0));
    format!(
        "::netspec::trainer::OutputLoss {{ output: {output}, weight: {weight:?}, \
         loss: ::netspec::trainer::Loss::{kind} }}"
    )
}

/// A number as f32: a literal beyond that would be an error of rustc.
fn literal(number: f64) -> f32 {
    (number as f32).clamp(f32::MIN, f32::MAX)
}

/// An optimizer; its arguments have the names of the fields, and their defaults are filled in.
fn optimizer(choice: &Choice) -> String {
    let kind = match choice.decl.name {
        "adam" => "Adam",
        "adamw" => "AdamW",
        "rmsprop" => "RmsProp",
        _ => "Sgd",
    };
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
            Some(Value::Numbers(numbers)) => numbers.iter().map(|&number| literal(number)).collect(),
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

#[cfg(test)]
mod tests {
    use netspec_compiler::source::Spelling;
    use netspec_compiler::{Main, Options, compile};

    use super::*;

    fn defaults_of(text: &str) -> String {
        let main = Main::Text { path: "x".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec };
        let outcome = compile(main, &Options::default(), &mut |_| Err(String::new()));
        defaults(outcome.checked.as_ref().expect("a right spec"), "specs/\"net\".yaml")
    }

    #[test]
    fn a_train_section_becomes_literals() {
        let spec = "\
model Net {
    input image [3, 32, 32];
    view(-1, 3072);
    linear(2);
}
train Net {
    data cifar10(classes = [bird, cat], mean = [0.5, 1e-9, 1e60], std = [1, 2, 3]);
    loss nll;
    optimizer sgd(lr = 1, momentum = 0.9, nesterov = true);
    batch 8; epochs 3; shuffle false; seed 7; eval_mode batch_statistics; numerics exact;
}";
        let text = defaults_of(spec);
        let (head, tail) = text.split_once("    summary: \"Net: 3 x 32 x 32 -> 2\\n\\nname").unwrap();
        assert_eq!(head, "::netspec::trainer::Defaults {\n    origin: \"specs/\\\"net\\\".yaml\",\n");
        let (_, tail) = tail.split_once('\n').unwrap();
        let expected = "    inputs: &[&[3, 32, 32]],
    outputs: &[&[2]],
    train: Some(::netspec::trainer::Train {
        data: Some(::netspec::trainer::Data { name: \"cifar10\", file: None, classes: &[\"bird\", \"cat\"], \
                        mean: &[0.5, 1e-9, 3.4028235e38], std: &[1.0, 2.0, 3.0] }),
        losses: &[::netspec::trainer::OutputLoss { output: 0, weight: 1.0, \
                        loss: ::netspec::trainer::Loss::Nll { class_weights: &[] } }],
        optimizer: ::netspec::trainer::Optimizer::Sgd { lr: 1.0, momentum: 0.9, dampening: 0.0, nesterov: true, weight_decay: 0.0 },
        batch: 8,
        epochs: 3,
        shuffle: false,
        seed: 7,
        eval_mode: ::netspec::trainer::EvalMode::BatchStatistics,
        numerics: ::netspec::trainer::Numerics::Exact,
        tricks: ::netspec::trainer::Tricks::NONE,
    }),
}";
        assert_eq!(tail, expected);
    }

    #[test]
    fn tricks_become_literals() {
        let text = defaults_of(
            "\
model Net {
    input image [3, 32, 32];
    conv(4, kernel = 3) as conv1;
    flatten;
    linear(2) as fc1;
}
train Net {
    data cifar10(classes = [bird, cat]);
    loss cross_entropy;
    optimizer rmsprop(momentum = 0.9);
    epochs 30;
    schedule cosine(eta_min = 1e-5);
    warm_up linear(5, start = 0.1);
    penalty [l2(0.001, on = [conv1, \"fc1.weight\"]), elastic(1e-4, l2 = 2, biases = false)];
    clip norm(1);
    accumulate 4;
    freeze conv1;
    augment [crop(4), flip, cutout(size = 8), mixup(1)];
    patience 7; keep best; monitor loss;
}",
        );
        let (_, tail) = text.split_once("        tricks: ").expect("tricks");
        let expected = "::netspec::trainer::Tricks {
            schedule: ::netspec::Schedule::Cosine { t_max: None, eta_min: 1e-5 },
            warm_up: Some(::netspec::WarmUp { epochs: 5, start: 0.1 }),
            penalties: &[::netspec::trainer::Penalty { l1: 0.0, l2: 0.001, on: &[\"conv1\", \"fc1.weight\"], biases: true }, \
                         ::netspec::trainer::Penalty { l1: 0.0001, l2: 2.0, on: &[], biases: false }],
            clip: Some(::netspec::Clip::Norm(1.0)),
            accumulate: 4,
            freeze: &[\"conv1\"],
            augment: &[::netspec::data::Augment::Crop { padding: 4 }, ::netspec::data::Augment::Flip { probability: 0.5 }, \
                       ::netspec::data::Augment::Cutout { size: 8 }, ::netspec::data::Augment::Mixup { alpha: 1.0 }],
            patience: Some(7),
            keep: ::netspec::trainer::Keep::Best,
            monitor: ::netspec::trainer::Monitor::Loss,
            ..::netspec::trainer::Tricks::NONE
        },
    }),
}";
        assert_eq!(tail, expected);
        let rmsprop = "RmsProp { lr: 0.01, alpha: 0.99, eps: 1e-8, momentum: 0.9, centered: false, weight_decay: 0.0 }";
        assert!(text.contains(rmsprop), "{text}");
    }

    #[test]
    fn other_specs_too() {
        let model =
            "model Two { input a [2]; input b [3]; concat(a, b); linear(1); } train Two { loss mse; optimizer adam; }";
        let text = defaults_of(model);
        assert!(text.contains("inputs: &[&[2], &[3]],") && text.contains("data: None,"), "{text}");
        let adam = "Adam { lr: 0.001, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }";
        assert!(text.contains(adam) && text.contains("loss: ::netspec::trainer::Loss::Mse }],"), "{text}");
        let text = defaults_of(
            "model M { input x [2]; linear(1); } train M { data safetensors(file = \"a \\\"b\\\"\"); loss mse; optimizer adam; }",
        );
        assert!(
            text.contains(r#"Data { name: "safetensors", file: Some("a \"b\""), classes: &[], mean: &[], std: &[] }"#),
            "{text}"
        );
        assert!(defaults_of("model M { input x [2]; linear(1); }").contains("train: None,"));
    }

    #[test]
    fn a_program_for_cards_is_built_with_the_feature() {
        let text = "model Net { input x [2]; linear(1); } train Net { loss mse; optimizer adam; }";
        let main = Main::Text { path: "x".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec };
        let outcome = compile(main, &Options::default(), &mut |_| Err(String::new()));
        let checked = outcome.checked.as_ref().expect("a right spec");
        let package = |cuda| Package::new(checked, &outcome.sources, "x", &Netspec::Registry, cuda).unwrap();
        let (with, without) = (package(true), package(false));
        assert!(with.manifest.contains(r#"features = ["threads", "trainer", "cuda"]"#), "{}", with.manifest);
        assert!(with.main.contains("OnDevice for Net"), "{}", with.main);
        assert!(with.main.contains("::netspec::trainer::main_on_card::<Net>(&DEFAULTS)"));
        assert!(without.manifest.contains(r#"features = ["threads", "trainer"]"#) && !without.main.contains("cuda"));
        assert_ne!(with.name, without.name);
    }

    #[test]
    fn the_crate_is_found_in_a_checkout_and_in_its_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let runtime = root.join("runtime").canonicalize().unwrap();
        for folder in [&root, &root.join("runtime")] {
            let Ok(Netspec::Folder(found)) = Netspec::find(Some(folder)) else { panic!("it is there") };
            assert_eq!(found, runtime);
        }
        assert!(Netspec::find(None).unwrap().lock().unwrap().contains("name = \"netspec\""));
        assert!(Netspec::find(Some(&root.join("compiler"))).is_err());
        assert_eq!(Netspec::Registry.dependency().unwrap(), format!("version = \"={}\"", env!("CARGO_PKG_VERSION")));
        let odd = Netspec::Folder(PathBuf::from("/a \"b\"\\c"));
        assert_eq!(odd.dependency().unwrap(), r#"path = "/a \"b\"\\c""#);
    }
}
