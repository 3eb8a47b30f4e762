//! Blocks of other files: found, seen where they are used and no further, read once, and wrong in two files at a time.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use netspec::{Model, Workspace};
use netspec_compiler::diag::render::{Style, human, json};
use netspec_compiler::{Main, Options, Outcome, compile};

/// Compiles the first of some files, the others being there to be read.
fn compile_files(files: &[(&str, &str)]) -> (Outcome, Vec<String>) {
    let read = RefCell::new(Vec::new());
    let outcome = compile(Main::File(files[0].0.to_owned()), &Options::default(), &mut |path| {
        read.borrow_mut().push(path.to_owned());
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "no such file".to_owned())
    });
    (outcome, read.into_inner())
}

/// What is said of some files, a line each: code and place.
fn told(files: &[(&str, &str)]) -> Vec<String> {
    let (outcome, _) = compile_files(files);
    let place = |diagnostic: &netspec_compiler::diag::Diagnostic| {
        let file = outcome.sources.file(diagnostic.primary().file);
        let (line, column) = file.line_column(diagnostic.primary().start as usize);
        format!("{} {}:{line}:{column} {}", diagnostic.code, file.path, diagnostic.title)
    };
    outcome.diagnostics.iter().map(place).collect()
}

fn net(files: &[(&str, &str)]) -> String {
    let (outcome, _) = compile_files(files);
    assert!(outcome.diagnostics.is_empty(), "{:?}", told(files));
    outcome.checked.expect("it is right").net.to_string()
}

const STEP: &str = "block Step(n) { conv(n, kernel = 3, padding = 1); relu; }";
const STEP_YAML: &str =
    "blocks:\n  Step:\n    params: [n]\n    layers: [ { conv: { out: n, kernel: 3, padding: 1 } }, relu ]\n";
const MODEL: &str = "model Net { input image [1, 8, 8]; Step(4); flatten; linear(10); }";
const MODEL_YAML: &str = "model: Net\ninput: { image: [1, 8, 8] }\nlayers: [ { Step: 4 }, flatten, { linear: 10 } ]\n";

#[test]
fn a_block_means_the_same_wherever_it_stands() {
    let here = net(&[("net.netspec", &format!("{STEP} {MODEL}"))]);
    for (name, text) in [
        ("net.netspec", format!("use \"FILE\"; {MODEL}")),
        ("net.yaml", format!("use: FILE\n{MODEL_YAML}")),
        ("net.yaml", format!("use: \"FILE\"\n{MODEL_YAML}")),
        ("net.yaml", format!("use: [ FILE ]\n{MODEL_YAML}")),
        ("net.yaml", format!("use:\n  - FILE\n{MODEL_YAML}")),
    ] {
        for (file, blocks) in [("more/steps.netspec", STEP), ("more/steps.yaml", STEP_YAML)] {
            assert_eq!(net(&[(name, &text.replace("FILE", file)), (file, blocks)]), here, "{text} of {file}");
        }
    }
}

#[test]
fn paths_begin_at_the_folder_of_their_file_and_each_file_is_read_once() {
    let files = [
        ("specs/net.netspec", "use \"../blocks/a.netspec\"; use \"b.yaml\"; model Net { input x [4]; A; B; }"),
        ("blocks/a.netspec", "use \"more/c.netspec\"; block A { C; }"),
        ("specs/b.yaml", "use: ./../blocks/more/c.netspec\nblocks: { B: { layers: [ C ] } }"),
        ("blocks/more/c.netspec", "block C { linear(4); }"),
    ];
    let (outcome, read) = compile_files(&files);
    assert!(outcome.diagnostics.is_empty(), "{:?}", told(&files));
    assert_eq!(read, ["specs/net.netspec", "blocks/a.netspec", "blocks/more/c.netspec", "specs/b.yaml"]);
    let listed: Vec<&str> = outcome.sources.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(listed, read);
}

