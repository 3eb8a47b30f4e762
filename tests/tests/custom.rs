//! Layers of a user's own: `custom(path::Type)`. Each stands in the middle of nets beside a built-in layer that is the same; swish, which
//! has no such twin, is checked by differences.

use netspec::network::{self, Network};
use netspec::{CrossEntropy, Mse, Workspace};
use netspec_compiler::source::Spelling;
use netspec_compiler::{Main, Options, Outcome, compile};
use netspec_tests::reference::Numbers;

/// As a user would write them.
mod layers {
    use netspec::layer::{Input, Layer, Shape, Weight};

    /// `y = x / (1 + exp(-x))`.
    pub(crate) struct Swish;

    impl<X: Input> Layer<X> for Swish {
        const OUTPUT: Shape = X::SHAPE;

        fn forward(x: &[f32], _: &[f32], y: &mut [f32]) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x / (1.0 + (-x).exp()));
        }

        fn backward(x: &[f32], _: &[f32], dy: &[f32], dx: &mut [f32], _: &mut [f32]) {
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                let s = 1.0 / (1.0 + (-x).exp());
                *dx = dy * (s + x * s * (1.0 - s));
            }
        }
    }

    /// `y = tanh x`.
    pub(crate) struct Tanh;

    impl<X: Input> Layer<X> for Tanh {
        const OUTPUT: Shape = X::SHAPE;

        fn forward(x: &[f32], _: &[f32], y: &mut [f32]) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x.tanh());
        }

        fn backward(x: &[f32], _: &[f32], dy: &[f32], dx: &mut [f32], _: &mut [f32]) {
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = dy * (1.0 - x.tanh() * x.tanh());
            }
        }
    }

    /// Each channel times a number of its own, and another added: a convolution of a window of one element in as many groups as channels.
    pub(crate) struct Affine;

    impl<X: Input> Layer<X> for Affine {
        const OUTPUT: Shape = X::SHAPE;
        const WEIGHTS: &'static [Weight] =
            &[Weight::new("scale", &[X::SHAPE.sizes()[0]]), Weight::new("shift", &[X::SHAPE.sizes()[0]])];

        fn forward(x: &[f32], weights: &[f32], y: &mut [f32]) {
            let (scale, shift) = weights.split_at(weights.len() / 2);
            let positions = x.len() / scale.len();
            for (at, (y, x)) in y.iter_mut().zip(x).enumerate() {
                *y = x * scale[at / positions] + shift[at / positions];
            }
        }

        fn backward(x: &[f32], weights: &[f32], dy: &[f32], dx: &mut [f32], d_weights: &mut [f32]) {
            let channels = weights.len() / 2;
            let (d_scale, d_shift) = d_weights.split_at_mut(channels);
            let positions = x.len() / channels;
            for (at, dy) in dy.iter().enumerate() {
                dx[at] = dy * weights[at / positions];
                d_scale[at / positions] += dy * x[at];
                d_shift[at / positions] += dy;
            }
        }
    }

    /// The second half of the channels left out.
    pub(crate) struct FirstHalf;

    impl<X: Input> Layer<X> for FirstHalf {
        const OUTPUT: Shape = {
            let [channels, height, width] = *X::SHAPE.sizes() else { panic!("a map of two spatial dimensions") };
            assert!(channels % 2 == 0, "an even number of channels");
            Shape::new(&[channels / 2, height, width])
        };

        fn forward(x: &[f32], _: &[f32], y: &mut [f32]) {
            y.copy_from_slice(&x[..y.len()]);
        }

        fn backward(_: &[f32], _: &[f32], dy: &[f32], dx: &mut [f32], _: &mut [f32]) {
            let (first, second) = dx.split_at_mut(dy.len());
            first.copy_from_slice(dy);
            second.fill(0.0);
        }
    }
}

/// Two models of one net: with layers of one's own, and with the built-in ones that are the same.
macro_rules! twins {
    ($($name:ident { $($own:tt)* } is { $($built_in:tt)* })*) => {
        mod own {
            use super::layers;
            $(netspec::netspec! { model $name { $($own)* } })*
        }
        mod built_in {
            $(netspec::netspec! { model $name { $($built_in)* } })*
        }
        #[test]
        fn a_layer_of_ones_own_is_the_built_in_one() {
            $(agree::<own::$name, built_in::$name>();)*
        }
    };
}

