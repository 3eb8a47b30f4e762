//! End-to-end tests of netspec; the tests themselves are in `tests/`. Here is what several of them need.

pub mod parity;
pub mod reference;
