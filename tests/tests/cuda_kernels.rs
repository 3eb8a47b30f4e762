//! A model's CUDA C++ and its launches: each launch gives a kernel what that takes; NVRTC compiles it within the budgets, of large models a
//! part; and the kernels, run by the stand-in for a card or by a real one, give what the f64 interpreter gives.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::{env, fs};

use cuda_sim::{Argument, Geometry, Order};
use netspec::Precision;
use netspec::cuda::{Nvrtc, options};
use netspec_compiler::check::Checked;
use netspec_compiler::emit::cuda::{Arg, Launch, Pass, Program, Step, Strided, program};
use netspec_compiler::fuse::{PlanKind, specialise};
use netspec_compiler::lower::lower;
use netspec_compiler::ops::LAYERS;
use netspec_compiler::source::{Sources, Spelling};
use netspec_compiler::{Main, Options, compile};
use netspec_interpreter::{Batch, Draw, Samples, Trace, run};
use netspec_tests::card::{self, Card, Loaded};
use netspec_tests::forms::{FORMS, WIRINGS, in_the_middle_text};
use netspec_tests::kernels::{Kernel, kernels, with_kernels};
use netspec_tests::reference::{Numbers, mse, relative_l2, root, unfused, verified};

/// A model for a card, and what it was compiled from.
struct OnCard {
    name: String,
    checked: Checked,
    program: Program,
}

fn on_card(name: &str, main: Main, params: &[(&str, i64)]) -> OnCard {
    let params = params.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let options = Options { params, ..Options::default() };
    let outcome = compile(main, &options, &mut |path| fs::read(root().join(path)).map_err(|error| error.to_string()));
    let checked = outcome.checked.unwrap_or_else(|| panic!("{name}: {:?}", outcome.diagnostics));
    let program = of(&checked, &outcome.sources).unwrap_or_else(|reason| panic!("{name}: {reason}"));
    OnCard { name: name.to_owned(), checked, program }
}

fn of(checked: &Checked, sources: &Sources) -> Result<Program, String> {
    program(checked, sources, "a test")
}

fn of_text(text: &str) -> OnCard {
    on_card(text, Main::Text { path: "text".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec }, &[])
}

/// The specs of the repository, each in one spelling.
fn specs() -> impl Iterator<Item = OnCard> {
    let mut paths: Vec<_> = fs::read_dir(root().join("specs"))
        .expect("the specs")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 16, "{paths:?}");
    paths.into_iter().map(|name| on_card(&name, Main::File(format!("specs/{name}")), &[]))
}

/// Each layer in the middle of others, and the unusual wirings.
fn small_models() -> impl Iterator<Item = OnCard> {
    let forms = FORMS.iter().map(|(_, shape, layer)| in_the_middle_text(SAMPLES, shape, layer));
    forms.chain(WIRINGS.iter().map(|(_, body)| format!("model Wired {{ {body} }}"))).map(|text| of_text(&text))
}

fn launches<'a>(steps: &'a [Step], of_all: &mut Vec<&'a Launch>) {
    for step in steps {
        match step {
            Step::Launch(launch) => of_all.push(launch),
            Step::ClearGradients => {}
            Step::Loss(kinds) => of_all.extend(kinds.iter().map(|(_, launch)| launch)),
            Step::Loop { body, .. } => launches(body, of_all),
        }
    }
}

fn all_launches(program: &Program) -> Vec<&Launch> {
    let mut of_all = Vec::new();
    for (_, pass) in &program.passes {
        launches(&pass.fold, &mut of_all);
        launches(&pass.steps, &mut of_all);
    }
    of_all
}

/// The kernels that a text declares, by their names.
fn declared(source: &str) -> HashMap<&str, Kernel<'_>> {
    let all = kernels(source);
    let count = all.len();
    let by_name: HashMap<_, _> = all.into_iter().map(|kernel| (kernel.name, kernel)).collect();
    assert_eq!(by_name.len(), count, "a kernel is declared twice");
    by_name
}

/// The types of parameters that may be given an argument.
fn takes(arg: &Arg) -> &'static [&'static str] {
    match arg {
        // Places of maxima are values, too.
        Arg::Value(_) => &["const float *", "float *", "const u8 *", "u8 *", "const u32 *", "u32 *"],
        Arg::Params(_) | Arg::Input(_) | Arg::Targets(_) | Arg::Shares | Arg::LossWeights(_) | Arg::LossFactor(_) => {
            &["const float *"]
        }
        Arg::Statistics(_) | Arg::Folded(_) | Arg::State(_) | Arg::Scratch(_) => &["const float *", "float *"],
        Arg::Gradients(_) | Arg::Losses(_) => &["float *"],
        Arg::Labels(_) => &["const u32 *"],
        Arg::Draw => &["const u64 *"],
        Arg::Batch | Arg::Updates => &["u32"],
        Arg::Key(_) => &["u64"],
        Arg::LossNumber(_) => &["float"],
    }
}