twins! {
    Middle {
        input x [2, 6, 6];
        conv(4, kernel = 3, padding = 1);
        custom(layers::Affine, weights = [scale(4, init = ones), shift([4], init = 0)]) : [4, 6, 6];
        custom(layers::Tanh) : [4, 6, 6];
        max_pool(2); flatten; linear(3);
    } is {
        input x [2, 6, 6];
        conv(4, kernel = 3, padding = 1);
        conv(4, kernel = 1, groups = 4);
        tanh;
        max_pool(2); flatten; linear(3);
    }
    // Nothing is to be done for the input but for the layer's own weights.
    First {
        input x [20, 3, 5];
        custom(layers::Affine, weights = [scale(20, init = uniform), shift(20, init = uniform)]) : [20, 3, 5];
        conv(3, kernel = 2); sigmoid; flatten; linear(3);
    } is {
        input x [20, 3, 5];
        conv(20, kernel = 1, groups = 20);
        conv(3, kernel = 2); sigmoid; flatten; linear(3);
    }
    // What it reads is read twice, so that its gradient is added to another one; and read once more behind it.
    Shared {
        input x [2, 5, 4];
        conv(6, kernel = 3, padding = 1) as a;
        custom(layers::Tanh) as b : [6, 5, 4];
        from a; custom(layers::Affine, weights = [scale(6, init = 1), shift(6, init = 0)]) as c : [6, 5, 4];
        add(a, b, c, b);
        flatten; linear(3);
    } is {
        input x [2, 5, 4];
        conv(6, kernel = 3, padding = 1) as a;
        tanh as b;
        from a; conv(6, kernel = 1, groups = 6) as c;
        add(a, b, c, b);
        flatten; linear(3);
    }
    Repeated {
        input x [2, 5, 5];
        conv(3, kernel = 3, padding = 1);
        repeat 3 {
            skip { conv(3, kernel = 3, padding = 1, bias = false); batch_norm; }
            custom(layers::Affine, weights = [scale(3, init = 1), shift(3, init = 0)]) : [3, 5, 5];
            custom(layers::Tanh) : [3, 5, 5];
        }
        flatten; linear(3);
    } is {
        input x [2, 5, 5];
        conv(3, kernel = 3, padding = 1);
        repeat 3 {
            skip { conv(3, kernel = 3, padding = 1, bias = false); batch_norm; }
            conv(3, kernel = 1, groups = 3);
            tanh;
        }
        flatten; linear(3);
    }
    Tied {
        input x [2, 5, 5];
        conv(3, kernel = 3, padding = 1);
        repeat 3 tied { custom(layers::Affine, weights = [scale(3, init = 1), shift(3, init = 0)]) : [3, 5, 5]; tanh; }
        flatten; linear(3);
    } is {
        input x [2, 5, 5];
        conv(3, kernel = 3, padding = 1);
        repeat 3 tied { conv(3, kernel = 1, groups = 3); tanh; }
        flatten; linear(3);
    }
}

const SAMPLES: usize = 11;

/// Loss, gradient, running statistics behind a step, and outputs of inference.
type Made = (f32, Vec<f32>, Vec<f32>, Vec<f32>);

fn made<N: Network>(model: &N, threads: usize) -> Made {
    let input = std::mem::size_of::<N::Input>() / 4;
    let feed = |sample: usize, _: usize, to: &mut [f32]| {
        to.copy_from_slice(&narrow(&Numbers(sample as u64 + 5).numbers(input)));
    };
    let loss = |sample: usize, y: &[f32], derivative: &mut [f32]| {
        Mse.of(y, &narrow(&Numbers(sample as u64 + 77).numbers(y.len())), derivative)
    };
    struct Still;
    impl netspec::Optimizer for Still {
        fn update(&mut self, _: &mut [f32], _: &[f32]) {}
    }
    let (mut model, mut workspace) = (model.clone(), Workspace::with_threads(threads));
    let loss = network::step_from(&mut model, &mut workspace, SAMPLES, &feed, &loss, &mut Still).expect("a batch");
    let mut outputs = Vec::new();
    network::infer_from(&model, &mut workspace, SAMPLES, &feed, &mut |_, _, values| outputs.extend_from_slice(values))
        .expect("the processor runs it");
    (loss, workspace.gradients().to_vec(), model.weights().statistics().to_vec(), outputs)
}

fn narrow(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&number| number as f32).collect()
}

/// A model with weights that are all different.
fn with_weights<N: Network>() -> N {
    let mut model: N = network::new(0);
    let numbers = Numbers(3).numbers(N::PARAMETERS);
    model.weights_mut().params_mut().copy_from_slice(&narrow(&numbers));
    model
}

