//! Models as generated code runs them: what steps give, what differs with threads (nothing), what is refused.

mod line;

use std::panic::{AssertUnwindSafe, catch_unwind};

use line::{Line, PACKED, data};
use netspec::{Adam, CrossEntropy, Error, Loss, Mse, Nll, Sgd, Workspace, network};

#[test]
fn inference_gives_each_sample_its_output() {
    let net: Line = Line::new(3);
    let workspace = &mut Workspace::with_threads(2);
    for samples in [1, 8, 21, 0] {
        let (inputs, _) = data(samples);
        let mut outputs = vec![[f32::NAN; 2]; samples];
        network::infer(&net, workspace, &inputs, &mut outputs).expect("as many outputs as inputs");
        let p = net.params();
        for (x, y) in inputs.iter().zip(outputs) {
            let wanted = [0, 1].map(|out| (0..3).map(|i| x[i] * p[3 * out + i]).sum::<f32>() + p[6 + out]);
            assert_eq!(y, wanted);
        }
    }
}

#[test]
fn training_finds_the_line() {
    let (inputs, targets) = data(50);
    let workspace = &mut Workspace::new();
    let mut by_sgd: Line = Line::new(0);
    let mut by_adam = by_sgd.clone();
    let (mut sgd, mut adam) = (Sgd::new(0.1).momentum(0.9), Adam::new(0.05));
    let mut losses = [0.0; 2];
    for _ in 0..500 {
        losses = [
            network::step(&mut by_sgd, workspace, &inputs, &targets, &Mse, &mut sgd).expect("a batch"),
            network::step(&mut by_adam, workspace, &inputs, &targets, &Mse, &mut adam).expect("a batch"),
        ];
    }
    assert!(losses.iter().all(|&loss| loss < 1e-4), "{losses:?}");
    let wanted = [1.0, -1.0, 0.0, 0.0, 0.0, 0.5, 1.0, -2.0];
    assert!(by_sgd.params().iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 0.01), "{by_sgd:?}");
}

#[test]
fn gradients_are_the_slopes_of_the_mean_loss() {
    let (inputs, targets) = data(19);
    let labels: Vec<usize> = (0..19).map(|sample| sample % 2).collect();
    let net: Line = Line::new(1);
    check(&net, &inputs, &targets, &Mse);
    check(&net, &inputs, &labels, &CrossEntropy);
    check(&net, &inputs, &labels, &Nll);

    fn check<L: Loss<[f32; 2]>>(net: &Line, inputs: &[[f32; 3]], targets: &[L::Target], loss: &L) {
        let workspace = &mut Workspace::with_threads(3);
        let mut gradients = [f32::NAN; 8];
        network::gradients(net, workspace, inputs, targets, loss, &mut gradients).expect("a batch");
        for place in 0..8 {
            let mut at = |step: f32| {
                let mut moved = net.clone();
                moved.params_mut()[place] += step;
                network::gradients(&moved, workspace, inputs, targets, loss, &mut [0.0; 8]).expect("a batch")
            };
            let slope = (at(0.01) - at(-0.01)) / 0.02;
            // Losses near 1 in f32 differ by 1e-7 over 0.02, and the square of the step is 1e-4 of a third derivative.
            assert!((slope - gradients[place]).abs() < 1e-4, "{place}: {gradients:?}, slope {slope}");
        }
    }
}

/// The parameters after some steps, and the outputs, in bits.
fn trained<const GRADIENTS: usize>(threads: usize) -> Vec<u32> {
    let (inputs, targets) = data(100);
    let mut net = Line::<GRADIENTS>::new(5);
    let workspace = &mut Workspace::with_threads(threads);
    let mut optimizer = Adam::new(0.1);
    let mut numbers = Vec::new();
    for batch in [0..64, 64..100, 0..1, 1..100] {
        let (inputs, targets) = (&inputs[batch.clone()], &targets[batch]);
        numbers.push(network::step(&mut net, workspace, inputs, targets, &Mse, &mut optimizer).expect("a batch"));
    }
    let mut outputs = vec![[0.0; 2]; 100];
    network::infer(&net, workspace, &inputs, &mut outputs).expect("as many outputs as inputs");
    numbers.iter().chain(net.params()).chain(outputs.as_flattened()).map(|number| number.to_bits()).collect()
}

#[test]
fn threads_change_no_bit() {
    let one = trained::<8>(1);
    for threads in [2, 3, 7] {
        assert_eq!(trained::<8>(threads), one, "{threads} threads");
        // Room for the gradients of two tiles within the budget.
        assert_eq!(trained::<{ 2 << 20 }>(threads), one, "{threads} threads, few tiles at once");
    }
    assert_eq!(trained::<{ 2 << 20 }>(1), one);
}

