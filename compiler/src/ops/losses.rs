//! Losses.

use super::{Arg, Choice, Decl, Kind, NumberRange, Value};

const OF: Arg = Arg::optional("of", Kind::Output, "the output it compares; a model of several names it");
const WEIGHT: Arg =
    Arg::optional("weight", Kind::Number(NumberRange::POSITIVE), "how much it counts among losses, 1 when absent");
const CLASS_WEIGHTS: Arg = Arg::optional(
    "class_weights",
    Kind::Numbers(NumberRange::NOT_NEGATIVE),
    "how much each class counts, 1 when absent",
);

/// Every loss; each is the mean over the batch, and over a map's positions or a value's elements.
pub static LOSSES: &[Decl] = &[
    Decl {
        name: "cross_entropy",
        aliases: &[],
        args: &[
            OF,
            WEIGHT,
            Arg::optional(
                "label_smoothing",
                Kind::Number(NumberRange::FRACTION),
                "the part of a target that is spread over all classes, 0 when absent",
            ),
            CLASS_WEIGHTS,
        ],
        docs: "`-log softmax(y)[label]`: takes logits `[classes]` and a label, or `[classes, h, w]` and a label for each position. Source: PyTorch, torch.nn.CrossEntropyLoss.",
    },
    Decl {
        name: "nll",
        aliases: &[],
        args: &[OF, WEIGHT, CLASS_WEIGHTS],
        docs: "`-y[label]`: takes logarithms of probabilities, as `log_softmax` gives, and labels, as `cross_entropy`. Source: PyTorch, torch.nn.NLLLoss.",
    },
    Decl {
        name: "mse",
        aliases: &[],
        args: &[OF, WEIGHT],
        docs: "The mean of `(y - target)^2`: takes any shape and a target of the same. Source: PyTorch, torch.nn.MSELoss.",
    },
    Decl {
        name: "l1",
        aliases: &[],
        args: &[OF, WEIGHT],
        docs: "The mean of `|y - target|`: takes any shape and a target of the same. Source: PyTorch, torch.nn.L1Loss.",
    },
    Decl {
        name: "smooth_l1",
        aliases: &[],
        args: &[
            OF,
            WEIGHT,
            Arg::optional(
                "beta",
                Kind::Number(NumberRange::NOT_NEGATIVE),
                "the distance below which it is a square, 1 when absent",
            ),
        ],
        docs: "The mean of `d^2 / (2 beta)` where `d = |y - target|` is below beta, and of `d - beta / 2` elsewhere. Source: PyTorch, torch.nn.SmoothL1Loss.",
    },
    Decl {
        name: "huber",
        aliases: &[],
        args: &[
            OF,
            WEIGHT,
            Arg::optional(
                "delta",
                Kind::Number(NumberRange::POSITIVE),
                "the distance up to which it is a square, 1 when absent",
            ),
        ],
        docs: "The mean of `d^2 / 2` where `d = |y - target|` is at most delta, and of `delta (d - delta / 2)` elsewhere. Source: PyTorch, torch.nn.HuberLoss.",
    },
    Decl {
        name: "bce_with_logits",
        aliases: &[],
        args: &[
            OF,
            WEIGHT,
            Arg::optional(
                "pos_weight",
                Kind::Numbers(NumberRange::NOT_NEGATIVE),
                "how much a yes counts: one number, or one for each of a flat output; 1 when absent",
            ),
        ],
        docs: "The mean of `-t log p - (1 - t) log (1 - p)`, `p = sigmoid(y)`: takes any shape and a target of the same, from 0 to 1. Source: PyTorch, torch.nn.BCEWithLogitsLoss.",
    },
];

/// Whether a loss compares classes with a label; else values with values.
pub fn takes_label(decl: &Decl) -> bool {
    matches!(decl.name, "cross_entropy" | "nll")
}

/// The numbers that a loss is given under a name; none when it is not.
pub fn numbers<'a>(loss: &'a Choice, name: &str) -> &'a [f64] {
    match loss.args.get(name) {
        Some(Value::Numbers(numbers)) => numbers,
        _ => &[],
    }
}