#[test]
fn launches_give_kernels_what_they_take() {
    for OnCard { name, program, .. } in specs().chain(small_models()) {
        let kernels = declared(&program.source);
        let launched = all_launches(&program);
        assert!(!launched.is_empty(), "{name}");
        for Launch { kernel, grid, threads, args } in launched {
            let declared = kernels.get(kernel.as_str()).unwrap_or_else(|| panic!("{name}: no kernel `{kernel}`"));
            let (most, params) = (declared.threads, &declared.params);
            assert_eq!(*threads, most, "{name}: threads of `{kernel}`");
            assert!(*threads <= 1024 && threads.is_multiple_of(32), "{name}: `{kernel}`");
            assert_eq!(params.len(), args.len(), "{name}: `{kernel}` takes {params:?}, and is given {args:?}");
            for (param, arg) in params.iter().zip(args) {
                assert!(takes(arg).contains(param), "{name}: `{kernel}` takes a `{param}`, and is given {arg:?}");
            }
            assert!(grid.per_block > 0 && grid.fixed + grid.of_sample > 0, "{name}: `{kernel}`");
            assert!((1..=65_535).contains(&grid.y) && (1..=65_535).contains(&grid.z), "{name}: `{kernel}`");
        }
    }
}

#[test]
fn a_layer_of_rust_runs_on_the_processor_alone() {
    let text = "model M { input x [4]; custom(layers::Swish) : [4]; linear(2); }";
    let main = Main::Text { path: "m.netspec".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec };
    let outcome = compile(main, &Options::default(), &mut |_| Err(String::new()));
    let checked = outcome.checked.expect("a right spec");
    assert_eq!(
        of(&checked, &outcome.sources).expect_err("no kernel"),
        "m.netspec:1: `custom` runs on the processor alone: its formula is Rust, which no graphics card runs"
    );
    assert!(LAYERS.iter().all(|layer| layer.cpu_only().is_some() == layer.is_foreign()));
}

#[test]
fn a_repeat_of_a_thousand_is_as_many_kernels_as_one_of_ten() {
    let kernels = |blocks: i64| {
        let model = on_card("res_deep", Main::File("specs/res_deep.yaml".to_owned()), &[("n_blocks", blocks)]);
        declared(&model.program.source).len()
    };
    assert_eq!(kernels(10), kernels(1_000));
}

#[test]
fn net_trains_with_these_kernels() {
    let net = on_card("net", Main::File("specs/net.yaml".to_owned()), &[]);
    let (_, train) = &net.program.passes[0];
    let name = |step: &Step| match step {
        Step::Launch(launch) => Some(launch.kernel.clone()),
        Step::Loss(kinds) => kinds.iter().find(|(kind, _)| *kind == "CrossEntropy").map(|(_, of)| of.kernel.clone()),
        Step::ClearGradients | Step::Loop { .. } => None,
    };
    let names: Vec<String> = train.steps.iter().filter_map(name).collect();
    assert_eq!(
        names,
        [
            "train_weights_pack",
            "train_conv1_pool",
            "train_conv2_pool",
            "train_fc1_sums",
            "train_fc1",
            "train_fc2",
            "train_fc2_loss_crossentropy",
            "train_fc2_input_back",
            "train_fc2_weight_back",
            "train_fc1_input_back",
            "train_fc1_weight_back",
            "train_conv2_pool_back",
            "train_conv2_input_back",
            "train_conv2_weight_back",
            "train_conv2_weight_parts",
            "train_conv1_pool_back",
            "train_conv1_weight_back",
            "train_conv1_weight_parts",
        ]
    );
}

/// What ptxas says of a kernel.
#[derive(Debug, Default)]
struct Used {
    registers: u32,
    spilled: u32,
    shared: u32,
}

fn used(log: &str) -> HashMap<String, Used> {
    let mut of_kernels: HashMap<String, Used> = HashMap::new();
    let mut kernel = String::new();
    let before = |line: &str, word: &str| -> u32 {
        let words: Vec<&str> = line.split(word).next().unwrap_or_default().split_whitespace().collect();
        words.last().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("a number in {line}"))
    };
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            kernel = rest.split('\'').next().unwrap_or_default().to_owned();
        }
        let of = of_kernels.entry(kernel.clone()).or_default();
        if line.contains("bytes spill stores") {
            of.spilled += before(line, " bytes spill stores") + before(line, " bytes spill loads");
        }
        if line.contains(" registers") {
            of.registers = before(line, " registers");
        }
        if line.contains(" bytes smem") {
            of.shared = before(line, " bytes smem");
        }
    }
    of_kernels
}

