//! What generated models allocate: the memory that the plan says, at the first step, and nothing after it; but for convolutions whose
//! padding is wider than a window reaches, whose products of matrices each take a buffer that `matrixmultiply` packs into.

#[path = "../../../runtime/tests/counting/mod.rs"]
mod counting;

use counting::{allocations, peak};
use netspec::network::{self, Network};
use netspec::{CrossEntropy, Same, Scaled, Sgd, Workspace, kernels};
use netspec_compiler::emit::planned;
use netspec_compiler::fuse::PlanKind;
use netspec_tests::reference::{compile_file, compile_text};

netspec::netspec!(Net = "../specs/net.yaml");

// The book keeps the bias before its batch norms.
#[allow(deprecated)]
mod res_deep {
    netspec::netspec!(pub(crate) ResDeep = "../specs/res_deep.yaml", n_chans1 = 4, n_blocks = 3);
}

mod others {
    netspec::netspec!(pub(crate) Resnet18Cifar = "../specs/resnet18_cifar.yaml", width = 2);
    netspec::netspec!(pub(crate) FullyConnected = "../specs/fully_connected.yaml");
}

#[allow(deprecated)]
mod batch_norm {
    netspec::netspec!(pub(crate) BatchNorm = "../specs/batch_norm.yaml", n_chans1 = 8);
}

/// Gradients of convolutions that are made once for the batch, of both kinds of kernels.
mod wide {
    netspec::netspec!(pub(crate) Wide = "specs/wide.netspec");
}

mod outputs {
    netspec::netspec! {
        model Outputs {
            input image [3, 32, 32] with gradient;
            conv(8, kernel = 3, padding = 1, bias = false) as early;
            batch_norm;
            relu;
            max_pool(2);
            flatten;
            linear(2) as logits;
            from early;
            avg_pool(8);
            flatten;
            linear(2) as aux;
            output logits, aux;
        }
    }
}

mod grouped {
    netspec::netspec!(pub(crate) Grouped = "specs/grouped.netspec");
}

mod far {
    netspec::netspec! {
        model Far {
            input x [3, 32, 32];
            conv(6, kernel = 3, stride = 2, padding = 4);
            relu;
            flatten;
            linear(2);
        }
    }
}

/// Allocations and products of what runs.
fn counted(run: impl FnOnce()) -> (usize, usize) {
    let before = kernels::products();
    let count = allocations(run);
    (count, kernels::products() - before)
}

/// Trains and infers some batches of up to 20 samples, and asserts that behind the first each allocates as often as it multiplies
/// matrices by `matrixmultiply`; which it does or does not.
fn allocates_for_products<N: Network<Input = [[[f32; 32]; 32]; 3], Output = [f32; 2]>>(
    threads: usize,
    multiplies: bool,
) {
    let mut model: N = network::new(1);
    let mut workspace = Workspace::with_threads(threads);
    let mut sgd = Sgd::new(0.01).momentum(0.9);
    let (inputs, labels, mut outputs) = (vec![[[[0.5; 32]; 32]; 3]; 20], [1; 20], [[0.0; 2]; 20]);
    // The first step is not counted. A batch whose last tile is not whole, or a smaller one, needs no other memory.
    for (pass, samples) in [20, 20, 9, 20].into_iter().enumerate() {
        let (inputs, labels, outputs) = (&inputs[..samples], &labels[..samples], &mut outputs[..samples]);
        let step = counted(|| {
            network::step(&mut model, &mut workspace, inputs, labels, &CrossEntropy, &mut sgd).expect("a batch");
        });
        let inference = counted(|| {
            network::infer(&model, &mut workspace, inputs, outputs).expect("as many outputs as inputs");
        });
        for (what, (allocations, products)) in [("a step", step), ("inference", inference)] {
            assert_eq!(products > 0, multiplies, "{what} of {} multiplies", N::NAME);
            if pass > 0 {
                assert_eq!(allocations, products, "{what} of {} with {samples} samples, {threads} threads", N::NAME);
            }
        }
    }
}

