/// `Net`, from specs/net.yaml: 18,090 parameters.
#[derive(Clone, Debug)]
pub struct Net {
    weights: ::netspec::weights::Weights,
}

impl ::netspec::Model for Net {
    type Input = [[[f32; 32]; 32]; 3];
    type Output = [f32; 2];
    const NAME: &'static str = "Net";
    const PARAMETERS: usize = 18_090;
}

#[allow(dead_code)]
impl Net {
    /// A model with the initial weights that `seed` draws.
    pub fn new(seed: u64) -> Self {
        ::netspec::network::new(seed)
    }

    /// The model with the weights of a safetensors file, by PyTorch's names.
    pub fn load(path: impl ::core::convert::AsRef<::std::path::Path>) -> ::core::result::Result<Self, ::netspec::Error> {
        ::netspec::network::load(path.as_ref())
    }

    /// Writes the weights to a safetensors file, beside it first and then renamed.
    pub fn save(&self, path: impl ::core::convert::AsRef<::std::path::Path>) -> ::core::result::Result<(), ::netspec::Error> {
        ::netspec::network::save(self, path.as_ref())
    }

    /// The parameters, one after the other in PyTorch's order.
    pub fn params(&self) -> &[f32] {
        self.weights.params()
    }

    /// The parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut [f32] {
        self.weights.params_mut()
    }

    /// Gives the output of each input.
    pub fn infer(
        &self,
        workspace: &mut ::netspec::Workspace,
        inputs: &[<Self as ::netspec::Model>::Input],
        outputs: &mut [<Self as ::netspec::Model>::Output],
    ) -> ::core::result::Result<(), ::netspec::Error> {
        ::netspec::network::infer(self, workspace, inputs, outputs)
    }

    /// One step of training on a batch: gives the mean loss before it.
    pub fn step<L: ::netspec::Loss<<Self as ::netspec::Model>::Output>, O: ::netspec::Optimizer>(
        &mut self,
        workspace: &mut ::netspec::Workspace,
        inputs: &[<Self as ::netspec::Model>::Input],
        targets: &[L::Target],
        loss: &L,
        optimizer: &mut O,
    ) -> ::core::result::Result<f32, ::netspec::Error> {
        ::netspec::network::step(self, workspace, inputs, targets, loss, optimizer)
    }

    /// The mean loss of a batch, and its gradient by each parameter.
    pub fn gradients<L: ::netspec::Loss<<Self as ::netspec::Model>::Output>>(
        &self,
        workspace: &mut ::netspec::Workspace,
        inputs: &[<Self as ::netspec::Model>::Input],
        targets: &[L::Target],
        loss: &L,
        gradients: &mut [f32],
    ) -> ::core::result::Result<f32, ::netspec::Error> {
        ::netspec::network::gradients(self, workspace, inputs, targets, loss, gradients)
    }
}

