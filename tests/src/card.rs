//! What tests of graphics cards need: NVRTC, and a card: the stand-in driver or, with `NETSPEC_CARD=real`, the machine's own.

use std::env;
use std::io::Write;

/// Whether there is a card and NVRTC, so that kernels can be compiled and run; says loudly if NVRTC is not here.
///
/// # Panics
///
/// When it is not, and `NETSPEC_REQUIRE_NVRTC=1` says that it must be; when the stand-in driver cannot be opened.
pub fn is_ready() -> bool {
    let is = |name: &str, value: &str| env::var_os(name).is_some_and(|found| found == value);
    if let Err(error) = netspec::cuda::Nvrtc::get() {
        assert!(!is("NETSPEC_REQUIRE_NVRTC", "1"), "{error}");
        // Not by a macro, whose lines a passing test keeps to itself.
        let line = format!("\n*** SKIPPED, a test of kernels for graphics cards: {error}\n\n");
        std::io::stderr().write_all(line.as_bytes()).expect("the error output can be written");
        return false;
    }
    if !is("NETSPEC_CARD", "real") {
        cuda_sim::open().expect("cargo builds the stand-in driver beside the tests");
    }
    true
}
