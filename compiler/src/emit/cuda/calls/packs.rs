//! Packed weights: those of products, in the order in which these go through them, made before a pass by one kernel for all layers. They lie
//! behind the pass's numbers or, of a pass that folds weights, behind those.

use std::collections::HashMap;
use std::fmt::Write;

use super::{Emitter, READ, THREADS, WRITE, param};
use crate::emit::cuda::launches::{Arg, Grid, Step, Strided};
use crate::emit::cuda::source::Family;
use crate::ir::{Repeat, TensorId};
use crate::net::LayerId;
use crate::ops::elements;

/// The packed weights of a pass.
#[derive(Default)]
pub(super) struct Packs {
    /// Where each lies that was asked for, by the sizes of its op, and which way it is gone through.
    places: HashMap<(TensorId, String, bool), Strides>,
    /// The types that say how each is packed, as they lie.
    types: Vec<String>,
    floats: u64,
}

/// The first float, and what an iteration of each loop adds.
type Strides = (u64, Vec<(LayerId, u64)>);

impl Emitter<'_> {
    /// A weight, packed for an op with sizes `g` as it goes forward or `back`.
    pub(super) fn packed(&mut self, layer: &str, g: &str, id: TensorId, back: bool) -> Arg {
        let key = (id, g.to_owned(), back);
        if !self.packs.places.contains_key(&key) {
            let place = self.add_pack(layer, g, id, back);
            self.packs.places.insert(key.clone(), place);
        }
        let (first, terms) = &self.packs.places[&key];
        let at = self.strided(self.packs_begin() + first, terms);
        if self.folds.is_some() { Arg::Folded(at) } else { Arg::State(at) }
    }

    fn add_pack(&mut self, layer: &str, g: &str, id: TensorId, back: bool) -> Strides {
        let tensor = self.program.tensor(id);
        let (len, first) = (elements(&tensor.shape), self.packs.floats);
        let (mut count, mut terms, mut from) = (1, Vec::new(), tensor.offset.to_string());
        // The iterations of the innermost follow each other.
        for Repeat { layer, count: of_repeat, stride } in tensor.repeats.iter().rev().filter(|repeat| repeat.stride > 0)
        {
            terms.push((*layer, len * count));
            let _ = write!(from, " + i / {count} % {of_repeat} * {stride}");
            count *= of_repeat;
        }
        self.packs.floats += len * count;
        let definition = format!(
            "struct @ : Packed<{g}, {back}> {{\n    static constexpr u32 count = {count};\n    static __device__ u64 from(u64 i) {{ return \
             {from}; }}\n}};"
        );
        let stem = format!("{layer} packed{}", if back { " back" } else { "" });
        let name = self.source.constant(&stem, &definition);
        self.packs.types.push(name);
        (first, terms)
    }

    /// Where packed weights begin: 16 bytes lie together.
    fn packs_begin(&self) -> u64 {
        self.folds.unwrap_or(self.plan.state).next_multiple_of(4)
    }

    /// What makes them, if there are any.
    pub(in crate::emit::cuda) fn pack(&mut self) -> Vec<Step> {
        let mut written = Vec::new();
        if self.packs.floats > 0 {
            let at = |first: u64| Strided { first, strides: Vec::new() };
            let begin = self.packs_begin();
            let weights = if self.is_folded() { Arg::Folded(at(0)) } else { Arg::Params(at(0)) };
            let packed = if self.folds.is_some() { Arg::Folded(at(begin)) } else { Arg::State(at(begin)) };
            let params = vec![param(READ, "weights", weights), param(WRITE, "packed", packed)];
            let function = format!("pack<{}>", self.packs.types.join(", "));
            self.source.comment("Weights in the order in which products go through them.");
            self.source.uses(Family::Conv);
            let grid = Grid::fixed(self.packs.floats, u64::from(THREADS));
            self.kernel("weights", "pack", &function, grid, THREADS, params, &mut written);
        }
        written
    }

    /// Floats of the pass's numbers and of folded weights, both with the packed weights behind them.
    pub(in crate::emit::cuda) fn weights_end(&self) -> (u64, u64) {
        let with_packs =
            |floats: u64| if self.packs.floats > 0 { self.packs_begin() + self.packs.floats } else { floats };
        match self.folds {
            Some(folded) => (self.plan.state, with_packs(folded)),
            None => (with_packs(self.plan.state), 0),
        }
    }
}
