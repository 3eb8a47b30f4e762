//! What activations share: each keeps the shape and has no weights.

use super::{Decl, Example, Facts, Failure, Layer, Site};

/// A layer that maps each element by itself.
pub(crate) struct Elementwise {
    pub(crate) decl: Decl,
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

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        Ok(Facts::same(&site.input().shape))
    }
}
