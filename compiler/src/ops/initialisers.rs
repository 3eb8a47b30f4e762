//! Initialisers of weights.

use super::{Arg, Args, Choice, Decl, Default, Kind, NumberRange, Value, Weight, elements, sizes};
use crate::diag::{Code, Diagnostic};
use crate::ir::Fill;
use crate::source::Span;

/// What a weight's gain follows, as in `torch.nn.init.calculate_gain`.
const NONLINEARITIES: &[&str] = &["linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu"];
const MODES: &[&str] = &["fan_in", "fan_out"];

static KAIMING_ARGS: [Arg; 3] = [
    Arg::with(
        "nonlinearity",
        Kind::Word(NONLINEARITIES),
        Default::Word("leaky_relu"),
        "what follows the layer; it sets the gain",
    ),
    Arg::with(
        "mode",
        Kind::Word(MODES),
        Default::Word("fan_in"),
        "keep the variance of values (fan_in) or of gradients (fan_out)",
    ),
    Arg::with("slope", Kind::Number(NumberRange::ANY), Default::Number(0.0), "of leaky_relu below 0"),
];

static XAVIER_ARGS: [Arg; 3] = [
    Arg::with(
        "nonlinearity",
        Kind::Word(NONLINEARITIES),
        Default::Word("linear"),
        "what follows the layer; it sets the gain",
    ),
    Arg::with("slope", Kind::Number(NumberRange::ANY), Default::Number(0.01), "of leaky_relu below 0"),
    Arg::with("gain", Kind::Number(NumberRange::ANY), Default::Number(1.0), "a factor beside the nonlinearity's gain"),
];

/// Every initialiser. A gain follows from the nonlinearity: 1 for linear and sigmoid, 5/3 for tanh, sqrt(2) for relu,
/// `sqrt(2 / (1 + slope^2))` for leaky_relu, 3/4 for selu (PyTorch, torch.nn.init.calculate_gain).
pub static INITIALISERS: &[Decl] = &[
    Decl {
        name: "kaiming_normal",
        aliases: &[],
        args: &KAIMING_ARGS,
        docs: "Normal with deviation `gain / sqrt(fan)`. Source: He et al. 2015; PyTorch, torch.nn.init.kaiming_normal_.",
    },
    Decl {
        name: "kaiming_uniform",
        aliases: &[],
        args: &KAIMING_ARGS,
        docs: "Uniform between `-b` and `b`, `b = gain * sqrt(3 / fan)`. Source: He et al. 2015; PyTorch, torch.nn.init.kaiming_uniform_.",
    },
    CONSTANT,
    Decl { name: "zeros", aliases: &[], args: &[], docs: "Every element 0. Source: PyTorch, torch.nn.init.zeros_." },
    Decl {
        name: "normal",
        aliases: &[],
        args: &[
            Arg::with("mean", Kind::Number(NumberRange::ANY), Default::Number(0.0), "the mean"),
            Arg::with("std", Kind::Number(NumberRange::NOT_NEGATIVE), Default::Number(1.0), "the standard deviation"),
        ],
        docs: "Normal. Source: PyTorch, torch.nn.init.normal_.",
    },
    Decl { name: "ones", aliases: &[], args: &[], docs: "Every element 1. Source: PyTorch, torch.nn.init.ones_." },
    Decl {
        name: "uniform",
        aliases: &[],
        args: &[
            Arg::with("a", Kind::Number(NumberRange::ANY), Default::Number(0.0), "the least"),
            Arg::with("b", Kind::Number(NumberRange::ANY), Default::Number(1.0), "the greatest"),
        ],
        docs: "Uniform between `a` and `b`. Source: PyTorch, torch.nn.init.uniform_.",
    },
    Decl {
        name: "truncated_normal",
        aliases: &[],
        args: &[
            Arg::with("mean", Kind::Number(NumberRange::ANY), Default::Number(0.0), "the mean, before it is truncated"),
            Arg::with(
                "std",
                Kind::Number(NumberRange::POSITIVE),
                Default::Number(1.0),
                "the standard deviation, before it is truncated",
            ),
            Arg::with(
                "a",
                Kind::Number(NumberRange::ANY),
                Default::Number(-2.0),
                "the least, a value and no number of deviations",
            ),
            Arg::with("b", Kind::Number(NumberRange::ANY), Default::Number(2.0), "the greatest"),
        ],
        docs: "Normal, numbers outside of `a` to `b` drawn again. Source: PyTorch, torch.nn.init.trunc_normal_.",
    },
    Decl {
        name: "xavier_normal",
        aliases: &[],
        args: &XAVIER_ARGS,
        docs: "Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`. Source: Glorot and Bengio 2010; PyTorch, torch.nn.init.xavier_normal_.",
    },
    Decl {
        name: "xavier_uniform",
        aliases: &[],
        args: &XAVIER_ARGS,
        docs: "Uniform between `-b` and `b`, `b = gain * sqrt(6 / (fan_in + fan_out))`. Source: Glorot and Bengio 2010; PyTorch, torch.nn.init.xavier_uniform_.",
    },
    Decl {
        name: "orthogonal",
        aliases: &[],
        args: &[Arg::with(
            "gain",
            Kind::Number(NumberRange::ANY),
            Default::Number(1.0),
            "length of each row or column",
        )],
        docs: "The weight as a matrix, its first dimension by all others: rows, or columns if these are fewer, at right angles to each \
               other and of length `gain`. Source: Saxe et al. 2013; PyTorch, torch.nn.init.orthogonal_.",
    },
    Decl {
        name: "values",
        aliases: &[],
        args: &[Arg::required("values", Kind::Table, "nested lists of numbers, of the weight's shape")],
        docs: "The numbers themselves, in lists nested as the weight's dimensions: `values([[0, 1], [1/2, -1]])`. Source: PyTorch, \
               `weight.copy_(torch.tensor(…))`.",
    },
];

