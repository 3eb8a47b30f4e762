//! The losses and their gradients against PyTorch (`tests/parity/losses.safetensors`), by the steps of a model.
//!
//! The input of sample b is all 0 but for a 1 at b, so that the output of a linear layer is a column of its weights, and the gradient
//! of those has the gradient of each sample's output.

use std::fs;

use netspec::network::{self, Network};
use netspec::{
    BceWithLogits, CrossEntropy, Error, Huber, L1, Losses, Mse, Nll, NoLoss, Same, Scaled, Sgd, SmoothL1, Workspace,
};
use netspec_tests::reference::{relative_l2, root};
use safetensors::SafeTensors;

mod models {
    netspec::netspec! { model Flat { input x [6]; linear(4); } }
    netspec::netspec! { model FlatLog { input x [6]; linear(4); log_softmax; } }
    netspec::netspec! { model Map { input x [6]; linear(24); view(-1, 4, 2, 3); } }
    netspec::netspec! { model MapLog { input x [6]; linear(24); view(-1, 4, 2, 3); log_softmax; } }
    netspec::netspec! {
        model Several { input x [6]; linear(4) as a; from x; linear(4) as b; output a, b; }
    }
}
use models::{Flat, FlatLog, Map, MapLog, Several};

const BATCH: usize = 6;

/// Half of the roundings of f32.
const TOLERANCE: f64 = 5e-7;

/// As in make.py.
const CLASS_WEIGHTS: [f32; 4] = [0.5, 2.0, 0.0, 1.25];

/// The parts of a case.
struct Case {
    name: String,
    output: Vec<f32>,
    target: Vec<f32>,
    loss: Vec<f32>,
    gradient: Vec<f32>,
}

