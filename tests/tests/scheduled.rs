//! Plans, run on their own offsets: they compute what their programs do, and a wrong offset is noticed.

#[path = "support/nets.rs"]
mod nets;

use std::ops::Range;

use nets::{moving_net, random_net, random_wide_net};
use netspec_compiler::Target;
use netspec_compiler::check::Checked;
use netspec_compiler::emit::{Planned, planned, planned_for};
use netspec_compiler::fuse::PlanKind;
use netspec_compiler::lower::lower;
use netspec_compiler::plan::{self, Plan};
use netspec_compiler::schedule::Step;
use netspec_interpreter::scheduled::{Results, run_plan};
use netspec_interpreter::{Batch, Samples, Trace, pack, run};
use netspec_tests::reference::{Numbers, compile_file, compile_text, cross_entropy, keeps, models, relative_l2, small};

const KINDS: [PlanKind; 5] =
    [PlanKind::Training, PlanKind::Evaluation, PlanKind::Inference, PlanKind::InputGradients, PlanKind::Probe];

/// A stage's gradient is added up before it is added to the model's; everything else is the same sums.
const TOLERANCE: f64 = 1e-12;

/// Three samples: not a power of two, so that means over the batch round.
const SAMPLES: usize = 3;

/// What a model runs on.
struct Data {
    params: Vec<f64>,
    statistics: Vec<f64>,
    inputs: Vec<Samples>,
}

fn loss(sample: usize, y: &[f64]) -> (f64, Vec<f64>) {
    cross_entropy(y, sample % y.len())
}

impl Data {
    fn new(checked: &Checked, seed: u64) -> Data {
        let mut numbers = Numbers(seed);
        let (params, statistics) = numbers.weights(&lower(checked));
        Data { params, statistics, inputs: numbers.inputs(checked, SAMPLES) }
    }

    fn batch(&self) -> Batch<'_> {
        Batch { inputs: &self.inputs, loss: &loss, keeps: &keeps }
    }

    /// Parameters and statistics as a program of a plan has them.
    fn packed(&self, planned: &Planned) -> (Vec<f64>, Vec<f64>) {
        pack(&planned.program, &planned.folded, &self.params, &self.statistics)
    }

    fn by_program(&self, planned: &Planned) -> Numbered {
        let (params, mut statistics) = self.packed(planned);
        let Trace { outputs, loss, gradient, .. } = run(&planned.program, &params, &mut statistics, &self.batch());
        // Training's outputs end in the loss.
        let outputs = if planned.plan.schedule.kind == PlanKind::Training { Vec::new() } else { outputs };
        (Results { outputs, loss, gradient }, statistics)
    }

    fn by_plan(&self, planned: &Planned, plan: &Plan) -> Result<Numbered, String> {
        let (params, mut statistics) = self.packed(planned);
        let results = run_plan(&planned.program, plan, &params, &mut statistics, &self.batch())?;
        Ok((results, statistics))
    }
}

/// What a run leaves, and the running statistics behind it.
type Numbered = (Results, Vec<f64>);

/// How far apart two runs are.
fn difference((found, found_statistics): &Numbered, (wanted, statistics): &Numbered) -> f64 {
    assert_eq!(found.outputs.len(), wanted.outputs.len(), "outputs");
    let outputs = found.outputs.iter().zip(&wanted.outputs);
    let outputs = outputs.map(|(found, wanted)| relative_l2(&found.concat(), &wanted.concat(), 0.0));
    relative_l2(&[found.loss], &[wanted.loss], 0.0)
        .max(relative_l2(&found.gradient, &wanted.gradient, 0.0))
        .max(relative_l2(found_statistics, statistics, 0.0))
        .max(outputs.fold(0.0, f64::max))
}

/// Runs the plans of a model, for the processor and for a graphics card, and gives how far the worst is from its program.
fn agrees(what: &str, checked: &Checked, seed: u64) -> f64 {
    let mut checked = checked.clone();
    checked.net.inputs.iter_mut().for_each(|input| input.has_gradient = true);
    let data = Data::new(&checked, seed);
    let of_kind = |target: Target, kind: PlanKind| {
        let planned = planned_for(&checked, kind, target);
        let found = data.by_plan(&planned, &planned.plan);
        let found =
            found.unwrap_or_else(|problem| panic!("{kind:?} of {what} for {target:?}: {problem}\n{}", planned.plan));
        let apart = difference(&found, &data.by_program(&planned));
        assert!(apart <= TOLERANCE, "{kind:?} of {what} for {target:?} differs by {apart:.1e}\n{}", planned.plan);
        apart
    };
    let of_target = |target: Target| KINDS.into_iter().map(|kind| of_kind(target, kind)).fold(0.0, f64::max);
    [Target::Cpu, Target::Cuda].into_iter().map(of_target).fold(0.0, f64::max)
}

