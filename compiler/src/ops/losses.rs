//! Losses.

use super::Decl;

/// Every loss; each is the mean over the batch.
pub static LOSSES: &[Decl] = &[
    Decl {
        name: "cross_entropy",
        aliases: &[],
        args: &[],
        docs: "`-log softmax(y)[label]`: takes logits `[classes]` and a label. Source: PyTorch, torch.nn.CrossEntropyLoss.",
    },
    Decl {
        name: "nll",
        aliases: &[],
        args: &[],
        docs: "`-y[label]`: takes logarithms of probabilities `[classes]`, as `log_softmax` gives, and a label. Source: PyTorch, torch.nn.NLLLoss.",
    },
    Decl {
        name: "mse",
        aliases: &[],
        args: &[],
        docs: "The mean of `(y - target)^2`: takes any shape and a target of the same. Source: PyTorch, torch.nn.MSELoss.",
    },
];

/// Whether a loss compares classes with a label.
pub fn takes_label(decl: &Decl) -> bool {
    decl.name != "mse"
}
