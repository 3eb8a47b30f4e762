//! What unit tests need to run kernels.

use std::env;
use std::io::Write;

use super::Nvrtc;

/// Opens the stand-in driver, unless a real card is asked for. Without NVRTC it says loudly that a test is skipped and gives false, unless
/// `NETSPEC_REQUIRE_NVRTC=1` says that it must be here.
pub(crate) fn has_card() -> bool {
    if let Err(error) = Nvrtc::get() {
        assert!(env::var_os("NETSPEC_REQUIRE_NVRTC").is_none_or(|wanted| wanted != "1"), "{error}");
        // Not by a macro, whose lines a passing test keeps to itself.
        let line = format!("\n*** SKIPPED, a test of kernels for graphics cards: {error}\n\n");
        std::io::stderr().write_all(line.as_bytes()).expect("the error output can be written");
        return false;
    }
    cuda_sim::unless_real();
    true
}