const _: () = {
    #[allow(unused_imports)]
    use ::netspec::{
        arena::{Pack, Tile, View, batch, tile},
        kernels::{Act, Epilogue, Store, activation, avg_pool, batch_norm, conv, direct, dropout, elementwise, linear},
        kernels::{depthwise, log_softmax, max_pool, sparse, winograd},
        kernels::{frame, multiply, permute, resample, shuffle},
        kernels::{Curve, curve, group_norm, softmax},
        layout::{Blocked, Plane},
        network::{Fill, Network, Repeat, Tensor},
        run::{Fold, Plan, Run},
        weights::Weights,
    };

    impl Network for Net {
        const TENSORS: &'static [Tensor] = &[
            Tensor {
                name: "conv1.weight", shape: &[16, 3, 3, 3], offset: 0, repeats: &[], fill: Fill::Uniform(0.19245009),
                trainable: true
            },
            Tensor {
                name: "conv1.bias", shape: &[16], offset: 432, repeats: &[], fill: Fill::Uniform(0.19245009),
                trainable: true
            },
            Tensor {
                name: "conv2.weight", shape: &[8, 16, 3, 3], offset: 448, repeats: &[],
                fill: Fill::Uniform(0.083333336), trainable: true
            },
            Tensor {
                name: "conv2.bias", shape: &[8], offset: 1_600, repeats: &[], fill: Fill::Uniform(0.083333336),
                trainable: true
            },
            Tensor {
                name: "fc1.weight", shape: &[32, 512], offset: 1_608, repeats: &[], fill: Fill::Uniform(0.044194173),
                trainable: true
            },
            Tensor {
                name: "fc1.bias", shape: &[32], offset: 17_992, repeats: &[], fill: Fill::Uniform(0.044194173),
                trainable: true
            },
            Tensor {
                name: "fc2.weight", shape: &[2, 32], offset: 18_024, repeats: &[], fill: Fill::Uniform(0.17677669),
                trainable: true
            },
            Tensor {
                name: "fc2.bias", shape: &[2], offset: 18_088, repeats: &[], fill: Fill::Uniform(0.17677669),
                trainable: true
            },
        ];
        const STATISTICS: usize = 0;
        const SPEC_HASH: u64 = 0x4d2e5f3d3b959501;
        const BATCH_NORM_POSITIONS: Option<usize> = None;
        const TRAIN: Plan = Plan {
            tile: 17_472, batch: 560, state: 0, scratch: 47_263, packed: 12_672, gradients: 1_682
        };
        const FORWARD: Plan = Plan::NONE;
        const INFER: Plan = Plan { tile: 8_672, batch: 16, state: 0, scratch: 47_263, packed: 7_488, gradients: 0 };
        const WRITTEN: &'static [(usize, usize)] = &[(1_608, 16_384)];
        const FOLDED: usize = 0;
        const FORWARD_OUTPUTS: &'static [View] = &[];
        const INFER_OUTPUTS: &'static [View] = &[batch(0, 2)];

        fn weights(&self) -> &Weights {
            &self.weights
        }
        fn weights_mut(&mut self) -> &mut Weights {
            &mut self.weights
        }
        fn with_weights(weights: Weights) -> Self {
            Self { weights }
        }
        fn train(run: &mut Run<'_>) {
            Passes::pass_train(run);
        }
        fn forward(_: &mut Run<'_>) {}
        fn infer(run: &mut Run<'_>) {
            Passes::pass_infer(run);
        }
        fn pack_train(p: &mut Pack<'_>) {
            Passes::pack_train(p);
        }
        fn pack_infer(p: &mut Pack<'_>) {
            Passes::pack_infer(p);
        }
    }

    /// The passes: functions of their own, so that the model's names are its user's.
    struct Passes;

    impl Passes {
        const CHANNELS_16: &'static [Plane] = &[Plane::FULL; 1];
        const CHANNELS_3: &'static [Plane] = &[Plane { lanes: 3, channels: 3 }];
        const CHANNELS_8: &'static [Plane] = &[Plane { lanes: 8, channels: 8 }];
        const CONV1: conv::Conv = conv::Conv {
            channels: 3, out_channels: 16, groups: 1, size: [1, 32, 32], out_size: [1, 32, 32], kernel: [1, 3, 3],
            stride: [1, 1, 1], padding: [0, 1, 1], dilation: [1, 1, 1]
        };
        const CONV2: conv::Conv = conv::Conv {
            channels: 16, out_channels: 8, groups: 1, size: [1, 16, 16], out_size: [1, 16, 16], kernel: [1, 3, 3],
            stride: [1, 1, 1], padding: [0, 1, 1], dilation: [1, 1, 1]
        };
        const CONV2_2: max_pool::Pool = max_pool::Pool {
            channels: 8, size: [1, 16, 16], out_size: [1, 8, 8], kernel: [1, 2, 2], stride: [1, 2, 2],
            padding: [0, 0, 0], dilation: [1, 1, 1]
        };
        const FC1: linear::Linear = linear::Linear { rows: 1, inputs: 512, outputs: 32 };
        const FC2: linear::Linear = linear::Linear { rows: 1, inputs: 32, outputs: 2 };
        const MAP_16X16X16: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_16, size: [1, 16, 16], before: [0, 1, 1], after: [0, 1, 1]
        };
        const MAP_3X32X32: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_3, size: [1, 32, 32], before: [0, 1, 1], after: [0, 1, 1]
        };
        const MAP_8X16X16: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_8, size: [1, 16, 16], before: [0, 1, 1], after: [0, 1, 1]
        };
        const MAP_8X8X8: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_8, size: [1, 8, 8], before: [0, 0, 0], after: [0, 0, 0]
        };

        fn pass_train(run: &mut Run<'_>) {
            run.stage(&[Fold { from: 0, to: 0, len: 1_608 }, Fold { from: 1_616, to: 18_024, len: 66 }], |t| {
                Self::forward(t);
                // specs/net.yaml:19 `linear: { in: 32, out: 2 }`
                t.loss(tile(5_728, 2), tile(5_744, 2));
                Self::backward(t);
            });
            // specs/net.yaml:16 `linear: { in: 512, out: 32 }`
            linear::grad_weight_batch(
                run, &Self::FC1, batch(0, 512), batch(512, 32), 1_608, Some(17_992), Store::Write
            );
        }

        fn forward(t: &mut Tile<'_>) {
            // specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
            t.load(0, Self::MAP_3X32X32.tile(10_368));
            winograd::forward_pool(
                t, &Self::CONV1, Self::MAP_3X32X32.tile(10_368), 0, Epilogue::bias(432).act(Act::Tanh),
                Self::MAP_16X16X16.tile(0), tile(16_448, 1_024)
            );
            // specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
            winograd::forward_pool(
                t, &Self::CONV2, Self::MAP_16X16X16.tile(0), 2_304, Epilogue::bias(1_600).act(Act::Tanh),
                Self::MAP_8X8X8.tile(5_184), tile(6_720, 128)
            );
            // specs/net.yaml:15 `view: [-1, 8*8*8]`
            elementwise::copy(t, Self::MAP_8X8X8.tile(5_184), batch(0, 512), Store::Write);
            // specs/net.yaml:16 `linear: { in: 512, out: 32 }`
            linear::forward(t, &Self::FC1, batch(0, 512), 1_608, Some(17_992), Act::Tanh, tile(5_696, 32));
            // specs/net.yaml:19 `linear: { in: 32, out: 2 }`
            linear::forward(t, &Self::FC2, tile(5_696, 32), 18_024, Some(18_088), Act::None, tile(5_728, 2));
        }

        fn backward(t: &mut Tile<'_>) {
            // specs/net.yaml:19 `linear: { in: 32, out: 2 }`
            linear::grad_input(t, &Self::FC2, tile(5_744, 2), 18_024, batch(512, 32), Store::Write);
            linear::grad_weight(t, &Self::FC2, tile(5_696, 32), tile(5_744, 2), 1_616, Some(1_680));
            // specs/net.yaml:16 `linear: { in: 512, out: 32 }`
            activation::backward(t, Act::Tanh, tile(5_696, 32), batch(512, 32), batch(512, 32), Store::Write);
            linear::grad_input(t, &Self::FC1, batch(512, 32), 1_608, tile(5_696, 512), Store::Write);
            // specs/net.yaml:15 `view: [-1, 8*8*8]`
            elementwise::copy(t, tile(5_696, 512), Self::MAP_8X8X8.tile(6_208), Store::Write);
            // specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
            activation::backward(
                t, Act::Tanh, Self::MAP_8X8X8.tile(5_184), Self::MAP_8X8X8.tile(6_208), Self::MAP_8X8X8.tile(6_208),
                Store::Write
            );
            max_pool::backward(
                t, &Self::CONV2_2, Self::MAP_8X8X8.tile(6_208), tile(6_720, 128), Self::MAP_8X16X16.tile(13_856), Store::Write
            );
            winograd::grad_input(
                t, &Self::CONV2, Self::MAP_8X16X16.tile(13_856), 7_488, Self::MAP_16X16X16.tile(5_184), Store::Write
            );
            winograd::grad_weight(
                t, &Self::CONV2, Self::MAP_16X16X16.tile(0), Self::MAP_8X16X16.tile(13_856), 448, Some(1_600)
            );
            // specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
            activation::backward(
                t, Act::Tanh, Self::MAP_16X16X16.tile(0), Self::MAP_16X16X16.tile(5_184), Self::MAP_16X16X16.tile(5_184),
                Store::Write
            );
            winograd::grad_weight_pool(
                t, &Self::CONV1, Self::MAP_3X32X32.tile(10_368), Self::MAP_16X16X16.tile(5_184), tile(16_448, 1_024), 0,
                Some(432)
            );
        }

        fn pack_train(p: &mut Pack<'_>) {
            winograd::pack(p, &Self::CONV1, Self::CHANNELS_3, Self::CHANNELS_16, 0, 0);
            winograd::pack(p, &Self::CONV2, Self::CHANNELS_16, Self::CHANNELS_8, 448, 2_304);
            winograd::pack_transposed(p, &Self::CONV2, Self::CHANNELS_16, Self::CHANNELS_8, 448, 7_488);
        }

        fn pass_infer(run: &mut Run<'_>) {
            run.stage(&[], |t| {
                // specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
                t.load(0, Self::MAP_3X32X32.tile(5_184));
                winograd::infer_pool(
                    t, &Self::CONV1, Self::MAP_3X32X32.tile(5_184), 0, Epilogue::bias(432).act(Act::Tanh),
                    Self::MAP_16X16X16.tile(0)
                );
                // specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
                winograd::infer_pool(
                    t, &Self::CONV2, Self::MAP_16X16X16.tile(0), 2_304, Epilogue::bias(1_600).act(Act::Tanh),
                    Self::MAP_8X8X8.tile(5_184)
                );
                // specs/net.yaml:15 `view: [-1, 8*8*8]`
                elementwise::copy(t, Self::MAP_8X8X8.tile(5_184), tile(0, 512), Store::Write);
                // specs/net.yaml:16 `linear: { in: 512, out: 32 }`
                linear::forward(t, &Self::FC1, tile(0, 512), 1_608, Some(17_992), Act::Tanh, tile(512, 32));
                // specs/net.yaml:19 `linear: { in: 32, out: 2 }`
                linear::forward(t, &Self::FC2, tile(512, 32), 18_024, Some(18_088), Act::None, batch(0, 2));
            });
        }

        fn pack_infer(p: &mut Pack<'_>) {
            winograd::pack(p, &Self::CONV1, Self::CHANNELS_3, Self::CHANNELS_16, 0, 0);
            winograd::pack(p, &Self::CONV2, Self::CHANNELS_16, Self::CHANNELS_8, 448, 2_304);
        }
    }
};
