//! What only rustc shows: where it underlines a page's mistake, in which words, and that it says nothing else.
//!
//! Each `ui/*.rs` is a program that must not compile, for the reasons in the `.stderr` beside it. `TRYBUILD=overwrite cargo test --test ui`
//! writes the `.stderr` files anew: read the difference.

use std::path::Path;
use std::{fs, io};

#[test]
fn ui() {
    lend_the_specs().expect("the specs can be copied");
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}

/// Trybuild makes a crate of the programs, and that crate's directory is where the paths in `netspec!` begin.
fn lend_the_specs() -> io::Result<()> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or(io::ErrorKind::NotFound)?;
    let specs = target.join("tests/trybuild").join(env!("CARGO_PKG_NAME")).join("specs");
    fs::create_dir_all(&specs)?;
    for spec in fs::read_dir("ui/specs")? {
        let spec = spec?;
        fs::copy(spec.path(), specs.join(spec.file_name()))?;
    }
    Ok(())
}
