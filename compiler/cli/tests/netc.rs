//! The binary as a user meets it: exit codes, what goes to which output, words.

// Clippy's leave to unwrap in tests does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a run gave: exit code, standard output, error output.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netc"));
    command.args(args).current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

fn netc(args: &[&str]) -> Run {
    let output = command(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Puts a file where `netc` is run; every test has its own.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Asserts a misuse of the command line: exit code 2, nothing on the standard output, the words on the other.
#[track_caller]
fn misuse(args: &[&str], words: &str) {
    let run = netc(args);
    assert_eq!((run.code, &run.out[..]), (Some(2), ""), "{}", run.err);
    assert!(run.err.starts_with(&format!("error: {words}")), "{}", run.err);
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    misuse(&["check"], "the following required arguments were not provided:\n  <FILE>...");
    misuse(&["chekc"], "unrecognized subcommand 'chekc'");
    misuse(&["check", "net.yaml", "--format", "xml"], "invalid value 'xml' for '--format <FORMAT>'");
    let invalid = |value: &str, why: &str| {
        let words = format!("invalid value '{value}' for '--param <NAME=VALUE>': {why}");
        misuse(&["check", "net.yaml", "-p", value], &words);
        misuse(&["summary", "net.yaml", "-p", value], &words);
    };
    invalid("n", "a name, `=` and a whole number are expected, as in `-p n_blocks=10`\n");
    invalid("=1", "the name before `=` is missing");
    invalid("n=", "`` is not a whole number\n");
    invalid("n=1.5", "`1.5` is not a whole number\n");
    invalid("n=9223372036854775808", "9223372036854775808 does not fit 64 bits\n");
    invalid("n=-9223372036854775809", "-9223372036854775809 does not fit 64 bits\n");
    misuse(&["check", "net.yaml", "-p", "n=1", "-p", "m=1", "-p", "n=1"], "the parameter `n` is set twice\n");
}

#[test]
fn without_arguments_the_help_is_shown() {
    let run = netc(&[]);
    assert_eq!((run.code, &run.out[..]), (Some(2), ""));
    assert!(run.err.contains("Usage: netc <COMMAND>"), "{}", run.err);
    let run = netc(&["--help"]);
    assert_eq!((run.code, &run.err[..]), (Some(0), ""));
    assert!(run.out.contains("netc explain N0301 "), "{}", run.out);
    assert_eq!(netc(&["--version"]).out, format!("netc {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_missing_file_is_reported_in_every_format() {
    let title = "cannot read `no.yaml`: no such file";
    let human =
        format!("error[N0107]: {title}\n--> no.yaml\n\nno.yaml: 1 error\n\n`netc explain N0107` says more about it\n");
    for (format, out, err) in [
        ("human", String::new(), human),
        ("short", String::new(), format!("no.yaml:1:1: error[N0107]: {title}\n")),
        ("json", format!(r#"{{"code":"N0107","severity":"error","title":"{title}","file":"no.yaml","#), String::new()),
    ] {
        let run = netc(&["check", "--format", format, "no.yaml"]);
        assert_eq!((run.code, run.err), (Some(2), err));
        assert!(run.out.starts_with(&out) && run.out.lines().count() == usize::from(format == "json"), "{}", run.out);
    }
    let run = netc(&["summary", "--format", "json", "no.yaml"]);
    assert_eq!((run.code, &run.out[..]), (Some(2), ""));
    assert!(run.err.starts_with(&format!("error[N0107]: {title}\n")), "{}", run.err);
}

#[test]
fn every_file_is_checked_and_the_exit_code_is_the_worst() {
    file("every-latin.yaml", b"model: N\xe9t\n");
    file("every.txt", b"model: Net\n");
    let run = netc(&["check", "--format", "short", "every-latin.yaml"]);
    assert_eq!(run.code, Some(1), "a file that is no text can be read, and is wrong");
    let run =
        netc(&["check", "--format", "short", "every-no.yaml", "every-latin.yaml", "every.txt", "every-latin.yaml"]);
    assert_eq!((run.code, &run.out[..]), (Some(2), ""));
    let found: Vec<_> = run.err.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = ["no.yaml:1:1 error[N0107]", "latin.yaml:1:1 error[N0110]"].map(|line| format!("every-{line}"));
    let [no, latin] = expected;
    assert_eq!(found, [no, latin.clone(), "every.txt:1:1 error[N0107]".to_owned(), latin]);
}

#[test]
fn no_more_is_read_than_a_spec_may_have() {
    file("big.yaml", &vec![b' '; 3 << 20]);
    let run = netc(&["check", "--format", "short", "big.yaml"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.starts_with("big.yaml:1:1: error[N0108]: "), "{}", run.err);
}

#[test]
fn what_is_no_file_is_not_opened() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("directory.yaml");
    fs::create_dir_all(directory).unwrap();
    let run = netc(&["check", "--format", "short", "directory.yaml"]);
    let expected = "directory.yaml:1:1: error[N0107]: cannot read `directory.yaml`: it is a directory\n";
    assert_eq!((run.code, &run.err[..]), (Some(2), expected));
}

#[cfg(unix)]
#[test]
fn devices_and_fifos_do_not_hang() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (fifo, device) = (directory.join("fifo.yaml"), directory.join("device.yaml"));
    for path in [&fifo, &device] {
        let _ = fs::remove_file(path);
    }
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", device).unwrap();
    for name in ["fifo.yaml", "device.yaml"] {
        let run = netc(&["check", "--format", "short", name]);
        let expected = format!("{name}:1:1: error[N0107]: cannot read `{name}`: it is not a regular file\n");
        assert_eq!((run.code, run.err), (Some(2), expected));
    }
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf8_is_read() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"not-\xff-utf8.yaml");
    fs::write(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name), b"\xff").unwrap();
    let output = command(&["check", "--format", "short"]).arg(name).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("not-\u{fffd}-utf8.yaml:1:1: error[N0110]: "), "{err}");
}

#[test]
fn a_code_is_explained_in_any_case() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../src/diag/pages/N0301.md")).unwrap();
    for name in ["N0301", "n0301"] {
        let run = netc(&["explain", name]);
        assert_eq!((run.code, run.out.trim_end(), &run.err[..]), (Some(0), page.trim_end(), ""));
    }
}

#[test]
fn without_a_code_all_are_listed() {
    let run = netc(&["explain"]);
    assert_eq!(run.code, Some(0));
    assert!(run.out.starts_with("N01xx reading\n  N0101  unexpected text\n"), "{}", run.out);
    assert!(
        run.out.contains("\n\nN03xx shapes\n  N0301  a layer that needs a flat input is given a map\n"),
        "{}",
        run.out
    );
}

#[test]
fn an_unknown_code_gets_the_nearest_one_and_the_ranges() {
    let ranges = "\n\nThe codes are
  N01xx  reading
  N02xx  names and arguments
  N03xx  shapes
  N04xx  weights
  N05xx  training
  N09xx  warnings\n";
    for (name, hint) in [
        ("N0391", "did you mean `N0301`?"),
        ("0301", "did you mean `N0301`?"),
        ("hello", "`netc explain` lists them all"),
        ("", "`netc explain` lists them all"),
    ] {
        let run = netc(&["explain", name]);
        assert_eq!((run.code, &run.out[..]), (Some(2), ""));
        assert_eq!(run.err, format!("error: there is no code `{name}`; {hint}{ranges}"));
    }
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    // The reading end is closed before the program starts, as `head` would close it early.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["explain"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(141), &b""[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["explain"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("error: cannot write the output: No space left on device"), "{err}");
}

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// One mistake three ways: told by `netc`, by rustc of a page in line, by rustc of a page in a file. What rustc says is in the
/// `.stderr` files, which the `ui` test of the workspace holds to be true.
#[test]
fn a_mistake_has_the_same_words_in_netc_and_in_rustc() {
    let ui = root().join("tests/ui");
    let check = |args: &[&str]| {
        let output = command(args).current_dir(&ui).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said_by_rustc = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(ui.join(name)).unwrap();
        text.lines().map(|line| line.trim().to_owned()).filter(|line| line != "|").collect()
    };
    let json = check(&["check", "--format", "json", "specs/linear_on_map.yaml"]);
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let texts = |list: &str, of: fn(&serde_json::Value) -> &serde_json::Value| -> Vec<String> {
        told[list].as_array().unwrap().iter().map(|item| word(of(item))).collect()
    };
    let title = format!("error: {} [{}]", word(&told["title"]), word(&told["code"]));

    // In line, labels are notes with their lines, in the order of the page; the fix is in the page's spelling.
    let mut labels = texts("labels", |label| &label["text"]);
    labels.reverse();
    let mut expected = vec![title.clone()];
    expected.extend(labels.iter().zip([7, 8]).map(|(text, line)| format!("note: line {line}: {text}")));
    expected.extend(texts("notes", |note| note).iter().map(|text| format!("note: {text}")));
    expected.push(format!("help: {}: `view(-1, 512);`", word(&told["fix"]["title"])));
    expected.push("--> ui/linear_on_map.rs:8:9".to_owned());
    assert_eq!(said_by_rustc("linear_on_map.stderr")[..expected.len()], expected);

    // From a file, it is the whole text that `netc` prints.
    let human = check(&["check", "specs/linear_on_map.yaml"]);
    let (human, _) = human.split_once("\n\n").unwrap();
    let mut expected = vec![title];
    expected.extend(human.lines().skip(1).map(|line| line.trim().to_owned()).filter(|line| line != "|"));
    expected.push("--> ui/linear_on_map_from_yaml.rs:1:19".to_owned());
    assert_eq!(said_by_rustc("linear_on_map_from_yaml.stderr")[..expected.len()], expected);
}

/// The README's `console` blocks are what a terminal shows, and its `netspec` blocks are right.
#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = |fence: &str| -> Vec<String> {
        readme.split(fence).skip(1).map(|rest| rest.split_once("\n```\n").unwrap().0.to_owned()).collect()
    };
    let transcripts = blocks("\n```console\n$ netc ");
    assert!(!transcripts.is_empty());
    for transcript in transcripts {
        let (args, expected) = transcript.split_once('\n').unwrap();
        let args: Vec<&str> = args.split(' ').collect();
        let output = command(&args).current_dir(root()).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(text.trim_end(), expected, "netc {}", args.join(" "));
    }
    let specs = blocks("\n```netspec\n");
    assert_eq!(specs.len(), 2, "the README's specs");
    for spec in specs {
        file("readme.netspec", spec.as_bytes());
        let run = netc(&["check", "readme.netspec"]);
        assert_eq!((run.code, &run.err[..]), (Some(0), ""));
    }
}

