//! Batch norms and the norms of one sample.

use super::{Emitter, READ, THREADS, WRITE, batch, param};
use crate::emit::cuda::launches::{Arg, Grid, Step};
use crate::emit::cuda::source::Family;
use crate::fuse::PlanKind;
use crate::ir::{Act, GroupNorm, Norm, Order, Store, TensorId};
use crate::schedule::{Call, Kernel, Operand};
use crate::target::{PRODUCT_ROWS as ROWS, product_columns};

/// Channels of a block that merges sums: as many as a sector of memory has.
const MERGED: u64 = 8;

impl Emitter<'_> {
    pub(super) fn batch_norm(&mut self, call: &Call, layer: &str, written: &mut Vec<Step>) {
        let (reads, writes) = (&call.reads, &call.writes);
        let store = if writes.first().is_some_and(|(_, store)| *store == Store::Add) { "ADD" } else { "WRITE" };
        let columns = |norm: &Norm| product_columns(norm.channels).min(32);
        let by_part =
            |norm: &Norm| Grid { y: norm.channels.div_ceil(columns(norm)), ..Grid::of_samples(norm.positions, ROWS) };
        let by_channel = |norm: &Norm| Grid::fixed(norm.channels, MERGED);
        let map = |this: &Self, norm: &Norm, operand: &Operand| this.map(operand, norm.channels, norm.positions);
        self.source.uses(Family::BatchNorm);
        match &call.kernel {
            Kernel::NormStatistics(norm) => {
                let function = format!("norm_statistics<{}, {ROWS}, {}>", map(self, norm, &reads[0]), columns(norm));
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(WRITE, "sums", self.value(&writes[0].0)),
                    batch(),
                ];
                self.kernel(layer, "statistics", &function, by_part(norm), THREADS, params, written);
            }
            Kernel::NormMerge(norm, tensors) => {
                let g = self.norm(layer, norm);
                let function = format!("norm_merge<{g}, {}, {}, {ROWS}>", norm.channels, norm.positions);
                let [mean, var] = [tensors.mean, tensors.var].map(|id| Arg::Statistics(self.tensor(id, 0)));
                let params = vec![
                    param(READ, "sums", self.value(&reads[0])),
                    param(WRITE, "state", self.state(norm)),
                    param(WRITE, "running_mean", mean),
                    param(WRITE, "running_var", var),
                    param("u32 ", "updates", Arg::Updates),
                    batch(),
                ];
                self.kernel(layer, "merge", &function, by_channel(norm), THREADS, params, written);
            }
            Kernel::NormForward(norm, tensors, act, order) => {
                let act = self.act(layer, *act);
                let (x, y) = (map(self, norm, &reads[0]), map(self, norm, &writes[0].0));
                let r = reads.get(1).map_or(y.clone(), |added| map(self, norm, added));
                let behind = *order == Some(Order::Behind);
                let function = format!("norm_forward<{x}, {y}, {r}, {act}, {behind}>");
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "state", self.state(norm)),
                    param(READ, "weight", self.maybe_weight(tensors.weight)),
                    param(READ, "bias", self.maybe_weight(tensors.bias)),
                    param(READ, "added", reads.get(1).map(|added| self.value(added))),
                    param(WRITE, "y", self.value(&writes[0].0)),
                    batch(),
                ];
                let grid = Grid::of_samples(self.len(&writes[0].0), u64::from(THREADS));
                self.kernel(layer, "", &function, grid, THREADS, params, written);
            }
            Kernel::NormSums(norm, tensors, act) => {
                let (x, dy) = (map(self, norm, &reads[0]), map(self, norm, &reads[1]));
                let relu = *act != Act::None;
                let function = format!("norm_sums<{x}, {dy}, {relu}, {ROWS}, {}>", columns(norm));
                let of_relu = |id: Option<TensorId>| if relu { self.maybe_weight(id) } else { None };
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "dy", self.value(&reads[1])),
                    param(READ, "state", self.state(norm)),
                    param(READ, "weight", of_relu(tensors.weight)),
                    param(READ, "bias", of_relu(tensors.bias)),
                    param(WRITE, "sums", self.value(&writes[0].0)),
                    batch(),
                ];
                self.kernel(layer, "sums", &function, by_part(norm), THREADS, params, written);
            }
            Kernel::NormMergeBackward(norm, tensors) => {
                let function = format!("norm_merge_back<{}, {}, {ROWS}>", norm.channels, norm.positions);
                let params = vec![
                    param(READ, "sums", self.value(&reads[0])),
                    param(WRITE, "state", self.state(norm)),
                    param(READ, "weight", self.maybe_weight(tensors.weight)),
                    param(WRITE, "of_weight", tensors.weight.map(|id| self.gradient(id))),
                    param(WRITE, "of_bias", tensors.bias.map(|id| self.gradient(id))),
                    batch(),
                ];
                self.kernel(layer, "merge_back", &function, by_channel(norm), THREADS, params, written);
            }
            Kernel::NormBackward(norm, tensors, act) => {
                let (x, dy) = (map(self, norm, &reads[0]), map(self, norm, &reads[1]));
                let (dx, relu) = (map(self, norm, &writes[0].0), *act != Act::None);
                let function = format!("norm_back<{x}, {dy}, {dx}, {relu}, {store}>");
                let of_relu = |id: Option<TensorId>| if relu { self.maybe_weight(id) } else { None };
                let params = vec![
                    param(READ, "x", self.value(&reads[0])),
                    param(READ, "dy", self.value(&reads[1])),
                    param(READ, "state", self.state(norm)),
                    param(READ, "weight", of_relu(tensors.weight)),
                    param(READ, "bias", of_relu(tensors.bias)),
                    param(WRITE, "dx", self.value(&writes[0].0)),
                    batch(),
                ];
                let grid = Grid::of_samples(self.len(&writes[0].0), u64::from(THREADS));
                self.kernel(layer, "back", &function, grid, THREADS, params, written);
            }
            _ => unreachable!("a batch norm"),
        }
    }

    pub(super) fn group_norm_back(
        &mut self,
        norm: &GroupNorm,
        [weight, bias]: [Option<TensorId>; 2],
        call: &Call,
        layer: &str,
        store: &str,
        written: &mut Vec<Step>,
    ) {
        let (reads, to) = (&call.reads, &call.writes[0].0);
        let g = self.group_norm(layer, norm);
        let lies = [&reads[0], &reads[1], to].map(|value| self.lies(value));
        self.source.uses(Family::GroupNorm);
        let values = |this: &Self| {
            let [x, dy, moments] = [0, 1, 2].map(|read| this.value(&reads[read]));
            vec![param(READ, "x", x), param(READ, "dy", dy), param(READ, "moments", moments)]
        };
        let has_weights = self.plan.schedule.kind == PlanKind::Training && (weight.is_some() || bias.is_some());
        if has_weights {
            let gradients = [
                param(WRITE, "of_weight", weight.map(|id| self.gradient(id))),
                param(WRITE, "of_bias", bias.map(|id| self.gradient(id))),
                batch(),
            ];
            let params = values(self).into_iter().chain(gradients).collect();
            let function = format!("group_norm_weights<{g}, {}, {}>", lies[0], lies[1]);
            let weights = if norm.shared { norm.channels } else { norm.groups * norm.channels };
            self.kernel(layer, "weight_back", &function, Grid::fixed(weights, 1), THREADS, params, written);
        }
        let mut params = values(self);
        params.extend([param(READ, "weight", self.maybe_weight(weight)), param(WRITE, "dx", self.value(to))]);
        let function = format!("group_norm_back<{g}, {}, {store}>", lies.join(", "));
        self.kernel(layer, "back", &function, Grid::of_samples(norm.groups, 1), THREADS, params, written);
    }
}