#[test]
fn every_spec_runs_on_its_plan() {
    let names = models();
    assert!(names.len() >= 27);
    for name in names {
        agrees(&name, &compile_file(&format!("specs/{name}.netspec"), small(&name)), 1);
    }
}

fn all_agree(seeds: Range<u64>, net: fn(u64) -> String) {
    let of_seed = |seed: u64| {
        let text = net(seed);
        agrees(&text, &compile_text(&text), seed)
    };
    let worst = seeds.map(of_seed).fold(0.0, f64::max);
    println!("the worst plan differs by {worst:.1e}");
}

#[test]
fn random_nets_run_on_their_plans() {
    all_agree(0..300, random_net);
}

#[test]
fn random_wide_nets_run_on_their_plans() {
    all_agree(0..100, random_wide_net);
}

#[test]
fn random_nets_that_move_values_run_on_their_plans() {
    all_agree(0..100, moving_net);
}

#[test]
fn convolutions_that_run_at_once_run_on_their_plans() {
    let net = |body: &str| {
        let text = format!("model M {{ input x [88, 4, 4]; {body} flatten; linear(2); }}");
        agrees(&text, &compile_text(&text), 3);
    };
    net("conv(88, kernel = 3, padding = 1); relu; skip { conv(88, kernel = 3, padding = 1); tanh; }");
    net("conv(96, kernel = 3, padding = 1); max_pool(2); relu; conv(8, kernel = 1);");
    net("repeat 2 { skip { conv(88, kernel = 3, padding = 1, bias = false); batch_norm; relu; } }");
    net("repeat 2 tied { conv(88, kernel = 3, padding = 1); tanh; } conv_transpose(88, kernel = 3, padding = 1);");
    net("conv(88, kernel = 5, padding = 2); relu; conv(88, kernel = 5, padding = 2);");
}

#[test]
fn what_waits_for_the_end_of_a_stage_finds_what_it_reads() {
    // An iteration ends where it began, and the gradient by a weight is of what it began with.
    agrees("linear", &compile_text("model M { input x [160]; repeat 3 { linear(160); } linear(4); }"), 1);
    agrees("linear", &compile_text("model M { input x [160]; repeat 3 tied { skip { linear(160); } } linear(4); }"), 2);
    let conv = "model M { input x [48, 2, 2]; repeat 3 { conv(48, kernel = 3, padding = 1); } flatten; linear(4); }";
    agrees("conv", &compile_text(conv), 3);
}

#[test]
fn a_cards_plan_runs_with_moments_from_its_products_and_two_bits_for_a_place() {
    let text = "model M { input x [3, 24, 16]; conv(6, kernel = 3, padding = 1); batch_norm; relu; max_pool(2); conv(8, kernel = 1); \
                batch_norm; max_pool(2); conv(5, kernel = 1); max_pool(2); flatten; linear(4); }";
    let checked = compile_text(text);
    let data = Data::new(&checked, 1);
    for kind in [PlanKind::Training, PlanKind::Evaluation, PlanKind::Inference] {
        let planned = planned_for(&checked, kind, Target::Cuda);
        let found = data.by_plan(&planned, &planned.plan).unwrap_or_else(|problem| panic!("{kind:?}: {problem}"));
        let apart = difference(&found, &data.by_program(&planned));
        assert!(apart <= TOLERANCE, "{kind:?} differs by {apart:.1e}\n{}", planned.plan);
    }
}

