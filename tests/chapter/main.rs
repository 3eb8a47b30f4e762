//! `netspec-chapter`: trains every network of the chapter on the real images, as the book did, and writes what came of it beside
//! what the book printed.
//!
//! The images are those of `NETSPEC_DATA`, or `--data`: the folder that has `cifar2-batches-bin`. A run (a row of the table, a seed) is a
//! file of `tests/chapter/runs`, written when it has ended, or after each epoch where one takes long; what is there is not run again,
//! so that an interrupted command goes on where it was. `tests/chapter/README.md` is the table of those files.
//!
//! With `--exercises` it does the chapter's exercises in place of the rows, and writes `tests/chapter/exercises.md`.

mod exercises;
mod pictures;
mod rows;
mod runs;
mod table;
mod training;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rows::{ROWS, Row};
use training::{Images, Limits};

/// Trains the networks of the chapter and compares them with the book.
#[derive(Parser)]
#[command(name = "netspec-chapter", version)]
struct Arguments {
    /// Rows, with commas between; all when it is not there.
    #[arg(long, value_delimiter = ',', value_parser = row)]
    rows: Vec<&'static Row>,
    /// Do the exercises in place of the rows.
    #[arg(long, conflicts_with = "rows")]
    exercises: bool,
    /// The folder with `cifar2-batches-bin`, and for the exercises `cifar10-other8` and `photos/32x32`.
    #[arg(long, env = "NETSPEC_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Epochs of a run.
    #[arg(long, default_value_t = training::EPOCHS)]
    epochs: usize,
    /// Minutes after which a run of `res_deep` ends with the epoch it is in.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Threads; results are the same bits with any number.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Where the runs are.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/chapter"), value_name = "FOLDER")]
    out: PathBuf,
}

const NO_DATA: &str = "there are no images: set NETSPEC_DATA, or --data, to the folder that has `cifar2-batches-bin`, the airplanes \
     and birds of CIFAR-10 in the files of its binary version; for the exercises also `cifar10-other8` and `photos/32x32`";

fn row(name: &str) -> Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("the rows are {}", names()))
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netspec-chapter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let data = arguments.data.as_deref().ok_or(NO_DATA)?;
    let images = Images::read(&data.join("cifar2-batches-bin"))?;
    let folder = arguments.out.join("runs");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let limits = Limits { epochs: arguments.epochs, minutes: arguments.minutes, threads: arguments.threads };
    if arguments.exercises {
        print!("{}", exercises::write(&arguments.out, data, &images, limits)?);
        return Ok(());
    }
    let chosen = if arguments.rows.is_empty() { ROWS.iter().collect() } else { arguments.rows.clone() };
    for row in chosen {
        for seed in 0..row.seeds {
            let name = format!("{}-{seed}", row.name);
            let path = folder.join(format!("{name}.csv"));
            let done = runs::read(&path)?;
            if done.len() >= arguments.epochs || (!done.is_empty() && !row.resumes) {
                continue;
            }
            eprintln!("{name}: {} epochs to run", arguments.epochs - done.len());
            (row.train)(&training::Run { row, seed, done, path, images: &images, limits })?;
        }
    }
    let table = table::markdown(&folder)?;
    runs::replace(&arguments.out.join("README.md"), &table)?;
    print!("{table}");
    Ok(())
}
