//! The command line.

use std::ffi::OsString;
use std::num::IntErrorKind;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

/// Neural networks from a page of text, with their shapes proved.
///
/// A spec is a page of YAML (`.yaml`, `.yml`) or of netspec's own language (`.netspec`) that describes one network. netc reads it,
/// proves that its shapes fit, and says of what does not fit where it stands, what made it, and what would mend it.
#[derive(Parser)]
#[command(
    name = "netc",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  netc check net.yaml                    is it right?
  netc check wide.yaml -p n_chans1=64    is it still right with 64 channels?
  netc summary net.yaml                  every layer's shape, parameters and work
  netc train net.yaml --epochs 5         train it, and write the weights
  netc plan net.yaml --kind inference    the memory it runs in
  netc build net.yaml -o net             a program that trains and evaluates it
  netc run edges.yaml photo.png          what it makes of a picture
  netc explain N0301                     what an error means, and how it is mended

Exit codes: 0 all is right, 1 a spec is wrong, 2 the command line is wrong or a file cannot be read.
Colours are used on a terminal, unless the variable NO_COLOR is set."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Check(Check),
    Summary(Summary),
    Train(Train),
    Build(Build),
    Run(Run),
    Expand(Expand),
    Plan(Plan),
    Explain(Explain),
}

/// Check that specs are right.
///
/// Prints a line for each right model, `net.yaml: Net, 18,090 parameters, 3 x 32 x 32 -> 2`, and
/// what is wrong on the error output. Every file is checked, also behind a wrong one.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Check {
    /// The specs: `.yaml`, `.yml` or `.netspec` files.
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) params: Params,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
    /// Exit with 1 when there are warnings, too.
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum CheckFormat {
    /// With the lines of the spec, as rustc does it.
    #[default]
    Human,
    /// One line each, `path:line:column: error[N0301]: title`.
    Short,
    /// One JSON object a line on the standard output, for findings and for right models.
    Json,
}

/// Print a model's layers: shapes, parameters, multiplications, receptive fields.
///
/// Figures are for one sample, and of a layer in a `repeat` for all its iterations together.
/// A MAC is a multiplication and an addition.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Summary {
    /// The spec: a `.yaml`, `.yml` or `.netspec` file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) params: Params,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: SummaryFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SummaryFormat {
    /// A table to read.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Train a model: build a program for it, and run that with `train` and OPTIONS.
///
/// OPTIONS are the program's, each with the spec's value when it is not given:
///   --data NAME:PATH     cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER, digits, safetensors:FILE
///   --epochs N  --batch N  --lr RATE  --seed N  --threads N
///   --device DEVICE      cpu, auto, cuda or cuda:N: with another one than cpu the program is built with CUDA
///   --precision NAME     f32, tf32 or bf16: what a graphics card multiplies in
///   --weights FILE       weights to begin with
///   --out FILE           where the weights are written
/// `netc train FILE -- --help` shows them with the spec's values. netc's own options stand before them.
/// The weights are written after every epoch, so an interrupted training can go on from them, with `--weights`.
///
/// The exit code is the program's: 0 all went well, 1 the training failed, 2 the command line is wrong or a
/// file cannot be read.
#[derive(Parser)]
#[command(
    verbatim_doc_comment,
    override_usage = "netc train [-p NAME=VALUE] [-v] [--netspec PATH] <FILE> [OPTIONS]..."
)]
pub(crate) struct Train {
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    pub(crate) making: Making,
    /// The spec: a `.yaml`, `.yml` or `.netspec` file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Options of the training.
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<OsString>,
}

