//! A model's CUDA C++ and its launches: each launch gives a kernel what that takes; NVRTC compiles all of it within the budgets; and the
//! kernels, run by the stand-in for a card, give what the f64 interpreter gives.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cuda_sim::{Argument, Device, Geometry, Module, Order};
use netspec::Precision;
use netspec::cuda::{Nvrtc, options};
use netspec_compiler::check::Checked;
use netspec_compiler::emit::cuda::{Arg, Launch, Pass, Program, Step, Strided, program};
use netspec_compiler::fuse::{PlanKind, specialise};
use netspec_compiler::interpret::{Batch, Draw, Samples, Trace, run};
use netspec_compiler::lower::lower;
use netspec_compiler::ops::LAYERS;
use netspec_compiler::source::{Sources, Spelling};
use netspec_compiler::{Main, Options, compile};
use netspec_tests::card;
use netspec_tests::forms::{FORMS, WIRINGS, in_the_middle_text};
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

/// A kernel as the text declares it: the most threads of a block, and the types of its parameters.
fn declared(source: &str) -> HashMap<&str, (u32, Vec<String>)> {
    let mut kernels = HashMap::new();
    for text in source.split("extern \"C\" __global__ void __launch_bounds__(").skip(1) {
        let (threads, rest) = text.split_once(')').expect("a bound");
        let (threads, _) = threads.split_once(',').unwrap_or((threads, ""));
        let (name, rest) = rest.trim_start().split_once('(').expect("parameters");
        let (params, _) = rest.split_once(')').expect("the end of the parameters");
        let of_param = |param: &str| {
            let param = param.trim();
            let at = param.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').expect("a type and a name");
            param[..=at].trim().to_owned()
        };
        let params = params.split(',').map(of_param).collect();
        let is_new = kernels.insert(name, (threads.parse().expect("a number"), params)).is_none();
        assert!(is_new, "`{name}` is declared twice");
    }
    kernels
}

