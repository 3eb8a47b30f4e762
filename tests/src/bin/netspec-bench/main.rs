//! `netspec-bench`: how fast models train and infer, and what part of the processor's peak each kernel reaches.
//!
//! Figures are images a second of processor time, of one thread: on a machine with other work they repeat within a percent where those
//! of wall clocks do not. Inputs are random and made before the clock runs, and ten calls warm up. A round whose probe of the peak,
//! before or behind it, falls short of the best of all is measured again. With `--threads` a wall clock counts, and only rounds that
//! began on idle cores. With `--device cuda` models run on a graphics card, whose figures are by the wall's clock (`card.rs`).

mod card;
mod kernels;
mod models;
mod peak;
mod rounds;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use netspec::{Device, Isa, Precision};
use netspec_tests::clock;
use serde_json::{Value, json};

use card::{Card, Wanted};
use kernels::Work;
use models::{MODELS, Model, Pass, Setup};
use rounds::{Rounds, best, median};

/// Measures the models of `specs/` and the kernels that they run on.
#[derive(Parser)]
#[command(name = "netspec-bench", version)]
struct Arguments {
    /// Models, with commas between; all when it is not there.
    #[arg(long, value_delimiter = ',', value_parser = model)]
    models: Vec<&'static Model>,
    /// Only training.
    #[arg(long, conflicts_with = "infer")]
    train: bool,
    /// Only inference.
    #[arg(long)]
    infer: bool,
    /// Images of a call: 64 and 1 when it is not there. Of 1 the times of calls are told.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// How long a round measures.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Rounds of a figure.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// cpu, cuda or cuda:N: where models run.
    #[arg(long, default_value_t = Device::Cpu, value_parser = device, conflicts_with_all = ["probe", "threads", "isa"])]
    device: Device,
    /// f32, tf32 or bf16: what a graphics card multiplies in.
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    /// Threads; with more than one the clock is the wall's.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Instructions that kernels use: portable, avx2 or avx512; this machine's best when it is not there.
    #[arg(long, default_value_t = Isa::best())]
    isa: Isa,
    /// Writes everything that was measured to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// One measurement of this model, one round: prints a line of JSON. Needs --train or --infer, and --batch.
    #[arg(long, value_name = "MODEL", value_parser = model, requires = "batch")]
    one: Option<&'static Model>,
    /// Kernels instead of models; on a graphics card those of each model's call, one after the other, and what part of it each is.
    #[arg(long)]
    kernels: bool,
    /// Of the kernels, those whose names have this text.
    #[arg(long, value_name = "TEXT", requires = "kernels")]
    only: Option<String>,
    /// Prints the peak of fused multiply-adds in GFLOP/s, and nothing else.
    #[arg(long)]
    probe: bool,
}

fn model(name: &str) -> Result<&'static Model, String> {
    let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    MODELS.iter().find(|model| model.name == name).ok_or_else(|| format!("there are {}", names.join(", ")))
}

fn device(name: &str) -> Result<Device, String> {
    match name.parse() {
        Ok(Device::Auto) => Err("what is measured is said: cpu, or cuda".to_owned()),
        Ok(device) => Ok(device),
        Err(error) => Err(error.to_string()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..1e6).contains(seconds));
    seconds.ok_or_else(|| "a number of seconds is wanted".to_owned())
}

impl Arguments {
    fn setup(&self) -> Setup {
        Setup { isa: self.isa, threads: self.threads.into(), seconds: self.seconds }
    }

