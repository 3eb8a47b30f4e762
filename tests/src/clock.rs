//! Clocks, and what the machine is.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Seconds of processor time that the process has used, by all its threads.
#[cfg(unix)]
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Seconds since the first call: elsewhere only a wall clock is asked for.
#[cfg(not(unix))]
pub fn cpu_seconds() -> f64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// What calls took.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// How many there were.
    pub calls: usize,
    /// Seconds of processor time.
    pub cpu: f64,
    /// By the wall.
    pub wall: f64,
}

/// Calls for at least so many seconds.
pub fn speed(seconds: f64, mut call: impl FnMut()) -> Speed {
    // Asking the clock takes as long as a small model's image: it is asked a thousand times at most.
    let begin = cpu_seconds();
    call();
    let one = (cpu_seconds() - begin).max(1e-9);
    let between = ((seconds / 1000.0 / one) as usize).max(1);
    let (cpu, wall, mut calls) = (cpu_seconds(), Instant::now(), 0);
    loop {
        (0..between).for_each(|_| call());
        calls += between;
        let wall = wall.elapsed().as_secs_f64();
        let cpu = cpu_seconds() - cpu;
        // The clock of the threads together runs faster than the wall's.
        if cpu.min(wall) >= seconds {
            return Speed { calls, cpu, wall };
        }
    }
}

/// How busy the cores are, from 0 to 1, in a moment; None where that is not told.
pub fn busy() -> Option<f64> {
    let read = || {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let times = stat.lines().next()?.split_whitespace().skip(1).map(|time| time.parse::<f64>().ok());
        let times: Vec<f64> = times.collect::<Option<_>>()?;
        // user nice system idle iowait irq softirq steal; what guests take is in `user` already.
        Some((times.get(3)? + times.get(4)?, times.get(..8)?.iter().sum::<f64>()))
    };
    let (idle, all) = read()?;
    std::thread::sleep(Duration::from_millis(300));
    let (idle_later, all_later) = read()?;
    (all_later > all).then(|| 1.0 - (idle_later - idle) / (all_later - all))
}

/// What a figure depends on beside the program.
pub fn machine() -> Value {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.trim_start_matches(key).trim_matches([' ', '\t', ':']).to_owned())
    };
    json!({
        "cpu": first("/proc/cpuinfo", "model name"),
        "architecture": std::env::consts::ARCH,
        "system": first("/proc/version", ""),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "load": first("/proc/loadavg", ""),
    })
}