/// Trains on a batch and infers one in fresh memory, and compares the peak of the heap with the plan's.
fn takes_what_is_planned<N, const CLASSES: usize>(spec: &str, params: &[(&str, i64)])
where
    N: Network<Input = [[[f32; 32]; 32]; 3], Output = [f32; CLASSES]>,
{
    let checked = compile_file(spec, params);
    let planned = |kind: PlanKind| planned(&checked, kind);
    let (train, infer) = (planned(PlanKind::Training), planned(PlanKind::Inference));
    let mut model: N = network::new(1);
    // Of 3 samples all are in one tile.
    for (samples, threads) in [(64, 1), (20, 1), (3, 1), (64, 4), (20, 4), (3, 4)] {
        let (inputs, labels) = (vec![[[[0.5; 32]; 32]; 3]; samples], vec![1; samples]);
        let mut outputs = vec![[0.0; CLASSES]; samples];
        let mut workspace = Workspace::with_threads(threads);
        let training = peak(|| {
            let (sgd, loss) = (&mut Sgd::new(0.01), &CrossEntropy);
            network::step(&mut model, &mut workspace, &inputs, &labels, loss, sgd).expect("a batch");
        });
        let mut workspace = Workspace::with_threads(threads);
        let inference =
            peak(|| network::infer(&model, &mut workspace, &inputs, &mut outputs).expect("as many outputs"));
        let heap = [&train, &infer].map(|planned| planned.heap(samples as u64, threads as u64));
        assert_eq!([training, inference], heap, "{spec}, {samples} samples, {threads} threads");
        if spec.contains("/net.") && threads == 1 {
            assert!(training < 16 << 20, "{training} bytes");
        }
    }
}

/// The same of a model with two outputs, and of its inputs' gradients.
fn several_outputs_take_what_is_planned(samples: usize) {
    let checked = compile_text(
        "model Outputs { input image [3, 32, 32] with gradient; conv(8, kernel = 3, padding = 1, bias = false) as early; batch_norm; relu; \
         max_pool(2); flatten; linear(2) as logits; from early; avg_pool(8); flatten; linear(2) as aux; output logits, aux; }",
    );
    let planned = |kind: PlanKind| planned(&checked, kind).heap(samples as u64, 1);
    let mut model = outputs::Outputs::new(1);
    let (inputs, labels) = (vec![[[[0.5; 32]; 32]; 3]; samples], vec![1; samples]);
    let mut gradients = inputs.clone();
    let loss = Same((CrossEntropy, Scaled(0.3, CrossEntropy)));
    let mut workspace = Workspace::with_threads(1);
    let sgd = &mut Sgd::new(0.01);
    let training = peak(|| {
        model.step(&mut workspace, &inputs, &labels, &loss, sgd).expect("a batch");
    });
    let (again, _) = counted(|| {
        model.step(&mut workspace, &inputs, &labels, &loss, sgd).expect("a batch");
    });
    let mut workspace = Workspace::with_threads(1);
    let mut of_inputs = || {
        model.input_gradients(&mut workspace, &inputs, &labels, &loss, &mut gradients).expect("a batch");
    };
    let first = peak(&mut of_inputs);
    let (of_inputs_again, _) = counted(&mut of_inputs);
    assert_eq!((again, of_inputs_again), (0, 0), "{samples} samples");
    assert_eq!(
        (training, first),
        (planned(PlanKind::Training), planned(PlanKind::InputGradients)),
        "{samples} samples"
    );
}

/// All of it, one thing after the other: the whole process is counted.
pub(crate) fn a_step_allocates_what_its_plan_says() {
    counting::start_threads(4);
    for threads in [1, 4] {
        allocates_for_products::<Net>(threads, false);
        allocates_for_products::<res_deep::ResDeep>(threads, false);
        allocates_for_products::<wide::Wide>(threads, false);
        allocates_for_products::<grouped::Grouped>(threads, false);
        allocates_for_products::<far::Far>(threads, true);
    }
    [64, 20, 3].into_iter().for_each(several_outputs_take_what_is_planned);
    takes_what_is_planned::<Net, 2>("specs/net.yaml", &[]);
    takes_what_is_planned::<res_deep::ResDeep, 2>("specs/res_deep.yaml", &[("n_chans1", 4), ("n_blocks", 3)]);
    takes_what_is_planned::<batch_norm::BatchNorm, 2>("specs/batch_norm.yaml", &[("n_chans1", 8)]);
    takes_what_is_planned::<others::Resnet18Cifar, 10>("specs/resnet18_cifar.yaml", &[("width", 2)]);
    takes_what_is_planned::<others::FullyConnected, 2>("specs/fully_connected.yaml", &[]);
    takes_what_is_planned::<wide::Wide, 2>("tests/specs/wide.netspec", &[]);
    takes_what_is_planned::<grouped::Grouped, 2>("tests/specs/grouped.netspec", &[]);
}