#[test]
fn a_file_sees_what_it_uses_and_hands_nothing_on() {
    let inner = ("c.netspec", "block C { linear(4); }");
    let outer = ("a.netspec", "use \"c.netspec\"; block A { C; }");
    let files = [("net.netspec", "use \"a.netspec\"; model Net { input x [4]; A; C; }"), outer, inner];
    assert_eq!(told(&files), ["N0201 net.netspec:1:46 unknown layer `C`"]);
    // A name of one's own is no other file's.
    let own = "use \"a.netspec\"; block C { relu; } model Net { input x [4]; A; C; }";
    let text = net(&[("net.netspec", own), outer, inner]);
    assert!(text.contains("a1.c1.linear1 = linear(") && text.contains("relu"), "{text}");
    // A model beside the blocks is left alone.
    let whole = "block A { linear(4); } model Other { input y [7]; A; } train Other { loss mse; optimizer adam; }";
    net(&[("net.netspec", "use \"a.netspec\"; model Net { input x [4]; A; }"), ("a.netspec", whole)]);
}

#[test]
fn what_cannot_be_used_is_told() {
    let blocks = ("a.netspec", "block A { linear(4); } block B(n, m) { linear(n); }");
    for (files, expected) in [
        (
            vec![("net.netspec", "use \"b.netspec\"; model Net { input x [4]; A; }")],
            vec!["N0107 net.netspec:1:5 cannot read `b.netspec`: no such file"],
        ),
        (
            vec![("net.yaml", "use: b.txt\nmodel: Net\ninput: { x: [4] }\nlayers: [ relu ]"), ("b.txt", "")],
            vec!["N0107 net.yaml:1:6 `b.txt` is neither `.netspec` nor `.yaml`, so its spelling is not known"],
        ),
        (
            vec![("net.netspec", "use \"net.netspec\"; model Net { input x [4]; relu; }")],
            vec!["N0115 net.netspec:1:5 `net.netspec` uses itself"],
        ),
        (
            vec![
                ("net.netspec", "use \"a.netspec\"; model Net { input x [4]; A; }"),
                ("a.netspec", "use \"b.yaml\"; block A { linear(4); }"),
                ("b.yaml", "use: a.netspec\nblocks: { B: { layers: [ relu ] } }"),
            ],
            vec!["N0115 b.yaml:1:6 `a.netspec` uses itself"],
        ),
        (
            vec![("net.netspec", "use \"a.netspec\"; block A { relu; } model Net { input x [4]; A; }"), blocks],
            vec!["N0206 net.netspec:1:5 the block `A` is given twice"],
        ),
        (
            vec![("net.netspec", "use \"a.netspec\"; model Net { input x [4]; relu; }"), blocks],
            vec!["N0902 net.netspec:1:5 no block of `a.netspec` is used"],
        ),
        (
            vec![("net.netspec", "use \"a.netspec\"; model Net { input x [4]; B(3, m = 2); }"), blocks],
            vec!["N0901 a.netspec:1:35 the parameter `m` of `B` is not used"],
        ),
        (
            vec![
                ("net.netspec", "use \"a.netspec\"; model Net { input x [4]; A; }"),
                ("a.netspec", "block A { relu }"),
            ],
            vec!["N0101 a.netspec:1:15 a `;` is missing"],
        ),
        (
            vec![("net.yaml", "use: { a: b }\nmodel: Net\ninput: { x: [4] }\nlayers: [ relu ]")],
            vec!["N0112 net.yaml:1:6 `use` is the path of a file, or a list of them, found a mapping"],
        ),
        (
            vec![
                ("net.yaml", "use: a.yaml\nmodel: Net\ninput: { x: [4] }\nlayers: [ A ]"),
                ("a.yaml", "layers: [ relu ]"),
            ],
            vec!["N0111 a.yaml:1:1 there is no `model` here"],
        ),
        (
            vec![("net.netspec", "use a.netspec; model Net { input x [4]; relu; }")],
            vec!["N0101 net.netspec:1:5 expected a text in quotes, found `a`"],
        ),
    ] {
        assert_eq!(told(&files), expected, "{files:?}");
    }
}

