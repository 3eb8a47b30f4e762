//! A layer is declared in one place, and that place is complete.
//!
//! The list is walked: what an issue asks of every layer from now on (a gradient check, a parity case, a CUDA kernel) becomes
//! one more test here over [`LAYERS`].

mod support;

use std::collections::HashMap;

use netspec_compiler::diag::Severity;
use netspec_compiler::net::LayerKind;
use netspec_compiler::ops::datasets::DATASETS;
use netspec_compiler::ops::initialisers::INITIALISERS;
use netspec_compiler::ops::losses::LOSSES;
use netspec_compiler::ops::optimizers::OPTIMIZERS;
use netspec_compiler::ops::tricks::{AUGMENTS, CLIPS, PENALTIES, SCHEDULES, WARM_UPS};
use netspec_compiler::ops::{Arg, Decl, Default, Kind, LAYERS, Layer};
use support::{findings, netspec};

/// A model whose input has a name that no example uses.
fn model(input: &str, body: &str) -> String {
    format!("model Net {{ input image {input}; {body} }}")
}

/// Words that begin statements or stand in them, and so cannot be called.
const STATEMENT_WORDS: &[&str] = &[
    "block", "model", "train", "use", "input", "output", "shared", "skip", "project", "branch", "repeat", "tied",
    "unrolled", "from", "as",
];

/// Every declaration, with what table it is of.
fn declarations() -> impl Iterator<Item = (&'static str, &'static Decl)> {
    let layers = LAYERS.iter().map(|layer| ("layer", decl(*layer)));
    let losses = LOSSES.iter().map(|decl| ("loss", decl));
    let optimizers = OPTIMIZERS.iter().map(|decl| ("optimizer", decl));
    let initialisers = INITIALISERS.iter().map(|decl| ("initialiser", decl));
    let datasets = DATASETS.iter().map(|dataset| ("data set", &dataset.decl));
    let tricks = TRICKS.iter().flat_map(|(table, decls)| decls.iter().map(|decl| (*table, decl)));
    layers.chain(losses).chain(optimizers).chain(initialisers).chain(datasets).chain(tricks)
}

/// The settings of a training whose values are of a table, and the tables.
static TRICKS: [(&str, &[Decl]); 5] =
    [("schedule", SCHEDULES), ("warm_up", WARM_UPS), ("penalty", PENALTIES), ("clip", CLIPS), ("augment", AUGMENTS)];

