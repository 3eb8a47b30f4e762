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