/// The types of parameters that may be given an argument.
fn takes(arg: &Arg) -> &'static [&'static str] {
    match arg {
        // Places of maxima are values, too.
        Arg::Value(_) => &["const float *", "float *", "const u8 *", "u8 *", "const u32 *", "u32 *"],
        Arg::Params(_) | Arg::Input(_) | Arg::Targets(_) | Arg::LossWeights(_) | Arg::LossFactor(_) => {
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
            let (most, params) = kernels.get(kernel.as_str()).unwrap_or_else(|| panic!("{name}: no kernel `{kernel}`"));
            assert_eq!(threads, most, "{name}: threads of `{kernel}`");
            assert!(*threads <= 1024 && threads.is_multiple_of(32), "{name}: `{kernel}`");
            assert_eq!(params.len(), args.len(), "{name}: `{kernel}` takes {params:?}, and is given {args:?}");
            for (param, arg) in params.iter().zip(args) {
                assert!(
                    takes(arg).contains(&param.as_str()),
                    "{name}: `{kernel}` takes a `{param}`, and is given {arg:?}"
                );
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
            "train_conv1_pool",
            "train_conv2_pool",
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
    let sizes: HashMap<&str, &str> = source
        .split("\nstruct ")
        .skip(1)
        .filter_map(|text| {
            let (name, rest) = text.split_once(" {")?;
            Some((name, rest.split_once("\n};")?.0))
        })
        .collect();
    let mut kernels = HashMap::new();
    for text in source.split("extern \"C\" __global__ void").skip(1) {
        let (text, _) = text.split_once("\n}\n").expect("the end of a kernel");
        let (_, rest) = text.split_once(')').expect("a bound");
        let (name, rest) = rest.trim_start().split_once('(').expect("parameters");
        let words = rest.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let meaning = words.map(|word| {
            let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').len();
            format!("{}{}", sizes.get(&word[..end]).copied().unwrap_or(&word[..end]), &word[end..])
        });
        kernels.insert(name, meaning.collect());
    }
    kernels
}

/// Kernels of a model that has many.
const LARGE: usize = 100;

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
        let mut meanings = meanings(&program.source);
        let all = declared(&program.source).into_iter().map(|(kernel, (threads, _))| (kernel.to_owned(), threads));
        let mut is_new = |kernel: &str| known.insert(meanings.remove(kernel).expect("the kernel's text"));
        let new: HashMap<String, u32> = all.filter(|(kernel, _)| is_new(kernel) || precisions.len() > 1).collect();
        if new.is_empty() {
            continue;
        }
        // Of the largest models each kernel is compiled for one of the two, in turns: all for both take minutes.
        let is_large = new.len() > LARGE && std::env::var_os("NETSPEC_BOTH_CARDS").is_none();
        for (arch, &precision) in [80, 90].into_iter().flat_map(|arch| precisions.iter().map(move |of| (arch, of))) {
            let mut kernels: Vec<_> = new.clone().into_iter().collect();
            kernels.sort();
            let turn = usize::from(arch == 90);
            let kernels = kernels.into_iter().enumerate().filter(|(at, _)| !is_large || at % 2 == turn);
            let kernels: HashMap<String, u32> = kernels.map(|(_, kernel)| kernel).collect();
            let source = with_kernels(&program.source, |kernel| kernels.contains_key(kernel));
            texts.push((name.clone(), source, kernels, arch, precision));
        }
    }
    let next = AtomicUsize::new(0);
    let compile = || {
        while let Some((name, source, kernels, arch, precision)) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let compiled = nvrtc.compile(name, source, &options(*arch, *precision));
            let compiled = compiled.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!compiled.cubin.is_empty() && !compiled.log.contains("warning"), "{name}: {}", compiled.log);
            let used = used(&compiled.log);
            for (kernel, threads) in kernels {
                let of = used.get(kernel).unwrap_or_else(|| panic!("{name}: ptxas says nothing of `{kernel}`"));
                // Four blocks of products a multiprocessor, and as many threads of other kernels: 65,536 registers.
                let budget = if *threads == 128 { 128 } else { 64 };
                assert!(of.spilled == 0 && of.registers <= budget, "{name}: `{kernel}` for sm_{arch}: {of:?}");
                // Of the 164 KiB of a multiprocessor of sm_80, or 48 without asking.
                assert!(of.shared <= 24 << 10, "{name}: `{kernel}` for sm_{arch}: {of:?}");
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(compile)))
    });
}

/// A batch norm of fewer numbers than this is badly conditioned.
const SAMPLES: usize = 5;

