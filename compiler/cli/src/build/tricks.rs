//! The tricks of a training, as literals.

use netspec_compiler::net::Tricks;
use netspec_compiler::ops::{Choice, Value};

/// A `netspec::trainer::Tricks`, with those fields that are not the default.
pub(super) fn tricks(tricks: &Tricks) -> String {
    let mut fields: Vec<String> = Vec::new();
    let mut field = |name: &str, value: Option<String>| fields.extend(value.map(|value| format!("{name}: {value}")));
    let list = |of: &[Choice], item: fn(&Choice) -> String| {
        (!of.is_empty()).then(|| format!("&[{}]", of.iter().map(item).collect::<Vec<_>>().join(", ")))
    };
    field("schedule", tricks.schedule.as_ref().map(schedule));
    field("warm_up", tricks.warm_up.as_ref().map(|it| format!("Some({})", variant("WarmUp", it))));
    field("penalties", list(&tricks.penalties, penalty));
    field("clip", tricks.clip.as_ref().map(clip));
    field("accumulate", (tricks.accumulate > 1).then(|| tricks.accumulate.to_string()));
    let frozen: Vec<&str> = tricks.freeze.iter().map(|name| name.text.as_str()).collect();
    field("freeze", (!frozen.is_empty()).then(|| format!("&{frozen:?}")));
    field("augment", list(&tricks.augment, augment));
    field("patience", tricks.patience.map(|epochs| format!("Some({epochs})")));
    field("keep", tricks.best.then(|| "::netspec::trainer::Keep::Best".to_owned()));
    field("monitor", tricks.loss_says.then(|| "::netspec::trainer::Monitor::Loss".to_owned()));
    if fields.is_empty() {
        return "::netspec::trainer::Tricks::NONE".to_owned();
    }
    format!(
        "::netspec::trainer::Tricks {{
            {},
            ..::netspec::trainer::Tricks::NONE
        }}",
        fields.join(",\n            ")
    )
}

/// A struct or variant of the runtime; the arguments have the names of its fields.
fn variant(path: &str, choice: &Choice) -> String {
    let field = |name: &str, value: &Value| match value {
        Value::Number(number) => format!("{name}: {number:?}"),
        other => format!("{name}: {other}"),
    };
    let fields: Vec<String> = choice.args.0.iter().map(|bound| field(bound.name, &bound.value)).collect();
    match fields.as_slice() {
        [] => format!("::netspec::{path}"),
        fields => format!("::netspec::{path} {{ {} }}", fields.join(", ")),
    }
}

fn schedule(choice: &Choice) -> String {
    match choice.decl.name {
        "step" => variant("Schedule::Step", choice),
        "exponential" => variant("Schedule::Exponential", choice),
        "cosine" => {
            let t_max = choice.args.int("t_max").map(|int| int.value);
            let eta_min = choice.args.number("eta_min").unwrap_or_default();
            format!("::netspec::Schedule::Cosine {{ t_max: {t_max:?}, eta_min: {eta_min:?} }}")
        }
        "one_cycle" => variant("Schedule::OneCycle", choice),
        _ => "::netspec::Schedule::Constant".to_owned(),
    }
}

fn penalty(choice: &Choice) -> String {
    let number = |name: &str| choice.args.number(name).unwrap_or_default();
    let [l1, l2] = match choice.decl.name {
        "l1" => [number("factor"), 0.0],
        "l2" => [0.0, number("factor")],
        _ => ["l1", "l2"].map(number),
    };
    let on: Vec<&str> = match choice.args.get("on") {
        Some(Value::Words(names)) => names.iter().map(|name| name.text.as_str()).collect(),
        _ => Vec::new(),
    };
    let biases = choice.args.bool("biases");
    format!("::netspec::trainer::Penalty {{ l1: {l1:?}, l2: {l2:?}, on: &{on:?}, biases: {biases} }}")
}

fn clip(choice: &Choice) -> String {
    let kind = if choice.decl.name == "norm" { "Norm" } else { "Value" };
    format!("Some(::netspec::Clip::{kind}({:?}))", choice.args.number("largest").unwrap_or_default())
}

fn augment(choice: &Choice) -> String {
    let kind = match choice.decl.name {
        "crop" => "Crop",
        "flip" => "Flip",
        "cutout" => "Cutout",
        _ => "Mixup",
    };
    variant(&format!("data::Augment::{kind}"), choice)
}