/// What each kernel of a text is, whatever it and its sizes are called: its own text, with the sizes in place of their names.
fn meanings(source: &str) -> HashMap<&str, String> {
    let structs = source.split("\nstruct ").skip(1).filter_map(|text| {
        let (name, rest) = text.split_once(" {")?;
        // What it is derived from is a part of what it is.
        let (name, base) = name.split_once(" : ").unwrap_or((name, ""));
        Some((name, format!("{base} {}", rest.split_once("\n};")?.0)))
    });
    let aliases = source.split("\nusing ").skip(1).filter_map(|text| {
        let (name, rest) = text.split_once(" = ")?;
        Some((name, rest.split_once(';')?.0.to_owned()))
    });
    let sizes: HashMap<&str, String> = structs.chain(aliases).collect();
    let of_word = |word: &str| {
        let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').len();
        format!("{}{}", sizes.get(&word[..end]).map_or(&word[..end], String::as_str), &word[end..])
    };
    let words = |text: &str| -> String {
        text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(of_word).collect()
    };
    kernels(source).into_iter().map(|kernel| (kernel.name, words(kernel.rest))).collect()
}

/// Kernels of a model that has many.
const LARGE: usize = 32;

/// Of such a model's kernels that differ in numbers alone, how many are compiled.
const OF_A_KIND: usize = 6;

#[test]
fn kernels_compile_within_their_budgets() {
    if !card::is_ready() {
        return;
    }
    let nvrtc = Nvrtc::get().expect("the card is ready");
    // What several specs have is compiled once.
    let mut known = HashSet::new();
    let mut texts = Vec::new();
    for OnCard { name, program, .. } in specs() {
        // All precisions of the nets that have every kind of product.
        let precisions: &[Precision] = match name.as_str() {
            "net.yaml" | "batch_norm.yaml" => &[Precision::F32, Precision::Tf32, Precision::Bf16],
            _ => &[Precision::F32],
        };
        let meanings = meanings(&program.source);
        let mut all: Vec<_> = declared(&program.source).into_values().collect();
        all.sort_by_key(|kernel| kernel.name);
        let mut kinds: BTreeMap<String, Vec<(&str, u32)>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for Kernel { name, threads, .. } in all {
            if precisions.len() > 1 || (!known.contains(&meanings[name]) && seen.insert(&meanings[name])) {
                let kind = meanings[name].chars().filter(|c| !c.is_ascii_digit()).collect();
                kinds.entry(kind).or_default().push((name, threads));
            }
        }
        // Of the largest models each kernel is compiled for one of the two cards, in turns, and of many of a kind a few: all take minutes.
        let count = kinds.values().map(Vec::len).sum::<usize>();
        let is_large = count > LARGE && env::var_os("NETSPEC_ALL_KERNELS").is_none();
        let some = |kernels: &Vec<(&str, u32)>| {
            let step = if is_large { kernels.len().div_ceil(OF_A_KIND) } else { 1 };
            kernels.iter().step_by(step).map(|&(name, threads)| (name.to_owned(), threads)).collect::<Vec<_>>()
        };
        let chosen: Vec<(String, u32)> = kinds.values().flat_map(some).collect();
        for (arch, &precision) in [80, 90].into_iter().flat_map(|arch| precisions.iter().map(move |of| (arch, of))) {
            let (first, step) = if is_large { (usize::from(arch == 90), 2) } else { (0, 1) };
            let kernels: HashMap<String, u32> = chosen.iter().skip(first).step_by(step).cloned().collect();
            if kernels.is_empty() {
                continue;
            }
            known.extend(kernels.keys().map(|kernel| meanings[kernel.as_str()].clone()));
            let source = with_kernels(&program.source, |kernel| kernels.contains_key(kernel));
            texts.push((name.clone(), source, kernels, arch, precision));
        }
    }
    let (next, over) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let compile = || {
        while let Some((name, source, kernels, arch, precision)) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let compiled = nvrtc.compile(name, source, &options(*arch, *precision));
            let compiled = compiled.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!compiled.cubin.is_empty() && !compiled.log.contains("warning"), "{name}: {}", compiled.log);
            let used = used(&compiled.log);
            for (kernel, threads) in kernels {
                let of = used.get(kernel).unwrap_or_else(|| panic!("{name}: ptxas says nothing of `{kernel}`"));
                // Four blocks of products a multiprocessor, or three, and of other kernels as many threads as four have: 65,536 registers.
                let budget = match (*threads, *precision) {
                    (128, Precision::Tf32) => 168,
                    (128, _) => 128,
                    _ => 64,
                };
                // Four blocks have the 164 KiB of a multiprocessor of sm_80.
                if of.spilled > 0 || of.registers > budget || of.shared > 40 << 10 {
                    let line = format!("{name}: `{kernel}` for sm_{arch}, {precision}: {of:?}");
                    over.lock().expect("no test has panicked").push(line);
                }
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(compile)))
    });
    let over = over.into_inner().expect("no test has panicked");
    assert!(over.is_empty(), "over their budgets:\n{}", over.join("\n"));
}

