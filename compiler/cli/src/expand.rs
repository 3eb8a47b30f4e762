//! `netc expand`.

use std::io::{self, Write};

use netspec_compiler::check::Checked;
use netspec_compiler::emit::{Naming, cuda, program};
use netspec_compiler::source::Sources;

use crate::Verdict;
use crate::args::Expand;
use crate::compile::{compile, report, verdict};

pub(crate) fn run(args: &Expand) -> io::Result<Verdict> {
    let params = args.params.values();
    let outcome = compile(&args.file, params);
    report(&outcome)?;
    if let Some(checked) = &outcome.checked {
        let origin = origin(&args.file.to_string_lossy(), params);
        let text = match args.cuda {
            false => model(checked, &outcome.sources, &origin),
            true => match cuda::program(checked, &outcome.sources, &origin) {
                Ok(program) => program.source,
                Err(reason) => {
                    eprintln!("error: {reason}");
                    return Ok(Verdict::Wrong);
                }
            },
        };
        io::stdout().write_all(text.as_bytes())?;
    }
    Ok(verdict(&outcome, false))
}

/// The Rust of a model, which is public and has its own name.
pub(crate) fn model(checked: &Checked, sources: &Sources, origin: &str) -> String {
    program(checked, sources, Naming { visibility: "pub", name: &checked.net.name, origin })
}

/// A spec as the user named it: `specs/res_deep.yaml with n_blocks = 100`.
pub(crate) fn origin(file: &str, params: &[(String, i64)]) -> String {
    let params: Vec<String> = params.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if params.is_empty() { file.to_owned() } else { format!("{file} with {}", params.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_names_its_parameters() {
        let params = [("n".to_owned(), 3), ("m".to_owned(), -1)];
        assert_eq!(origin("a b.yaml", &[]), "a b.yaml");
        assert_eq!(origin("net.yaml", &params), "net.yaml with n = 3, m = -1");
    }
}