fn agree<Own: Network, BuiltIn: Network>() {
    let name = Own::NAME;
    let (own, built_in): (Own, BuiltIn) = (with_weights(), with_weights());
    let (found, wanted) = (made(&own, 1), made(&built_in, 1));
    let close = |what: &str, found: &[f32], wanted: &[f32]| {
        assert_eq!(found.len(), wanted.len(), "{name}: {what}");
        let scale = wanted.iter().fold(1.0f32, |scale, wanted| scale.max(wanted.abs()));
        for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            // Sums of a few hundred products in another order, and another tanh.
            let is_close = (found - wanted).abs() <= 1e-5 * scale;
            assert!(is_close, "{name}: {what} {at} is {found}, and {wanted} of built-in layers");
        }
    };
    close("the loss", &[found.0], &[wanted.0]);
    close("the gradient", &found.1, &wanted.1);
    close("the running statistics", &found.2, &wanted.2);
    close("the output", &found.3, &wanted.3);
    assert_eq!(found, made(&own, 2), "{name}: threads change no bit");
}

mod inputs {
    use super::layers;

    netspec::netspec! {
        model Own {
            input x [4, 3, 5] with gradient;
            custom(layers::Affine, weights = [scale(4, init = 1), shift(4, init = 0)]) as a : [4, 3, 5];
            add(a, x);
            custom(layers::Tanh) : [4, 3, 5];
            flatten; linear(3);
        }
    }
    netspec::netspec! {
        model BuiltIn {
            input x [4, 3, 5] with gradient;
            conv(4, kernel = 1, groups = 4) as a;
            add(a, x);
            tanh;
            flatten; linear(3);
        }
    }
}

/// Of the inputs alone: the layer's own weights have no place then.
#[test]
fn inputs_have_their_gradients() {
    let (own, built_in): (inputs::Own, inputs::BuiltIn) = (with_weights(), with_weights());
    let numbers = |seed: u64| narrow(&Numbers(seed).numbers(60));
    let images: Vec<[[[f32; 5]; 3]; 4]> = [numbers(1), numbers(2)]
        .iter()
        .map(|image| {
            std::array::from_fn(|c| std::array::from_fn(|y| std::array::from_fn(|x| image[c * 15 + y * 5 + x])))
        })
        .collect();
    let (mut found, mut wanted) = (images.clone(), images.clone());
    let mut workspace = Workspace::with_threads(1);
    network::input_gradients(&own, &mut workspace, &images, &[0, 2], &CrossEntropy, &mut found).expect("a batch");
    let mut workspace = Workspace::with_threads(1);
    network::input_gradients(&built_in, &mut workspace, &images, &[0, 2], &CrossEntropy, &mut wanted).expect("a batch");
    let flat = |gradients: &[[[[f32; 5]; 3]; 4]]| gradients.as_flattened().as_flattened().as_flattened().to_vec();
    for (at, (found, wanted)) in flat(&found).iter().zip(flat(&wanted)).enumerate() {
        assert!((found - wanted).abs() < 1e-6, "{at}: {found}, not {wanted}");
    }
}

netspec::netspec! {
    model Swishes {
        input x [2, 6, 6];
        conv(4, kernel = 3, padding = 1);
        custom(layers::Swish) : [4, 6, 6];
        repeat 2 {
            conv(4, kernel = 3, padding = 1);
            custom(layers::Affine, weights = [scale(4, init = uniform(0.5, b = 1.5)), shift(4, init = normal(std = 1/4))]) as affine : [4, 6, 6];
            custom(layers::Swish) : [4, 6, 6];
        }
        custom(layers::FirstHalf) : [2, 6, 6];
        flatten;
        linear(3);
    }
}

#[test]
fn swish_has_its_gradient() {
    let model: Swishes = with_weights();
    let (_, gradient, ..) = made(&model, 1);
    let first = model.params().as_ptr();
    let place = |values: &[f32]| ((values.as_ptr() as usize - first as usize) / 4, values.len());
    let tensors: Vec<(String, (usize, usize))> =
        network::tensors(&model).map(|tensor| (tensor.name, place(tensor.values))).collect();
    let mut floats = 0;
    for (name, (from, len)) in tensors {
        let of = &gradient[from..from + len];
        let steepest = of.iter().map(|d| f64::from(*d)).collect::<Vec<_>>();
        for direction in [steepest, Numbers(len as u64).numbers(len)] {
            let norm = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
            let slope: f64 = of.iter().zip(&direction).map(|(of, d)| f64::from(*of) * d / norm).sum();
            const STEP: f64 = 1e-2;
            let loss = |along: f64| {
                let mut moved = model.clone();
                for (param, d) in moved.params_mut()[from..from + len].iter_mut().zip(&direction) {
                    *param += (along * d / norm) as f32;
                }
                f64::from(made(&moved, 1).0)
            };
            let difference = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            // A difference of losses of about 1 in f32 is off by 1e-5 of the step; and by the third derivative's share, 1e-4 of about 1.
            let error = (difference - slope).abs();
            assert!(error < 3e-4 + 2e-3 * slope.abs(), "{name}: {slope} where differences give {difference}");
        }
        floats += len;
    }
    assert_eq!(floats, gradient.len());
}