/// A batch norm of fewer numbers than this is badly conditioned.
const SAMPLES: usize = 5;

/// A model on a card.
struct Bench<'a> {
    model: &'a OnCard,
    card: Card,
    kernels: Loaded,
    samples: usize,
    params: u64,
    gradients: u64,
    statistics: u64,
    inputs: Vec<u64>,
    targets: Vec<u64>,
    losses: u64,
    factor: u64,
    draw: u64,
    arena: u64,
    scratch: u64,
    state: u64,
    folded: u64,
}

/// A batch, and the weights.
struct Data {
    params: Vec<f64>,
    statistics: Vec<f64>,
    inputs: Vec<Samples>,
    targets: Vec<Samples>,
}

impl Data {
    fn new(model: &OnCard, samples: usize) -> Data {
        // As the card has them, so that only its sums differ.
        let rounded =
            |numbers: Vec<f64>| numbers.into_iter().map(|number| f64::from(number as f32)).collect::<Vec<_>>();
        let mut numbers = Numbers(samples as u64);
        let (params, statistics) = numbers.weights(&lower(&model.checked));
        let inputs = numbers.inputs(&model.checked, samples);
        let inputs = inputs.into_iter().map(|input| input.into_iter().map(rounded).collect()).collect();
        let lens = model.program.outputs.iter().map(|[len, ..]| *len as usize);
        let targets = lens.map(|len| (0..samples).map(|_| rounded(numbers.numbers(len))).collect()).collect();
        Data { params: rounded(params), statistics: rounded(statistics), inputs, targets }
    }

    fn run(&self, program: &netspec_compiler::ir::Program, statistics: &mut [f64]) -> Trace {
        let samples = self.inputs[0].len();
        let loss = |sample: usize, y: &[f64]| mse(y, &self.targets[sample / samples][sample % samples]);
        run(program, &self.params, statistics, &Batch { inputs: &self.inputs, loss: &loss, keeps: &keeps })
    }
}

/// What the card draws with the seed and the step 0, of the probability of each use: [`FORMS`] and [`WIRINGS`] have these.
fn keeps(draw: Draw) -> bool {
    let key = (u64::from(draw.of) << 32) + draw.iteration;
    let bits = netspec::random::bits(&[0, 0, key, draw.sample as u64, draw.unit as u64]);
    netspec::random::unit(bits) >= PROBABILITY.get()
}

thread_local! {
    /// The probability of a zero in the model that runs.
    static PROBABILITY: std::cell::Cell<f32> = const { std::cell::Cell::new(0.5) };
}

fn floats(samples: &[Vec<f64>]) -> Vec<f32> {
    samples.iter().flatten().map(|&number| number as f32).collect()
}

impl<'a> Bench<'a> {
    /// The model, of whose text only training and inference are compiled, and of its losses one: NVRTC takes most of the time.
    fn new(model: &'a OnCard, data: &Data, (order, precision): (Order, Precision)) -> Bench<'a> {
        let mut wanted = Vec::new();
        for (name, pass) in &model.program.passes {
            if ["train", "infer"].contains(name) {
                launches(&pass.fold, &mut wanted);
                launches(&pass.steps, &mut wanted);
            }
        }
        let wanted: HashSet<&str> = wanted.iter().map(|launch| launch.kernel.as_str()).collect();
        let is_wanted =
            |kernel: &str| wanted.contains(kernel) && (!kernel.contains("_loss_") || kernel.contains("_loss_mse"));
        let source = with_kernels(&model.program.source, is_wanted);
        let nvrtc = Nvrtc::get().expect("the card is ready");
        let mut card = Card::new();
        card.set_order(order);
        let compiled = nvrtc.compile("model.cu", &source, &card.options(precision));
        let kernels = card.load(&compiled.unwrap_or_else(|error| panic!("{}: {error}", model.name)));
        let samples = data.inputs[0].len();
        // Memory of no floats has an address, too.
        let upload = |card: &mut Card, floats: &[f32]| card.upload(if floats.is_empty() { &[0.0] } else { floats });
        let of = |numbers: &[f64]| numbers.iter().map(|&number| number as f32).collect::<Vec<f32>>();
        let params = upload(&mut card, &of(&data.params));
        let statistics = upload(&mut card, &of(&data.statistics));
        let inputs = data.inputs.iter().map(|input| upload(&mut card, &floats(input))).collect();
        let targets = data.targets.iter().map(|target| upload(&mut card, &floats(target))).collect();
        let losses = card.alloc(4 * samples * data.targets.len());
        let factor = upload(&mut card, &[1.0 / samples as f32]);
        let draw = card.upload(&[0_u64; 2]);
        let none = 0;
        Bench {
            model,
            card,
            kernels,
            samples,
            params,
            gradients: none,
            statistics,
            inputs,
            targets,
            losses,
            factor,
            draw,
            arena: none,
            scratch: none,
            state: none,
            folded: none,
        }
    }

    fn pass(&mut self, name: &str) -> &'a Pass {
        let model = self.model;
        let (_, pass) = model.program.passes.iter().find(|(of, _)| *of == name).expect("a pass of the model");
        self.arena = self.card.alloc(4 * self.samples * pass.arena.max(1) as usize);
        let scratch = pass.scratch[0] + self.samples as u64 * pass.scratch[1];
        [self.scratch, self.state, self.folded] =
            [scratch, pass.state, pass.folded].map(|floats| self.card.alloc(4 * floats.max(1) as usize));
        self.steps(&pass.fold, &mut Vec::new());
        self.steps(&pass.steps, &mut Vec::new());
        pass
    }