/// A model on the stand-in.
struct Bench<'a> {
    model: &'a OnCard,
    device: Device,
    module: Module,
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
        // For a virtual architecture there is no cubin to make.
        let mut options = options(80, precision);
        options[0] = "--gpu-architecture=compute_80".to_owned();
        let compiled = nvrtc.compile("model.cu", &source, &options);
        let mut device = Device::new();
        device.set_order(order);
        let ptx = compiled.unwrap_or_else(|error| panic!("{}: {error}", model.name)).ptx;
        let module = device.load(&ptx).unwrap_or_else(|finding| panic!("{}: {finding:?}", model.name));
        let samples = data.inputs[0].len();
        // Memory of no floats has an address, too.
        let upload =
            |device: &mut Device, floats: &[f32]| device.upload(if floats.is_empty() { &[0.0] } else { floats });
        let of = |numbers: &[f64]| numbers.iter().map(|&number| number as f32).collect::<Vec<f32>>();
        let params = upload(&mut device, &of(&data.params));
        let statistics = upload(&mut device, &of(&data.statistics));
        let inputs = data.inputs.iter().map(|input| upload(&mut device, &floats(input))).collect();
        let targets = data.targets.iter().map(|target| upload(&mut device, &floats(target))).collect();
        let losses = device.alloc(4 * samples * data.targets.len());
        let factor = upload(&mut device, &[1.0 / samples as f32]);
        let draw = device.upload(&[0_u64; 2]);
        let none = 0;
        Bench {
            model,
            device,
            module,
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
        self.arena = self.device.alloc(4 * self.samples * pass.arena.max(1) as usize);
        [self.scratch, self.state, self.folded] =
            [pass.scratch, pass.state, pass.folded].map(|floats| self.device.alloc(4 * floats.max(1) as usize));
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
                    self.gradients = self.device.upload(&vec![0.0_f32; params.max(1)]);
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
        let ran = self.device.launch(&self.module, kernel, geometry, &args);
        ran.unwrap_or_else(|finding| panic!("{}: {finding:?}", self.model.name));
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
            Arg::LossNumber(_) => Argument::F32(0.0),
            Arg::LossFactor(_) => pointer(self.factor, 0),
            Arg::Losses(output) => pointer(self.losses, (output * self.samples) as u64),
            Arg::Labels(_) | Arg::LossWeights(_) => unreachable!("a squared error has neither"),
        }
    }

    fn read(&self, from: u64, floats: usize) -> Vec<f64> {
        let found = self.device.read::<f32>(from, floats).expect("memory of its own");
        found.into_iter().map(f64::from).collect()
    }
}

/// A text without the kernels that are not wanted.
fn with_kernels(source: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    const HEAD: &str = "extern \"C\" __global__";
    let mut parts = source.split(HEAD);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let name = part.split_once('(').and_then(|(_, rest)| rest.split_once('(')).map_or("", |(before, _)| before);
        let name = name.rsplit(|c: char| c.is_whitespace()).next().unwrap_or_default();
        let (kernel, behind) = part.split_once("\n}\n").expect("the end of a kernel");
        if is_wanted(name) {
            text += &format!("{HEAD}{kernel}\n}}\n");
        }
        text += behind;
    }
    text
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
    let close = |what: &str, found: &[f64], wanted: &[f64]| {
        let apart = relative_l2(found, wanted, 1e-3);
        assert!(apart < tolerance, "{name}: {what} is off by {apart}: {found:?}, wanted {wanted:?}");
    };
    close("the gradient", &bench.read(bench.gradients, data.params.len()), &trained.gradient);
    let losses = bench.read(bench.losses, SAMPLES * data.targets.len());
    close("the loss", &[losses.iter().sum()], &[trained.loss]);
    close("a running statistic", &bench.read(bench.statistics, statistics.len()), &statistics);
    // Inference with the statistics of before.
    let before: Vec<f32> = data.statistics.iter().map(|&number| number as f32).collect();
    bench.statistics = bench.device.upload(if before.is_empty() { &[0.0] } else { &before });
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

/// The probability that the dropout of a form has.
fn probability(form: &str) -> f32 {
    [("0.3", 0.3), ("0.4", 0.4)].iter().find(|(text, _)| form.contains(text)).map_or(0.5, |(_, p)| *p)
}

#[test]
fn layers_give_what_the_reference_gives() {
    if !card::is_ready() {
        return;
    }
    for (layer, shape, form) in FORMS {
        PROBABILITY.set(if layer.contains("dropout") { probability(form) } else { 0.5 });
        agrees_with_the_reference(&of_text(&in_the_middle_text(SAMPLES, shape, form)), Order::Forward);
    }
}

#[test]
fn wirings_give_what_the_reference_gives() {
    if !card::is_ready() {
        return;
    }
    for (what, body) in WIRINGS {
        // Two probabilities in one model are more than the reference is asked for here.
        let body =
            if what.starts_with("dropout") { body.replace("dropout(0.4)", "dropout") } else { (*body).to_owned() };
        PROBABILITY.set(0.5);
        agrees_with_the_reference(&of_text(&format!("model Wired {{ {body} }}")), Order::Reversed);
    }
}
