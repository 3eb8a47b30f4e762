//! Optimizers.

use super::{Arg, Decl, Default, Kind, NumberRange};

const WEIGHT_DECAY: Arg = Arg::with(
    "weight_decay",
    Kind::Number(NumberRange::NOT_NEGATIVE),
    Default::Number(0.0),
    "adds this times each parameter, biases too, to its gradient",
);

/// Every optimizer.
pub static OPTIMIZERS: &[Decl] = &[
    Decl {
        name: "sgd",
        aliases: &[],
        args: &[
            Arg::required("lr", Kind::Number(NumberRange::NOT_NEGATIVE), "learning rate"),
            Arg::with(
                "momentum",
                Kind::Number(NumberRange::NOT_NEGATIVE),
                Default::Number(0.0),
                "how much of the last step is kept",
            ),
            Arg::with(
                "dampening",
                Kind::Number(NumberRange::FRACTION),
                Default::Number(0.0),
                "how much of the gradient the momentum leaves out",
            ),
            Arg::with("nesterov", Kind::Bool, Default::Bool(false), "look ahead along the momentum"),
            WEIGHT_DECAY,
        ],
        docs: "Stochastic gradient descent. Source: Sutskever et al. 2013; PyTorch, torch.optim.SGD.",
    },
    Decl {
        name: "adam",
        aliases: &[],
        args: &[
            Arg::with("lr", Kind::Number(NumberRange::NOT_NEGATIVE), Default::Number(1e-3), "learning rate"),
            Arg::with(
                "beta1",
                Kind::Number(NumberRange::BELOW_ONE),
                Default::Number(0.9),
                "decay of the mean of gradients",
            ),
            Arg::with(
                "beta2",
                Kind::Number(NumberRange::BELOW_ONE),
                Default::Number(0.999),
                "decay of the mean of their squares",
            ),
            Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-8), "added to the denominator"),
            WEIGHT_DECAY,
        ],
        docs: "Steps by the gradient's first moment over the root of its second. Source: Kingma and Ba 2015; PyTorch, torch.optim.Adam.",
    },
    Decl {
        name: "adamw",
        aliases: &[],
        args: &[
            Arg::with("lr", Kind::Number(NumberRange::NOT_NEGATIVE), Default::Number(1e-3), "learning rate"),
            Arg::with(
                "beta1",
                Kind::Number(NumberRange::BELOW_ONE),
                Default::Number(0.9),
                "decay of the mean of gradients",
            ),
            Arg::with(
                "beta2",
                Kind::Number(NumberRange::BELOW_ONE),
                Default::Number(0.999),
                "decay of the mean of their squares",
            ),
            Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-8), "added to the denominator"),
            Arg::with(
                "weight_decay",
                Kind::Number(NumberRange::NOT_NEGATIVE),
                Default::Number(0.01),
                "what part of each parameter, biases too, a step takes away, times the learning rate",
            ),
        ],
        docs: "Adam with weight decay that is no part of the gradient. Source: Loshchilov and Hutter 2019; PyTorch, torch.optim.AdamW.",
    },
    Decl {
        name: "rmsprop",
        aliases: &[],
        args: &[
            Arg::with("lr", Kind::Number(NumberRange::NOT_NEGATIVE), Default::Number(1e-2), "learning rate"),
            Arg::with(
                "alpha",
                Kind::Number(NumberRange::BELOW_ONE),
                Default::Number(0.99),
                "decay of the mean of squares",
            ),
            Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-8), "added to the denominator"),
            Arg::with(
                "momentum",
                Kind::Number(NumberRange::NOT_NEGATIVE),
                Default::Number(0.0),
                "how much of the last step is kept",
            ),
            Arg::with("centered", Kind::Bool, Default::Bool(false), "divide by the gradient's deviation, not its size"),
            WEIGHT_DECAY,
        ],
        docs: "Gradients over the root of the mean of their squares. Source: Tieleman and Hinton 2012; PyTorch, torch.optim.RMSprop.",
    },
];