    fn models(&self) -> Vec<&'static Model> {
        if self.models.is_empty() { MODELS.iter().collect() } else { self.models.clone() }
    }

    fn batches(&self) -> Vec<usize> {
        self.batch.map_or(vec![64, 1], |batch| vec![batch.into()])
    }

    fn passes(&self) -> &'static [Pass] {
        match (self.train, self.infer) {
            (true, _) => &[Pass::Train],
            (_, true) => &[Pass::Infer],
            _ => &[Pass::Train, Pass::Infer],
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.probe {
        println!("{:.2}", peak::probe(arguments.isa));
        return Ok(());
    }
    if arguments.device == Device::Cpu && arguments.precision != Precision::F32 {
        return Err(format!("--precision {} is for graphics cards: --device cuda", arguments.precision).into());
    }
    if let Some(model) = arguments.one {
        let [pass] = *arguments.passes() else { return Err("--one needs --train or --infer".into()) };
        let batch = arguments.batch.unwrap_or(1).into();
        let one = match arguments.device {
            Device::Cuda(number) => {
                card::one((Card { number, precision: arguments.precision }, model), pass, batch, arguments.seconds)?
            }
            _ => one(model, pass, batch, &arguments.setup()),
        };
        println!("{one}");
        return Ok(());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: what it measures is no figure");
    }
    let measured = match arguments.device {
        Device::Cuda(number) => on_card(arguments, Card { number, precision: arguments.precision })?,
        _ if arguments.kernels => all_kernels(arguments),
        _ => all_models(arguments),
    };
    if let Some(path) = &arguments.json {
        let all = json!({
            "machine": clock::machine(),
            "netspec": env!("CARGO_PKG_VERSION"),
            "device": arguments.device.to_string(),
            "precision": arguments.precision.name(),
            "isa": arguments.isa.name(),
            "threads": arguments.threads,
            "seconds": arguments.seconds,
            "debug_build": cfg!(debug_assertions),
            "measured": measured,
        });
        std::fs::write(path, format!("{all:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn on_card(arguments: &Arguments, card: Card) -> Result<Vec<Value>, netspec::Error> {
    let wanted = Wanted {
        models: &arguments.models(),
        passes: arguments.passes(),
        batches: &arguments.batches(),
        seconds: arguments.seconds,
        rounds: arguments.rounds.into(),
        kernels: arguments.kernels.then(|| arguments.only.as_deref().unwrap_or_default()),
    };
    card::measure(card, &wanted)
}

/// One round of one figure.
fn one(model: &Model, pass: Pass, batch: usize, setup: &Setup) -> Value {
    if batch == 1 {
        let times = model.times(pass, setup);
        let rate = times.sorted.len() as f64 / times.sorted.iter().sum::<f64>();
        return json!({ "images_per_cpu_second": rate, "calls": times.sorted.len(), "microseconds": times.json() });
    }
    let speed = model.speed(pass, batch, setup);
    json!({ "images_per_cpu_second": speed.per_cpu_second, "calls": speed.calls })
}

fn all_models(arguments: &Arguments) -> Vec<Value> {
    let mut rounds = Rounds::new(arguments.isa, arguments.threads > 1);
    let mut measured = Vec::new();
    let batches = arguments.batches();
    let unit = if arguments.threads > 1 { "image/s" } else { "image/s of processor time" };
    println!("{} instructions, peak {:.1} GFLOP/s, {unit}", arguments.isa, peak::probe(arguments.isa));
    for model in arguments.models() {
        for &pass in arguments.passes() {
            measured.extend(batches.iter().map(|&batch| figure(arguments, &mut rounds, model, pass, batch)));
        }
    }
    measured
}

/// Measures one figure, and prints it.
fn figure(arguments: &Arguments, rounds: &mut Rounds, model: &Model, pass: Pass, batch: usize) -> Value {
    let mut found = json!({ "model": model.name, "pass": pass.name(), "batch": batch });
    let what = format!("{:15} {} batch {batch:2}", model.name, pass.name());
    if batch == 1 && arguments.threads == 1 {
        let times = model.times(pass, &arguments.setup());
        println!("{what}  {times}");
        found["microseconds"] = times.json();
    } else {
        let taken = rounds.take(arguments.rounds.into(), || {
            let speed = model.speed(pass, batch, &arguments.setup());
            if arguments.threads > 1 { speed.per_second } else { speed.per_cpu_second }
        });
        match taken.samples.as_slice() {
            [] => println!("{what}  not measured: the cores were not idle"),
            samples => println!("{what}  median {:.0}, best {:.0}", median(samples), best(samples)),
        }
        found["images_per_second"] = taken.json();
    }
    found
}

fn all_kernels(arguments: &Arguments) -> Vec<Value> {
    let peak = peak::probe(arguments.isa);
    println!("{} instructions, peak {peak:.1} GFLOP/s; GFLOP/s in percents of it, GB/s of a copy", arguments.isa);
    let mut measured = Vec::new();
    for kernel in kernels::all() {
        if arguments.only.as_ref().is_some_and(|only| !kernel.name.contains(only)) {
            continue;
        }
        // The limit of the same moment: what a neighbour takes from both is no loss of the kernel's.
        let seconds = arguments.seconds.min(0.1);
        let rate = kernel.rate(arguments.isa, seconds);
        let (unit, limit) = match kernel.work {
            Work::Flops(_) => ("GFLOP/s", peak::probe(arguments.isa)),
            Work::Bytes(_) => ("GB/s", kernel.copy_rate(seconds)),
        };
        let percent = 100.0 * rate / limit;
        println!("{percent:5.1} %  {rate:6.1} {unit:7}  {}", kernel.name);
        measured.push(json!({ "kernel": kernel.name, "unit": unit, "rate": rate, "limit": limit, "percent": percent }));
    }
    measured
}