    fn steps(&mut self, steps: &[Step], iterations: &mut Vec<u64>) {
        for step in steps {
            match step {
                Step::Launch(launch) => self.launch(launch, iterations),
                Step::ClearGradients => {
                    let params = self.model.checked.parameters as usize;
                    self.gradients = self.card.upload(&vec![0.0_f32; params.max(1)]);
                }
                Step::Loss(kinds) => {
                    let (_, launch) = kinds.iter().find(|(kind, _)| *kind == "Mse").expect("each output has one");
                    self.launch(launch, iterations);
                }
                Step::Loop { count, reversed, body } => {
                    for turn in 0..*count {
                        iterations.push(if *reversed { count - 1 - turn } else { turn });
                        self.steps(body, iterations);
                        iterations.pop();
                    }
                }
            }
        }
    }

    fn launch(&mut self, launch: &Launch, iterations: &[u64]) {
        let Launch { kernel, grid, threads, args } = launch;
        let args: Vec<Argument> = args.iter().map(|arg| self.argument(arg, iterations)).collect();
        let blocks = (grid.fixed + grid.of_sample * self.samples as u64).div_ceil(grid.per_block);
        let geometry = Geometry {
            grid: [blocks as u32, grid.y as u32, grid.z as u32],
            block: [*threads, 1, 1],
            dynamic_shared: 0,
        };
        let ran = self.card.launch(&self.kernels, kernel, geometry, &args);
        ran.unwrap_or_else(|problem| panic!("{}: {problem}", self.model.name));
    }

    fn argument(&self, arg: &Arg, iterations: &[u64]) -> Argument<'static> {
        let at = |Strided { first, strides }: &Strided| {
            first + strides.iter().zip(iterations).map(|(stride, iteration)| stride * iteration).sum::<u64>()
        };
        let pointer = |from: u64, floats: u64| Argument::Pointer(from + 4 * floats);
        match arg {
            Arg::Value(place) => pointer(self.arena, self.samples as u64 * at(place)),
            Arg::Params(place) => pointer(self.params, at(place)),
            Arg::Gradients(place) => pointer(self.gradients, at(place)),
            Arg::Statistics(place) => pointer(self.statistics, at(place)),
            Arg::Folded(place) => pointer(self.folded, at(place)),
            Arg::State(place) => pointer(self.state, at(place)),
            Arg::Scratch(first) => pointer(self.scratch, *first),
            Arg::Input(input) => pointer(self.inputs[*input], 0),
            Arg::Batch => Argument::U32(self.samples as u32),
            Arg::Key(place) => Argument::I64(at(place) as i64),
            Arg::Draw => pointer(self.draw, 0),
            Arg::Updates => Argument::U32(1),
            Arg::Targets(output) => pointer(self.targets[*output], 0),
            Arg::Shares => Argument::Pointer(0),
            Arg::LossNumber(_) => Argument::F32(0.0),
            Arg::LossFactor(_) => pointer(self.factor, 0),
            Arg::Losses(output) => pointer(self.losses, (output * self.samples) as u64),
            Arg::Labels(_) | Arg::LossWeights(_) => unreachable!("a squared error has neither"),
        }
    }

    fn read(&self, from: u64, floats: usize) -> Vec<f64> {
        self.card.read::<f32>(from, floats).into_iter().map(f64::from).collect()
    }
}

