//! What tests of graphics cards need: NVRTC, and the stand-in driver.

use std::env;
use std::io::Write;

/// Whether NVRTC is here, so that kernels can be compiled; says loudly if it is not.
///
/// # Panics
///
/// When it is not, and `NETSPEC_REQUIRE_NVRTC=1` says that it must be.
pub fn is_ready() -> bool {
    let Err(error) = netspec::cuda::Nvrtc::get() else {
        return true;
    };
    assert!(env::var_os("NETSPEC_REQUIRE_NVRTC").is_none_or(|wanted| wanted != "1"), "{error}");
    // Not by a macro, whose lines a passing test keeps to itself.
    let line = format!("\n*** SKIPPED, a test of kernels for graphics cards: {error}\n\n");
    std::io::stderr().write_all(line.as_bytes()).expect("the error output can be written");
    false
}
