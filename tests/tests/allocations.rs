//! What generated models allocate: after the first step nothing but the buffer that `matrixmultiply` packs into, one a product.
// Products are counted only where debug assertions are.
#![cfg(debug_assertions)]
// To count allocations is to be the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use netspec::network::{self, Network};
use netspec::{CrossEntropy, Sgd, Workspace, kernels, pool};

netspec::netspec!(Net = "../specs/net.yaml");

// The book keeps the bias before its batch norms.
#[allow(deprecated)]
mod res_deep {
    netspec::netspec!(pub(crate) ResDeep = "../specs/res_deep.yaml", n_chans1 = 4, n_blocks = 3);
}

/// Counts what the whole process takes.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it does what `System` does; `realloc` and `alloc_zeroed` are made of these, so that they count too.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, SeqCst);
        // SAFETY: the caller's word for the layout.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
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

/// Trains and infers some batches of up to 20 samples, and asserts that behind the first each allocates as often as it multiplies.
fn allocates_for_products<N: Network<Input = [[[f32; 32]; 32]; 3], Output = [f32; 2]>>(threads: usize) {
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
            assert!(products > 0, "{what} of {} multiplies", N::NAME);
            if pass > 0 {
                assert_eq!(allocations, products, "{what} of {} with {samples} samples, {threads} threads", N::NAME);
            }
        }
    }
}

// The only test of its process, so that nobody else allocates.
#[test]
fn a_step_allocates_one_packing_buffer_a_product() {
    // The threads of the pool start, which allocates: the region ends when all are in it.
    let met = AtomicUsize::new(0);
    pool::run(4, 4, &|_, _| {
        met.fetch_add(1, SeqCst);
        while met.load(SeqCst) < 4 {
            std::thread::yield_now();
        }
    });
    for threads in [1, 4] {
        allocates_for_products::<Net>(threads);
        allocates_for_products::<res_deep::ResDeep>(threads);
    }
}
