//! The gradients of inputs: of the program by differences, of its plan, and of what the macro makes.

use netspec::network::{self, Network};
use netspec::{CrossEntropy, Losses, Same, Workspace};
use netspec_compiler::check::Checked;
use netspec_compiler::emit::planned;
use netspec_compiler::fuse::PlanKind;
use netspec_compiler::lower::lower;
use netspec_interpreter::scheduled::run_plan;
use netspec_interpreter::{Batch, Samples, pack, run};
use netspec_tests::reference::{Numbers, compile_text, cross_entropy, keeps, relative_l2};

/// A model as text and as a type.
macro_rules! models {
    ($($model:ident, $text:ident = { $($spec:tt)* })*) => {
        // A bias before a norm is folded too.
        #[allow(deprecated)]
        mod models {
            $(netspec::netspec! { $($spec)* })*
        }
        $(const $text: &str = stringify!($($spec)*);)*
    };
}
models! {
    // Everything that inference folds and what it cannot: a norm before all else, one behind a sum, one behind a nonlinearity.
    Mixed, MIXED = {
        model Mixed {
            input image [3, 8, 8] with gradient;
            batch_norm;
            conv(16, kernel = 3, padding = 1);
            batch_norm;
            relu;
            max_pool(2);
            skip {
                batch_norm;
                relu;
                conv(16, kernel = 3, padding = 1, bias = false);
                batch_norm;
                tanh;
                dropout(0.5);
            }
            batch_norm;
            sigmoid;
            repeat 3 as blocks { skip { conv(16, kernel = 3, padding = 1); batch_norm; relu; } }
            branch concat { { conv(4, kernel = 1, stride = 2); } { avg_pool(2); } { max_pool(2); } }
            flatten;
            linear(4);
        }
    }
    Pooled, POOLED = {
        model Pooled {
            input image [3, 8, 8] with gradient;
            conv(5, kernel = 3, padding = 1);
            max_pool(2);
            relu;
            conv(4, kernel = 3);
            tanh;
            view(-1, 16);
            log_softmax;
        }
    }
    // Norms of one sample make the gradients of their weights together with that of what they read.
    Normed, NORMED = {
        model Normed {
            input image [3, 8, 8] with gradient;
            conv(8, kernel = 3, padding = 1);
            group_norm(4);
            silu;
            skip { batch_norm; conv(8, kernel = 3, padding = 1); group_norm(2); gelu; }
            flatten;
            layer_norm;
            linear(4);
        }
    }
    Two, TWO = {
        model Two {
            input a [6] with gradient;
            input b [5];
            from a;
            linear(3) as x;
            from b;
            linear(3) as y;
            add(x, y) as sum;
            tanh;
            linear(3) as first;
            from sum;
            batch_norm;
            linear(3) as second;
            output first, second;
        }
    }
}
use models::{Mixed, Normed, Pooled, Two};

const SAMPLES: usize = 3;

/// The label of a sample, whichever output it is of.
fn label(sample: usize) -> usize {
    sample % SAMPLES % 3
}

/// A model's numbers.
struct Run {
    checked: Checked,
    params: Vec<f64>,
    statistics: Vec<f64>,
    inputs: Vec<Samples>,
}

impl Run {
    fn new(text: &str) -> Run {
        let checked = compile_text(text);
        let mut numbers = Numbers(7);
        let (params, statistics) = numbers.weights(&lower(&checked));
        let inputs = numbers.inputs(&checked, SAMPLES);
        Run { checked, params, statistics, inputs }
    }

    /// The outputs and the sum of losses of a kind of plan, or the gradients in place of outputs.
    fn run(&self, kind: PlanKind, inputs: &[Samples]) -> (Vec<Samples>, f64) {
        let planned = planned(&self.checked, kind);
        let (params, mut statistics) = pack(&planned.program, &planned.folded, &self.params, &self.statistics);
        let loss = |sample: usize, y: &[f64]| cross_entropy(y, label(sample));
        let batch = Batch { inputs, loss: &loss, keeps: &keeps };
        let trace = run(&planned.program, &params, &mut statistics.clone(), &batch);
        if kind == PlanKind::InputGradients {
            let by_plan = run_plan(&planned.program, &planned.plan, &params, &mut statistics, &batch);
            let by_plan = by_plan.unwrap_or_else(|problem| panic!("{problem}\n{}", planned.plan));
            for (found, wanted) in by_plan.outputs.iter().zip(&trace.outputs) {
                assert!(relative_l2(&found.concat(), &wanted.concat(), 1e-30) <= 1e-12, "{}", planned.plan);
            }
        }
        (trace.outputs, trace.loss * SAMPLES as f64)
    }

    /// The sum of losses as inference's outputs have it.
    fn loss(&self, inputs: &[Samples]) -> f64 {
        let (outputs, _) = self.run(PlanKind::Probe, inputs);
        let of = |(sample, y): (usize, &Vec<f64>)| cross_entropy(y, label(sample)).0;
        outputs.iter().map(|samples| samples.iter().enumerate().map(of).sum::<f64>()).sum()
    }

    /// The gradients by the program, of the sum of losses.
    fn gradients(&self) -> Vec<Samples> {
        let (mut gradients, loss) = self.run(PlanKind::InputGradients, &self.inputs);
        assert!((loss - self.loss(&self.inputs)).abs() <= 1e-12 * loss);
        // The program's loss is a mean.
        gradients.iter_mut().flatten().flatten().for_each(|gradient| *gradient *= SAMPLES as f64);
        gradients
    }
}

