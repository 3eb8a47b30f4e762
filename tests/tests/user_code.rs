//! What a user writes of a model whose spec is right.
#![deny(warnings, missing_docs, unsafe_code, unreachable_pub)]

use netspec::{CrossEntropy, Error, Loss, Model, Optimizer, Sgd, Workspace, joins, samples};

/// A page in line.
pub mod in_line {
    netspec::netspec! {
        /// Blocks and their comments are read as in a file.
        block Half(n) { max_pool(2); conv(n, kernel = 3, padding = 1); }

        model Net(n = 8) {
            input image [3, 32, 32];
            Half(n); relu;                  // 3 x 32 x 32 to 8 x 16 x 16
            view(-1, 16 * 16 * n);
            linear(2) as fc1;
        }
    }
}

mod of_files {
    netspec::netspec!(pub(crate) Wide = "ui/specs/net.netspec", n = 32);
    netspec::netspec!(pub Narrow = "ui/specs/net.netspec", n = 2,);
    netspec::netspec!("ui/specs/net.netspec");

    pub(crate) fn default_width() -> usize {
        <Net as netspec::Model>::PARAMETERS
    }
}

macro_rules! scores {
    ($name:ident, $inputs:literal, $($layers:tt)*) => {
        netspec::netspec! { model $name { input scores [$inputs]; linear($inputs -> 4); $($layers)* } }
    };
}
scores!(Scores, 2, tanh; linear(1););

const _: () = joins::<in_line::Net, Scores>();

/// The model's names are its user's.
impl in_line::Net {
    const LINEAR1: usize = 1;

    fn forward(&self) -> usize {
        Self::LINEAR1
    }
}

struct Nothing;

impl<Output> Loss<Output> for Nothing {
    type Target = ();
    fn loss(&self, _: &[f32], _: &(), derivative: &mut [f32]) -> f32 {
        derivative.fill(0.0);
        0.0
    }
}

impl Optimizer for Nothing {
    fn update(&mut self, _: &mut [f32], _: &[f32]) {}
}

#[test]
fn a_right_spec_is_a_type_that_trains() {
    netspec::netspec! { model Local { input x [2]; input y [3]; concat(x, y); linear(2) as a; output a, y; } }
    assert_eq!(Local::PARAMETERS, 12);
    let workspace = &mut Workspace::new();
    let mut outputs = [([0.0; 2], [0.0; 3])];
    Local::new(0).infer(workspace, &[([1.0, 2.0], [3.0, 4.0, 5.0])], &mut outputs).unwrap();
    assert_eq!(outputs[0].1, [3.0, 4.0, 5.0], "an output that is an input");

    let mut net = in_line::Net::new(0);
    assert_eq!(net.forward(), 1);
    assert_eq!(net.params().len(), 3 * 8 * 9 + 8 + 2048 * 2 + 2);
    net.params_mut()[0] = 1.0;
    assert_eq!(format!("{:?}", net.clone()), "Net { weights: Weights { params: 4322, statistics: 0, .. } }");

    let image: <in_line::Net as Model>::Input = [[[0.5; 32]; 32]; 3];
    let mut scores = [[0.0; 2]];
    net.infer(workspace, &[image], &mut scores).unwrap();
    let mut gradients = vec![1.0; in_line::Net::PARAMETERS];
    assert_eq!(net.gradients(workspace, &[image], &[()], &Nothing, &mut gradients).unwrap(), 0.0);
    assert!(gradients.iter().all(|&gradient| gradient == 0.0));
    assert_eq!(net.step(workspace, &[image], &[()], &Nothing, &mut Nothing).unwrap(), 0.0);

    let sgd = &mut Sgd::new(0.01);
    let first = net.step(workspace, &[image], &[1], &CrossEntropy, sgd).unwrap();
    for _ in 0..9 {
        net.step(workspace, &[image], &[1], &CrossEntropy, sgd).unwrap();
    }
    let last = net.gradients(workspace, &[image], &[1], &CrossEntropy, &mut gradients).unwrap();
    assert!(last < first, "ten steps on one image make its loss smaller: {first}, {last}");
    assert!(matches!(net.step(workspace, &[image], &[2], &CrossEntropy, sgd), Err(Error::Label { .. })));

    let path = std::env::temp_dir().join(format!("netspec-user-{}.safetensors", std::process::id()));
    net.save(&path).unwrap();
    assert_eq!(in_line::Net::load(&path).unwrap().params(), net.params());
    assert!(of_files::Narrow::load(&path).is_err(), "the weights of another model");
    std::fs::remove_file(&path).unwrap();
    assert!(of_files::Narrow::load("no.file").is_err());

    assert_eq!(samples::<of_files::Wide>(&vec![0.0; 6 * 32 * 32]).unwrap().len(), 2);
    assert!(matches!(samples::<of_files::Wide>(&[0.0; 5]), Err(Error::PartSample { .. })));
    assert_eq!(of_files::Wide::PARAMETERS, 3 * 32 * 9 + 32 + 32 * 256 * 2 + 2);
    assert_eq!(of_files::default_width(), 3 * 16 * 9 + 16 + 16 * 256 * 2 + 2);
    assert_eq!((of_files::Wide::NAME, Scores::PARAMETERS), ("Net", 17));
}