fn decl(layer: &'static dyn Layer) -> &'static Decl {
    layer.decl()
}

/// The names that call a declaration.
fn names(decl: &'static Decl) -> impl Iterator<Item = &'static str> {
    std::iter::once(decl.name).chain(decl.aliases.iter().map(|alias| alias.name))
}

/// Fails with all of `problems`, if there are any.
#[track_caller]
fn none(problems: impl IntoIterator<Item = String>) {
    let problems: Vec<String> = problems.into_iter().collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn everything_is_documented_with_its_source() {
    none(declarations().flat_map(|(table, decl)| {
        let Decl { name, docs, args, .. } = decl;
        let mut problems = Vec::new();
        if docs.trim().is_empty() || !docs.ends_with('.') || docs.contains("  ") {
            problems.push(format!("{table} {name}: `{docs}` is no sentence"));
        }
        // A file of one's own has no source to name.
        if !docs.contains("Source: ") && *name != "safetensors" {
            problems.push(format!("{table} {name}: no source of its formula"));
        }
        for arg in *args {
            if arg.docs.trim().is_empty() || arg.docs.ends_with('.') || arg.docs.contains('\n') {
                problems.push(format!("{table} {name}: `{}` of `{}` is no line for a user", arg.docs, arg.name));
            }
        }
        problems
    }));
}

#[test]
fn names_are_unique_and_can_be_called() {
    let tables = ["layer", "loss", "optimizer", "initialiser", "data set"].into_iter();
    for table in tables.chain(TRICKS.iter().map(|(table, _)| *table)) {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        none(declarations().filter(|(of, _)| *of == table).flat_map(|(_, decl)| {
            let taken = names(decl).filter_map(|name| {
                let first = seen.insert(name, decl.name)?;
                Some(format!("{table} {name} names both {first} and {}", decl.name))
            });
            taken.collect::<Vec<_>>()
        }));
    }
    none(declarations().flat_map(|(table, decl)| {
        let mut problems = Vec::new();
        for name in names(decl).chain(decl.args.iter().map(|arg| arg.name)) {
            let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if !is_name || STATEMENT_WORDS.contains(&name) {
                problems.push(format!("{table} {}: `{name}` cannot be written", decl.name));
            }
        }
        for (index, arg) in decl.args.iter().enumerate() {
            if decl.args[..index].iter().any(|before| before.name == arg.name) {
                problems.push(format!("{table} {}: `{}` twice", decl.name, arg.name));
            }
        }
        problems
    }));
}

#[test]
fn an_alias_says_its_rank_by_its_end() {
    for (_, decl) in declarations() {
        for alias in decl.aliases {
            assert!(
                (1..=3).contains(&alias.rank) && alias.name.ends_with(&format!("{}d", alias.rank)),
                "{}",
                alias.name
            );
        }
    }
}

/// Whether a default is one that the argument takes when written.
fn fits(arg: &Arg) -> bool {
    match (&arg.default, &arg.kind) {
        (Default::Required | Default::Absent, _) => true,
        (Default::Int(value), Kind::Integer(least) | Kind::PerAxis(least) | Kind::PerAxisOr(least, _)) => {
            value >= least
        }
        (Default::Number(number), Kind::Number(range)) => (range.holds)(*number) && number.is_finite(),
        (Default::Bool(_), Kind::Bool) => true,
        (Default::Word(word), Kind::Word(words)) => words.contains(word),
        _ => false,
    }
}

#[test]
fn defaults_are_of_their_argument_s_kind() {
    none(declarations().flat_map(|(table, decl)| {
        let wrong = decl.args.iter().filter(|arg| !fits(arg));
        wrong.map(|arg| format!("{table} {}: the default of `{}`", decl.name, arg.name)).collect::<Vec<_>>()
    }));
    // Only the first argument is positional, so an argument that takes all positions is the only one.
    for (_, decl) in declarations() {
        let takes_all = decl.args.iter().any(|arg| matches!(arg.kind, Kind::Values | Kind::Sizes));
        assert!(!takes_all || decl.args.len() == 1, "{}", decl.name);
    }
}

#[test]
fn no_range_holds_what_is_no_number() {
    for (table, decl) in declarations() {
        for arg in decl.args {
            if let Kind::Number(range) | Kind::Numbers(range) = &arg.kind {
                assert!(!(range.holds)(f64::NAN), "{table} {}: `{}` may be NaN", decl.name, arg.name);
            }
        }
    }
}

/// Whether a layer's name is called in a body.
fn is_called(layer: &'static dyn Layer, body: &str) -> bool {
    let words: Vec<&str> = body.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    names(decl(layer)).any(|name| words.contains(&name))
}

#[test]
fn the_good_example_of_a_layer_is_right() {
    none(LAYERS.iter().filter_map(|&layer| {
        let example = layer.example();
        let outcome = netspec(&model(example.input, example.good));
        let name = decl(layer).name;
        if !is_called(layer, example.good) {
            return Some(format!("{name}: `{}` does not call it", example.good));
        }
        (!outcome.is_ok()).then(|| format!("{name}: `{}` gives {:?}", example.good, findings(&outcome)))
    }));
}

#[test]
fn the_bad_example_of_a_layer_has_its_one_error() {
    none(LAYERS.iter().filter_map(|&layer| {
        let example = layer.example();
        let outcome = netspec(&model(example.input, example.bad));
        let errors = outcome.diagnostics.iter().filter(|finding| finding.severity() == Severity::Error);
        let codes: Vec<_> = errors.map(|finding| finding.code).collect();
        (codes != [example.error])
            .then(|| format!("{}: `{}` gives {:?}", decl(layer).name, example.bad, findings(&outcome)))
    }));
}

/// What has weights says so, since it takes a name in the state dict.
#[test]
fn a_layer_says_whether_it_has_weights() {
    for &layer in LAYERS {
        let name = decl(layer).name;
        let example = layer.example();
        let checked = netspec(&model(example.input, example.good)).checked.unwrap_or_else(|| panic!("{name}"));
        let is_of_this = |kind: &LayerKind| matches!(kind, LayerKind::Op(op) if op.layer.decl().name == name);
        let uses = checked.body.iter().filter(|node| is_of_this(&checked.net.layer(node.layer).kind));
        let have_weights: Vec<bool> = uses.map(|node| !node.weights.is_empty()).collect();
        assert!(!have_weights.is_empty() && have_weights.iter().all(|&has| has == layer.has_weights()), "{name}");
    }
}

/// Each loss, optimizer and initialiser can be written by its name alone or with its required arguments.
#[test]
fn what_a_training_calls_can_be_written() {
    let required = |decl: &Decl| {
        let args: Vec<String> = decl
            .args
            .iter()
            .filter(|arg| matches!(arg.default, Default::Required))
            .map(|arg| match &arg.kind {
                Kind::Text => format!("{} = \"a.safetensors\"", arg.name),
                Kind::Table => format!("{} = {:?}", arg.name, [[0.5; 10]; 10]),
                _ => format!("{} = 1", arg.name),
            })
            .collect();
        if args.is_empty() { decl.name.to_owned() } else { format!("{}({})", decl.name, args.join(", ")) }
    };
    let train = |loss: &str, optimizer: &str| {
        format!("model Net {{ input x [10]; linear(10); }} train Net {{ loss {loss}; optimizer {optimizer}; }}")
    };
    let mut texts = Vec::new();
    texts.extend(LOSSES.iter().map(|loss| train(&required(loss), "adam")));
    texts.extend(OPTIMIZERS.iter().map(|optimizer| train("mse", &required(optimizer))));
    texts.extend(TRICKS.iter().flat_map(|(setting, decls)| {
        decls.iter().map(move |decl| {
            let settings = format!("loss mse; optimizer adam; {setting} {};", required(decl));
            format!("model Net {{ input x [1, 4, 4]; flatten; linear(10); }} train Net {{ {settings} }}")
        })
    }));
    texts.extend(INITIALISERS.iter().map(|init| model("[10]", &format!("linear(10, init = {});", required(init)))));
    texts.extend(DATASETS.iter().map(|dataset| {
        let classes = dataset.classes.map_or(10, <[_]>::len);
        let shape = dataset.input.unwrap_or(&[10]);
        format!("model Net {{ input x {shape:?}; flatten; linear({classes}); }} train Net {{ data {}; loss cross_entropy; optimizer adam; }}", required(&dataset.decl))
    }));
    none(texts.into_iter().filter_map(|text| {
        let outcome = netspec(&text);
        (!outcome.diagnostics.is_empty()).then(|| format!("{text}: {:?}", findings(&outcome)))
    }));
}

#[test]
fn the_classes_of_a_data_set_are_distinct() {
    for dataset in DATASETS {
        let mut classes: Vec<&str> = dataset.classes.unwrap_or_default().to_vec();
        let count = classes.len();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), count, "{}", dataset.decl.name);
    }
}
