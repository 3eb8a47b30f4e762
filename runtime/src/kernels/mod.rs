//! Kernels: what generated code calls. Each is a module with its geometry, a struct of literals, and safe functions on a
//! [`Tile`](crate::arena::Tile) or a [`Run`](crate::run::Run).

/// Whether a result replaces what is there or adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Replaces.
    Write,
    /// Adds.
    Add,
}