#[test]
fn weights_have_the_specs_names_and_first_values() {
    let model = Swishes::new(1);
    let tensors: Vec<_> = network::tensors(&model).collect();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let expected = [
        "conv1.weight",
        "conv1.bias",
        "repeat1.0.conv1.weight",
        "repeat1.1.conv1.weight",
        "repeat1.0.conv1.bias",
        "repeat1.1.conv1.bias",
        "repeat1.0.affine.scale",
        "repeat1.1.affine.scale",
        "repeat1.0.affine.shift",
        "repeat1.1.affine.shift",
        "linear1.weight",
        "linear1.bias",
    ];
    assert_eq!(names, expected);
    for tensor in tensors.iter().filter(|tensor| tensor.name.ends_with("scale")) {
        assert_eq!(tensor.shape, [4]);
        assert!(tensor.values.iter().all(|value| (0.5..=1.5).contains(value)), "{:?}", tensor.values);
    }
}

fn compiled(text: &str, spelling: Spelling) -> Outcome {
    let main = Main::Text { path: "net".to_owned(), text: text.to_owned(), spelling };
    compile(main, &Options::default(), &mut |_| Err("nothing is to be read".to_owned()))
}

#[test]
fn both_spellings_say_the_same() {
    let netspec = "model Net { input x [4, 3, 3]; \
                   custom(my_crate::Swish) : [4, 3, 3]; custom(Own) : [8]; \
                   custom(crate::layers::Scale, weights = [scale(4, init = ones), kernel([2, 3], init = kaiming_normal(relu))]) as own : [7]; }";
    let yaml = "model: Net\ninput: { x: [4, 3, 3] }\nlayers:\n  - custom: my_crate::Swish\n    shape: [4, 3, 3]\n  \
                - custom: Own\n    shape: [8]\n  - custom:\n      layer: crate::layers::Scale\n      weights:\n        \
                - scale: { shape: 4, init: ones }\n        - kernel: { shape: [2, 3], init: kaiming_normal(relu) }\n    \
                as: own\n    shape: [7]\n";
    let [a, b] = [(netspec, Spelling::Netspec), (yaml, Spelling::Yaml)].map(|(text, spelling)| {
        let outcome = compiled(text, spelling);
        let said: Vec<&str> = outcome.diagnostics.iter().map(|finding| finding.title.as_str()).collect();
        assert!(said.is_empty(), "{said:?}");
        let checked = outcome.checked.expect("it is right");
        (checked.net.to_string(), checked.parameters)
    });
    assert_eq!(a, b);
    assert_eq!(a.1, 10);
}

#[test]
fn what_is_wrong_is_told() {
    let told = |layer: &str| {
        let text = format!("model Net {{ input x [4, 3, 3]; {layer} flatten; linear(2); }}");
        let outcome = compiled(&text, Spelling::Netspec);
        let told = outcome.diagnostics.iter().map(|finding| format!("{} {}", finding.code, finding.title));
        told.collect::<Vec<_>>().join("; ")
    };
    for (layer, expected) in [
        ("custom(a::B);", "N0310 the output of `custom` is not known"),
        ("custom : [4];", "N0203 `custom` needs `layer`"),
        ("custom(3) : [4];", "N0204 `layer` of `custom` takes the path of a Rust type, not 3"),
        ("custom(a::type) : [4];", "N0204 `a::type` is no path of a type"),
        (
            "custom(a::B, weights = scale) : [4];",
            "N0204 `weights` of `custom` takes a list of weights, such as `scale(8, init = ones)`, not `scale`",
        ),
        ("custom(a::B, weights = [scale(4)]) : [4];", "N0203 `scale` needs `init`"),
        (
            "custom(a::B, weights = [w(4, init = 0), w(4, init = 0)]) : [4];",
            "N0206 the weight `w` of `custom` is given twice",
        ),
        ("custom(a::B, weights = [w(0, init = 0)]) : [4];", "N0211 `shape` of `w` is 0"),
        (
            "custom(a::B, weights = [w(4, init = xavier_normal)]) : [4];",
            "N0402 `xavier_normal` cannot fill `w` of `custom`",
        ),
        (
            "custom(a::B, weights = [w(4, init = values([1, 2]))]) : [4];",
            "N0402 the values of `init` are 2, but the `w` of `custom` is 4",
        ),
        ("relu(a::B);", "N0210 `relu` takes no arguments"),
        ("conv(a::B, kernel = 3);", "N0204 `out` of `conv` takes an integer, not `a::B`"),
    ] {
        assert_eq!(told(layer), expected, "{layer}");
    }
}
