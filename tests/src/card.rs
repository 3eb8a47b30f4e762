//! What tests of graphics cards need: NVRTC, and a card: the stand-in driver or, with `NETSPEC_CARD=real`, the machine's own.

use std::env;
use std::io::Write;

/// Whether there is a card and NVRTC, so that kernels can be compiled and run; says loudly if NVRTC is not here.
///
/// # Panics
///
/// When it is not, and `NETSPEC_REQUIRE_NVRTC=1` says that it must be; when the stand-in driver cannot be opened.
pub fn is_ready() -> bool {
    if let Err(error) = netspec::cuda::Nvrtc::get() {
        assert!(!is("NETSPEC_REQUIRE_NVRTC", "1"), "{error}");
        // Not by a macro, whose lines a passing test keeps to itself.
        let line = format!("\n*** SKIPPED, a test of kernels for graphics cards: {error}\n\n");
        std::io::stderr().write_all(line.as_bytes()).expect("the error output can be written");
        return false;
    }
    if is_stand_in() {
        cuda_sim::open().expect("cargo builds the stand-in driver beside the tests");
    }
    true
}

/// Whether the card is the stand-in, which counts what kernels do.
pub fn is_stand_in() -> bool {
    !is("NETSPEC_CARD", "real")
}

/// Whether a variable of the environment has this value.
fn is(name: &str, value: &str) -> bool {
    env::var_os(name).is_some_and(|found| found == value)
}