const CONSTANT: Decl = Decl {
    name: "constant",
    aliases: &[],
    args: &[Arg::required("value", Kind::Number(NumberRange::ANY), "the number")],
    docs: "Every element the same number; a bare number means this too. Source: PyTorch, torch.nn.init.constant_.",
};

/// Why an initialiser cannot fill a vector; None when it can.
pub fn needs_matrix(decl: &Decl) -> Option<&'static str> {
    match decl.name {
        "orthogonal" => Some("needs rows and columns, which a vector does not have"),
        name if name.starts_with("kaiming") || name.starts_with("xavier") => {
            Some("needs fan in and fan out, which a vector does not have")
        }
        _ => None,
    }
}

/// The initialiser that a bare number means.
pub fn constant() -> &'static Decl {
    static DECL: Decl = CONSTANT;
    &DECL
}

/// What is wrong with arguments that are right each by itself: the place, the title and the label.
pub fn disagreement(choice: &Choice) -> Option<(Span, String, String)> {
    let number = |name| choice.args.number(name);
    let (a, b) = (number("a")?, number("b")?);
    let name = choice.decl.name;
    (a >= b).then(|| {
        let span = choice.args.span("b").or(choice.args.span("a")).unwrap_or(choice.span);
        (span, format!("`{name}` from {a} to {b} has nothing in it"), "`a` must be below `b`".to_owned())
    })
}

/// How one of a layer's weights is to be filled, if its arguments say it; the argument that does; and the shape that gives the fans, that
/// of the layer's weight.
fn choice<'a>(
    decl: &Decl,
    args: &'a Args,
    weight: &'a Weight,
    all: &'a [Weight],
) -> (Option<&'a Choice>, &'static str, Vec<u64>) {
    if let Some(Value::OwnWeights(own)) = args.get("weights") {
        let own = own.iter().find(|own| own.name.text == weight.name).map(|own| &own.init);
        return (own, "init", weight.shape.clone());
    }
    let of_weight = all.iter().find(|weight| weight.name == "weight").map_or(&weight.shape, |weight| &weight.shape);
    // A norm's weight is a vector of scales, whatever its shape.
    let is_scale = decl.args.iter().any(|arg| arg.name == "init_weight");
    let of_weight = if is_scale { vec![elements(of_weight)] } else { of_weight.clone() };
    let argument = match &*weight.name {
        "weight" if is_scale => "init_weight",
        "weight" => "init",
        _ => "init_bias",
    };
    let choice = match args.get(argument) {
        Some(Value::Init(choice)) if weight.trainable => Some(choice),
        _ => None,
    };
    (choice, argument, of_weight)
}

