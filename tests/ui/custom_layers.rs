use netspec::layer::{Input, Layer, Shape, Weight};

struct Scale;

impl<X: Input> Layer<X> for Scale {
    const OUTPUT: Shape = X::SHAPE;
    const WEIGHTS: &'static [Weight] = &[Weight::new("scale", &[X::SHAPE.sizes()[0]])];

    fn forward(_: &[f32], _: &[f32], _: &mut [f32]) {}
    fn backward(_: &[f32], _: &[f32], _: &[f32], _: &mut [f32], _: &mut [f32]) {}
}

struct NoLayer;

mod another_shape {
    netspec::netspec! {
        model Net {
            input image [4, 6, 6];
            custom(super::Scale, weights = [scale(4, init = ones)]) : [4, 6, 5];
            flatten;
            linear(10);
        }
    }
}

mod other_weights {
    netspec::netspec! {
        model Net {
            input image [4, 6, 6];
            custom(super::Scale, weights = [scale(6, init = ones)]) : [4, 6, 6];
            flatten;
            linear(10);
        }
    }
}

mod no_layer {
    netspec::netspec! {
        model Net {
            input image [4, 6, 6];
            custom(super::NoLayer) : [4, 6, 6];
            flatten;
            linear(10);
        }
    }
}

fn main() {}
