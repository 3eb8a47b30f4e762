// Behind base.cuh, activation.cuh, window.cuh, product.cuh, conv.cuh, pool.cuh, loss.cuh, flat.cuh:

// The model's sizes.

struct CONV1 : Convolution {
    static constexpr u32 channels = 3, out_channels = 16, groups = 1;
    using size = Size<1, 32, 32>;
    using out = Size<1, 32, 32>;
    using kernel = Size<1, 3, 3>;
    using stride = Size<1, 1, 1>;
    using padding = Size<0, 1, 1>;
    using dilation = Size<1, 1, 1>;
};

struct CONV2 : Convolution {
    static constexpr u32 channels = 16, out_channels = 8, groups = 1;
    using size = Size<1, 16, 16>;
    using out = Size<1, 16, 16>;
    using kernel = Size<1, 3, 3>;
    using stride = Size<1, 1, 1>;
    using padding = Size<0, 1, 1>;
    using dilation = Size<1, 1, 1>;
};

struct CONV2_PACKED : Packed<CONV2, false> {
    static constexpr u32 count = 1;
    static __device__ u64 from(u64 i) { return 448; }
};

using FC1 = Linear<1, 512, 32, Last<8, 64>>;

struct FC1_PACKED : Packed<FC1, false> {
    static constexpr u32 count = 1;
    static __device__ u64 from(u64 i) { return 1608; }
};

using FC2 = Linear<1, 32, 2>;

struct FC1_PACKED_BACK : Packed<FC1, true> {
    static constexpr u32 count = 1;
    static __device__ u64 from(u64 i) { return 1608; }
};

struct CONV2_2 {
    using size = Size<1, 16, 16>;
    using out = Size<1, 8, 8>;
    using kernel = Size<1, 2, 2>;
    using stride = Size<1, 2, 2>;
    using padding = Size<0, 0, 0>;
    using dilation = Size<1, 1, 1>;
};

struct CONV2_PACKED_BACK : Packed<CONV2, true> {
    static constexpr u32 count = 1;
    static __device__ u64 from(u64 i) { return 448; }
};

struct CONV1_2 {
    using size = Size<1, 32, 32>;
    using out = Size<1, 16, 16>;
    using kernel = Size<1, 2, 2>;
    using stride = Size<1, 2, 2>;
    using padding = Size<0, 0, 0>;
    using dilation = Size<1, 1, 1>;
};

// Its kernels.

// specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_conv1_pool(const float *x, const float *weight, const float *bias, float *y, u8 *places, u32 batch) {
    conv_forward<CONV1, First<3, 1024>, Last<16, 256>, Last<16, 256>, Tanh, true, false, 16, false>(
        x, weight, bias, nullptr, y, places, nullptr, nullptr, batch);
}

// specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_conv2_pool(const float *x, const float *weight, const float *bias, float *y, u8 *places, u32 batch) {
    conv_forward<CONV2, Last<16, 256>, Last<8, 64>, Last<8, 64>, Tanh, true, false, 8, true>(
        x, weight, bias, nullptr, y, places, nullptr, nullptr, batch);
}

