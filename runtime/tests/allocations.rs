//! After the first, a step allocates nothing, and neither does inference.

mod counting;
mod line;

use line::{Line, data};
use netspec::{Adam, AdamW, Clip, CrossEntropy, Mse, Optimizer, Penalty, Recipe, RmsProp, Sgd, Workspace, network};

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
    counting::allocations(|| (0..repeat).for_each(|_| pass()))
}

// The only test of its process.
#[test]
fn later_steps_allocate_nothing() {
    counting::start_threads(if cfg!(feature = "threads") { 4 } else { 1 });
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
