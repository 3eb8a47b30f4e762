//! Models on graphics cards.

pub mod program;
