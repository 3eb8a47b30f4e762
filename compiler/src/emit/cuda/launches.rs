//! What runs a model on a graphics card, as `netspec::cuda::program` has it, and that as Rust.

use crate::emit::text::grouped;

/// A model's text, and the launches of its kernels.
#[derive(Clone, Debug)]
pub struct Program {
    /// CUDA C++.
    pub source: String,
    /// The files of the families of kernels that it begins with.
    pub families: Vec<&'static str>,
    /// Where the model's own part of it begins, behind them.
    pub own: usize,
    /// Floats of a sample of each input.
    pub inputs: Vec<u64>,
    /// Of each output floats of a sample, classes, positions.
    pub outputs: Vec<[u64; 3]>,
    /// Its passes, by their field's name.
    pub passes: Vec<(&'static str, Pass)>,
}

/// One pass over a batch.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Floats of the arena for each sample.
    pub arena: u64,
    /// Floats of sums of parts: so many, and so many for each sample.
    pub scratch: [u64; 2],
    /// Floats of numbers of the batch, and of packed weights.
    pub state: u64,
    /// Floats that are read in place of parameters and statistics, and of packed weights.
    pub folded: u64,
    /// Makes those.
    pub fold: Vec<Step>,
    /// The pass.
    pub steps: Vec<Step>,
    /// The first float and the floats of each result.
    pub results: Vec<(u64, u64)>,
}

/// A step of a pass.
#[derive(Clone, Debug)]
pub enum Step {
    /// A kernel.
    Launch(Launch),
    /// Zeros for all gradients.
    ClearGradients,
    /// The kernel of each kind of loss.
    Loss(Vec<(&'static str, Launch)>),
    /// Steps again and again.
    Loop {
        /// Iterations.
        count: u64,
        /// From the last to the first.
        reversed: bool,
        /// What each runs.
        body: Vec<Step>,
    },
}

/// A kernel's launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its name.
    pub kernel: String,
    /// Its blocks.
    pub grid: Grid,
    /// Threads of a block.
    pub threads: u32,
    /// What it is given.
    pub args: Vec<Arg>,
}

/// Blocks: `ceil((fixed + of_sample * batch) / per_block)`, and those of the other dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Items that do not depend on the batch.
    pub fixed: u64,
    /// Items of each sample.
    pub of_sample: u64,
    /// Items of a block.
    pub per_block: u64,
    /// Blocks of the second dimension.
    pub y: u64,
    /// Blocks of the third dimension.
    pub z: u64,
}

impl Grid {
    /// Blocks for so many items of each sample.
    pub fn of_samples(items: u64, per_block: u64) -> Grid {
        Grid { fixed: 0, of_sample: items, per_block, y: 1, z: 1 }
    }

    /// Blocks for so many items.
    pub fn fixed(items: u64, per_block: u64) -> Grid {
        Grid { fixed: items, of_sample: 0, per_block, y: 1, z: 1 }
    }
}

/// `first + sum of strides[depth] * iteration[depth]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strided {
    /// That of the first iterations.
    pub first: u64,
    /// What each iteration of each loop around adds, the outermost loop's first.
    pub strides: Vec<u64>,
}

/// What a kernel is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A value of the arena.
    Value(Strided),
    /// Parameters.
    Params(Strided),
    /// Gradients.
    Gradients(Strided),
    /// Running statistics.
    Statistics(Strided),
    /// Folded weights.
    Folded(Strided),
    /// Numbers of the batch.
    State(Strided),
    /// Sums of parts.
    Scratch(u64),
    /// An input.
    Input(usize),
    /// `u32`: samples of the batch.
    Batch,
    /// `u64`: a key of random numbers.
    Key(Strided),
    /// Seed and step.
    Draw,
    /// `u32`: whether running statistics change.
    Updates,
    /// Labels of an output.
    Labels(usize),
    /// Targets of an output.
    Targets(usize),
    /// The part of each sample's own target in a mean of two.
    Shares,
    /// Weights of the loss of an output.
    LossWeights(usize),
    /// `f32`: the number of the loss of an output.
    LossNumber(usize),
    /// What the losses of an output are multiplied with.
    LossFactor(usize),
    /// The losses of an output.
    Losses(usize),
}

/// The module of the runtime that has these types, as generated text names it.
const MODULE: &str = "device";