/// Compares the program's gradients with differences of the loss, in f64.
fn check_differences(text: &str) {
    let of = Run::new(text);
    let gradients = of.gradients();
    for (input, samples) in of.inputs.iter().enumerate() {
        let has_gradient = of.checked.net.inputs[input].has_gradient;
        for (sample, values) in samples.iter().enumerate() {
            // Every seventh element: each costs two passes.
            for element in (0..values.len()).step_by(7) {
                let at = |step: f64| {
                    let mut inputs = of.inputs.clone();
                    inputs[input][sample][element] += step;
                    of.loss(&inputs)
                };
                let wanted = if has_gradient { (at(1e-6) - at(-1e-6)) / 2e-6 } else { 0.0 };
                let found = gradients[input][sample][element];
                assert!((found - wanted).abs() <= 1e-6, "input {input}, sample {sample}, {element}: {found}, {wanted}");
            }
        }
    }
}

/// Compares the macro's gradients with the program's, on every number of threads.
fn check_generated<N, L>(text: &str, loss: &L, zero: N::Input)
where
    N: Network<Input: Copy + PartialEq>,
    L: Losses<N::Output, Target = usize>,
{
    use netspec::Parts;
    let of = Run::new(text);
    let narrow = |wide: &[f64]| -> Vec<f32> { wide.iter().map(|&value| value as f32).collect() };
    let mut model: N = network::new(0);
    model.weights_mut().params_mut().copy_from_slice(&narrow(&of.params));
    model.weights_mut().statistics_mut().copy_from_slice(&narrow(&of.statistics));
    let mut inputs = [zero; SAMPLES];
    for (index, samples) in of.inputs.iter().enumerate() {
        inputs.iter_mut().zip(samples).for_each(|(to, from)| to.part_mut(index).copy_from_slice(&narrow(from)));
    }
    let labels: Vec<usize> = (0..SAMPLES).map(label).collect();
    let mut first: Option<([N::Input; SAMPLES], f32)> = None;
    for threads in [1, 2, 5] {
        let mut workspace = Workspace::with_threads(threads);
        let mut gradients = [zero; SAMPLES];
        let mean = network::input_gradients(&model, &mut workspace, &inputs, &labels, loss, &mut gradients);
        let mean = mean.expect("as many of each");
        let (wanted, exact) = (of.gradients(), of.loss(&of.inputs) / SAMPLES as f64);
        assert!((f64::from(mean) - exact).abs() <= 1e-5 * exact, "{mean}, wanted {exact}");
        for (index, wanted) in wanted.iter().enumerate() {
            let found: Vec<f64> =
                gradients.iter().flat_map(|of| of.part(index).iter().copied().map(f64::from)).collect();
            let apart = relative_l2(&found, &wanted.concat(), 1e-30);
            assert!(apart <= 1e-5, "{} on {threads} threads: input {index} differs by {apart:.1e}", N::NAME);
        }
        match &first {
            None => first = Some((gradients, mean)),
            Some(first) => assert!(*first == (gradients, mean), "the same bits on {threads} threads"),
        }
        // A gradient of one sample is its gradient in any batch.
        let mut alone = [zero];
        let one = network::input_gradients(&model, &mut workspace, &inputs[2..], &labels[2..], loss, &mut alone);
        assert!(one.is_ok() && alone[0] == gradients[2]);
    }
}

#[test]
fn programs_agree_with_differences() {
    for text in [MIXED, POOLED, NORMED, TWO] {
        check_differences(text);
    }
}

#[test]
fn generated_models_agree_with_their_programs() {
    check_generated::<Mixed, _>(MIXED, &CrossEntropy, [[[0.0; 8]; 8]; 3]);
    check_generated::<Pooled, _>(POOLED, &CrossEntropy, [[[0.0; 8]; 8]; 3]);
    check_generated::<Normed, _>(NORMED, &CrossEntropy, [[[0.0; 8]; 8]; 3]);
    check_generated::<Two, _>(TWO, &Same((CrossEntropy, CrossEntropy)), ([0.0; 6], [0.0; 5]));
}

#[test]
fn the_method_is_there_and_training_is_not_touched() {
    let net = Mixed::new(1);
    let mut workspace = Workspace::with_threads(2);
    let image = [[[[0.25; 8]; 8]; 3]];
    let mut gradients = vec![0.0; net.params().len()];
    let labels = [1, 2];
    let images = [image[0], [[[-0.5; 8]; 8]; 3]];
    net.gradients(&mut workspace, &images, &labels, &CrossEntropy, &mut gradients).expect("a batch");
    let before = workspace.gradients().to_vec();
    let mut of_image = image;
    net.input_gradients(&mut workspace, &image, &[1], &CrossEntropy, &mut of_image).expect("one of each");
    assert_eq!(workspace.gradients(), before, "those of the last step stay");
    assert_ne!(of_image, image);
    let short = net.input_gradients(&mut workspace, &image, &[1], &CrossEntropy, &mut []);
    assert!(matches!(short, Err(netspec::Error::Lengths { what: "gradients", found: 0, wanted: 1, .. })));
    let wrong = net.input_gradients(&mut workspace, &image, &[4], &CrossEntropy, &mut of_image);
    assert_eq!(wrong, Err(netspec::Error::Label { sample: 0, label: 4, classes: 4 }));
}
