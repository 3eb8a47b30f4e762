//! What activations share: each keeps the shape and has no weights.

use super::{Args, Decl, Example, Facts, Failure, Layer, Site};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

/// A layer that maps each element by itself.
pub(crate) struct Elementwise {
    pub(crate) decl: Decl,
    /// The op that it is with these arguments.
    pub(crate) op: fn(&Args) -> Op,
    pub(crate) example: fn() -> Example,
}

impl Layer for Elementwise {
    fn decl(&self) -> &Decl {
        &self.decl
    }

    fn example(&self) -> Example {
        (self.example)()
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op((self.op)(of.args), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        Ok(Facts::same(&site.input().shape))
    }
}