#[test]
fn one_model_runs_in_many_threads() {
    let net: Line = Line::new(2);
    let (inputs, _) = data(200);
    let outputs = |threads| {
        let mut outputs = vec![[0.0; 2]; 200];
        network::infer(&net, &mut Workspace::with_threads(threads), &inputs, &mut outputs).expect("as many outputs");
        outputs
    };
    let wanted = outputs(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(outputs(3), wanted)));
        }
    });
}

#[test]
fn weights_are_packed_when_they_changed() {
    let mut net: Line = Line::new(0);
    let (workspace, other) = (&mut Workspace::new(), &mut Workspace::new());
    let packs = |net: &Line, workspace: &mut Workspace| {
        let before = PACKED.get();
        network::infer(net, workspace, &[[0.0; 3]], &mut [[0.0; 2]]).expect("one output");
        PACKED.get() - before
    };
    assert_eq!([packs(&net, workspace), packs(&net, workspace)], [1, 0]);
    // A clone has the same weights.
    assert_eq!(packs(&net.clone(), workspace), 0);
    assert_eq!(packs(&net, other), 1);
    net.params_mut()[0] = 1.0;
    assert_eq!([packs(&net, workspace), packs(&net, workspace)], [1, 0]);
    let (inputs, targets) = data(4);
    network::step(&mut net, workspace, &inputs, &targets, &Mse, &mut Sgd::new(0.1)).expect("a batch");
    assert_eq!([packs(&net, workspace), packs(&net, workspace)], [1, 0]);
}

#[test]
fn wrong_batches_change_nothing() {
    let mut net: Line = Line::new(0);
    let before = net.params().to_vec();
    let (inputs, targets) = data(4);
    let workspace = &mut Workspace::new();
    let sgd = &mut Sgd::new(0.1);
    let lengths = |what, found, of, wanted| Error::Lengths { what, found, of, wanted };
    assert_eq!(network::infer(&net, workspace, &inputs, &mut [[0.0; 2]; 3]), Err(lengths("outputs", 3, "inputs", 4)));
    assert_eq!(
        network::step(&mut net, workspace, &inputs, &targets[1..], &Mse, sgd),
        Err(lengths("targets", 3, "inputs", 4))
    );
    assert_eq!(network::step(&mut net, workspace, &[], &[], &Mse, sgd), Err(Error::EmptyBatch));
    assert_eq!(
        network::step(&mut net, workspace, &inputs, &[0, 1, 2, 1], &CrossEntropy, sgd),
        Err(Error::Label { sample: 2, label: 2, classes: 2 })
    );
    assert_eq!(
        network::gradients(&net, workspace, &inputs, &targets, &Mse, &mut [0.0; 7]),
        Err(lengths("gradients", 7, "params", 8))
    );
    assert_eq!(net.params(), before);
}

#[test]
fn a_loss_that_panics_leaves_everything_usable() {
    struct Picky;
    impl Loss<[f32; 2]> for Picky {
        type Target = bool;
        fn loss(&self, output: &[f32], target: &bool, derivative: &mut [f32]) -> f32 {
            assert!(*target, "not this one");
            derivative.fill(0.0);
            output[0]
        }
    }
    let mut net: Line = Line::new(0);
    let workspace = &mut Workspace::with_threads(3);
    let (inputs, targets) = data(40);
    let picky: Vec<bool> = (0..40).map(|sample| sample != 17).collect();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        network::step(&mut net, workspace, &inputs, &picky, &Picky, &mut Sgd::new(0.1))
    }));
    assert_eq!(caught.expect_err("a loss panics").downcast_ref(), Some(&"not this one"));
    assert_eq!(net.params(), Line::<8>::new(0).params());
    network::step(&mut net, workspace, &inputs, &targets, &Mse, &mut Sgd::new(0.1)).expect("a batch");
}

#[test]
fn forward_as_in_training_leaves_its_outputs() {
    let net: Line = Line::new(0);
    let (inputs, _) = data(10);
    let workspace = &mut Workspace::new();
    let mut outputs = vec![[0.0; 2]; 10];
    network::infer(&net, workspace, &inputs, &mut outputs).expect("as many outputs");
    let feed = |sample: usize, _: usize, to: &mut [f32]| to.copy_from_slice(&inputs[sample]);
    let mut order = Vec::new();
    network::forward_from(&net, workspace, 10, &feed, &mut |sample, output, values| {
        assert_eq!(values, outputs[sample]);
        order.push((sample, output));
    })
    .expect("a batch");
    assert!(order.into_iter().eq((0..10).map(|sample| (sample, 0))));
}
