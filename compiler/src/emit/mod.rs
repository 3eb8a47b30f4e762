//! Plan to Rust: the text that `netc expand` prints and `netspec!` hands to rustc.
//!
//! Emitters only print. A person reads what they print: functions follow the spec, each call stands below the line of the spec
//! that it comes from, and every number is a literal.

mod calls;
pub mod cuda;
mod functions;
mod text;

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::check::Checked;
use crate::differentiate::{differentiate, differentiate_inputs};
use crate::fuse::{Folded, PlanKind, fuse};
use crate::ir::{self, Fill, Item, Kind, Program, Tensor};
use crate::layout::{Laid, lay};
use crate::lower::lower;
use crate::net::NetLayer;
use crate::ops::{elements, thousands};
use crate::plan::{self, Plan};
use crate::schedule::schedule;
use crate::source::Sources;
use crate::target::Target;
use calls::{Around, Calls, Geometries, Loops, float, offset};
use functions::{Pass, functions};
use text::{Lines, grouped, list};

/// The type that has the functions of the passes; nobody outside can name it.
const PASSES: &str = "Passes";

/// How the generated struct is written.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// `pub`, `pub(crate)` or nothing.
    pub visibility: &'a str,
    /// The struct's name.
    pub name: &'a str,
    /// Where the spec is, as the user names it: `specs/res_deep.yaml with n_blocks = 100`.
    pub origin: &'a str,
}

/// One pass of a model: its program, what of it was folded, its plan.
pub struct Planned {
    /// What runs.
    pub program: Program,
    /// Batch norms that inference finds in the weights before them.
    pub folded: Vec<Folded>,
    /// Where and when.
    pub plan: Plan,
    /// The model's outputs, each of which has a loss.
    pub losses: u64,
}

impl Planned {
    /// Bytes of the heap that the first batch of so many samples takes at most on so many threads, beside the model and the data:
    /// what a workspace of the runtime holds then. No later one takes any, but for buffers of `matrixmultiply`.
    pub fn heap(&self, samples: u64, threads: u64) -> u64 {
        let plan = &self.plan;
        let tiles = samples.div_ceil(TILE);
        let workers = threads.min(tiles).max(1);
        // A tile that is alone leaves its kernels all threads.
        let scratches = if tiles > 1 { workers } else { threads };
        let kind = plan.schedule.kind;
        let trains = kind == PlanKind::Training;
        let losses = if kind.has_backward() { self.losses } else { 1 };
        let wave = (GRADIENT_BUDGET / (4 * plan.gradients.max(1))).max(workers).min(tiles.max(1));
        let folded = if trains { 0 } else { folded_len(self).next_multiple_of(16) };
        // Memories are of whole lines of 16 floats; the losses are a plain vector.
        let memories = [
            workers * TILE * plan.tile,
            samples * plan.batch,
            plan.state,
            scratches * plan.scratch,
            wave * plan.gradients,
            folded + plan.packed_len,
            if trains || plan.gradients > 0 { self.program.params } else { 0 },
        ];
        let lines: u64 = memories.iter().map(|floats| floats.next_multiple_of(16)).sum();
        // A vector that grows has room for four at least.
        4 * (lines + (losses * samples).max(4))
    }
}

/// Samples of a tile, as the runtime has them.
const TILE: u64 = 8;

/// Bytes that gradients of tiles may take, as the runtime has them.
const GRADIENT_BUDGET: u64 = 16 << 20;

/// Floats of the copy of the weights in which inference finds its batch norms: 0 when it reads the parameters themselves.
fn folded_len(infer: &Planned) -> u64 {
    if infer.folded.is_empty() && infer.program.statistics == 0 {
        0
    } else {
        infer.program.params + infer.program.statistics
    }
}

/// Lowers, fuses, differentiates, lays out, schedules and plans a model: the passes behind the check, for one kind of plan.
pub fn planned(checked: &Checked, kind: PlanKind) -> Planned {
    planned_for(checked, kind, checked.target)
}

