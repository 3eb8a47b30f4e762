//! What a training may do beyond following a loss with an optimizer: schedules of the learning rate, penalties, clipping, changed images.

use super::{Arg, Decl, Default, Kind, NumberRange};

/// Every schedule of the learning rate; the optimizer's `lr` is what they change.
pub static SCHEDULES: &[Decl] = &[
    Decl { name: "constant", aliases: &[], args: &[], docs: "The same rate always. Source: PyTorch, torch.optim." },
    Decl {
        name: "step",
        aliases: &[],
        args: &[
            Arg::required("every", Kind::Integer(1), "epochs to the next factor"),
            Arg::with("gamma", Kind::Number(NumberRange::POSITIVE), Default::Number(0.1), "the factor"),
        ],
        docs: "Times `gamma` behind every so many epochs. Source: PyTorch, torch.optim.lr_scheduler.StepLR.",
    },
    Decl {
        name: "exponential",
        aliases: &[],
        args: &[Arg::required("gamma", Kind::Number(NumberRange::POSITIVE), "the factor of each epoch")],
        docs: "Times `gamma` behind every epoch. Source: PyTorch, torch.optim.lr_scheduler.ExponentialLR.",
    },
    Decl {
        name: "cosine",
        aliases: &[],
        args: &[
            Arg::optional("t_max", Kind::Integer(1), "epochs to the least rate; all behind the warm-up when absent"),
            Arg::with("eta_min", Kind::Number(NumberRange::NOT_NEGATIVE), Default::Number(0.0), "the least rate"),
        ],
        docs: "By epochs down half a wave of the cosine. Source: Loshchilov and Hutter 2017; PyTorch, torch.optim.lr_scheduler.CosineAnnealingLR.",
    },
    Decl {
        name: "one_cycle",
        aliases: &[],
        args: &[
            Arg::with(
                "pct_start",
                Kind::Number(NumberRange::FRACTION),
                Default::Number(0.3),
                "the part of the steps in which the rate goes up",
            ),
            Arg::with(
                "div_factor",
                Kind::Number(NumberRange::POSITIVE),
                Default::Number(25.0),
                "the optimizer's rate, which is the highest, over the first one",
            ),
            Arg::with(
                "final_div_factor",
                Kind::Number(NumberRange::POSITIVE),
                Default::Number(1e4),
                "the first rate over the last one",
            ),
        ],
        docs: "By steps up to the optimizer's rate and down below the first one, along the cosine. Source: Smith and Topin 2018; PyTorch, torch.optim.lr_scheduler.OneCycleLR with `cycle_momentum=False`.",
    },
];

/// What can stand in front of a schedule.
pub static WARM_UPS: &[Decl] = &[Decl {
    name: "linear",
    aliases: &[],
    args: &[
        Arg::required("epochs", Kind::Integer(1), "how long it is; the schedule begins behind it"),
        Arg::with(
            "start",
            Kind::Number(NumberRange::FRACTION),
            Default::Number(1.0 / 3.0),
            "what part of the rate the first step has",
        ),
    ],
    docs: "By steps up to the optimizer's rate. Source: Goyal et al. 2017; PyTorch, torch.optim.lr_scheduler.LinearLR.",
}];

const FACTOR: Arg = Arg::required("factor", Kind::Number(NumberRange::NOT_NEGATIVE), "times the sum");
const ON: Arg = Arg::optional("on", Kind::Names, "layers or weights that it is on; all when absent");
const BIASES: Arg = Arg::with(
    "biases",
    Kind::Bool,
    Default::Bool(true),
    "false leaves out parameters of one dimension: biases, and the factors of norms",
);

/// Every penalty; it is a part of the loss, of the printed one too.
pub static PENALTIES: &[Decl] = &[
    Decl {
        name: "l1",
        aliases: &[],
        args: &[FACTOR, ON, BIASES],
        docs: "`factor * sum |w|`. Source: Tibshirani 1996; PyTorch, torch.abs for the derivative 0 at 0.",
    },
    Decl {
        name: "l2",
        aliases: &[],
        args: &[FACTOR, ON, BIASES],
        docs: "`factor * sum w^2`, as a weight decay of `2 * factor`. Source: Hoerl and Kennard 1970.",
    },
    Decl {
        name: "elastic",
        aliases: &[],
        args: &[
            Arg::required("l1", Kind::Number(NumberRange::NOT_NEGATIVE), "times the sum of sizes"),
            Arg::required("l2", Kind::Number(NumberRange::NOT_NEGATIVE), "times the sum of squares"),
            ON,
            BIASES,
        ],
        docs: "`l1 * sum |w| + l2 * sum w^2`. Source: Zou and Hastie 2005.",
    },
];

const LARGEST: Arg = Arg::required("largest", Kind::Number(NumberRange::POSITIVE), "what it is at most");

/// Every way to clip gradients.
pub static CLIPS: &[Decl] = &[
    Decl {
        name: "norm",
        aliases: &[],
        args: &[LARGEST],
        docs: "All gradients by one factor, so that the root of the sum of their squares is at most `largest`. Source: Pascanu et al. 2013; PyTorch, torch.nn.utils.clip_grad_norm_.",
    },
    Decl {
        name: "value",
        aliases: &[],
        args: &[LARGEST],
        docs: "Each between minus and plus `largest`. Source: PyTorch, torch.nn.utils.clip_grad_value_.",
    },
];

/// Every change of an image.
pub static AUGMENTS: &[Decl] = &[
    Decl {
        name: "crop",
        aliases: &[],
        args: &[Arg::required("padding", Kind::Integer(1), "black pixels on each side")],
        docs: "A part of the image's own size, from anywhere of the padded image. Source: torchvision, RandomCrop.",
    },
    Decl {
        name: "flip",
        aliases: &[],
        args: &[Arg::with(
            "probability",
            Kind::Number(NumberRange::FRACTION),
            Default::Number(0.5),
            "how often left and right change places",
        )],
        docs: "Left and right change places. Source: torchvision, RandomHorizontalFlip.",
    },
    Decl {
        name: "cutout",
        aliases: &[],
        args: &[Arg::required("size", Kind::Integer(1), "pixels of a side")],
        docs: "A square around any pixel is the mean. Source: DeVries and Taylor 2017.",
    },
    Decl {
        name: "mixup",
        aliases: &[],
        args: &[Arg::with(
            "alpha",
            Kind::Number(NumberRange::POSITIVE),
            Default::Number(0.2),
            "of the distribution Beta(alpha, alpha) of the weight",
        )],
        docs: "A weighted mean of two images, and of the losses to both targets. Source: Zhang et al. 2018.",
    },
];