impl Case {
    fn new(name: &str) -> Case {
        let bytes = fs::read(root().join("tests/parity/losses.safetensors")).expect("the fixture");
        let tensors = SafeTensors::deserialize(&bytes).expect("a fixture is whole");
        let part = |part: &str| -> Vec<f32> {
            let tensor = tensors.tensor(&format!("{name}/{part}")).unwrap_or_else(|error| panic!("{name}: {error}"));
            tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        let [output, target, loss, gradient] = ["output", "target", "loss", "gradient"].map(part);
        Case { name: name.to_owned(), output, target, loss, gradient }
    }

    fn labels(&self) -> Vec<usize> {
        self.target.iter().map(|&label| label as usize).collect()
    }

    /// Compares the loss of a model, which is to give the outputs, and its gradient.
    fn check<N: Network<Input = [f32; BATCH]>, L: Losses<N::Output>>(&self, targets: &[L::Target], loss: &L) {
        let mut inputs = [[0.0; BATCH]; BATCH];
        (0..BATCH).for_each(|sample| inputs[sample][sample] = 1.0);
        let each = self.output.len() / BATCH;
        let mut model: N = network::new(0);
        // Weights of all linear layers, one after the other: rows are elements of the output, columns are samples. No biases.
        let places: Vec<(usize, usize)> = N::TENSORS
            .iter()
            .filter(|tensor| tensor.name.ends_with("weight"))
            .flat_map(|tensor| (0..tensor.shape[0]).map(|row| (tensor.offset + row * BATCH, row)))
            .enumerate()
            .map(|(element, (offset, _))| (offset, element))
            .collect();
        assert_eq!(places.len(), each, "{}", self.name);
        let params = model.weights_mut().params_mut();
        params.fill(0.0);
        for &(offset, element) in &places {
            (0..BATCH).for_each(|sample| params[offset + sample] = self.output[sample * each + element]);
        }
        let mut gradients = vec![0.0; N::PARAMETERS];
        let found = network::gradients(&model, &mut Workspace::with_threads(1), &inputs, targets, loss, &mut gradients);
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let [wanted] = self.loss[..] else { panic!("{} has one loss", self.name) };
        assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{}: {found}, wanted {wanted}", self.name);
        let mut of_outputs = vec![0.0; self.output.len()];
        for (offset, element) in places {
            for sample in 0..BATCH {
                of_outputs[sample * each + element] = f64::from(gradients[offset + sample]);
            }
        }
        let wanted: Vec<f64> = self.gradient.iter().copied().map(f64::from).collect();
        let apart = relative_l2(&of_outputs, &wanted, 0.0);
        assert!(apart <= TOLERANCE, "the gradient of {} differs by {apart:.1e}", self.name);
    }
}

/// Flat values as samples.
fn samples<const N: usize, T: Clone>(flat: &[T]) -> Vec<[T; N]> {
    flat.as_chunks().0.to_vec()
}

fn maps(flat: &[f32]) -> Vec<[[[f32; 3]; 2]; 4]> {
    samples(&samples(&samples(flat)))
}

fn label_maps(flat: &[usize]) -> Vec<[[usize; 3]; 2]> {
    samples(&samples(flat))
}

/// The labels of a map of 2 by 3.
type LabelMap = [[usize; 3]; 2];

/// Values of such a map of four channels.
type ValueMap = [[[f32; 3]; 2]; 4];

#[test]
fn losses_of_labels_are_pytorchs() {
    let check = |name: &str, loss: &dyn Fn(&Case, &[usize])| loss(&Case::new(name), &Case::new(name).labels());
    let weighted = CrossEntropy.class_weights(CLASS_WEIGHTS);
    check("cross_entropy", &|case, labels| case.check::<Flat, _>(labels, &CrossEntropy));
    check("cross_entropy_smoothed", &|case, labels| {
        case.check::<Flat, _>(labels, &CrossEntropy.label_smoothing(0.25));
    });
    check("cross_entropy_weighted", &|case, labels| case.check::<Flat, _>(labels, &weighted));
    check("cross_entropy_both", &|case, labels| case.check::<Flat, _>(labels, &weighted.label_smoothing(0.25)));
    check("nll", &|case, labels| case.check::<FlatLog, _>(labels, &Nll));
    check("nll_weighted", &|case, labels| case.check::<FlatLog, _>(labels, &Nll.class_weights(CLASS_WEIGHTS)));
}

#[test]
fn losses_of_label_maps_are_pytorchs() {
    let check = |name: &str, loss: &dyn Fn(&Case, &[LabelMap])| {
        let case = Case::new(name);
        loss(&case, &label_maps(&case.labels()));
    };
    let weighted = CrossEntropy.class_weights(CLASS_WEIGHTS);
    check("cross_entropy_of_map", &|case, labels| case.check::<Map, _>(labels, &CrossEntropy));
    check("cross_entropy_smoothed_of_map", &|case, labels| {
        case.check::<Map, _>(labels, &CrossEntropy.label_smoothing(0.25));
    });
    check("cross_entropy_weighted_of_map", &|case, labels| case.check::<Map, _>(labels, &weighted));
    check("cross_entropy_both_of_map", &|case, labels| case.check::<Map, _>(labels, &weighted.label_smoothing(0.25)));
    check("nll_of_map", &|case, labels| case.check::<MapLog, _>(labels, &Nll));
    check("nll_weighted_of_map", &|case, labels| case.check::<MapLog, _>(labels, &Nll.class_weights(CLASS_WEIGHTS)));
}

#[test]
fn losses_of_values_are_pytorchs() {
    let check = |name: &str, loss: &dyn Fn(&Case, &[ValueMap])| {
        let case = Case::new(name);
        loss(&case, &maps(&case.target));
    };
    check("mse", &|case, values| case.check::<Map, _>(values, &Mse));
    check("l1", &|case, values| case.check::<Map, _>(values, &L1));
    check("smooth_l1", &|case, values| case.check::<Map, _>(values, &SmoothL1::new(0.75)));
    check("smooth_l1_of_zero", &|case, values| case.check::<Map, _>(values, &SmoothL1::new(0.0)));
    check("huber", &|case, values| case.check::<Map, _>(values, &Huber::new(1.5)));
    check("bce_with_logits", &|case, values| case.check::<Map, _>(values, &BceWithLogits::new()));
    check("bce_with_logits_weighted", &|case, values| {
        case.check::<Map, _>(values, &BceWithLogits::new().pos_weight(2.5))
    });
    let (each, far) = (Case::new("bce_with_logits_each"), Case::new("bce_with_logits_far"));
    let weights = BceWithLogits::new().pos_weight([0.5, 2.0, 1.0, 3.0]);
    each.check::<Flat, _>(&samples::<4, _>(&each.target), &weights);
    far.check::<Flat, _>(&samples::<4, _>(&far.target), &BceWithLogits::default());
}

#[test]
fn losses_of_several_outputs_are_pytorchs() {
    let case = Case::new("several");
    let labels = case.labels();
    let losses = (CrossEntropy, Scaled(0.3, CrossEntropy.class_weights(CLASS_WEIGHTS)));
    case.check::<Several, _>(&labels, &Same(losses));
    let pairs: Vec<(usize, usize)> = labels.iter().map(|&label| (label, label)).collect();
    case.check::<Several, _>(&pairs, &losses);
}

#[test]
fn an_output_without_a_loss_is_not_trained() {
    let mut model = Several::new(3);
    let before = model.params().to_vec();
    let (inputs, targets) = ([[0.5; 6]; 3], [(1, ()); 3]);
    let mut workspace = Workspace::with_threads(2);
    model.step(&mut workspace, &inputs, &targets, &(CrossEntropy, NoLoss), &mut Sgd::new(0.5)).expect("a batch");
    // Weights and biases of `a`, then those of `b`.
    let (a, b) = model.params().split_at(28);
    assert!(a != &before[..28] && b == &before[28..]);
}

#[test]
fn targets_are_checked() {
    let (mut model, mut workspace, mut sgd) = (Flat::new(0), Workspace::with_threads(1), Sgd::new(0.1));
    let inputs = [[0.0; 6]; 2];
    let weighted = CrossEntropy.class_weights(CLASS_WEIGHTS);
    let found = model.step(&mut workspace, &inputs, &[2, 2], &weighted, &mut sgd);
    assert_eq!(found, Err(Error::Weightless), "each sample has the class that weighs 0");
    let found = model.step(&mut workspace, &inputs, &[2, 4], &weighted, &mut sgd);
    assert_eq!(found, Err(Error::Label { sample: 1, label: 4, classes: 4 }));
    let targets = [[0.0; 4], [0.0, 1.0, 1.5, 0.0]];
    let found = model.step(&mut workspace, &inputs, &targets, &BceWithLogits::new(), &mut sgd);
    let problem = "a target of `bce_with_logits` is from 0 to 1, not 1.5".to_owned();
    assert_eq!(found, Err(Error::Target { sample: 1, problem }));
    let mut several = Several::new(0);
    let found = several.step(&mut workspace, &inputs, &[(0, 0), (0, 9)], &(CrossEntropy, CrossEntropy), &mut sgd);
    assert_eq!(found, Err(Error::Label { sample: 1, label: 9, classes: 4 }));
}