/// As [`planned`], for a target.
pub fn planned_for(checked: &Checked, kind: PlanKind, target: Target) -> Planned {
    let verify = |program: &Program| debug_assert_eq!(ir::verify(program), Ok(()));
    let program = lower(checked);
    verify(&program);
    let (mut program, folded) = fuse(program, kind, target);
    verify(&program);
    if kind == PlanKind::Training {
        program = differentiate(program, target);
    } else if kind == PlanKind::InputGradients {
        let wanted: Vec<bool> = checked.net.inputs.iter().map(|input| input.has_gradient).collect();
        program = differentiate_inputs(program, target, &wanted);
    }
    verify(&program);
    let Laid { program, layouts } = lay(program, kind, target);
    verify(&program);
    let plan = plan::plan(&program, schedule(&program, &layouts, kind, target), target);
    debug_assert_eq!(plan::verify(&plan), Ok(()));
    Planned { program, folded, plan, losses: checked.outputs.len() as u64 }
}

/// The passes that a model has: training; evaluation as in training if its spec says `eval_mode batch_statistics`; inference; the
/// gradients of inputs if its spec says `with gradient` of one.
pub fn passes(checked: &Checked) -> impl Iterator<Item = PlanKind> {
    let evaluates = checked.net.train.as_ref().is_some_and(|train| train.batch_statistics);
    let has_gradient = checked.net.inputs.iter().any(|input| input.has_gradient);
    let passes = [
        (true, PlanKind::Training),
        (evaluates, PlanKind::Evaluation),
        (true, PlanKind::Inference),
        (has_gradient, PlanKind::InputGradients),
    ];
    passes.into_iter().filter_map(|(has, kind)| has.then_some(kind))
}

/// The text of a model: its struct, what it can do, and the functions that do it.
pub fn program(checked: &Checked, sources: &Sources, naming: Naming<'_>) -> String {
    let of = |kind: PlanKind| passes(checked).find(|pass| *pass == kind).map(|kind| planned(checked, kind));
    let (train, evaluate) = (of(PlanKind::Training), of(PlanKind::Evaluation));
    let infer = planned(checked, PlanKind::Inference);
    let input_gradients = of(PlanKind::InputGradients);
    // They read the copy of the weights that inference reads.
    debug_assert!(input_gradients.as_ref().is_none_or(|of_inputs| folded_len(of_inputs) == folded_len(&infer)));

    let mut geometries = Geometries::default();
    // A repeat labelled `pass` has functions of its own.
    let mut names = HashSet::from(PASS_FUNCTIONS.map(str::to_owned));
    let mut bodies = Lines::default();
    let passes = Passes { train, evaluate, infer, input_gradients };
    for (name, planned) in passes.named() {
        if let Some(Planned { program, plan, .. }) = planned {
            bodies.line("");
            functions(&Pass { checked, sources, program, plan, name }, &mut geometries, &mut names, &mut bodies);
            pack(&Pass { checked, sources, program, plan, name }, &mut geometries, &mut bodies);
        }
    }

    let mut lines = Lines::default();
    let name = naming.name;
    structure(checked, naming, &mut lines);
    lines.line("");
    lines.line("const _: () = {");
    // A model named like what is imported is called otherwise behind the imports, which hide its name.
    let is_hidden =
        IMPORTS.iter().flat_map(|line| line.split([' ', ',', ':', '{', '}'])).any(|word| word == naming.name);
    let is_hidden = is_hidden || [OPTION, PASSES].contains(&naming.name);
    let has_customs = !geometries.customs.is_empty();
    let is_hidden = is_hidden || has_customs;
    let naming = if is_hidden { Naming { name: "TheModel", ..naming } } else { naming };
    if is_hidden {
        lines.line(format!("type TheModel = {name};"));
        customs(checked, sources, &geometries.customs, &mut lines);
        lines.line("const _: () = {");
        lines.line("#[allow(unused_imports)]");
        lines.line(format!("use ::core::option::{OPTION};"));
    }
    lines.line("#[allow(unused_imports)]");
    lines.line("use ::netspec::{");
    IMPORTS.iter().for_each(|line| lines.line(line));
    lines.line("};");
    lines.line("");
    network(checked, naming, &passes, &mut geometries, &mut lines);
    lines.line("");
    lines.line("/// The passes: functions of their own, so that the model's names are its user's.");
    lines.line(format!("struct {PASSES};"));
    lines.line("");
    lines.line(format!("impl {PASSES} {{"));
    for (name, (kind, value)) in &geometries.constants {
        lines.line(format!("const {name}: {kind} = {value};"));
    }
    bodies.text.lines().for_each(|line| lines.line(line.trim_start()));
    lines.line("}");
    lines.line("};");
    if is_hidden {
        lines.line("};");
    }
    lines.text
}

