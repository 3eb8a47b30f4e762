//! First values of weights: the numbers that each initialiser comes to, and the two specs whose weights are written out.

use netspec::{Model, Workspace};
use netspec_compiler::ir::Fill;
use netspec_compiler::lower::lower;
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, compile};
use netspec_tests::reference::compile_text;

/// What the weight of `layer`, the first one of a model on `[6, 8, 8]`, is filled with.
fn fill(layer: &str) -> Fill {
    let checked = compile_text(&format!("model M(n = 4) {{ input x [6, 8, 8]; {layer} repeat n {{ relu; }} }}"));
    lower(&checked).tensors[0].fill.clone()
}

/// The number of a spread that is even, or normal of mean 0.
fn spread(fill: &Fill) -> (&'static str, f64) {
    match fill {
        Fill::Uniform(bound) => ("uniform", *bound),
        Fill::Normal(mean, std) => {
            assert_eq!(*mean, 0.0);
            ("normal", *std)
        }
        other => panic!("{other:?}"),
    }
}

/// `torch.nn.init` of PyTorch 2.15 on a weight of [10, 6, 3, 5], whose fans are 90 and 150: bounds and deviations.
#[test]
fn spreads_are_those_of_pytorch() {
    for (init, kind, expected) in [
        ("kaiming_normal", "normal", (2.0 / 90.0f64).sqrt()),
        ("kaiming_normal(relu)", "normal", (2.0 / 90.0f64).sqrt()),
        ("kaiming_normal(relu, mode = fan_out)", "normal", (2.0 / 150.0f64).sqrt()),
        ("kaiming_normal(leaky_relu, slope = 0.2)", "normal", (2.0 / 1.04 / 90.0f64).sqrt()),
        ("kaiming_normal(tanh)", "normal", 5.0 / 3.0 / 90.0f64.sqrt()),
        ("kaiming_normal(sigmoid)", "normal", 1.0 / 90.0f64.sqrt()),
        ("kaiming_normal(selu)", "normal", 0.75 / 90.0f64.sqrt()),
        ("kaiming_uniform(linear)", "uniform", (3.0 / 90.0f64).sqrt()),
        ("kaiming_uniform(relu, mode = fan_out)", "uniform", (6.0 / 150.0f64).sqrt()),
        ("xavier_normal", "normal", (2.0 / 240.0f64).sqrt()),
        ("xavier_uniform", "uniform", (6.0 / 240.0f64).sqrt()),
        ("xavier_uniform(tanh)", "uniform", 5.0 / 3.0 * (6.0 / 240.0f64).sqrt()),
        ("xavier_normal(leaky_relu)", "normal", (2.0 / 1.0001 * 2.0 / 240.0f64).sqrt()),
        ("xavier_normal(gain = 1/2)", "normal", 0.5 * (2.0 / 240.0f64).sqrt()),
        ("normal(std = 0.02)", "normal", 0.02),
    ] {
        let (found_kind, found) = spread(&fill(&format!("conv(10, kernel = (3, 5), init = {init});")));
        assert!(found_kind == kind && (found - expected).abs() < 1e-12, "{init}: {found_kind} {found}, not {expected}");
    }
    // PyTorch's default.
    assert_eq!(spread(&fill("conv(10, kernel = (3, 5));")), ("uniform", 1.0 / 90.0f64.sqrt()));
}

#[test]
fn other_fills_are_what_is_written() {
    for (init, expected) in [
        ("ones", Fill::Constant(1.0)),
        ("zeros", Fill::Constant(0.0)),
        ("1/9", Fill::Constant(1.0 / 9.0)),
        ("-n / 8", Fill::Constant(-0.5)),
        ("2 * 0.25 + 1/4 - n", Fill::Constant(-3.25)),
        ("uniform", Fill::Between(0.0, 1.0)),
        ("uniform(-1, b = 1/2)", Fill::Between(-1.0, 0.5)),
        ("truncated_normal", Fill::Truncated { mean: 0.0, std: 1.0, ends: [-2.0, 2.0] }),
        ("truncated_normal(1, std = 0.5, a = 0, b = 3)", Fill::Truncated { mean: 1.0, std: 0.5, ends: [0.0, 3.0] }),
        ("orthogonal", Fill::Orthogonal(1.0)),
        ("orthogonal(2)", Fill::Orthogonal(2.0)),
    ] {
        assert_eq!(fill(&format!("conv(2, kernel = 1, init = {init});")), expected, "{init}");
    }
    let values = fill("conv(1, kernel = 1, init = values([[[[1]], [[-2]], [[1/2]], [[n]], [[1e-3]], [[0]]]]));");
    assert_eq!(values, Fill::Values(vec![1.0, -2.0, 0.5, 4.0, 1e-3, 0.0]));
    let bias = compile_text("model M { input x [2]; linear(2, init_bias = values([3, -1])); }");
    assert_eq!(lower(&bias).tensors[1].fill, Fill::Values(vec![3.0, -1.0]));
}