/// Run a model on a picture: build a program for it, and run that with `run` and OPTIONS.
///
/// IMAGE is a PNG file of the size that the model takes. An output that is a map is written as a picture, its least number black and
/// its greatest white; the numbers of another one are printed. OPTIONS are the program's:
///   --weights FILE       the weights; without it those that the spec draws from its seed, or writes out
///   --out FILE           where the picture is written
///   --seed N             of initial weights
#[derive(Parser)]
#[command(
    verbatim_doc_comment,
    override_usage = "netc run [-p NAME=VALUE] [-v] [--netspec PATH] <FILE> <IMAGE> [OPTIONS]..."
)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    pub(crate) making: Making,
    /// The spec: a `.yaml`, `.yml` or `.netspec` file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The picture, and options.
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<OsString>,
}

/// Build a program that trains and evaluates a model.
///
/// The program has the commands `train`, `eval`, `run` and `summary`; it needs neither netc nor cargo. Building it needs cargo.
#[derive(Parser)]
pub(crate) struct Build {
    /// With CUDA: it also runs on graphics cards, by `--device`. Building it needs no CUDA toolkit.
    #[arg(long)]
    pub(crate) cuda: bool,
    /// The spec: a `.yaml`, `.yml` or `.netspec` file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Where the program is written.
    #[arg(short, long, value_name = "BIN", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    pub(crate) making: Making,
}

/// How programs are built.
#[derive(Parser)]
pub(crate) struct Making {
    /// The crate `netspec` that the program uses: its folder, or that of a checkout. Without it, the checkout that netc was built
    /// from, if it is still there, else the registry's, of netc's version.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) netspec: Option<PathBuf>,
    /// Show what cargo says.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Print the Rust that a model becomes.
#[derive(Parser)]
pub(crate) struct Expand {
    /// The spec: a `.yaml`, `.yml` or `.netspec` file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print the CUDA C++ that it becomes for a graphics card.
    #[arg(long)]
    pub(crate) cuda: bool,
    #[command(flatten)]
    pub(crate) params: Params,
}

/// Print where a model's values lie in memory.
///
/// For each value: where its memory begins, its bytes, and the first and last of the plan's calls that touch it. Values in one line,
/// with `=` between them, are one after the other in the same place. Bytes are for one sample, and of a value that a `repeat` keeps
/// for all its iterations together.
#[derive(Parser)]
pub(crate) struct Plan {
    /// The spec: a `.yaml`, `.yml` or `.netspec` file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) params: Params,
    /// What the plan is for.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kind: PlanKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PlanKind {
    /// Forward, loss and backward.
    #[default]
    Training,
    /// Forward with the running statistics.
    Inference,
    /// Forward as in training, with dropout and the statistics of the batch.
    Evaluation,
    /// Forward as in inference, loss, and backward to the inputs.
    InputGradients,
    /// Forward as in inference, with nothing fused.
    Probe,
}

/// Explain an error: what it means, a spec that has it, the same spec mended.
#[derive(Parser)]
pub(crate) struct Explain {
    /// What stands in brackets behind `error`, as in N0301; without it all codes are listed.
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

#[derive(Parser)]
pub(crate) struct Params {
    /// Sets a parameter of the model, in place of its default; can be given for several.
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, i64)>,
}

impl Params {
    /// What was set. A parameter set twice ends the program as any other misuse of the command line does.
    pub(crate) fn values(&self) -> &[(String, i64)] {
        for (index, (name, _)) in self.params.iter().enumerate() {
            if self.params[..index].iter().any(|(earlier, _)| earlier == name) {
                let message = format!("the parameter `{name}` is set twice");
                Args::command().error(ErrorKind::ArgumentConflict, message).exit();
            }
        }
        &self.params
    }
}

/// `n_blocks=10`.
fn param(text: &str) -> Result<(String, i64), String> {
    let (name, value) =
        text.split_once('=').ok_or("a name, `=` and a whole number are expected, as in `-p n_blocks=10`")?;
    if name.is_empty() {
        return Err("the name before `=` is missing, as in `-p n_blocks=10`".to_owned());
    }
    match value.parse() {
        Ok(value) => Ok((name.to_owned(), value)),
        Err(error) => Err(match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => format!("{value} does not fit 64 bits"),
            _ => format!("`{value}` is not a whole number"),
        }),
    }
}
