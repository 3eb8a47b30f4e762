//! End-to-end tests of netspec; the tests themselves are in `tests/`.