/// A number may be a fraction, wherever it stands; a size may not.
#[test]
fn numbers_are_fractions() {
    let told = |text: &str| {
        let main = Main::Text { path: "net".to_owned(), text: text.to_owned(), spelling: Spelling::Netspec };
        let outcome = compile(main, &Options::default(), &mut |_| Err("nothing is to be read".to_owned()));
        let told = outcome.diagnostics.iter().map(|finding| format!("{} {}", finding.code, finding.title));
        told.collect::<Vec<_>>().join("; ")
    };
    let net = |layer: &str| told(&format!("model M(n = 3) {{ input x [4]; linear(n); {layer} }}"));
    assert_eq!(net("dropout(1/n);"), "");
    assert_eq!(net("dropout(n/2);"), "N0211 `p` of `dropout` is 1.5");
    assert_eq!(net("dropout(1/(n - 3));"), "N0208 a division by 0");
    assert_eq!(net("dropout(1e300 * 1e300);"), "N0208 this arithmetic has no finite answer");
    assert_eq!(net("dropout(1 / [2]);"), "N0204 a number is wanted here, not a list");
    assert_eq!(net("linear(n / 2);"), "N0208 3 / 2 does not divide exactly");
    let train = "model M { input x [4]; linear(3); } train M { loss mse; optimizer sgd(lr = 1/128); }";
    assert_eq!(told(train), "");
}

netspec::netspec!("../specs/blur.yaml");
netspec::netspec!("../specs/edges.netspec");

/// An image in which a pixel is a number of its place and channel.
fn image() -> [[[f32; 32]; 32]; 3] {
    std::array::from_fn(|c| {
        std::array::from_fn(|y| std::array::from_fn(|x| ((7 * c + 5 * y * y + 3 * x * x) % 64) as f32))
    })
}

/// The sum of a pixel's neighbours in all channels, weighted by their column; beside the image there are zeros.
fn sum(image: &[[[f32; 32]; 32]; 3], [y, x]: [usize; 2], weights: [f64; 3]) -> f64 {
    let mut sum = 0.0;
    for channel in image {
        for dy in 0..3 {
            for (dx, weight) in weights.iter().enumerate() {
                let at = |of: usize, d: usize| (of + d).checked_sub(1).filter(|&at| at < 32);
                if let (Some(y), Some(x)) = (at(y, dy), at(x, dx)) {
                    sum += weight * f64::from(channel[y][x]);
                }
            }
        }
    }
    sum
}

#[test]
fn the_blur_and_the_edge_detector_are_the_chapters() {
    assert_eq!((<Blur as Model>::PARAMETERS, <Edges as Model>::PARAMETERS), (28, 28));
    let image = image();
    let (mut blur, mut edges) = ([[[[0.0f32; 32]; 32]; 1]], [[[[0.0f32; 32]; 32]; 1]]);
    // The seed has no part in them.
    for seed in [0, 1] {
        Blur::new(seed).infer(&mut Workspace::new(), &[image], &mut blur).expect("a batch of one");
        Edges::new(seed).infer(&mut Workspace::new(), &[image], &mut edges).expect("a batch of one");
        for y in 0..32 {
            for x in 0..32 {
                let place = [y, x];
                let wanted = sum(&image, place, [1.0 / 9.0; 3]);
                assert!(
                    (f64::from(blur[0][0][y][x]) - wanted).abs() < 1e-4,
                    "{place:?}: {} {wanted}",
                    blur[0][0][y][x]
                );
                // Whole numbers, which f32 has exactly.
                assert_eq!(f64::from(edges[0][0][y][x]), sum(&image, place, [-1.0, 0.0, 1.0]), "{place:?}");
            }
        }
    }
}