/// The passes of a model.
struct Passes {
    train: Option<Planned>,
    evaluate: Option<Planned>,
    infer: Planned,
    input_gradients: Option<Planned>,
}

impl Passes {
    /// By what their functions are called.
    fn named(&self) -> [(&'static str, Option<&Planned>); 4] {
        let Passes { train, evaluate, infer, input_gradients } = self;
        [
            ("train", train.as_ref()),
            ("evaluate", evaluate.as_ref()),
            ("infer", Some(infer)),
            ("input_gradients", input_gradients.as_ref()),
        ]
    }
}

/// The types of a user's own layers, named before the imports can hide them, with what rustc is to prove of each.
fn customs(checked: &Checked, sources: &Sources, customs: &[(ir::Custom, String)], lines: &mut Lines) {
    for (custom, name) in customs {
        let ir::Custom { path, input, output, weights } = custom;
        let is_it = |(_, own): &(&NetLayer, &str)| own == path;
        let place = checked.net.customs().find(is_it).map_or(String::new(), |(layer, _)| {
            let (file, line) = (&sources.file(layer.head.file).path, sources.line(layer.head));
            format!("{file}:{line}: ")
        });
        let weights: Vec<String> =
            weights.iter().map(|(name, shape)| format!("({name:?}, &{})", list(shape))).collect();
        lines.line("");
        lines.line(format!("type {name} = {path};"));
        lines.line("");
        lines.line(format!("/// What comes into `{path}`."));
        lines.line(format!("struct {name}Input;"));
        lines.line("");
        lines.line(format!("impl ::netspec::layer::Input for {name}Input {{"));
        let shape = "::netspec::layer::Shape";
        lines.line(format!("const SHAPE: {shape} = {shape}::new(&{});", list(input)));
        lines.line("}");
        lines.line("");
        lines.line("const _: () = ::netspec::layer::prove::<");
        lines.line(format!("{name},"));
        lines.line(format!("{name}Input,"));
        let place = format!("{place}`{path}`");
        lines.line(format!(">({place:?}, &{}, &[{}]);", list(output), weights.join(", ")));
    }
    if !customs.is_empty() {
        lines.line("");
    }
}

/// The functions that every model may have.
const PASS_FUNCTIONS: [&str; 8] = [
    "pass_train",
    "pass_evaluate",
    "pass_infer",
    "pass_input_gradients",
    "pack_train",
    "pack_evaluate",
    "pack_infer",
    "pack_input_gradients",
];

/// The function that makes the packed weights of a pass, if it has any.
fn pack(pass: &Pass<'_>, geometries: &mut Geometries, lines: &mut Lines) {
    let copies = &pass.plan.schedule.packed;
    if copies.is_empty() {
        return;
    }
    lines.line("");
    lines.line(format!("fn pack_{}(p: &mut Pack<'_>) {{", pass.name));
    for (id, copy) in copies.iter().enumerate() {
        let name = pass.program.tensor(copy.tensor).name.rsplit_once('.').map_or("layer", |(layer, _)| layer);
        Calls { program: pass.program, plan: pass.plan, geometries: &mut *geometries }.pack(id, name, lines);
    }
    lines.line("}");
}

/// What the functions of a model use of the runtime.
const IMPORTS: &[&str] = &[
    "arena::{Pack, Tile, View, batch, tile},",
    "kernels::{Act, Epilogue, Store, activation, avg_pool, batch_norm, conv, direct, dropout, elementwise, linear},",
    "kernels::{depthwise, log_softmax, max_pool, sparse, winograd},",
    "kernels::{frame, multiply, permute, resample, shuffle},",
    "kernels::{Curve, curve, group_norm, softmax},",
    "layout::{Blocked, Plane},",
    "network::{Fill, Network, Repeat, Tensor},",
    "run::{Fold, Plan, Run},",
    "weights::Weights,",
];

/// The one type of the prelude that they name.
const OPTION: &str = "Option";

/// The struct, its types and its methods.
fn structure(checked: &Checked, naming: Naming<'_>, lines: &mut Lines) {
    let Naming { visibility, name, origin } = naming;
    let net = &checked.net;
    let visibility = if visibility.is_empty() { String::new() } else { format!("{visibility} ") };
    lines.comment("///", &format!("`{}`, from {origin}: {} parameters.", net.name, thousands(checked.parameters)));
    lines.line("#[derive(Clone, Debug)]");
    lines.line(format!("{visibility}struct {name} {{"));
    lines.line("weights: ::netspec::weights::Weights,");
    lines.line("}");
    lines.line("");
    let inputs: Vec<Vec<u64>> = net.inputs.iter().filter_map(|input| input.shape.clone()).collect();
    lines.line(format!("impl ::netspec::Model for {name} {{"));
    lines.line(format!("type Input = {};", samples_type(&inputs)));
    lines.line(format!("type Output = {};", samples_type(&checked.outputs)));
    lines.line(format!("const NAME: &'static str = {:?};", net.name));
    lines.line(format!("const PARAMETERS: usize = {};", grouped(checked.parameters)));
    lines.line("}");
    lines.line("");
    lines.line("#[allow(dead_code)]");
    lines.line(format!("impl {name} {{"));
    METHODS.trim_end().lines().for_each(|line| lines.line(line.trim_start()));
    // A loss of one output is a loss of the outputs too; rustc's words are plainer of it alone.
    let bound = if checked.outputs.len() == 1 { "Loss" } else { "Losses" };
    let has_gradient = net.inputs.iter().any(|input| input.has_gradient);
    for methods in [Some(TRAINING_METHODS), has_gradient.then_some(INPUT_METHODS)].into_iter().flatten() {
        lines.line("");
        let methods = methods.replace("::netspec::Loss<", &format!("::netspec::{bound}<"));
        methods.trim_end().lines().for_each(|line| lines.line(line.trim_start()));
    }
    lines.line("}");
}

/// What every model can do.
const METHODS: &str = "\
/// A model with the initial weights that `seed` draws.
pub fn new(seed: u64) -> Self {
    ::netspec::network::new(seed)
}

/// The model with the weights of a safetensors file, by PyTorch's names.
pub fn load(path: impl ::core::convert::AsRef<::std::path::Path>) -> ::core::result::Result<Self, ::netspec::Error> {
    ::netspec::network::load(path.as_ref())
}

/// Writes the weights to a safetensors file, beside it first and then renamed.
pub fn save(&self, path: impl ::core::convert::AsRef<::std::path::Path>) -> ::core::result::Result<(), ::netspec::Error> {
    ::netspec::network::save(self, path.as_ref())
}

/// The parameters, one after the other in PyTorch's order.
pub fn params(&self) -> &[f32] {
    self.weights.params()
}

/// The parameters, to be changed.
pub fn params_mut(&mut self) -> &mut [f32] {
    self.weights.params_mut()
}

/// Gives the output of each input.
pub fn infer(
    &self,
    workspace: &mut ::netspec::Workspace,
    inputs: &[<Self as ::netspec::Model>::Input],
    outputs: &mut [<Self as ::netspec::Model>::Output],
) -> ::core::result::Result<(), ::netspec::Error> {
    ::netspec::network::infer(self, workspace, inputs, outputs)
}
";

/// What it can be trained with.
const TRAINING_METHODS: &str = "\
/// One step of training on a batch: gives the mean loss before it.
pub fn step<L: ::netspec::Loss<<Self as ::netspec::Model>::Output>, O: ::netspec::Optimizer>(
    &mut self,
    workspace: &mut ::netspec::Workspace,
    inputs: &[<Self as ::netspec::Model>::Input],
    targets: &[L::Target],
    loss: &L,
    optimizer: &mut O,
) -> ::core::result::Result<f32, ::netspec::Error> {
    ::netspec::network::step(self, workspace, inputs, targets, loss, optimizer)
}

/// The mean loss of a batch, and its gradient by each parameter.
pub fn gradients<L: ::netspec::Loss<<Self as ::netspec::Model>::Output>>(
    &self,
    workspace: &mut ::netspec::Workspace,
    inputs: &[<Self as ::netspec::Model>::Input],
    targets: &[L::Target],
    loss: &L,
    gradients: &mut [f32],
) -> ::core::result::Result<f32, ::netspec::Error> {
    ::netspec::network::gradients(self, workspace, inputs, targets, loss, gradients)
}
";

/// What a model whose spec says `with gradient` of an input can do besides.
const INPUT_METHODS: &str = "\
/// The derivative of each sample's loss by its input, as in inference; gives the mean loss.
pub fn input_gradients<L: ::netspec::Loss<<Self as ::netspec::Model>::Output>>(
    &self,
    workspace: &mut ::netspec::Workspace,
    inputs: &[<Self as ::netspec::Model>::Input],
    targets: &[L::Target],
    loss: &L,
    gradients: &mut [<Self as ::netspec::Model>::Input],
) -> ::core::result::Result<f32, ::netspec::Error> {
    ::netspec::network::input_gradients(self, workspace, inputs, targets, loss, gradients)
}
";

/// What the runtime needs to know of the model.
fn network(checked: &Checked, naming: Naming<'_>, passes: &Passes, geometries: &mut Geometries, lines: &mut Lines) {
    let Passes { train, evaluate, infer, input_gradients } = passes;
    let (train, evaluate, input_gradients) = (train.as_ref(), evaluate.as_ref(), input_gradients.as_ref());
    let lowered = lower(checked);
    lines.line(format!("impl Network for {} {{", naming.name));
    lines.line("const TENSORS: &'static [Tensor] = &[");
    for tensor in &lowered.tensors {
        lines.line(format!("{},", tensor_text(tensor)));
    }
    lines.line("];");
    lines.line(format!("const STATISTICS: usize = {};", grouped(lowered.statistics)));
    lines.line(format!("const SPEC_HASH: u64 = {:#018x};", hash(&checked.net.to_string())));
    let positions =
        least_positions(&lowered.body).map_or("None".to_owned(), |least| format!("Some({})", grouped(least)));
    lines.line(format!("const BATCH_NORM_POSITIONS: Option<usize> = {positions};"));
    for (name, planned) in [("TRAIN", train), ("FORWARD", evaluate), ("INFER", Some(infer))] {
        let text = planned.map_or("Plan::NONE".to_owned(), plan_text);
        lines.line(format!("const {name}: Plan = {text};"));
    }
    if let Some(planned) = input_gradients {
        lines.line(format!("const INPUT_GRADIENTS: Plan = {};", plan_text(planned)));
    }
    let written: Vec<String> = train.map_or(Vec::new(), |train| {
        let mut tensors: Vec<&Tensor> = train.plan.schedule.written().map(|id| train.program.tensor(id)).collect();
        tensors.sort_by_key(|tensor| tensor.offset);
        let part = |tensor: &&Tensor| format!("({}, {})", grouped(tensor.offset), grouped(elements(&tensor.shape)));
        tensors.iter().map(part).collect()
    });
    if !written.is_empty() {
        lines.line(format!("const WRITTEN: &'static [(usize, usize)] = &[{}];", written.join(", ")));
    }
    let folded = folded_len(infer);
    lines.line(format!("const FOLDED: usize = {};", grouped(folded)));
    let outputs = [("FORWARD_OUTPUTS", evaluate), ("INFER_OUTPUTS", Some(infer))];
    let of_inputs = input_gradients.map(|planned| ("INPUT_GRADIENTS_AT", Some(planned)));
    for (name, planned) in outputs.into_iter().chain(of_inputs) {
        let views = planned.map_or(Vec::new(), |planned| {
            let mut calls = Calls { program: &planned.program, plan: &planned.plan, geometries: &mut *geometries };
            planned.plan.schedule.outputs.iter().map(|output| calls.view(output, &Loops::new())).collect()
        });
        lines.line(format!("const {name}: &'static [View] = &[{}];", views.join(", ")));
    }
    lines.line("");
    for (signature, body) in [
        ("fn weights(&self) -> &Weights", "&self.weights"),
        ("fn weights_mut(&mut self) -> &mut Weights", "&mut self.weights"),
        ("fn with_weights(weights: Weights) -> Self", "Self { weights }"),
    ] {
        lines.line(format!("{signature} {{"));
        lines.line(body);
        lines.line("}");
    }
    let methods = [("train", "train", train), ("forward", "evaluate", evaluate), ("infer", "infer", Some(infer))];
    let of_inputs = input_gradients.map(|planned| ("input_gradients", "input_gradients", Some(planned)));
    for (method, pass, planned) in methods.into_iter().chain(of_inputs) {
        match planned {
            None => lines.line(format!("fn {method}(_: &mut Run<'_>) {{}}")),
            Some(_) => {
                lines.line(format!("fn {method}(run: &mut Run<'_>) {{"));
                lines.line(format!("{PASSES}::pass_{pass}(run);"));
                lines.line("}");
            }
        }
    }
    for (method, pass, planned) in [
        ("pack_train", "train", train),
        ("pack_forward", "evaluate", evaluate),
        ("pack_infer", "infer", Some(infer)),
        ("pack_input_gradients", "input_gradients", input_gradients),
    ] {
        if planned.is_some_and(|planned| planned.plan.packed_len > 0) {
            lines.line(format!("fn {method}(p: &mut Pack<'_>) {{"));
            lines.line(format!("{PASSES}::pack_{pass}(p);"));
            lines.line("}");
        }
    }
    fold(infer, folded, lines);
    lines.line("}");
}

/// The function that writes what inference reads in place of the parameters.
fn fold(infer: &Planned, len: u64, lines: &mut Lines) {
    if len == 0 {
        return;
    }
    let program = &infer.program;
    let own = lower_statistics(program, &infer.folded);
    let params = grouped(program.params);
    lines.line("fn fold(params: &[f32], statistics: &[f32], folded: &mut [f32]) {");
    lines.line(format!("folded[..{params}].copy_from_slice(params);"));
    lines.line(format!("folded[{params}..{}].copy_from_slice(statistics);", grouped(program.params + own)));
    for folded in &infer.folded {
        let weight = program.tensor(folded.weight);
        let repeats: Vec<_> = weight.repeats.iter().filter(|repeat| repeat.stride > 0).collect();
        let mut loops = Loops::new();
        for (depth, repeat) in repeats.iter().enumerate() {
            let variable = if depth == 0 { "l".to_owned() } else { format!("l{}", depth + 1) };
            lines.line(format!("for {variable} in 0..{} {{", grouped(repeat.count)));
            loops.push(Around { layer: repeat.layer, variable, count: repeat.count });
        }
        let at = |id: ir::TensorId, first: u64| {
            let tensor = program.tensor(id);
            let terms: Vec<_> = tensor.repeats.iter().map(|repeat| (repeat.layer, repeat.stride)).collect();
            offset(first + tensor.offset, &terms, &loops)
        };
        let behind = program.params;
        let channels = grouped(folded.sizes.channels);
        let slice = |of: &str, id: ir::TensorId| format!("&{of}[{}..][..{channels}]", at(id, 0));
        let maybe =
            |id: Option<ir::TensorId>| id.map_or("None".to_owned(), |id| format!("Some({})", slice("params", id)));
        let bias_from = folded.bias.map_or("None".to_owned(), |bias| format!("Some({})", at(bias, 0)));
        let bias_to = if folded.bias.is_some() { at(folded.folded_bias, 0) } else { at(folded.folded_bias, behind) };
        lines.line("batch_norm::fold(");
        for argument in [
            "folded".to_owned(),
            channels.clone(),
            grouped(elements(&weight.shape[1..])),
            at(folded.weight, 0),
            bias_from,
            bias_to,
            maybe(folded.norm.weight),
            maybe(folded.norm.bias),
            slice("statistics", folded.norm.mean),
            slice("statistics", folded.norm.var),
            float(folded.sizes.eps),
        ] {
            lines.line(format!("{argument},"));
        }
        lines.line(");");
        repeats.iter().for_each(|_| lines.line("}"));
    }
    lines.line("}");
}

/// Floats of the model's own running statistics, without the folded biases behind them.
fn lower_statistics(program: &Program, folded: &[Folded]) -> u64 {
    let added =
        folded.iter().filter(|folded| folded.bias.is_none()).map(|folded| program.tensor(folded.folded_bias).offset);
    added.min().unwrap_or(program.statistics)
}

fn tensor_text(tensor: &ir::Tensor) -> String {
    let fill = match &tensor.fill {
        Fill::Constant(value) => format!("Fill::Constant({})", float(*value)),
        Fill::Uniform(bound) => format!("Fill::Uniform({})", float(*bound)),
        Fill::Between(low, high) => format!("Fill::Between({}, {})", float(*low), float(*high)),
        Fill::Normal(mean, std) => format!("Fill::Normal {{ mean: {}, std: {} }}", float(*mean), float(*std)),
        Fill::Truncated { mean, std, ends: [low, high] } => format!(
            "Fill::Truncated {{ mean: {}, std: {}, low: {}, high: {} }}",
            float(*mean),
            float(*std),
            float(*low),
            float(*high)
        ),
        Fill::Orthogonal(gain) => format!("Fill::Orthogonal({})", float(*gain)),
        Fill::Values(values) => {
            let values: Vec<String> = values.iter().map(|value| float(*value)).collect();
            format!("Fill::Values(&[{}])", values.join(", "))
        }
    };
    let repeats: Vec<String> = tensor
        .repeats
        .iter()
        .map(|repeat| format!("Repeat {{ count: {}, stride: {} }}", grouped(repeat.count), grouped(repeat.stride)))
        .collect();
    format!(
        "Tensor {{ name: {:?}, shape: &{}, offset: {}, repeats: &[{}], fill: {fill}, trainable: {} }}",
        tensor.name,
        list(&tensor.shape),
        grouped(tensor.offset),
        repeats.join(", "),
        tensor.trainable
    )
}

fn plan_text(planned: &Planned) -> String {
    let plan = &planned.plan;
    format!(
        "Plan {{ tile: {}, batch: {}, state: {}, scratch: {}, packed: {}, gradients: {} }}",
        grouped(plan.tile),
        grouped(plan.batch),
        grouped(plan.state),
        grouped(plan.scratch),
        grouped(plan.packed_len),
        grouped(plan.gradients)
    )
}

/// The least positions of a channel that a batch norm has.
fn least_positions(body: &[Item]) -> Option<u64> {
    let of_item = |item: &Item| match item {
        Item::Loop(looped) => least_positions(&looped.body),
        Item::Op(op) => match &op.kind {
            Kind::BatchNorm(norm, ..) => Some(norm.positions),
            _ => None,
        },
    };
    body.iter().filter_map(of_item).min()
}

/// The 64-bit hash of Fowler, Noll and Vo (FNV-1a).
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `[[[f32; 32]; 32]; 3]` for one shape, a tuple of such for several.
fn samples_type(shapes: &[Vec<u64>]) -> String {
    let array = |shape: &Vec<u64>| {
        shape.iter().rev().fold("f32".to_owned(), |element, &size| format!("[{element}; {}]", grouped(size)))
    };
    match shapes {
        [shape] => array(shape),
        shapes => format!("({})", shapes.iter().map(array).collect::<Vec<_>>().join(", ")),
    }
}

/// The items of a model whose spec is wrong, so that `error`, an invocation of `compile_error!`, is all that rustc has to say
/// of the code that uses it.
pub fn emit_broken(visibility: &TokenStream, name: &Ident, error: &TokenStream) -> TokenStream {
    let doc = format!("`{name}`, whose spec is wrong.");
    // An array's length is an expression, so `compile_error!` can stand there; and what rustc derives from such an array is a
    // type it has already complained about, with which it takes everything to agree.
    let model_name = name.to_string();
    let methods: TokenStream = [METHODS, TRAINING_METHODS, INPUT_METHODS]
        .into_iter()
        .flat_map(without_bodies)
        .collect::<String>()
        .parse()
        .unwrap_or_default();
    quote! {
        #[doc = #doc]
        #[derive(Clone, Debug)]
        #visibility struct #name {
            weights: ::netspec::weights::Weights,
        }

        impl ::netspec::Model for #name {
            type Input = <[(); #error] as ::core::iter::IntoIterator>::Item;
            type Output = <Self as ::netspec::Model>::Input;
            const NAME: &'static str = #model_name;
            const PARAMETERS: usize = <<Self as ::netspec::Model>::Input as ::netspec::Model>::PARAMETERS;
        }

        #[allow(dead_code, unused_variables)]
        impl #name {
            #methods
        }
    }
}

/// Methods that are never run, since the program that has them is not built.
fn without_bodies(methods: &str) -> impl Iterator<Item = String> {
    methods.lines().map(|line| {
        match line.trim_start().starts_with("::netspec::network::") || line.trim_start().starts_with("self.weights") {
            true => "::core::unreachable!()\n".to_owned(),
            false => format!("{line}\n"),
        }
    })
}
