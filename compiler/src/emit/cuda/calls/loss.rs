//! Losses.

use super::{Emitter, READ, WRITE, param};
use crate::emit::cuda::launches::{Arg, Grid, Step};
use crate::emit::cuda::source::{Family, words};
use crate::ops::elements;
use crate::schedule::Operand;

impl Emitter<'_> {
    /// A kernel for each kind of loss of an output.
    pub(super) fn loss(&mut self, output: usize, y: &Operand, dy: &Operand, layer: &str, written: &mut Vec<Step>) {
        const LOSS_THREADS: u32 = 128;
        self.source.uses(Family::Loss);
        let shape = &self.checked.outputs[output];
        let sizes = format!("{}, {}", shape[0], elements(shape) / shape[0]);
        let of_dy = self.lies(dy);
        let lies = format!("{}, {of_dy}", self.lies(y));
        let (y, dy) = (self.value(y), self.value(dy));
        let mut kinds = Vec::new();
        for kind in ["None", "CrossEntropy", "Nll", "Mse", "L1", "SmoothL1", "Huber", "BceWithLogits"] {
            let labels = || param("const u32 *", "labels", Arg::Labels(output));
            let targets = || param(READ, "targets", Arg::Targets(output));
            let weights = || param(READ, "weights", Arg::LossWeights(output));
            let number = |name: &'static str| param("float ", name, Arg::LossNumber(output));
            let of_values = |of: &str| (format!("loss_of_values<{of}, {lies}>"), vec![targets(), number("number")]);
            let (function, of_kind) = match kind {
                "None" => (format!("loss_none<{of_dy}>"), Vec::new()),
                "CrossEntropy" => {
                    let params = vec![labels(), weights(), number("smoothing")];
                    (format!("loss_cross_entropy<{sizes}, {lies}>"), params)
                }
                "Nll" => (format!("loss_nll<{sizes}, {lies}>"), vec![labels(), weights()]),
                "Mse" => of_values("Squared"),
                "L1" => of_values("Absolute"),
                "SmoothL1" => of_values("Smooth"),
                "Huber" => of_values("Huber"),
                _ => (format!("loss_bce_with_logits<{lies}>"), vec![targets(), weights(), number("weight")]),
            };
            let of_dy = param(WRITE, "dy", dy.clone());
            let losses = param(WRITE, "losses", Arg::Losses(output));
            let params = match kind {
                "None" => vec![of_dy, losses],
                _ => {
                    let (shares, factor) =
                        (param(READ, "shares", Arg::Shares), param(READ, "factor", Arg::LossFactor(output)));
                    [param(READ, "y", y.clone()), of_dy]
                        .into_iter()
                        .chain(of_kind)
                        .chain([shares, factor, losses])
                        .collect()
                }
            };
            let role = format!("loss_{}", words(kind));
            let grid = Grid::of_samples(1, 1);
            kinds.push((kind, self.launch(layer, &role, &function, grid, LOSS_THREADS, params)));
        }
        written.push(Step::Loss(kinds));
    }
}