/// A few sums of f32 of at most a few thousand terms each; of what batch norms of few numbers make larger.
const TOLERANCE: f64 = 5e-5;

fn agrees_with_the_reference(model: &OnCard, order: Order) {
    is_near_the_reference(model, (order, Precision::F32), TOLERANCE);
}

fn is_near_the_reference(model: &OnCard, how: (Order, Precision), tolerance: f64) {
    let name = &model.name;
    let data = Data::new(model, SAMPLES);
    let mut bench = Bench::new(model, &data, how);
    let mut statistics = data.statistics.clone();
    let trained = data.run(&unfused(&model.checked), &mut statistics);
    bench.pass("train");
    let gradient = bench.read(bench.gradients, data.params.len());
    let close = |what: &str, found: &[f64], wanted: &[f64]| {
        let apart = relative_l2(found, wanted, 1e-3);
        assert!(apart < tolerance, "{name}: {what} is off by {apart}: {found:?}, wanted {wanted:?}");
    };
    close("the gradient", &gradient, &trained.gradient);
    let losses = bench.read(bench.losses, SAMPLES * data.targets.len());
    close("the loss", &[losses.iter().sum()], &[trained.loss]);
    close("a running statistic", &bench.read(bench.statistics, statistics.len()), &statistics);
    // Blocks and warps in the other order give the same bits.
    bench.card.set_order(if how.0 == Order::Forward { Order::Reversed } else { Order::Forward });
    bench.pass("train");
    assert_eq!(bench.read(bench.gradients, data.params.len()), gradient, "{name}: the gradient, in another order");
    // Inference with the statistics of before.
    let before: Vec<f32> = data.statistics.iter().map(|&number| number as f32).collect();
    bench.statistics = bench.card.upload(if before.is_empty() { &[0.0] } else { &before });
    let probe = verified(specialise(lower(&model.checked), PlanKind::Probe));
    let inferred = data.run(&probe, &mut data.statistics.clone());
    let pass = bench.pass("infer");
    for ((first, len), wanted) in pass.results.iter().zip(&inferred.outputs) {
        let found = bench.read(bench.arena + 4 * SAMPLES as u64 * first, SAMPLES * *len as usize);
        close("an output", &found, &wanted.concat());
    }
}

/// Products of every kind and ragged size, and what follows them.
const PRODUCTS: &[&str] = &[
    "input x [3, 9, 7]; conv(20, kernel = 3, padding = 1); tanh; avg_pool(2); conv(36, kernel = 3, padding = 1); tanh; flatten; linear(5);",
    "input x [16, 9, 7]; conv(32, kernel = 3, padding = 1); tanh; conv(64, kernel = 3, stride = 2, groups = 2); tanh; \
     conv_transpose(16, kernel = 3, padding = 1); tanh; flatten; linear(80); tanh; linear(3);",
    // More taps than a row knows of, of which a class has fewer.
    "input x [8, 20]; conv(16, kernel = 3); tanh; conv_transpose(20, kernel = 12, stride = 2); tanh; conv(16, kernel = 11, stride = 4); tanh; \
     flatten; linear(2);",
    "input x [8, 5]; conv_transpose(12, kernel = 3, stride = 2, groups = 2); tanh; flatten; linear(70); tanh; linear(3);",
    "input x [16, 6, 5]; conv(66, kernel = 1); batch_norm; tanh; conv(8, kernel = 3, stride = 2, groups = 2); flatten; linear(2);",
    "input x [4, 9, 8]; conv(8, kernel = 3, stride = (2, 3), padding = 1); tanh; conv(16, kernel = 3, stride = 2, dilation = 2, padding = 2); \
     tanh; conv_transpose(8, kernel = (4, 3), stride = (2, 3), padding = 1); flatten; linear(2);",
];

#[test]
fn tensor_cores_are_near_the_reference() {
    if !card::is_ready() {
        return;
    }
    PROBABILITY.set(0.5);
    for body in PRODUCTS {
        let model = of_text(&format!("model Products {{ {body} }}"));
        agrees_with_the_reference(&model, Order::Reversed);
        // Of a factor the last 13 bits are lost, or 16: 2^-11 and 2^-9 of it, in each layer of a few.
        is_near_the_reference(&model, (Order::Forward, Precision::Tf32), 3e-3);
        is_near_the_reference(&model, (Order::Forward, Precision::Bf16), 2e-2);
    }
}