// specs/net.yaml:16 `linear: { in: 512, out: 32 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc1_sums(const float *x, const float *weight, float *parts, u32 batch) {
    conv_forward<FC1, First<512, 1>, Rows<First<32, 1>, 32>, Rows<First<32, 1>, 32>, Tanh, false, false, 32, true, SUMS, 8>(
        x, weight, nullptr, nullptr, nullptr, nullptr, nullptr, parts, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc1(const float *bias, float *y, float *parts, u32 batch) {
    conv_forward<FC1, First<512, 1>, Rows<First<32, 1>, 32>, Rows<First<32, 1>, 32>, Tanh, false, false, 32, true, FINISH, 8>(
        nullptr, nullptr, bias, nullptr, y, nullptr, nullptr, parts, batch);
}

// specs/net.yaml:19 `linear: { in: 32, out: 2 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<FC2, Rows<First<32, 1>, 32>, Rows<First<2, 1>, 2>, Rows<First<2, 1>, 2>, None, false, false, 8, true>(
        x, weight, bias, nullptr, y, nullptr, nullptr, nullptr, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_none(float *dy, float *losses) {
    loss_none<First<2, 1>>(dy, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_crossentropy(
        const float *y, float *dy, const u32 *labels, const float *weights, float smoothing, const float *shares, const float *factor, float *losses) {
    loss_cross_entropy<2, 1, First<2, 1>, First<2, 1>>(y, dy, labels, weights, smoothing, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_nll(
        const float *y, float *dy, const u32 *labels, const float *weights, const float *shares, const float *factor, float *losses) {
    loss_nll<2, 1, First<2, 1>, First<2, 1>>(y, dy, labels, weights, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_mse(
        const float *y, float *dy, const float *targets, float number, const float *shares, const float *factor, float *losses) {
    loss_of_values<Squared, First<2, 1>, First<2, 1>>(y, dy, targets, number, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_l1(
        const float *y, float *dy, const float *targets, float number, const float *shares, const float *factor, float *losses) {
    loss_of_values<Absolute, First<2, 1>, First<2, 1>>(y, dy, targets, number, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_smoothl1(
        const float *y, float *dy, const float *targets, float number, const float *shares, const float *factor, float *losses) {
    loss_of_values<Smooth, First<2, 1>, First<2, 1>>(y, dy, targets, number, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_huber(
        const float *y, float *dy, const float *targets, float number, const float *shares, const float *factor, float *losses) {
    loss_of_values<Huber, First<2, 1>, First<2, 1>>(y, dy, targets, number, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_loss_bcewithlogits(
        const float *y, float *dy, const float *targets, const float *weights, float weight, const float *shares, const float *factor, float *losses) {
    loss_bce_with_logits<First<2, 1>, First<2, 1>>(y, dy, targets, weights, weight, shares, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_input_back(const float *dy, const float *weight, const float *y, float *dx, u32 batch) {
    conv_grad_input<FC2, Rows<First<2, 1>, 2>, Rows<First<32, 1>, 32>, Rows<First<32, 1>, 32>, None, Tanh, WRITE, 32, false>(
        dy, weight, nullptr, y, dx, nullptr, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc2_weight_back(const float *x, const float *dy, float *of_weight, float *of_bias, u32 batch) {
    conv_grad_weight<FC2, Rows<First<32, 1>, 32>, Rows<First<2, 1>, 2>, true, 1, 8>(x, dy, of_weight, of_bias, nullptr, batch);
}

// specs/net.yaml:16 `linear: { in: 512, out: 32 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc1_input_back(const float *dy, const float *weight, float *dx, u32 batch) {
    conv_grad_input<FC1, Rows<First<32, 1>, 32>, First<512, 1>, First<512, 1>, None, None, WRITE, 64, true>(
        dy, weight, nullptr, nullptr, dx, nullptr, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_fc1_weight_back(const float *x, const float *dy, float *of_weight, float *of_bias, u32 batch) {
    conv_grad_weight<FC1, First<512, 1>, Rows<First<32, 1>, 32>, true, 1, 32>(x, dy, of_weight, of_bias, nullptr, batch);
}

// specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(256)
    train_conv2_pool_back(const float *dy, const u8 *places, const float *y, float *dx, u32 batch) {
    max_pool_back_by_four<CONV2_2, Last<8, 64>, Last<8, 64>, Last<8, 256>, Tanh, WRITE>(dy, places, y, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_conv2_input_back(const float *dy, const float *weight, const float *y, float *dx, u32 batch) {
    conv_grad_input<CONV2, Last<8, 256>, Last<16, 256>, Last<16, 256>, None, Tanh, WRITE, 16, true>(
        dy, weight, nullptr, y, dx, nullptr, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_conv2_weight_back(const float *x, const float *dy, float *parts, u32 batch) {
    conv_grad_weight<CONV2, Last<16, 256>, Last<8, 256>, true, 128, 8>(x, dy, nullptr, nullptr, parts, batch);
}

extern "C" __global__ void __launch_bounds__(256)
    train_conv2_weight_parts(const float *parts, float *of_weight, float *of_bias) {
    add_parts<CONV2, true, 128>(parts, of_weight, of_bias);
}

// specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(256)
    train_conv1_pool_back(const float *dy, const u8 *places, float *dx, u32 batch) {
    max_pool_back_by_four<CONV1_2, Last<16, 256>, Last<16, 256>, Last<16, 1024>, None, WRITE>(dy, places, nullptr, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    train_conv1_weight_back(const float *x, const float *dy, float *parts, u32 batch) {
    conv_grad_weight<CONV1, First<3, 1024>, Last<16, 1024>, true, 512, 16>(x, dy, nullptr, nullptr, parts, batch);
}

extern "C" __global__ void __launch_bounds__(256)
    train_conv1_weight_parts(const float *parts, float *of_weight, float *of_bias) {
    add_parts<CONV1, true, 512>(parts, of_weight, of_bias);
}

// Weights in the order in which products go through them.
extern "C" __global__ void __launch_bounds__(256)
    train_weights_pack(const float *weights, float *packed) {
    pack<CONV2_PACKED, FC1_PACKED, FC1_PACKED_BACK, CONV2_PACKED_BACK>(weights, packed);
}

// specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    infer_conv1_pool(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<CONV1, First<3, 1024>, Last<16, 256>, Last<16, 256>, Tanh, true, false, 16, false>(
        x, weight, bias, nullptr, y, nullptr, nullptr, nullptr, batch);
}

// specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    infer_conv2_pool(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<CONV2, Last<16, 256>, Last<8, 64>, Last<8, 64>, Tanh, true, false, 8, true>(
        x, weight, bias, nullptr, y, nullptr, nullptr, nullptr, batch);
}

// specs/net.yaml:16 `linear: { in: 512, out: 32 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    infer_fc1_sums(const float *x, const float *weight, float *parts, u32 batch) {
    conv_forward<FC1, First<512, 1>, Rows<First<32, 1>, 32>, Rows<First<32, 1>, 32>, Tanh, false, false, 32, true, SUMS, 8>(
        x, weight, nullptr, nullptr, nullptr, nullptr, nullptr, parts, batch);
}

extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    infer_fc1(const float *bias, float *y, float *parts, u32 batch) {
    conv_forward<FC1, First<512, 1>, Rows<First<32, 1>, 32>, Rows<First<32, 1>, 32>, Tanh, false, false, 32, true, FINISH, 8>(
        nullptr, nullptr, bias, nullptr, y, nullptr, nullptr, parts, batch);
}

// specs/net.yaml:19 `linear: { in: 32, out: 2 }`
extern "C" __global__ void __launch_bounds__(128, RESIDENT)
    infer_fc2(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<FC2, Rows<First<32, 1>, 32>, Rows<First<2, 1>, 2>, Rows<First<2, 1>, 2>, None, false, false, 8, true>(
        x, weight, bias, nullptr, y, nullptr, nullptr, nullptr, batch);
}

// Weights in the order in which products go through them.
extern "C" __global__ void __launch_bounds__(256)
    infer_weights_pack(const float *weights, float *packed) {
    pack<CONV2_PACKED, FC1_PACKED>(weights, packed);
}

// train, of n samples: 23808 n floats of values, 229376 + 256 n of scratch, 35072 of state, 0 folded
//     gradients become 0
//     train_weights_pack, 35072 / 256 blocks of 256: params 0, State(Strided { first: 0, strides: [] })
//     train_conv1_pool, 1024 n / 128 blocks of 128: Input(0), params 0, params 432, value 0, value 23552, Batch
//     train_conv2_pool, 256 n / 128 blocks of 128: value 0, State(Strided { first: 0, strides: [] }), params 1600, value 6144, value 7168, Batch
//     train_fc1_sums, n / 128 x 1 x 8 blocks of 128: value 6144, State(Strided { first: 1152, strides: [] }), Scratch(0), Batch
//     train_fc1, n / 128 x 1 x 2 blocks of 128: params 17992, value 4096, Scratch(0), Batch
//     train_fc2, n / 128 blocks of 128: value 4096, params 18024, params 18088, value 4128, Batch
//     one of these, by the loss:
//     train_fc2_loss_none, n blocks of 128: value 4160, Losses(0)
//     train_fc2_loss_crossentropy, n blocks of 128: value 4128, value 4160, Labels(0), LossWeights(0), LossNumber(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_loss_nll, n blocks of 128: value 4128, value 4160, Labels(0), LossWeights(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_loss_mse, n blocks of 128: value 4128, value 4160, Targets(0), LossNumber(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_loss_l1, n blocks of 128: value 4128, value 4160, Targets(0), LossNumber(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_loss_smoothl1, n blocks of 128: value 4128, value 4160, Targets(0), LossNumber(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_loss_huber, n blocks of 128: value 4128, value 4160, Targets(0), LossNumber(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_loss_bcewithlogits, n blocks of 128: value 4128, value 4160, Targets(0), LossWeights(0), LossNumber(0), Shares, LossFactor(0), Losses(0)
//     train_fc2_input_back, n / 128 blocks of 128: value 4160, params 18024, value 4096, value 4128, Batch
//     train_fc2_weight_back, 33 / 128 blocks of 128: value 4096, value 4160, gradients 18024, gradients 18088, Batch
//     train_fc1_input_back, n / 128 x 8 x 1 blocks of 128: value 4128, State(Strided { first: 17536, strides: [] }), value 6656, Batch
//     train_fc1_weight_back, 513 / 128 blocks of 128: value 6144, value 4128, gradients 1608, gradients 17992, Batch
//     train_conv2_pool_back, 128 n / 256 blocks of 256: value 6656, value 7168, value 6144, value 4096, Batch
//     train_conv2_input_back, 256 n / 128 blocks of 128: value 4096, State(Strided { first: 33920, strides: [] }), value 0, value 16384, Batch
//     train_conv2_weight_back, 145 / 128 x 1 x 128 blocks of 128: value 0, value 4096, Scratch(0), Batch
//     train_conv2_weight_parts, 1160 / 32 blocks of 256: Scratch(0), gradients 448, gradients 1600
//     train_conv1_pool_back, 1024 n / 256 blocks of 256: value 16384, value 23552, value 0, Batch
//     train_conv1_weight_back, 28 / 128 x 1 x 512 blocks of 128: Input(0), value 0, Scratch(0), Batch
//     train_conv1_weight_parts, 448 / 32 blocks of 256: Scratch(0), gradients 0, gradients 432

// infer, of n samples: 7168 n floats of values, 32768 + 256 n of scratch, 0 of state, 17536 folded
//     infer_weights_pack, 17536 / 256 blocks of 256: params 0, Folded(Strided { first: 0, strides: [] })
//     infer_conv1_pool, 1024 n / 128 blocks of 128: Input(0), params 0, params 432, value 0, Batch
//     infer_conv2_pool, 256 n / 128 blocks of 128: value 0, Folded(Strided { first: 0, strides: [] }), params 1600, value 4096, Batch
//     infer_fc1_sums, n / 128 x 1 x 8 blocks of 128: value 4096, Folded(Strided { first: 1152, strides: [] }), Scratch(0), Batch
//     infer_fc1, n / 128 x 1 x 2 blocks of 128: params 17992, value 0, Scratch(0), Batch
//     infer_fc2, n / 128 blocks of 128: value 0, params 18024, params 18088, value 32, Batch
