//! A training that can be interrupted: weights, statistics, what the optimizer knows and what random numbers follow from, in one file.
//!
//! ```
//! netspec::netspec! { model Net { input x [4]; linear(8); dropout; linear(2); } }
//!
//! use netspec::{Adam, CrossEntropy, Workspace, checkpoint};
//!
//! # let folder = tempfile::tempdir().expect("a folder for the example");
//! # let file = folder.path().join("net.checkpoint");
//! let (inputs, labels) = ([[1.0, 0.5, -0.5, 0.0]; 8], [0; 8]);
//! let (mut net, mut workspace, mut optimizer) = (Net::new(0), Workspace::new(), Adam::new(1e-2));
//! net.step(&mut workspace, &inputs, &labels, &CrossEntropy, &mut optimizer)?;
//! checkpoint::save(&file, &net, &workspace, &optimizer, &[("step", "1")])?;
//! net.step(&mut workspace, &inputs, &labels, &CrossEntropy, &mut optimizer)?;
//!
//! // Later, in another process: the same bits.
//! let (mut workspace, mut optimizer) = (Workspace::new(), Adam::new(1e-2));
//! let (mut again, texts) = checkpoint::load::<Net>(&file, &mut workspace, &mut optimizer)?;
//! assert_eq!(texts["step"], "1");
//! again.step(&mut workspace, &inputs, &labels, &CrossEntropy, &mut optimizer)?;
//! assert_eq!(again.params(), net.params());
//! # Ok::<(), netspec::Error>(())
//! ```
//!
//! The file is a safetensors file. Beside the weights, named as in [`network::save`](crate::network::save), it has the optimizer's lists
//! as `netspec.optimizer.0` and so on. It is written beside its place and renamed, so there is a whole one at any time.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::FileProblem;
use crate::network::{Network, SaveOptions};
use crate::weights::Form;
use crate::weights::file::{Beside, read_beside, write_beside};
use crate::{Error, OptimizerState, Stateful, Workspace};

/// How the names of an optimizer's lists begin.
const LISTS: &str = "optimizer.";

/// Writes a checkpoint. Texts of one's own are kept with it: where in the data the training is, say.
///
/// # Errors
///
/// [`Error::File`] when the file cannot be written; what was there stays as it was.
pub fn save<N: Network>(
    path: &Path,
    model: &N,
    workspace: &Workspace,
    optimizer: &impl Stateful,
    texts: &[(&str, &str)],
) -> Result<(), Error> {
    let state = optimizer.state();
    let lists: Vec<(String, &[f32])> =
        state.values.iter().enumerate().map(|(at, list)| (format!("{LISTS}{at}"), list.as_slice())).collect();
    let [seed, step, forwards] = workspace.draws();
    let own = format!("{seed} {step} {forwards} {} {}", state.steps, lists.len());
    let metadata: Vec<(&str, &str)> = texts.iter().copied().chain([("netspec.checkpoint", own.as_str())]).collect();
    let options = SaveOptions { metadata: &metadata, ..SaveOptions::default() };
    write_beside(path, &const { Form::of::<N>() }, model.weights(), options, &lists)
}

/// Reads a checkpoint: the model, and the texts that were kept with it. The workspace draws as it would have, and the optimizer, which is
/// made as it was, knows what it did.
///
/// # Errors
///
/// [`Error::File`] when the file cannot be read, or is no checkpoint of this model; [`Error::OptimizerState`] when it is one of another
/// optimizer.
pub fn load<N: Network>(
    path: &Path,
    workspace: &mut Workspace,
    optimizer: &mut impl Stateful,
) -> Result<(N, BTreeMap<String, String>), Error> {
    let Beside { weights, mut lists, mut texts } = read_beside(path, &const { Form::of::<N>() })?;
    let wrong = |problem: &str| Error::File {
        path: path.to_owned(),
        problem: FileProblem::Format { wanted: "a checkpoint", problem: problem.to_owned() },
    };
    let own = texts.remove("netspec.checkpoint").ok_or_else(|| wrong("it has weights, and nothing of a training"))?;
    let numbers: Option<Vec<u64>> = own.split(' ').map(|number| number.parse().ok()).collect();
    let Some([seed, step, forwards, steps, count]) = numbers.and_then(|numbers| <[u64; 5]>::try_from(numbers).ok())
    else {
        return Err(wrong("its text `netspec.checkpoint` is not five numbers"));
    };
    // Bounded by the lists that are there, whatever the number says.
    let values: Vec<Vec<f32>> = (0..count).map_while(|at| lists.remove(&format!("{LISTS}{at}"))).collect();
    if values.len() as u64 != count || !lists.is_empty() {
        return Err(wrong("its lists are not those it says it has"));
    }
    optimizer.restore(OptimizerState { steps, values })?;
    workspace.set_draws([seed, step, forwards]);
    Ok((N::with_weights(weights), texts))
}
