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
        ("N0310", "did you mean `N0301`?"),
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