#[test]
fn stages_span_the_back_edges_of_loops() {
    let stages = |text: &str, kind: PlanKind| {
        fn count(steps: &[Step]) -> usize {
            let of = |step: &Step| match step {
                Step::Stage(_) => 1,
                Step::Whole(_) => 0,
                Step::Loop(looped) => count(&looped.body),
            };
            steps.iter().map(of).sum()
        }
        let checked = compile_text(text);
        agrees(text, &checked, 4);
        count(&planned(&checked, kind).plan.schedule.steps)
    };
    let net = |repeat: &str| {
        let body = "skip { conv(8, kernel = 3, padding = 1); batch_norm; relu; }";
        format!("model M {{ input x [8, 4, 4]; {repeat} {{ {body} }} flatten; linear(4); }}")
    };
    // Before the loop, inside it, behind it; and back. Of one iteration there is none before.
    assert_eq!(stages(&net("repeat 3"), PlanKind::Training), 4);
    assert_eq!(stages(&net("repeat 3 tied"), PlanKind::Evaluation), 3);
    assert_eq!(stages(&net("repeat 3"), PlanKind::Inference), 1);
}

/// The plan with one block moved, if it is another one then and stays inside its region.
fn moved(plan: &Plan, block: usize, offset: u64) -> Option<Plan> {
    let mut plan = plan.clone();
    let region = if plan.blocks[block].region == plan::Region::Tile { plan.tile } else { plan.batch };
    let moved = &mut plan.blocks[block];
    let is_moved = moved.offset != offset && offset + moved.len <= region;
    moved.offset = offset;
    for place in plan.places.iter_mut().filter(|place| place.block == Some(block)) {
        place.offset = offset;
    }
    is_moved.then_some(plan)
}

#[test]
fn a_block_that_lies_on_another_is_noticed() {
    let (mut wrong, mut noticed, mut right) = (0, 0, 0);
    for seed in 0..10 {
        let checked = compile_text(&random_net(seed));
        let data = Data::new(&checked, seed);
        let planned = planned(&checked, PlanKind::Training);
        let (wanted, blocks) = (data.by_program(&planned), &planned.plan.blocks);
        for block in 0..blocks.len() {
            // The next block of its region, in the order of the plan: one is enough.
            let others = (1..blocks.len()).map(|step| (block + step) % blocks.len());
            let mut others = others.filter(|&other| blocks[other].region == blocks[block].region);
            let Some(plan) = others.find_map(|other| moved(&planned.plan, block, blocks[other].offset)) else {
                continue;
            };
            let result = data.by_plan(&planned, &plan).map(|found| difference(&found, &wanted));
            let is_noticed = !result.as_ref().is_ok_and(|&apart| apart <= TOLERANCE);
            if plan::verify(&plan).is_ok() {
                // Nothing that lives at the same time lies there: the plan is another right one.
                assert!(!is_noticed, "{result:?} of a right plan\n{plan}");
                right += 1;
            } else {
                wrong += 1;
                noticed += usize::from(is_noticed);
            }
        }
    }
    // A block holds its memory through loops that need it for a part of their calls only.
    println!("{noticed} of {wrong} wrong plans noticed, {right} were right");
    assert!(wrong > 100 && noticed * 10 >= wrong * 9, "{noticed} of {wrong} wrong plans noticed");
}

#[test]
fn a_problem_is_told_with_its_call_and_its_slot() {
    let checked = compile_text("model M { input x [4]; skip { linear(4); tanh; } linear(2); }");
    let data = Data::new(&checked, 1);
    let planned = planned(&checked, PlanKind::Inference);
    let of = |name: &str| {
        let is_of = |names: &[String]| names.iter().any(|of| of == name);
        planned.plan.blocks.iter().position(|block| is_of(&block.names)).expect(name)
    };
    let other = planned.plan.blocks.iter().position(|block| block.names != ["x"]).expect("the linear layer's");
    // The linear layer writes over the input, which it reads.
    let plan = moved(&planned.plan, other, planned.plan.blocks[of("x")].offset).expect("another place");
    let problem = data.by_plan(&planned, &plan).map(|_| ());
    assert_eq!(problem, Err("call 1, Linear, writes `tanh1` over `x`, which it reads".to_owned()));
    // A step left out leaves what it would have written unwritten.
    let mut plan = planned.plan.clone();
    let Step::Stage(nodes) = &mut plan.schedule.steps[0] else { panic!("a stage") };
    nodes.remove(0);
    let problem = data.by_plan(&planned, &plan).map(|_| ());
    assert_eq!(problem, Err("call 0, Linear, reads `x` at float 0 of the Tile, which nothing has written".to_owned()));
}