#[test]
fn limits_hold_for_all_files_together() {
    let long = format!("// {}\nblock A {{ linear(4); }}", "x".repeat(600 << 10));
    let main = format!("// {}\nuse \"a.netspec\"; model Net {{ input x [4]; A; }}", "x".repeat(500 << 10));
    let files = [("net.netspec", main.as_str()), ("a.netspec", long.as_str())];
    let words = "N0108 net.netspec:2:5 with `a.netspec` the spec has more than 1,048,576 bytes, which is what all its \
                 files may have";
    assert_eq!(told(&files), [words]);

    let names: Vec<String> = (0..70).map(|file| format!("f{file}.netspec")).collect();
    let uses: String = names[1..].iter().map(|name| format!("use \"{name}\";\n")).collect();
    let main = format!("{uses} model Net {{ input x [4]; relu; }}");
    let mut files = vec![(names[0].as_str(), main.as_str())];
    files.extend(names[1..].iter().map(|name| (name.as_str(), "// nothing")));
    let told = told(&files);
    assert_eq!(told[0], "N0108 f0.netspec:64:5 more than 64 files in one spec");

    // Blocks in 30 files, of which each uses the next one's twice.
    let texts: Vec<(String, String)> = (0..30)
        .map(|file| {
            let next = file + 1;
            let text = format!("use \"f{next}.netspec\"; block B{file} {{ B{next}; B{next}; }}");
            (format!("f{file}.netspec"), if file == 29 { "block B29 { relu; }".to_owned() } else { text })
        })
        .collect();
    let mut files = vec![("net.netspec", "use \"f0.netspec\"; model Net { input x [4]; B0; }")];
    files.extend(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let (outcome, _) = compile_files(&files);
    assert!(outcome.checked.is_none() && outcome.diagnostics[0].title.starts_with("more than 20,000 statements"));
}

#[test]
fn an_error_in_a_used_file_shows_both_files() {
    let files = [
        (
            "specs/net.yaml",
            "use: blocks.netspec\nmodel: Net\ninput: { image: [5, 8, 8] }\nlayers:\n  - repeat: 3\n    body: [ { Halves: 5 } ]\n",
        ),
        ("specs/blocks.netspec", "block Halves(n) {\n    conv(n, kernel = 3, padding = 1, groups = 2);\n}\n"),
    ];
    let (outcome, _) = compile_files(&files);
    let text = human(&outcome.diagnostics[0], &outcome.sources, Style::Plain);
    let expected = "\
error[N0403]: 2 groups do not divide 5 input channels of `conv`
 --> specs/blocks.netspec:2:47
  |
2 |     conv(n, kernel = 3, padding = 1, groups = 2);
  |                                               ^ 5 = 2 * 2 + 1
  |
 ::: specs/net.yaml:3:17
  |
3 | input: { image: [5, 8, 8] }
  |                 --------- this makes 5 channels of 8 x 8
  |
  = note: in `Halves(n = 5)`, used at line 6 of specs/net.yaml, repeated 3 times";
    assert_eq!(text.trim_end(), expected, "{text}");
    assert!(json(&outcome.diagnostics[0], &outcome.sources).contains("\"file\":\"specs/net.yaml\",\"line\":6"));

    let files =
        [("net.netspec", "use \"a.netspec\";\nmodel Net { input x [4]; A; }"), ("a.netspec", "block A { relu }")];
    let (outcome, _) = compile_files(&files);
    let text = human(&outcome.diagnostics[0], &outcome.sources, Style::Plain);
    assert!(text.contains(" --> a.netspec:1:15\n"), "{text}");
    assert!(text.contains("= note: in `a.netspec`, used at line 1 of net.netspec\n"), "{text}");
}

netspec::netspec!(FromFile = "specs/residual.yaml");

mod in_line {
    netspec::netspec! {
        use "specs/blocks/residual.netspec";    // from the directory of Cargo.toml

        model Residuals {
            input image [1, 8, 8];
            conv(4, kernel = 3, padding = 1);
            repeat 2 { Residual(4); }
            flatten;
            linear(10);
        }
    }
}

#[test]
fn the_macro_reads_used_files() {
    assert_eq!(<FromFile as Model>::PARAMETERS, <in_line::Residuals as Model>::PARAMETERS);
    let image = [[[[0.5; 8]; 8]; 1]];
    let [mut a, mut b] = [[[0.0; 10]]; 2];
    FromFile::new(3).infer(&mut Workspace::new(), &image, &mut a).expect("a batch of one");
    in_line::Residuals::new(3).infer(&mut Workspace::new(), &image, &mut b).expect("a batch of one");
    assert_eq!(a, b);
    // Both spellings of the same net, in files.
    let read =
        |path: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).map_err(|error| error.to_string());
    let outcome = compile(Main::File("specs/residual.yaml".to_owned()), &Options::default(), &mut |path| read(path));
    let files: Vec<&str> = outcome.sources.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["specs/residual.yaml", "specs/blocks/residual.netspec", "specs/blocks/steps.yaml"]);
}
