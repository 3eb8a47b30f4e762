//! After the first, a step allocates nothing, and neither does inference.
#![allow(unsafe_code)]

mod line;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use line::{Line, data};
use netspec::{Adam, AdamW, Clip, CrossEntropy, Mse, Optimizer, Penalty, Recipe, RmsProp, Sgd, Workspace};
use netspec::{network, pool};

/// Counts what the whole process takes.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it does what `System` does.
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

/// What `repeat` steps and inferences allocate.
fn allocations(threads: usize, optimizer: &mut impl Optimizer, repeat: usize) -> usize {
    let (inputs, targets) = data(100);
    let labels = vec![1; 100];
    let mut net: Line = Line::new(0);
    let workspace = &mut Workspace::with_threads(threads);
    let mut outputs = vec![[0.0; 2]; 100];
    let mut pass = || {
        // Smaller batches too, and another loss.
        for samples in [100, 1, 64] {
            let inputs = &inputs[..samples];
            network::step(&mut net, workspace, inputs, &targets[..samples], &Mse, optimizer).expect("a batch");
            network::step(&mut net, workspace, inputs, &labels[..samples], &CrossEntropy, optimizer).expect("a batch");
            network::infer(&net, workspace, inputs, &mut outputs[..samples]).expect("as many outputs as inputs");
        }
    };
    pass();
    let before = COUNT.load(SeqCst);
    (0..repeat).for_each(|_| pass());
    COUNT.load(SeqCst) - before
}

// The only test of its process, so that nobody else allocates.
#[test]
fn later_steps_allocate_nothing() {
    // The threads of the pool start, which allocates: the region ends when all are in it.
    let met = AtomicUsize::new(0);
    let workers = if cfg!(feature = "threads") { 4 } else { 1 };
    pool::run(workers, workers, &|_, _| {
        met.fetch_add(1, SeqCst);
        while met.load(SeqCst) < workers {
            std::thread::yield_now();
        }
    });
    for threads in [1, 4] {
        assert_eq!(allocations(threads, &mut Sgd::new(0.1).momentum(0.9), 50), 0, "{threads} threads");
        assert_eq!(allocations(threads, &mut Adam::new(0.1), 50), 0, "{threads} threads");
        let rms_prop = RmsProp::new(0.01).momentum(0.9).centered(true);
        assert_eq!(allocations(threads, &mut Recipe::new(rms_prop), 50), 0, "{threads} threads");
        let mut recipe = Recipe::new(AdamW::new(0.01))
            .penalty_on(Penalty::elastic(0.1, 0.2), vec![0..2, 3..8])
            .clip(Clip::Norm(1.0))
            .accumulate(2)
            .freeze(vec![1..3, 5..6]);
        assert_eq!(allocations(threads, &mut recipe, 50), 0, "{threads} threads");
    }
}
