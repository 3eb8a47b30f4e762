//! One meaning, two spellings: every spec that is written in both gives the same net, or the same errors.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netspec_compiler::diag::Diagnostic;
use netspec_compiler::{Main, Options, Outcome, compile, summary};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compile_file(path: &str) -> Outcome {
    compile(Main::File(path.to_owned()), &Options::default(), &mut |path| {
        fs::read(root().join(path)).map_err(|error| error.to_string())
    })
}

/// The names, without ending, of the specs of one spelling in a folder.
fn stems(folder: &str, ending: &str) -> BTreeSet<String> {
    fs::read_dir(root().join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}

#[test]
fn both_spellings_of_a_model_give_the_same_net() {
    let names = stems("specs", "netspec");
    assert_eq!(names, stems("specs", "yaml"), "every model is written in both spellings");
    for name in names {
        let [a, b] = ["netspec", "yaml"].map(|ending| {
            let path = format!("specs/{name}.{ending}");
            let checked = compile_file(&path).checked.unwrap_or_else(|| panic!("{path} is wrong"));
            let summary = summary::summary(&checked);
            (format!("{}", checked.net), summary.model, summary.parameters, summary.input, summary.output)
        });
        assert_eq!(a, b, "{name}");
    }
}

/// What is said, without the places, the fix and what stands in backquotes, which are the spelling's own.
fn words(diagnostic: &Diagnostic) -> Vec<String> {
    let mut words = vec![format!("{}: {}", diagnostic.code, diagnostic.title)];
    words.extend(diagnostic.labels.iter().map(|label| label.text.clone()));
    words.extend(diagnostic.notes.iter().map(|note| note.split('`').step_by(2).collect::<Vec<_>>().join("`…`")));
    words.extend(diagnostic.trace.iter().map(|frame| format!("{}, {} times", frame.text, frame.times)));
    words
}

#[test]
fn both_spellings_of_a_broken_spec_are_told_the_same_words() {
    let names: Vec<String> =
        stems("specs/broken", "netspec").intersection(&stems("specs/broken", "yaml")).cloned().collect();
    assert!(!names.is_empty());
    let mut problems = Vec::new();
    for name in names {
        let [a, b] = ["netspec", "yaml"].map(|ending| {
            let outcome = compile_file(&format!("specs/broken/{name}.{ending}"));
            outcome.diagnostics.iter().map(words).collect::<Vec<_>>()
        });
        if a != b {
            problems.push(format!("{name}: as .netspec\n{a:#?}\nbut as .yaml\n{b:#?}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
