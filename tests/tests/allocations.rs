//! What generated models allocate: the memory that the plan says, at the first step, and nothing after it; but for convolutions whose
//! padding is wider than a window reaches, whose products of matrices each take a buffer that `matrixmultiply` packs into.
// Products are counted only where debug assertions are.
#![cfg(debug_assertions)]
// To count allocations is to be the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use netspec::network::{self, Network};
use netspec::{CrossEntropy, Same, Scaled, Sgd, Workspace, kernels, pool};
use netspec_compiler::emit::planned;
use netspec_compiler::fuse::PlanKind;
use netspec_tests::reference::{compile_file, compile_text};

netspec::netspec!(Net = "../specs/net.yaml");

// The book keeps the bias before its batch norms.
#[allow(deprecated)]
mod res_deep {
    netspec::netspec!(pub(crate) ResDeep = "../specs/res_deep.yaml", n_chans1 = 4, n_blocks = 3);
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

/// Counts what the whole process takes.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are taken now, and the most there ever were.
static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it does what `System` does; `realloc` and `alloc_zeroed` are made of these, so that they count too.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, SeqCst);
        PEAK.fetch_max(BYTES.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        // SAFETY: the caller's word for the layout.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller's word for the memory, which `alloc` took of `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations and products of what runs.
fn counted(run: impl FnOnce()) -> (usize, usize) {
    let before = (COUNT.load(SeqCst), kernels::products());
    run();
    (COUNT.load(SeqCst) - before.0, kernels::products() - before.1)
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

/// Bytes that a call takes at most, beside what is there.
fn peak(run: impl FnOnce()) -> u64 {
    let before = BYTES.load(SeqCst);
    PEAK.store(before, SeqCst);
    run();
    (PEAK.load(SeqCst) - before) as u64
}

/// Trains on a batch and infers one in fresh memory, on one thread, and compares the peak of the heap with the plan's.
fn takes_what_is_planned<N: Network<Input = [[[f32; 32]; 32]; 3], Output = [f32; 2]>>(
    spec: &str,
    params: &[(&str, i64)],
    samples: usize,
) {
    let checked = compile_file(spec, params);
    let planned = |kind: PlanKind| planned(&checked, kind).heap(samples as u64, 1);
    let mut model: N = network::new(1);
    let (inputs, labels) = (vec![[[[0.5; 32]; 32]; 3]; samples], vec![1; samples]);
    let mut outputs = vec![[0.0; 2]; samples];
    let mut workspace = Workspace::with_threads(1);
    let training = peak(|| {
        let (sgd, loss) = (&mut Sgd::new(0.01), &CrossEntropy);
        network::step(&mut model, &mut workspace, &inputs, &labels, loss, sgd).expect("a batch");
    });
    let mut workspace = Workspace::with_threads(1);
    let inference = peak(|| network::infer(&model, &mut workspace, &inputs, &mut outputs).expect("as many outputs"));
    let found = (training, inference);
    assert_eq!(found, (planned(PlanKind::Training), planned(PlanKind::Inference)), "{spec}, {samples} samples");
    if spec.contains("/net.") {
        assert!(training < 16 << 20, "{training} bytes");
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

// The only test of its process, so that nobody else allocates.
#[test]
fn a_step_allocates_what_its_plan_says() {
    // The threads of the pool start, which allocates: the region ends when all are in it.
    let met = AtomicUsize::new(0);
    pool::run(4, 4, &|_, _| {
        met.fetch_add(1, SeqCst);
        while met.load(SeqCst) < 4 {
            std::thread::yield_now();
        }
    });
    for threads in [1, 4] {
        allocates_for_products::<Net>(threads, false);
        allocates_for_products::<res_deep::ResDeep>(threads, false);
        allocates_for_products::<grouped::Grouped>(threads, false);
        allocates_for_products::<far::Far>(threads, true);
    }
    for samples in [64, 20, 3] {
        several_outputs_take_what_is_planned(samples);
        takes_what_is_planned::<Net>("specs/net.yaml", &[], samples);
        takes_what_is_planned::<res_deep::ResDeep>("specs/res_deep.yaml", &[("n_chans1", 4), ("n_blocks", 3)], samples);
        takes_what_is_planned::<grouped::Grouped>("tests/specs/grouped.netspec", &[], samples);
    }
}
