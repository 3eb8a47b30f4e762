//! `netspec-bench` measures: not how fast, only that it does.

use std::process::Command;

use serde_json::Value;

fn measured(arguments: &[&str]) -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_netspec-bench")).args(arguments).output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("a line of JSON")
}

#[test]
fn one_measurement_is_a_line_of_json() {
    for pass in ["--train", "--infer"] {
        let many = measured(&["--one", "net", pass, "--batch", "16", "--seconds", "0.01"]);
        assert!(many["images_per_cpu_second"].as_f64().is_some_and(|rate| rate > 0.0), "{many}");
        let single = measured(&["--one", "net", pass, "--batch", "1", "--seconds", "0.01"]);
        let [p50, p99] = ["p50", "p99"].map(|of| single["microseconds"][of].as_f64().unwrap_or_default());
        assert!(0.0 < p50 && p50 <= p99, "{single}");
    }
}

#[test]
fn the_peak_is_probed_with_every_set_of_instructions() {
    for isa in netspec::Isa::available() {
        let peak = measured(&["--probe", "--isa", isa.name()]);
        assert!(peak.as_f64().is_some_and(|peak| peak > 0.0), "{isa}: {peak}");
    }
}

#[test]
fn every_kernel_runs_on_its_geometry() {
    let done = Command::new(env!("CARGO_BIN_EXE_netspec-bench")).args(["--kernels", "--seconds", "0"]).output();
    let done = done.expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = String::from_utf8_lossy(&done.stdout).lines().count();
    assert!(lines > 1, "{lines} lines");
}

/// The program, which finds what is in this folder before the machine's own driver.
#[cfg(target_os = "linux")]
fn with_driver(folder: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_netspec-bench"));
    process
        .args(["--device", "cuda", "--models", "net", "--batch", "2", "--seconds", "0", "--rounds", "1"])
        .args(arguments);
    process.env("LD_LIBRARY_PATH", folder).output().expect("it starts")
}

#[test]
#[cfg(target_os = "linux")]
fn a_card_is_measured() {
    if !netspec_tests::card::is_ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for tests");
    // The stand-in, by the name under which a driver is looked for.
    let program = std::env::current_exe().expect("this program");
    let link = folder.path().join("libcuda.so");
    std::os::unix::fs::symlink(program.with_file_name("libcuda_sim.so"), link).expect("a link can be made");
    let file = folder.path().join("measured.json");
    let measured = |arguments: &[&str]| {
        let done = with_driver(folder.path(), &[arguments, &["--json", file.to_str().expect("UTF-8")]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let text = std::fs::read(&file).expect("it was written");
        let measured: Value = serde_json::from_slice(&text).expect("JSON");
        measured["measured"].as_array().expect("a list").clone()
    };
    let [train, infer] = &measured(&["--precision", "bf16"])[..] else { panic!("training and inference") };
    for figure in [train, infer] {
        assert!(figure["images_per_second"]["best"].as_f64().is_some_and(|rate| rate > 0.0), "{figure}");
    }
    let [train] = &measured(&["--kernels", "--train"])[..] else { panic!("one figure") };
    let kernels = train["kernels"].as_array().expect("a list");
    // A step of `net`, and what picks its records.
    assert_eq!(kernels.len(), 1 + 20, "{train}");
    let parts: f64 = kernels.iter().filter_map(|kernel| kernel["part"].as_f64()).sum();
    assert!((parts - 1.0).abs() < 1e-9, "{train}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_card_that_is_not_there_is_told_in_a_line() {
    let folder = tempfile::tempdir().expect("a folder for tests");
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::fs::write(folder.path().join(name), b"no library").expect("it can be written");
    }
    let done = with_driver(folder.path(), &[]);
    assert_eq!(done.status.code(), Some(2));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.ends_with("a graphics card needs one; the device `cpu` does without\n"), "{said}");
}
