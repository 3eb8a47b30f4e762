//! End-to-end tests of netspec; the tests themselves are in `tests/`. Here is what several of them need, and the README's Rust is
//! tested from here.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]

pub mod card;
pub mod clock;
pub mod forms;
pub mod kernels;
pub mod kinks;
pub mod parity;
pub mod reference;
