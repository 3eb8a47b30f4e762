// All of this agrees with a right spec, and rustc must report nothing but the spec's one error.
#![deny(missing_docs, unsafe_code, unreachable_pub, warnings)]
//! A program.

use netspec::{Error, Loss, Model, Optimizer, Workspace, joins, samples};

mod net {
    netspec::netspec! {
        model Net {
            input image [3, 32, 32];
            linear(512 -> 2);
        }
    }
}
use net::Net;

mod deep {
    netspec::netspec!(pub(crate) Deep = "specs/linear_on_map.yaml");
}

const _: () = joins::<Net, deep::Deep>();
const _: () = joins::<deep::Deep, Net>();

struct Squares;
impl Loss<[f32; 2]> for Squares {
    type Target = usize;
    fn loss(&self, output: &[f32], target: &usize, derivative: &mut [f32]) -> f32 {
        derivative[*target] = 2.0 * output[*target];
        output[*target].powi(2)
    }
}

struct Descent;
impl Optimizer for Descent {
    fn update(&mut self, params: &mut [f32], gradients: &[f32]) {
        params.iter_mut().zip(gradients).for_each(|(param, gradient)| *param -= gradient);
    }
}

struct App {
    net: Net,
    gradients: [f32; Net::PARAMETERS],
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", Net::NAME, self.params().len())
    }
}

fn run<M: Model>(_: &M) -> usize {
    M::PARAMETERS
}

impl App {
    fn train(&mut self) -> Result<f32, Error> {
        let mut workspace = Workspace::new();
        let images = [[[[0.5; 32]; 32]; 3]; 2];
        let mut scores = [[0.0_f32; 2]; 2];
        self.net.infer(&mut workspace, &images, &mut scores)?;
        let best: f32 = scores[0][1].max(scores[1][0]);
        let flat = vec![0.5; 3 * 32 * 32];
        let more = samples::<Net>(&flat)?;
        let first: f32 = more[0][2][31][31];
        let mean = self.net.step(&mut workspace, &images, &[0, 1], &Squares, &mut Descent)?;
        self.net.gradients(&mut workspace, more, &[1], &Squares, &mut self.gradients)?;
        Ok(best + mean + first)
    }
}

fn main() -> Result<(), Error> {
    let mut app = App { net: Net::new(1), gradients: [0.0; _] };
    println!("{} {:?} {:?}", app.net, app.net.clone(), app.train());
    app.net.params_mut()[0] = 1.0;
    app.net.save("net.safetensors")?;
    println!("{}", run(&Net::load("net.safetensors")?) + run(&deep::Deep::new(2)));
    Ok(())
}