/// The implementation of `OnDevice` for a model.
pub(super) fn on_device(name: &str, program: &Result<Program, String>) -> String {
    let value = match program {
        Ok(program) => format!("Ok({})", program_text(program)),
        Err(reason) => format!("Err({reason:?})"),
    };
    format!(
        "const _: () = {{\n    use ::netspec::cuda::program as {MODULE};\n\n    impl {MODULE}::OnDevice for {name} {{\n        \
         const PROGRAM: ::core::result::Result<{MODULE}::Program, &'static str> = ::core::result::Result::{value};\n    }}\n}};\n"
    )
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    format!("&[{}]", items.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn program_text(program: &Program) -> String {
    // As many signs as no quote of the text is followed by.
    let signs = "#".repeat(1 + program.source.matches("\"#").count());
    let pass = |name: &str| {
        let pass = program.passes.iter().find(|(of, _)| *of == name);
        pass.map_or(format!("{MODULE}::Pass::NONE"), |(_, pass)| pass_text(pass))
    };
    let passes = ["train", "forward", "infer", "input_gradients"].map(|name| format!("{name}: {}", pass(name)));
    let output = |[len, classes, positions]: &[u64; 3]| {
        format!("{MODULE}::Output {{ len: {len}, classes: {classes}, positions: {positions} }}")
    };
    format!(
        "{MODULE}::Program {{ source: r{signs}\"{}\"{signs}, inputs: {}, outputs: {}, {} }}",
        program.source,
        list(&program.inputs, |len| grouped(*len)),
        list(&program.outputs, output),
        passes.join(", ")
    )
}

fn pass_text(pass: &Pass) -> String {
    let Pass { arena, scratch: [fixed, of_sample], state, folded, fold, steps, results } = pass;
    format!(
        "{MODULE}::Pass {{ arena: {arena}, scratch: ({fixed}, {of_sample}), state: {state}, folded: {folded}, fold: {}, steps: {}, results: {} }}",
        list(fold, step_text),
        list(steps, step_text),
        list(results, |(first, len)| format!("({first}, {len})"))
    )
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Launch(launch) => format!("\n{MODULE}::Step::Launch({})", launch_text(launch)),
        Step::ClearGradients => format!("{MODULE}::Step::ClearGradients"),
        Step::Loss(kinds) => {
            let kind =
                |(kind, launch): &(&str, Launch)| format!("({MODULE}::LossKind::{kind}, {})", launch_text(launch));
            format!("\n{MODULE}::Step::Loss({})", list(kinds, kind))
        }
        Step::Loop { count, reversed, body } => {
            format!(
                "\n{MODULE}::Step::Loop {{ count: {count}, reversed: {reversed}, body: {} }}",
                list(body, step_text)
            )
        }
    }
}

fn launch_text(launch: &Launch) -> String {
    let Launch { kernel, grid: Grid { fixed, of_sample, per_block, y, z }, threads, args } = launch;
    format!(
        "{MODULE}::Launch {{ kernel: {kernel:?}, grid: {MODULE}::Grid {{ fixed: {fixed}, of_sample: {of_sample}, per_block: \
         {per_block}, y: {y}, z: {z} }}, threads: {threads}, args: {} }}",
        list(args, arg_text)
    )
}

fn arg_text(arg: &Arg) -> String {
    let strided = |Strided { first, strides }: &Strided| {
        format!("{MODULE}::Strided {{ first: {first}, strides: {} }}", list(strides, u64::to_string))
    };
    let text = match arg {
        Arg::Value(at) => format!("Value({})", strided(at)),
        Arg::Params(at) => format!("Params({})", strided(at)),
        Arg::Gradients(at) => format!("Gradients({})", strided(at)),
        Arg::Statistics(at) => format!("Statistics({})", strided(at)),
        Arg::Folded(at) => format!("Folded({})", strided(at)),
        Arg::State(at) => format!("State({})", strided(at)),
        Arg::Key(at) => format!("Key({})", strided(at)),
        Arg::Scratch(_)
        | Arg::Input(_)
        | Arg::Batch
        | Arg::Draw
        | Arg::Updates
        | Arg::Labels(_)
        | Arg::Targets(_)
        | Arg::Shares
        | Arg::LossWeights(_)
        | Arg::LossNumber(_)
        | Arg::LossFactor(_)
        | Arg::Losses(_) => format!("{arg:?}"),
    };
    format!("{MODULE}::Arg::{text}")
}
