//! The command line.

use std::ffi::OsString;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};

use super::failure::Failure;
use super::{Data, Defaults};
use crate::data::Source;
use crate::{Device, Isa, Numerics, Precision};

/// Options without a value have that of the spec.
#[derive(Parser)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 all went well; 1 the training failed, or a file does not hold what it should; 2 the command line is wrong, or a file
cannot be read or written."
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Train the model and write its weights
    Train(TrainArgs),
    /// Evaluate weights on the records to train with and on those to test with
    Eval(EvalArgs),
    /// Run the model on a picture: prints the output, or writes it as a picture when it is a map
    Run(RunArgs),
    /// Print the model's layers: shapes, parameters, multiplications
    Summary,
}

/// What training and evaluation share.
#[derive(Args, Debug)]
pub(super) struct Shared {
    /// cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER, digits or safetensors:FILE
    ///
    /// The data set of the spec keeps the spec's classes, mean and deviation, wherever its files are; another one has none of them.
    #[arg(long, value_name = "NAME[:PATH]")]
    pub(super) data: Option<Source>,
    /// Samples of a batch
    #[arg(long, value_name = "N", value_parser = count::<NonZeroUsize>)]
    pub(super) batch: Option<NonZeroUsize>,
    /// Of every random choice
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(super) seed: Option<u64>,
    /// At most so many threads; results do not depend on it [default: all cores]
    #[arg(long, value_name = "N", value_parser = count::<NonZeroUsize>)]
    pub(super) threads: Option<NonZeroUsize>,
    /// fast, or exact: convolutions without Winograd's
    #[arg(long, value_name = "NUMERICS")]
    pub(super) numerics: Option<Numerics>,
    /// portable, avx2 or avx512: the instructions to use [default: the machine's best]
    #[arg(long, value_name = "NAME", env = "NETSPEC_ISA")]
    pub(super) isa: Option<Isa>,
    /// auto, cpu, cuda or cuda:N: where to run; auto is the first graphics card, if there is one
    #[arg(long, value_name = "DEVICE", default_value_t = if cfg!(feature = "cuda") { Device::Auto } else { Device::Cpu })]
    pub(super) device: Device,
    /// f32, tf32 or bf16: what a graphics card multiplies in
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::F32)]
    pub(super) precision: Precision,
    /// A safetensors file with the weights to begin with: those of an earlier training, say, to go on with it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) weights: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    pub(super) shared: Shared,
    /// Passes over the data
    #[arg(long, value_name = "N", value_parser = count::<NonZeroU64>)]
    pub(super) epochs: Option<NonZeroU64>,
    /// Learning rate
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    pub(super) lr: Option<f64>,
    /// Of the weights to begin with, take those that fit in name and shape; the others are drawn from the seed
    #[arg(long, requires = "weights")]
    pub(super) partial: bool,
    /// Layers or weights that are drawn from the seed though `--partial` could take them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "partial")]
    pub(super) fresh: Vec<String>,
    /// Where all that is needed to go on is written, after every epoch
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) checkpoint: Option<PathBuf>,
    /// A checkpoint to go on from, and to go on writing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "weights")]
    pub(super) resume: Option<PathBuf>,
    /// Where the weights are written, after every epoch
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) out: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    pub(super) shared: Shared,
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// A PNG file, of the size that the model takes
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(super) image: PathBuf,
    /// A safetensors file with the weights [default: the initial ones]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) weights: Option<PathBuf>,
    /// Of the initial weights
    #[arg(long, value_name = "N", value_parser = seed, default_value_t = 0)]
    pub(super) seed: u64,
    /// Where the picture of a map is written
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) out: PathBuf,
}

/// Reads a command line; the first word is the program's name.
pub(super) fn parse(
    model: &'static str,
    defaults: &Defaults,
    line: impl IntoIterator<Item = OsString>,
) -> Result<Command, Failure> {
    let matches = command(model, defaults).try_get_matches_from(line).map_err(Failure::Line)?;
    Line::from_arg_matches(&matches).map(|line| line.command).map_err(Failure::Line)
}

/// The command line with the spec's values as its defaults, so that `--help` shows them.
fn command(model: &'static str, defaults: &Defaults) -> clap::Command {
    let file = format!("{}.safetensors", model.to_lowercase());
    let fill = |id: &str, command: &str| match (id, &defaults.train) {
        ("out", _) if command == "run" => Some(format!("{}.png", model.to_lowercase())),
        ("out", _) => Some(file.clone()),
        ("weights", _) if command == "run" => None,
        // What a training of the same folder has written.
        ("weights", _) if command != "train" => Some(file.clone()),
        ("data", Some(train)) => train.data.as_ref().map(source),
        ("batch", Some(train)) => Some(train.batch.to_string()),
        ("seed", Some(train)) => Some(train.seed.to_string()),
        ("epochs", Some(train)) => Some(train.epochs.to_string()),
        ("numerics", Some(train)) => Some(train.numerics.to_string()),
        ("lr", Some(train)) => Some(train.optimizer.lr().to_string()),
        _ => None,
    };
    Line::command().about(format!("{model}, from {}", defaults.origin)).mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        command.mut_args(|arg| match fill(arg.get_id().as_str(), &name) {
            Some(value) => arg.required(false).default_value(value),
            None => arg,
        })
    })
}

/// The data set of a spec as `--data` would name it.
fn source(data: &Data) -> String {
    match data.file {
        Some(file) => format!("{}:{file}", data.name),
        None => data.name.to_owned(),
    }
}

/// How many of something.
fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "a whole number of 1 or more is expected".to_owned())
}

/// A seed.
fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a whole number from 0 to 2^64 - 1 is expected".to_owned())
}

/// A learning rate: a number of 0 or more.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate >= 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("a number of 0 or more is expected, as in `--lr 0.01`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }
}