/// Batch norms whose statistics come from a product's epilogue, of whole parts of the batch and what is left, and those whose do not.
const NORMS: &[&str] = &[
    "input x [4, 9, 8]; conv(12, kernel = 3, padding = 1, groups = 2); batch_norm(affine = false); relu; conv(9, kernel = 1); \
     batch_norm; tanh; flatten; linear(3);",
    "input x [2, 4, 5, 9]; conv(5, kernel = 3, padding = 1); batch_norm; relu; flatten; linear(3);",
    "input x [2, 70]; conv(66, kernel = 3); relu; batch_norm(momentum = 0.5); conv(3, kernel = 4, stride = 2); batch_norm; flatten; \
     linear(3);",
    "input x [8, 6, 7]; repeat 3 { skip { conv(8, kernel = 3, padding = 1, bias = false); batch_norm; relu; } } flatten; linear(4);",
    // In parts, which another launch finishes.
    "input x [200]; linear(70); batch_norm; relu; linear(3);",
    "input x [40]; linear(200); batch_norm; relu; linear(130); batch_norm(affine = false); relu; linear(3);",
    "input x [4, 9, 10]; conv(4, kernel = 3, groups = 4, padding = 1); batch_norm(affine = false); conv_transpose(6, kernel = 3); \
     batch_norm; relu; max_pool(2); batch_norm; conv(20, kernel = 3); max_pool(2); batch_norm; flatten; linear(3);",
    "input x [3, 8, 9]; conv(5, kernel = 3) as a; batch_norm as b; from a; batch_norm as c; add(b, c); flatten; linear(3);",
];

#[test]
fn batch_norms_of_parts_give_what_the_reference_gives() {
    if !card::is_ready() {
        return;
    }
    PROBABILITY.set(0.5);
    for body in NORMS {
        agrees_with_the_reference(&of_text(&format!("model Norms {{ {body} }}")), Order::Reversed);
    }
    let model = of_text(&format!("model Norms {{ {} }}", NORMS[0]));
    is_near_the_reference(&model, (Order::Forward, Precision::Tf32), 1e-2);
}

#[test]
fn a_batch_norm_of_large_numbers_keeps_its_variance() {
    if !card::is_ready() {
        return;
    }
    let model = of_text(
        "model Large { input x [3, 9, 8]; conv(6, kernel = 3, padding = 1); batch_norm; relu; flatten; linear(3); }",
    );
    let mut data = Data::new(&model, SAMPLES);
    let lowered = lower(&model.checked);
    let bias = lowered.tensors.iter().find(|tensor| tensor.name == "conv1.bias").expect("a bias").offset as usize;
    data.params[bias..bias + 6].fill(1000.0);
    let mut wanted = data.statistics.clone();
    data.run(&unfused(&model.checked), &mut wanted);
    let mut bench = Bench::new(&model, &data, (Order::Forward, Precision::F32));
    bench.pass("train");
    let found = bench.read(bench.statistics, wanted.len());
    // A result of 1000 is rounded by up to 3e-5, of deviations of about 1. The mean of the squares less the square of the mean is off by
    // much more than 1.
    let apart = relative_l2(&found[6..12], &wanted[6..12], 0.0);
    assert!(apart < 1e-4, "the running variance is off by {apart}: {found:?}, wanted {wanted:?}");
}

/// The probability that the dropout of a form has.
fn probability(form: &str) -> f32 {
    [("0.3", 0.3), ("0.4", 0.4)].iter().find(|(text, _)| form.contains(text)).map_or(0.5, |(_, p)| *p)
}

/// Parts of [`FORMS`] and of [`WIRINGS`], each a test of its own.
const TESTS: usize = 4;

fn layers_agree(part: usize) {
    if !card::is_ready() {
        return;
    }
    for (layer, shape, form) in FORMS.iter().skip(part).step_by(TESTS) {
        PROBABILITY.set(if layer.contains("dropout") { probability(form) } else { 0.5 });
        agrees_with_the_reference(&of_text(&in_the_middle_text(SAMPLES, shape, form)), Order::Forward);
    }
}

fn wirings_agree(part: usize) {
    if !card::is_ready() {
        return;
    }
    for (what, body) in WIRINGS.iter().skip(part).step_by(TESTS) {
        // Two probabilities in one model are more than the reference is asked for here.
        let body =
            if what.starts_with("dropout") { body.replace("dropout(0.4)", "dropout") } else { (*body).to_owned() };
        PROBABILITY.set(0.5);
        agrees_with_the_reference(&of_text(&format!("model Wired {{ {body} }}")), Order::Reversed);
    }
}