/// A run that would build, with no cargo to be found and a cache of its own.
fn without_cargo(name: &str, args: &[&str]) -> Run {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = command(args);
    command.env_remove("CARGO").env("PATH", "").env("XDG_CACHE_HOME", cache);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

const SMALL: &[u8] =
    b"model: Small\ninput: { x: [2] }\nlayers: [ { linear: 1 } ]\ntrain: { loss: mse, optimizer: adam }\n";

#[test]
fn without_cargo_nothing_can_be_built() {
    file("small.yaml", SMALL);
    for args in [&["train", "small.yaml", "--epochs", "1"][..], &["build", "small.yaml", "-o", "small"]] {
        let run = without_cargo("no-cargo", args);
        assert_eq!((run.code, &run.out[..]), (Some(2), ""));
        let problem =
            "error: there is no cargo on this machine: building a program needs Rust, from https://rustup.rs\n";
        assert_eq!(run.err, format!("building small.yaml\n{problem}"));
    }
}

#[test]
fn a_spec_that_is_wrong_or_missing_is_not_built() {
    file("broken.yaml", b"model: Broken\ninput: { x: [2] }\nlayers: [ linaer ]\n");
    for command in ["train", "build"] {
        let output: &[&str] = if command == "build" { &["-o", "broken"] } else { &[] };
        for (spec, code, words) in [("broken.yaml", 1, "error[N0201]: "), ("none.yaml", 2, "error[N0107]: cannot read")]
        {
            let run = without_cargo("no-cargo", &[&[command, spec], output].concat());
            assert_eq!((run.code, &run.out[..]), (Some(code), ""), "{}", run.err);
            assert!(run.err.starts_with(words) && !run.err.contains("building"), "{}", run.err);
        }
    }
}

#[test]
fn what_cannot_end_well_is_not_built() {
    file("untrained.yaml", b"model: Small\ninput: { x: [2] }\nlayers: [ { linear: 1 } ]\n");
    file("small-4.yaml", SMALL);
    let refuse = |args: &[&str], words: &str| {
        let run = without_cargo("no-cargo", args);
        assert_eq!((run.code, &run.out[..], run.err), (Some(2), "", format!("error: {words}\n")));
    };
    let no_section = "untrained.yaml has no `train` section, so neither loss nor optimizer are known";
    refuse(&["train", "untrained.yaml"], no_section);
    let misplaced = "`-p` is netc's own and stands before FILE: netc train -p … FILE";
    refuse(&["train", "small-4.yaml", "--epochs", "1", "-p", "n=2"], misplaced);
    let misplaced = "`-v` is netc's own and stands before FILE: netc run -v … FILE";
    refuse(&["run", "small-4.yaml", "photo.png", "-v"], misplaced);
    refuse(&["build", "small-4.yaml", "-o", "no/small"], "cannot write no/small: there is no such folder");
    refuse(&["build", "small-4.yaml", "-o", "."], "cannot write .: it is a folder");
}

/// A layer of a user's own is proved by rustc, where the type is: netc checks what is asserted, and builds nothing.
#[test]
fn a_type_of_rust_is_not_built() {
    let spec = b"model: Own\ninput: { x: [2] }\nlayers:\n  - custom: my_crate::Swish\n    shape: [2]\n  - linear: 1\n\
                 train: { loss: mse, optimizer: adam }\n";
    file("own.yaml", spec);
    let run = netc(&["check", "own.yaml"]);
    assert_eq!((run.code, &run.out[..], &run.err[..]), (Some(0), "own.yaml: Own, 3 parameters, 2 -> 1\n", ""));
    let words = "error: own.yaml:4: `my_crate::Swish` is a type of Rust, which a program of netc's own does not have; \
                 `netspec!` in a crate that has it makes the model\n";
    for args in [&["train", "own.yaml"][..], &["build", "own.yaml", "-o", "own"], &["run", "own.yaml", "photo.png"]] {
        let run = without_cargo("no-cargo", args);
        assert_eq!((run.code, &run.out[..], &run.err[..]), (Some(2), "", words));
    }
}

#[test]
fn blocks_come_from_other_files() {
    file("steps.netspec", b"block Step(n) { linear(n); relu; }\n");
    file(
        "stepping.yaml",
        b"use: steps.netspec\nmodel: Steps\ninput: { x: [2] }\nlayers: [ { Step: 3 }, { Step: 1 } ]\n",
    );
    let run = netc(&["check", "stepping.yaml"]);
    assert_eq!((run.code, &run.out[..], &run.err[..]), (Some(0), "stepping.yaml: Steps, 13 parameters, 2 -> 1\n", ""));
    file("lost.yaml", b"use: nowhere.netspec\nmodel: Lost\ninput: { x: [2] }\nlayers: [ { Step: 3 } ]\n");
    let run = netc(&["check", "--format", "short", "lost.yaml"]);
    let words = "lost.yaml:1:6: error[N0107]: cannot read `nowhere.netspec`: no such file\n";
    assert_eq!((run.code, run.out + &run.err), (Some(2), words.to_owned()));
}

#[test]
fn a_netspec_that_is_not_there_is_told() {
    file("small-2.yaml", SMALL);
    let run = without_cargo("no-cargo", &["build", "small-2.yaml", "-o", "small", "--netspec", "no/where"]);
    let problem = "error: the crate `netspec` is neither in no/where nor in no/where/runtime\n";
    assert_eq!((run.code, &run.err[..]), (Some(2), &format!("building small-2.yaml\n{problem}")[..]));
    misuse(&["build", "small-2.yaml"], "the following required arguments were not provided:\n  --output <BIN>");
}

#[test]
fn a_cache_that_cannot_be_made_is_told() {
    file("small-3.yaml", SMALL);
    file("no-folder", b"");
    let run = without_cargo("no-folder", &["build", "small-3.yaml", "-o", "small"]);
    assert_eq!((run.code, &run.out[..]), (Some(2), ""));
    assert!(run.err.contains("\nerror: cannot make the folder "), "{}", run.err);
}

#[test]
fn the_rust_of_a_model_is_printed() {
    file("expanded.yaml", b"model: Small\nparams: { n: 1 }\ninput: { x: [2] }\nlayers: [ { linear: n } ]\n");
    let run = netc(&["expand", "expanded.yaml", "-p", "n=3"]);
    assert_eq!((run.code, &run.err[..]), (Some(0), ""));
    let head = "/// `Small`, from expanded.yaml with n = 3: 9 parameters.\n";
    assert!(run.out.starts_with(head) && run.out.contains("\npub struct Small {\n"), "{}", run.out);
    let run = netc(&["expand", "no.yaml"]);
    assert_eq!((run.code, &run.out[..]), (Some(2), ""));
}

#[test]
fn the_cuda_of_a_model_is_printed() {
    file("on_a_card.yaml", b"model: Small\nparams: { n: 1 }\ninput: { x: [2] }\nlayers: [ { linear: n } ]\n");
    let run = netc(&["expand", "--cuda", "on_a_card.yaml", "-p", "n=3"]);
    assert_eq!((run.code, &run.err[..]), (Some(0), ""));
    assert!(run.out.starts_with("// `Small`, from on_a_card.yaml with n = 3.\n"), "{}", run.out);
    assert!(run.out.contains("\nusing LINEAR1 = Linear<1, 2, 3>;\n"), "{}", run.out);
    file("of_rust.netspec", b"model M { input x [2]; custom(layers::Swish) : [2]; linear(1); }\n");
    let run = netc(&["expand", "--cuda", "of_rust.netspec"]);
    let why = "`custom` runs on the processor alone: its formula is Rust, which no graphics card runs";
    assert_eq!((run.code, &run.out[..]), (Some(1), ""));
    assert_eq!(run.err, format!("error: of_rust.netspec:1: {why}\n"));
}

#[test]
fn the_plan_of_a_model_is_printed() {
    let page = "model: Small\nparams: { n: 1 }\ninput: { x: [2] }\nlayers: [ { linear: n }, tanh ]\n";
    file("planned.yaml", page.as_bytes());
    let run = netc(&["plan", "planned.yaml", "-p", "n=20", "--kind", "inference"]);
    assert_eq!((run.code, &run.err[..]), (Some(0), ""));
    let wanted = "\
Small, inference
a worker's memory: 64 bytes a sample, of which at most 64 live at once
       offset          bytes         live  value
            0             64          0-1  x
the batch's memory: 128 bytes a sample, of which at most 128 live at once
       offset          bytes         live  value
            0            128          1-2  tanh1
numbers of the whole batch: 0 bytes
a stage's gradient: 0 bytes a tile
kernels' scratch: 0 bytes a worker
packed weights: 0 bytes
in all, for a batch of 64 on one thread: 8,960 bytes
";
    assert_eq!(run.out, wanted);
    let training = netc(&["plan", "planned.yaml"]);
    assert!(training.out.starts_with("Small, training\n") && training.out.contains("  d "), "{}", training.out);
    for kind in ["training", "evaluation", "probe"] {
        let run = netc(&["plan", "planned.yaml", "--kind", kind]);
        assert_eq!((run.code, &run.err[..]), (Some(0), ""));
        assert!(run.out.starts_with(&format!("Small, {kind}\n")), "{}", run.out);
    }
    misuse(&["plan", "planned.yaml", "--kind", "train"], "invalid value 'train' for '--kind <KIND>'");
    file("two.netspec", b"model Two { input x [2]; linear(2) as a; tanh as b; output a, b; }");
    let plan = netc(&["plan", "two.netspec"]);
    assert!(plan.code == Some(0) && plan.out.contains("d a") && plan.out.contains("d b"), "{}", plan.out);
    let words = "Two has no such pass; an input is declared `with gradient` (in YAML `gradient: true`) for it\n";
    misuse(&["plan", "two.netspec", "--kind", "input-gradients"], words);
    file("of-inputs.netspec", b"model Of { input x [2] with gradient; linear(2) as a; }");
    let plan = netc(&["plan", "of-inputs.netspec", "--kind", "input-gradients"]);
    assert!(
        plan.code == Some(0) && plan.out.starts_with("Of, input gradients\n") && plan.out.contains("d x"),
        "{}",
        plan.out
    );
    assert_eq!(netc(&["plan", "no.yaml"]).code, Some(2));
}
