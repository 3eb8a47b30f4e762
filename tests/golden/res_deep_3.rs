/// `ResDeep`, from specs/res_deep.yaml with n_blocks = 3: 94,370 parameters.
#[derive(Clone, Debug)]
pub struct ResDeep {
    weights: ::netspec::weights::Weights,
}

impl ::netspec::Model for ResDeep {
    type Input = [[[f32; 32]; 32]; 3];
    type Output = [f32; 2];
    const NAME: &'static str = "ResDeep";
    const PARAMETERS: usize = 94_370;
}

#[allow(dead_code)]
impl ResDeep {
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

    impl Network for ResDeep {
        const TENSORS: &'static [Tensor] = &[
            Tensor {
                name: "conv1.weight", shape: &[32, 3, 3, 3], offset: 0, repeats: &[], fill: Fill::Uniform(0.19245009),
                trainable: true
            },
            Tensor {
                name: "conv1.bias", shape: &[32], offset: 864, repeats: &[], fill: Fill::Uniform(0.19245009),
                trainable: true
            },
            Tensor {
                name: "resblocks.*.conv.weight", shape: &[32, 32, 3, 3], offset: 896,
                repeats: &[Repeat { count: 3, stride: 9_280 }], fill: Fill::Normal { mean: 0.0, std: 0.083333336 },
                trainable: true
            },
            Tensor {
                name: "resblocks.*.batch_norm.weight", shape: &[32], offset: 10_112,
                repeats: &[Repeat { count: 3, stride: 9_280 }], fill: Fill::Constant(0.5), trainable: true
            },
            Tensor {
                name: "resblocks.*.batch_norm.bias", shape: &[32], offset: 10_144,
                repeats: &[Repeat { count: 3, stride: 9_280 }], fill: Fill::Constant(0.0), trainable: true
            },
            Tensor {
                name: "resblocks.*.batch_norm.running_mean", shape: &[32], offset: 0,
                repeats: &[Repeat { count: 3, stride: 64 }], fill: Fill::Constant(0.0), trainable: false
            },
            Tensor {
                name: "resblocks.*.batch_norm.running_var", shape: &[32], offset: 32,
                repeats: &[Repeat { count: 3, stride: 64 }], fill: Fill::Constant(1.0), trainable: false
            },
            Tensor {
                name: "fc1.weight", shape: &[32, 2_048], offset: 28_736, repeats: &[], fill: Fill::Uniform(0.022097087),
                trainable: true
            },
            Tensor {
                name: "fc1.bias", shape: &[32], offset: 94_272, repeats: &[], fill: Fill::Uniform(0.022097087),
                trainable: true
            },
            Tensor {
                name: "fc2.weight", shape: &[2, 32], offset: 94_304, repeats: &[], fill: Fill::Uniform(0.17677669),
                trainable: true
            },
            Tensor {
                name: "fc2.bias", shape: &[2], offset: 94_368, repeats: &[], fill: Fill::Uniform(0.17677669),
                trainable: true
            },
        ];
        const STATISTICS: usize = 192;
        const SPEC_HASH: u64 = 0xa800dd7adb7ba9aa;
        const BATCH_NORM_POSITIONS: Option<usize> = Some(256);
        const TRAIN: Plan = Plan {
            tile: 10_368, batch: 90_576, state: 480, scratch: 116_399, packed: 228_672, gradients: 9_216
        };
        const FORWARD: Plan = Plan::NONE;
        const INFER: Plan = Plan { tile: 20_736, batch: 16, state: 0, scratch: 116_399, packed: 116_352, gradients: 0 };
        const WRITTEN: &'static [(usize, usize)] = &[(28_736, 65_536)];
        const FOLDED: usize = 94_658;
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
        fn fold(params: &[f32], statistics: &[f32], folded: &mut [f32]) {
            folded[..94_370].copy_from_slice(params);
            folded[94_370..94_562].copy_from_slice(statistics);
            for l in 0..3 {
                batch_norm::fold(
                    folded,
                    32,
                    288,
                    896 + l * 9_280,
                    None,
                    94_562 + l * 32,
                    Some(&params[10_112 + l * 9_280..][..32]),
                    Some(&params[10_144 + l * 9_280..][..32]),
                    &statistics[l * 64..][..32],
                    &statistics[32 + l * 64..][..32],
                    1e-5,
                );
            }
        }
    }

    /// The passes: functions of their own, so that the model's names are its user's.
    struct Passes;

    impl Passes {
        const CHANNELS_3: &'static [Plane] = &[Plane { lanes: 3, channels: 3 }];
        const CHANNELS_32: &'static [Plane] = &[Plane::FULL; 2];
        const CONV1: conv::Conv = conv::Conv {
            channels: 3, out_channels: 32, groups: 1, size: [1, 32, 32], out_size: [1, 32, 32], kernel: [1, 3, 3],
            stride: [1, 1, 1], padding: [0, 1, 1], dilation: [1, 1, 1]
        };
        const FC1: linear::Linear = linear::Linear { rows: 1, inputs: 2_048, outputs: 32 };
        const FC2: linear::Linear = linear::Linear { rows: 1, inputs: 32, outputs: 2 };
        const MAP_32X16X16: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_32, size: [1, 16, 16], before: [0, 1, 1], after: [0, 1, 1]
        };
        const MAP_32X8X8: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_32, size: [1, 8, 8], before: [0, 0, 0], after: [0, 0, 0]
        };
        const MAP_3X32X32: &'static Blocked = &Blocked {
            planes: Self::CHANNELS_3, size: [1, 32, 32], before: [0, 1, 1], after: [0, 1, 1]
        };
        const MAX_POOL2: max_pool::Pool = max_pool::Pool {
            channels: 32, size: [1, 16, 16], out_size: [1, 8, 8], kernel: [1, 2, 2], stride: [1, 2, 2],
            padding: [0, 0, 0], dilation: [1, 1, 1]
        };
        const RESBLOCKS_BATCH_NORM: batch_norm::Norm = batch_norm::Norm {
            channels: 32, positions: 256, eps: 1e-5, momentum: 0.1
        };
        const RESBLOCKS_CONV: conv::Conv = conv::Conv {
            channels: 32, out_channels: 32, groups: 1, size: [1, 16, 16], out_size: [1, 16, 16], kernel: [1, 3, 3],
            stride: [1, 1, 1], padding: [0, 1, 1], dilation: [1, 1, 1]
        };

        fn pass_train(run: &mut Run<'_>) {
            run.stage(&[], |t| {
                // specs/res_deep.yaml:17 `conv: { in: 3, out: n_chans1, kernel: 3, padding: 1 }`
                t.load(0, Self::MAP_3X32X32.batch(82_944));
                winograd::forward_pool(
                    t, &Self::CONV1, Self::MAP_3X32X32.batch(82_944), 0, Epilogue::bias(864).act(Act::Relu),
                    Self::MAP_32X16X16.batch(0), batch(86_432, 2_048)
                );
                Self::resblocks_forward_begin(t, 0);
            });
            Self::resblocks_forward(run);
            run.stage(&[Fold { from: 0, to: 94_304, len: 66 }], |t| {
                // specs/res_deep.yaml:25 `max_pool: 2`
                max_pool::forward(
                    t, &Self::MAX_POOL2, Self::MAP_32X16X16.batch(31_104), Self::MAP_32X8X8.tile(0), tile(4_096, 512)
                );
                // specs/res_deep.yaml:26 `view: [-1, 8*8*n_chans1]`
                elementwise::copy(t, Self::MAP_32X8X8.tile(0), batch(88_480, 2_048), Store::Write);
                // specs/res_deep.yaml:27 `linear: 32`
                linear::forward(t, &Self::FC1, batch(88_480, 2_048), 28_736, Some(94_272), Act::Relu, tile(0, 32));
                // specs/res_deep.yaml:30 `linear: 2`
                linear::forward(t, &Self::FC2, tile(0, 32), 94_304, Some(94_368), Act::None, tile(32, 2));
                t.loss(tile(32, 2), tile(48, 2));
                linear::grad_input(t, &Self::FC2, tile(48, 2), 94_304, batch(90_528, 32), Store::Write);
                linear::grad_weight(t, &Self::FC2, tile(0, 32), tile(48, 2), 0, Some(64));
                // specs/res_deep.yaml:27 `linear: 32`
                activation::backward(t, Act::Relu, tile(0, 32), batch(90_528, 32), batch(90_528, 32), Store::Write);
                linear::grad_input(t, &Self::FC1, batch(90_528, 32), 28_736, tile(0, 2_048), Store::Write);
                // specs/res_deep.yaml:26 `view: [-1, 8*8*n_chans1]`
                elementwise::copy(t, tile(0, 2_048), Self::MAP_32X8X8.tile(2_048), Store::Write);
                // specs/res_deep.yaml:25 `max_pool: 2`
                max_pool::backward(
                    t, &Self::MAX_POOL2, Self::MAP_32X8X8.tile(2_048), tile(4_096, 512), Self::MAP_32X16X16.batch(72_576),
                    Store::Write
                );
            });
            // specs/res_deep.yaml:27 `linear: 32`
            linear::grad_weight_batch(
                run, &Self::FC1, batch(88_480, 2_048), batch(90_528, 32), 28_736, Some(94_272), Store::Write
            );
            run.stage(&[], |t| {
                Self::resblocks_backward_begin(t, 2);
            });
            Self::resblocks_backward(run);
            run.stage(&[Fold { from: 0, to: 0, len: 896 }], |t| {
                // specs/res_deep.yaml:17 `conv: { in: 3, out: n_chans1, kernel: 3, padding: 1 }`
                activation::backward(
                    t, Act::Relu, Self::MAP_32X16X16.batch(0), Self::MAP_32X16X16.batch(72_576), Self::MAP_32X16X16.tile(0),
                    Store::Write
                );
                winograd::grad_weight_pool(
                    t, &Self::CONV1, Self::MAP_3X32X32.batch(82_944), Self::MAP_32X16X16.tile(0), batch(86_432, 2_048), 0,
                    Some(864)
                );
            });
        }

        /// specs/res_deep.yaml:22 `repeat`: an iteration's first stage, a part of the one before
        fn resblocks_forward_begin(t: &mut Tile<'_>, l: usize) {
            // specs/res_deep.yaml:11 `conv: { out: n, kernel: 3, padding: 1, bias: false, init: kaiming_normal(relu) }`
            winograd::forward(
                t, &Self::RESBLOCKS_CONV, Self::MAP_32X16X16.batch(l * 10_368), 4_032 + l * 37_440, Epilogue::NONE,
                Self::MAP_32X16X16.batch(41_472 + l * 10_368)
            );
            // specs/res_deep.yaml:13 `batch_norm: { init_weight: 0.5, init_bias: 0 }`
            batch_norm::statistics(
                t, &Self::RESBLOCKS_BATCH_NORM, Self::MAP_32X16X16.batch(41_472 + l * 10_368), batch(72_576, 64)
            );
        }

        /// specs/res_deep.yaml:22 `repeat`
        fn resblocks_forward(run: &mut Run<'_>) {
            for l in 0..3 {
                // specs/res_deep.yaml:13 `batch_norm: { init_weight: 0.5, init_bias: 0 }`
                batch_norm::merge(run, &Self::RESBLOCKS_BATCH_NORM, batch(72_576, 64), l * 160, Some(l * 64));
                run.stage(&[], |t| {
                    batch_norm::forward(
                        t, &Self::RESBLOCKS_BATCH_NORM, Self::MAP_32X16X16.batch(41_472 + l * 10_368), l * 160,
                        Some(10_112 + l * 9_280), Some(10_144 + l * 9_280),
                        Epilogue::NONE.act(Act::Relu).add(Self::MAP_32X16X16.batch(l * 10_368)),
                        Self::MAP_32X16X16.batch(10_368 + l * 10_368)
                    );
                    if l + 1 < 3 {
                        Self::resblocks_forward_begin(t, l + 1);
                    }
                });
            }
        }

        /// specs/res_deep.yaml:22 `repeat`: an iteration's first stage, a part of the one before
        fn resblocks_backward_begin(t: &mut Tile<'_>, l: usize) {
            // specs/res_deep.yaml:13 `batch_norm: { init_weight: 0.5, init_bias: 0 }`
            batch_norm::sums_relu(
                t, &Self::RESBLOCKS_BATCH_NORM, Self::MAP_32X16X16.batch(41_472 + l * 10_368), Self::MAP_32X16X16.batch(72_576),
                l * 160, Some(10_112 + l * 9_280), Some(10_144 + l * 9_280), batch(88_480, 64)
            );
        }

        /// specs/res_deep.yaml:22 `repeat`
        fn resblocks_backward(run: &mut Run<'_>) {
            for l in (0..3).rev() {
                // specs/res_deep.yaml:13 `batch_norm: { init_weight: 0.5, init_bias: 0 }`
                batch_norm::merge_backward(
                    run, &Self::RESBLOCKS_BATCH_NORM, batch(88_480, 64), l * 160, Some(10_112 + l * 9_280), 64 + l * 160,
                    Some(10_112 + l * 9_280), Some(10_144 + l * 9_280)
                );
                run.stage(&[Fold { from: 0, to: 896 + l * 9_280, len: 9_216 }], |t| {
                    batch_norm::backward_relu(
                        t, &Self::RESBLOCKS_BATCH_NORM, Self::MAP_32X16X16.batch(41_472 + l * 10_368),
                        Self::MAP_32X16X16.batch(72_576), l * 160, Some(10_112 + l * 9_280), Some(10_144 + l * 9_280),
                        64 + l * 160, Self::MAP_32X16X16.tile(0), Store::Write
                    );
                    // specs/res_deep.yaml:11 `conv: { out: n, kernel: 3, padding: 1, bias: false, init: kaiming_normal(relu) }`
                    winograd::grad_input(
                        t, &Self::RESBLOCKS_CONV, Self::MAP_32X16X16.tile(0), 116_352 + l * 37_440,
                        Self::MAP_32X16X16.batch(72_576), Store::Add
                    );
                    winograd::grad_weight(
                        t, &Self::RESBLOCKS_CONV, Self::MAP_32X16X16.batch(l * 10_368), Self::MAP_32X16X16.tile(0), 0, None
                    );
                    if l > 0 {
                        Self::resblocks_backward_begin(t, l - 1);
                    }
                });
            }
        }

        fn pack_train(p: &mut Pack<'_>) {
            winograd::pack(p, &Self::CONV1, Self::CHANNELS_3, Self::CHANNELS_32, 0, 0);
            for l in 0..3 {
                winograd::pack(
                    p, &Self::RESBLOCKS_CONV, Self::CHANNELS_32, Self::CHANNELS_32, 896 + l * 9_280, 4_032 + l * 37_440
                );
            }
            for l in 0..3 {
                winograd::pack_transposed(
                    p, &Self::RESBLOCKS_CONV, Self::CHANNELS_32, Self::CHANNELS_32, 896 + l * 9_280, 116_352 + l * 37_440
                );
            }
        }

        fn pass_infer(run: &mut Run<'_>) {
            run.stage(&[], |t| {
                // specs/res_deep.yaml:17 `conv: { in: 3, out: n_chans1, kernel: 3, padding: 1 }`
                t.load(0, Self::MAP_3X32X32.tile(10_368));
                winograd::infer_pool(
                    t, &Self::CONV1, Self::MAP_3X32X32.tile(10_368), 0, Epilogue::bias(864).act(Act::Relu),
                    Self::MAP_32X16X16.tile(0)
                );
                Self::resblocks_infer(t);
                // specs/res_deep.yaml:25 `max_pool: 2`
                max_pool::infer(t, &Self::MAX_POOL2, Self::MAP_32X16X16.tile(0), Self::MAP_32X8X8.tile(10_368));
                // specs/res_deep.yaml:26 `view: [-1, 8*8*n_chans1]`
                elementwise::copy(t, Self::MAP_32X8X8.tile(10_368), tile(0, 2_048), Store::Write);
                // specs/res_deep.yaml:27 `linear: 32`
                linear::forward(t, &Self::FC1, tile(0, 2_048), 28_736, Some(94_272), Act::Relu, tile(2_048, 32));
                // specs/res_deep.yaml:30 `linear: 2`
                linear::forward(t, &Self::FC2, tile(2_048, 32), 94_304, Some(94_368), Act::None, batch(0, 2));
            });
        }

        /// specs/res_deep.yaml:22 `repeat`
        fn resblocks_infer(t: &mut Tile<'_>) {
            for l in 0..3 {
                // specs/res_deep.yaml:11 `conv: { out: n, kernel: 3, padding: 1, bias: false, init: kaiming_normal(relu) }`
                winograd::forward(
                    t, &Self::RESBLOCKS_CONV, Self::MAP_32X16X16.tile(0), 4_032 + l * 37_440,
                    Epilogue::bias(94_562 + l * 32).act(Act::Relu).add(Self::MAP_32X16X16.tile(0)),
                    Self::MAP_32X16X16.tile(10_368)
                );
                // specs/res_deep.yaml:22 `repeat`
                elementwise::copy(t, Self::MAP_32X16X16.tile(10_368), Self::MAP_32X16X16.tile(0), Store::Write);
            }
        }

        fn pack_infer(p: &mut Pack<'_>) {
            winograd::pack(p, &Self::CONV1, Self::CHANNELS_3, Self::CHANNELS_32, 0, 0);
            for l in 0..3 {
                winograd::pack(
                    p, &Self::RESBLOCKS_CONV, Self::CHANNELS_32, Self::CHANNELS_32, 896 + l * 9_280, 4_032 + l * 37_440
                );
            }
        }
    }
};