macro_rules! parts {
    ($($part:literal: $layers:ident, $wirings:ident;)*) => {
        const _: () = assert!(TESTS == [$($part),*].len());
        $(
            #[test]
            fn $layers() {
                layers_agree($part);
            }

            #[test]
            fn $wirings() {
                wirings_agree($part);
            }
        )*
    };
}
parts! {
    0: layers_give_what_the_reference_gives, wirings_give_what_the_reference_gives;
    1: layers_give_what_the_reference_gives_2, wirings_give_what_the_reference_gives_2;
    2: layers_give_what_the_reference_gives_3, wirings_give_what_the_reference_gives_3;
    3: layers_give_what_the_reference_gives_4, wirings_give_what_the_reference_gives_4;
}

#[test]
fn a_mixed_loss_is_the_mean_of_two() {
    if !card::is_ready() {
        return;
    }
    // Three classes at each of two positions.
    let model = of_text("model Mixed { input x [2, 1, 2]; conv(3, kernel = 1); }");
    let (_, train) = &model.program.passes[0];
    let kinds = train.steps.iter().find_map(|step| match step {
        Step::Loss(kinds) => Some(kinds),
        _ => None,
    });
    let source = with_kernels(&model.program.source, |kernel| kernel.contains("_loss_"));
    let mut card = Card::new();
    let options = card.options(Precision::F32);
    let compiled = Nvrtc::get().and_then(|nvrtc| nvrtc.compile("losses.cu", &source, &options));
    let loaded = card.load(&compiled.expect("it compiles"));
    const LEN: usize = 6;
    let mut numbers = Numbers(7);
    let mut floats = |count: usize| numbers.numbers(count).iter().map(|&of| of as f32).collect::<Vec<_>>();
    let arena = card.upload(&floats(SAMPLES * train.arena as usize));
    // Its own targets, then the others'.
    let targets: Vec<f32> = floats(2 * SAMPLES * LEN).iter().map(|target| target.abs().fract()).collect();
    let labels: Vec<u32> = (0..2 * SAMPLES as u32 * 2).map(|at| at * at % 3).collect();
    let weights = card.upload(&[0.5_f32, 2.0, 1.25, 3.0, 1.0, 0.25]);
    let shares = [0.75_f32, 0.0, 1.0, 0.5, 0.125];
    let (factor, losses) = (card.upload(&[0.5_f32]), card.alloc(4 * SAMPLES));
    for (kind, Launch { kernel, threads, args, .. }) in
        kinds.expect("a loss").iter().filter(|(kind, _)| *kind != "None")
    {
        // The losses, and the derivatives; the first targets are those of the set that is given.
        let mut run = |set: usize, shares: &[f32]| {
            let shares = if shares.is_empty() { 0 } else { card.upload(shares) };
            let of_labels = card.upload(&labels[set * 2 * SAMPLES..]);
            let of_targets = card.upload(&targets[set * LEN * SAMPLES..]);
            let place = |at: &Strided| arena + 4 * SAMPLES as u64 * at.first;
            let given = |arg: &Arg| match arg {
                Arg::Value(at) => Argument::Pointer(place(at)),
                Arg::Labels(_) => Argument::Pointer(of_labels),
                Arg::Targets(_) => Argument::Pointer(of_targets),
                Arg::LossWeights(_) => Argument::Pointer(weights),
                Arg::LossNumber(_) => Argument::F32(0.3),
                Arg::Shares => Argument::Pointer(shares),
                Arg::LossFactor(_) => Argument::Pointer(factor),
                Arg::Losses(_) => Argument::Pointer(losses),
                other => unreachable!("a loss is given no {other:?}"),
            };
            let args_given: Vec<Argument> = args.iter().map(given).collect();
            let geometry = Geometry { grid: [SAMPLES as u32, 1, 1], block: [*threads, 1, 1], dynamic_shared: 0 };
            let ran = card.launch(&loaded, kernel, geometry, &args_given);
            ran.unwrap_or_else(|problem| panic!("{kind}: {problem}"));
            // The second value is the derivative.
            let dy = args.iter().filter_map(|arg| if let Arg::Value(at) = arg { Some(place(at)) } else { None }).nth(1);
            let read = |from: u64, count: usize| card.read::<f32>(from, count);
            (read(losses, SAMPLES), read(dy.expect("a derivative"), SAMPLES * LEN))
        };
        let (own, other, mixed) = (run(0, &[]), run(1, &[]), run(0, &shares));
        let same = |own: &[f32], other: &[f32], mixed: &[f32]| {
            let each = mixed.len() / SAMPLES;
            for (at, mixed) in mixed.iter().enumerate() {
                let share = shares[at / each];
                let wanted = share * own[at] + (1.0 - share) * other[at];
                assert!((mixed - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{kind}: {mixed}, wanted {wanted}");
            }
        };
        same(&own.0, &other.0, &mixed.0);
        same(&own.1, &other.1, &mixed.1);
        assert!(own.0 != other.0 && own.1 != other.1, "{kind}: the targets differ");
    }
}
