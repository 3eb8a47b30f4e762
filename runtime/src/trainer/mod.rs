//! The program around a model: what `netc build` makes, and `netc train` runs. (With the feature `trainer`.)
//!
//! Its whole `main` is a call of [`main`](fn@main) with what the spec says, and the command line changes that:
//!
//! ```text
//! digits train --epochs 5
//! digits eval --weights digits.safetensors
//! net train --data cifar10:data/cifar-10-batches-bin --lr 0.005
//! net run bird.png --weights net.safetensors
//! net summary
//! ```
//!
//! # What is printed
//!
//! One line an epoch on the standard output:
//!
//! ```text
//! epoch  12  loss 0.3278  train accuracy 0.8610  test accuracy 0.8405
//! ```
//!
//! `loss` is the mean of the batches' mean losses, each before its step, with what the penalties add to it, which is no part of the
//! figures behind it. The accuracies are those after the epoch: every record is
//! evaluated once more, those to train with too, so that both figures are of the same weights. Evaluation is inference, with
//! running statistics and without dropout; with `eval_mode batch_statistics` it is the forward pass of training, in batches of the
//! training's size, in the order of the files, with dropout. With losses of values, such as `mse`, there are no classes, and the two
//! figures are mean losses, `train loss 0.0210  test loss 0.0234`. Of several outputs the accuracy is that of the first one that has a
//! loss; of a map it is the part of the positions.
//!
//! Everything else goes to the error output: on a terminal a bar for each epoch, else a line every ten seconds. The standard output
//! is the same for the same spec, seed and data, whatever the number of threads.
//!
//! # Files
//!
//! The weights are written after every epoch, beside their place and then renamed: an interrupted run leaves those of the last whole
//! epoch, or with `keep best` those of the best one. `--checkpoint FILE` also writes all that a training needs to go on after every
//! epoch, and `--resume FILE` goes on with that: what it prints and its weights are the bits of a training that was not interrupted. The texts in the file say how the data was normalized: `netspec.data`, `netspec.classes`, `netspec.divisor`,
//! `netspec.mean`, `netspec.std`, the lists in JSON; an input is `(element / divisor - mean) / std`.
//!
//! A run whose loss or weights are no longer finite numbers ends with an error and leaves the weights of the epoch before.
//!
//! # Graphics cards
//!
//! A program of `main_on_card` takes `--device auto|cpu|cuda[:N]`, and `--precision f32|tf32|bf16` for the products of a card. With
//! `auto` it runs on the first card; where there is none, or no driver, it says so and runs on the processor. A checkpoint or weights of
//! one device are read on any other. What is drawn, dropout's masks, orders of data and changes of images, is the same on all.
//!
//! A card adds up the losses of an epoch by itself, so that its steps follow each other without a pause. Of a loss that is no longer a finite
//! number it is therefore known later, at the latest behind the epoch: the error names the same step.
//!
//! # Exit codes
//!
//! 0: all went well. 1: the training failed, or a file does not hold what it should. 2: the command line is wrong, or a file cannot be
//! read or written.

mod args;
mod course;
mod defaults;
mod evaluate;
mod failure;
mod fit;
mod progress;
mod run;
mod tally;
mod task;
#[cfg(test)]
mod tests;
mod tricks;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub use crate::Numerics;
use args::Command;
pub use defaults::{Data, Defaults, EvalMode, Loss, Optimizer, OutputLoss, Train};
use failure::Failure;
use task::Task;
pub use tricks::{Keep, Monitor, Penalty, Tricks};

use crate::network::Network;
use crate::{Device, DeviceProblem, Error, Precision, Workspace};

/// Runs the command line of a program that trains the model `N`, on the processor.
pub fn main<N: Network>(defaults: &Defaults) -> ExitCode {
    start::<N>(defaults, on_processor)
}

/// As [`main`](fn@main), also on a graphics card.
#[cfg(feature = "cuda")]
pub fn main_on_card<N: crate::cuda::program::OnDevice>(defaults: &Defaults) -> ExitCode {
    start::<N>(defaults, Workspace::moved_to::<N>)
}

/// Puts a workspace on a device; when that is the processor for want of a card, says why.
type Place = fn(Workspace, Device, Precision) -> Result<(Workspace, Option<DeviceProblem>), Error>;

/// The only place of a program without CUDA.
fn on_processor(
    workspace: Workspace,
    device: Device,
    _: Precision,
) -> Result<(Workspace, Option<DeviceProblem>), Error> {
    match device {
        Device::Auto | Device::Cpu => Ok((workspace, None)),
        Device::Cuda(_) => Err(Error::Device(DeviceProblem::NotBuilt)),
    }
}

fn start<N: Network>(defaults: &Defaults, place: Place) -> ExitCode {
    match run::<N>(defaults, place, std::env::args_os(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs a command line; `out` is the standard output.
fn run<N: Network>(
    defaults: &Defaults,
    place: Place,
    line: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match args::parse(N::NAME, defaults, line)? {
        Command::Train(mut args) => {
            fit::check_out(&args.out)?;
            args.checkpoint.as_deref().map_or(Ok(()), fit::check_out)?;
            let part = args.shared.weights.take_if(|_| args.partial);
            let mut task = Task::<N>::new(defaults, place, &args.shared)?;
            if let Some(path) = part {
                course::transfer(&mut task, &path, &args.fresh)?;
            }
            fit::fit(&mut task, &args, out)
        }
        Command::Eval(args) => {
            let mut task = Task::<N>::new(defaults, place, &args.shared)?;
            let scores = task.scores()?;
            Ok(writeln!(out, "{scores}")?)
        }
        Command::Run(args) => run::run::<N>(defaults, &args, out),
        Command::Summary => Ok(out.write_all(defaults.summary.as_bytes())?),
    }
}