/// An error for each of a layer's weights that is given values of another shape; `layer` and `head` are the layer's name and place.
pub fn check(decl: &Decl, args: &Args, weights: &[Weight], layer: &str, head: Span) -> Vec<Diagnostic> {
    let wrong = |weight: &Weight| {
        let (choice, argument, _) = choice(decl, args, weight, weights);
        let choice = choice?;
        let Some(Value::Table(shape, _)) = choice.args.get("values") else { return None };
        (*shape != weight.shape).then(|| {
            let (given, wanted) = (sizes(shape), sizes(&weight.shape));
            let name = &weight.name;
            let title = format!("the values of `{argument}` are {given}, but the `{name}` of `{layer}` is {wanted}");
            Diagnostic::new(Code::N0402, title, choice.span, format!("these are {given}"))
                .label(head, format!("its `{name}` is {wanted}"))
                .note("lists are nested as PyTorch nests them: the last dimension innermost")
        })
    };
    weights.iter().filter_map(wrong).collect()
}

/// `torch.nn.init.calculate_gain`.
fn gain(nonlinearity: &str, slope: f64) -> f64 {
    match nonlinearity {
        "relu" => 2f64.sqrt(),
        "leaky_relu" => (2.0 / (1.0 + slope * slope)).sqrt(),
        "tanh" => 5.0 / 3.0,
        "selu" => 0.75,
        _ => 1.0,
    }
}

/// What one of a layer's weights is filled with: as its argument says, else PyTorch's default. Fans are those of the layer's weight:
/// inputs and outputs of an element, times the window's elements.
pub fn fill(decl: &Decl, args: &Args, weight: &Weight, all: &[Weight]) -> Fill {
    let (choice, _, of_weight) = choice(decl, args, weight, all);
    let taps = elements(of_weight.get(2..).unwrap_or_default()) as f64;
    let fan = |axis: usize| of_weight.get(axis).copied().unwrap_or(1) as f64 * taps;
    let is_matrix = of_weight.len() > 1;
    let Some(choice) = choice else {
        return match (&*weight.name, is_matrix) {
            ("running_var", _) | ("weight", false) => Fill::Constant(1.0),
            ("running_mean", _) | (_, false) => Fill::Constant(0.0),
            // Kaiming-uniform with a = sqrt(5), and the bias that goes with it.
            _ => Fill::Uniform(1.0 / fan(1).sqrt()),
        };
    };
    let number = |name| choice.args.number(name).unwrap_or_default();
    let word = |name| match choice.args.get(name) {
        Some(Value::Word(word)) => word.as_str(),
        _ => "",
    };
    let gain = gain(word("nonlinearity"), number("slope"));
    let kaiming = gain / fan(usize::from(word("mode") != "fan_out")).sqrt();
    let xavier = gain * number("gain") * (2.0 / (fan(0) + fan(1))).sqrt();
    match choice.decl.name {
        "kaiming_normal" => Fill::Normal(0.0, kaiming),
        "kaiming_uniform" => Fill::Uniform(kaiming * 3f64.sqrt()),
        "xavier_normal" => Fill::Normal(0.0, xavier),
        "xavier_uniform" => Fill::Uniform(xavier * 3f64.sqrt()),
        "normal" => Fill::Normal(number("mean"), number("std")),
        "uniform" => Fill::Between(number("a"), number("b")),
        "truncated_normal" => {
            Fill::Truncated { mean: number("mean"), std: number("std"), ends: [number("a"), number("b")] }
        }
        "orthogonal" => Fill::Orthogonal(number("gain")),
        "ones" => Fill::Constant(1.0),
        "values" => match choice.args.get("values") {
            Some(Value::Table(_, numbers)) => Fill::Values(numbers.clone()),
            _ => Fill::Constant(0.0),
        },
        _ => Fill::Constant(number("value")),
    }
}
