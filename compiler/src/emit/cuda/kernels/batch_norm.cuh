// Batch normalisation: `xhat = (x - mean) / sqrt(var + eps)`, `y = weight xhat + bias`, by channel (Ioffe and Szegedy 2015): sums of each
// sample, one small kernel that merges them, one pass over the values; backward likewise.
//
// Numbers has `eps` and `momentum`. The state is `[mean, 1 / sqrt(var + eps), a, b, c][channel]`: `dx = a dy + b + c x`.

// The sum over the eight rows of a block of 8 by 32 threads, of each column, for all of them.
__device__ float column_sum(float number) {
    __shared__ float parts[8][32];
    const u32 row = threadIdx.x / 32, column = threadIdx.x % 32;
    __syncthreads();
    parts[row][column] = number;
    __syncthreads();
    float sum = 0.0f;
    for (u32 i = 0; i < 8; ++i) sum += parts[i][column];
    return sum;
}

// For each sample `[mean, sum of (x - mean)^2][channel]`, in two passes that correct each other (Chan, Golub and LeVeque 1983). Blocks:
// samples, channels by 32; 256 threads.
template <class X> __device__ void norm_statistics(const float *x, float *sums) {
    const u32 n = blockIdx.x, c = blockIdx.y * 32 + threadIdx.x % 32;
    const bool is_there = c < X::channels;
    float sum = 0.0f;
    for (u32 p = threadIdx.x / 32; p < X::positions; p += 8) sum += is_there ? x[X::at(n, c, p)] : 0.0f;
    const float mean = column_sum(sum) / X::positions;
    float rest = 0.0f, squares = 0.0f;
    for (u32 p = threadIdx.x / 32; p < X::positions; p += 8) {
        const float apart = is_there ? x[X::at(n, c, p)] - mean : 0.0f;
        rest += apart;
        squares += apart * apart;
    }
    rest = column_sum(rest);
    squares = column_sum(squares);
    if (!is_there || threadIdx.x >= 32) return;
    sums[(u64)n * 2 * X::channels + c] = mean + rest / X::positions;
    sums[((u64)n * 2 + 1) * X::channels + c] = fmaxf(squares - rest * rest / X::positions, 0.0f);
}

// Numbers of which there are so many: their mean, and the sum of their squared distances from it.
struct Moments {
    double count, mean, squares;

    // Those of both (Chan's formula).
    __device__ void merge(double other_count, double other_mean, double other_squares) {
        if (other_count == 0.0) return;
        const double total = count + other_count, delta = other_mean - mean;
        mean += delta * other_count / total;
        squares += other_squares + delta * delta * count * other_count / total;
        count = total;
    }
};

// Mean and deviation of the batch from those of its samples; and the running ones, if they are to change. A warp for each channel, whose
// lanes take samples in turn and are then merged, always in the same order.
template <class Numbers, u32 CHANNELS, u32 POSITIONS>
__device__ void norm_merge(const float *sums, float *state, float *running_mean, float *running_var, u32 updates, u32 batch) {
    const u32 c = thread_number() / 32, lane = threadIdx.x % 32;
    if (c >= CHANNELS) return;
    Moments of{0.0, 0.0, 0.0};
    for (u32 n = lane; n < batch; n += 32) {
        of.merge(POSITIONS, sums[(u64)n * 2 * CHANNELS + c], sums[((u64)n * 2 + 1) * CHANNELS + c]);
    }
    for (u32 distance = 16; distance > 0; distance /= 2) {
        const double count = __shfl_down_sync(0xffffffffu, of.count, distance);
        const double mean = __shfl_down_sync(0xffffffffu, of.mean, distance);
        const double squares = __shfl_down_sync(0xffffffffu, of.squares, distance);
        of.merge(count, mean, squares);
    }
    if (lane > 0) return;
    state[c] = of.mean;
    state[CHANNELS + c] = 1.0 / sqrt(of.squares / of.count + Numbers::eps);
    if (!updates) return;
    const double momentum = Numbers::momentum;
    running_mean[c] = (1.0 - momentum) * running_mean[c] + momentum * of.mean;
    running_var[c] = (1.0 - momentum) * running_var[c] + momentum * of.squares / (of.count - 1.0);
}

// `act(weight (x - mean) / sqrt(var + eps) + bias)`, with another value added before the nonlinearity or behind it. A thread for each
// element.
template <class X, class Y, class R, class Act, bool BEHIND>
__device__ void norm_forward(const float *x, const float *state, const float *weight, const float *bias, const float *added, float *y,
                             u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const float scale = (weight ? weight[c] : 1.0f) * state[Y::channels + c];
    const float normal = (x[X::at(n, c, p)] - state[c]) * scale + (bias ? bias[c] : 0.0f);
    const float other = added ? added[R::at(n, c, p)] : 0.0f;
    y[Y::at(n, c, p)] = BEHIND ? Act::of(normal) + other : Act::of(normal + other);
}

// What a relu behind the norm lets pass of `dy`: nothing where the norm's result is not above 0, all where it is not a number.
template <bool RELU>
__device__ float passed(float dy, float x, u32 c, u32 channels, const float *state, const float *weight, const float *bias) {
    if (!RELU) return dy;
    const float scale = (weight ? weight[c] : 1.0f) * state[channels + c];
    return (x - state[c]) * scale + (bias ? bias[c] : 0.0f) <= 0.0f ? 0.0f : dy;
}

// For each sample `[sum of dy, sum of dy xhat][channel]`. Blocks and threads as of the statistics.
template <class X, class DY, bool RELU>
__device__ void norm_sums(const float *x, const float *dy, const float *state, const float *weight, const float *bias, float *sums) {
    const u32 n = blockIdx.x, c = blockIdx.y * 32 + threadIdx.x % 32;
    const bool is_there = c < X::channels;
    const float mean = is_there ? state[c] : 0.0f, inverse = is_there ? state[X::channels + c] : 0.0f;
    float of_dy = 0.0f, of_both = 0.0f;
    for (u32 p = threadIdx.x / 32; is_there && p < X::positions; p += 8) {
        const float value = x[X::at(n, c, p)];
        const float derivative = passed<RELU>(dy[DY::at(n, c, p)], value, c, X::channels, state, weight, bias);
        of_dy += derivative;
        of_both += derivative * ((value - mean) * inverse);
    }
    of_dy = column_sum(of_dy);
    of_both = column_sum(of_both);
    if (!is_there || threadIdx.x >= 32) return;
    sums[(u64)n * 2 * X::channels + c] = of_dy;
    sums[((u64)n * 2 + 1) * X::channels + c] = of_both;
}

// The coefficients of `dx` from the sums of the samples; adds to the gradients of weight and bias, if there are any. A warp for each
// channel, as forward.
template <u32 CHANNELS, u32 POSITIONS>
__device__ void norm_merge_back(const float *sums, float *state, const float *weight, float *of_weight, float *of_bias, u32 batch) {
    const u32 c = thread_number() / 32, lane = threadIdx.x % 32;
    if (c >= CHANNELS) return;
    double of_dy = 0.0, of_both = 0.0;
    for (u32 n = lane; n < batch; n += 32) {
        of_dy += sums[(u64)n * 2 * CHANNELS + c];
        of_both += sums[((u64)n * 2 + 1) * CHANNELS + c];
    }
    for (u32 distance = 16; distance > 0; distance /= 2) {
        of_dy += __shfl_down_sync(0xffffffffu, of_dy, distance);
        of_both += __shfl_down_sync(0xffffffffu, of_both, distance);
    }
    if (lane > 0) return;
    const double total = (double)batch * POSITIONS, mean = state[c], inverse = state[CHANNELS + c];
    const double factor = (weight ? weight[c] : 1.0f) * inverse;
    const double of_x = -factor * inverse * of_both / total;
    state[2 * CHANNELS + c] = factor;
    state[3 * CHANNELS + c] = -factor * of_dy / total - of_x * mean;
    state[4 * CHANNELS + c] = of_x;
    if (of_weight) of_weight[c] += (float)of_both;
    if (of_bias) of_bias[c] += (float)of_dy;
}

// `dx = a dy + b + c x`. A thread for each element.
template <class X, class DY, class DX, bool RELU, Store STORE>
__device__ void norm_back(const float *x, const float *dy, const float *state, const float *weight, const float *bias, float *dx,
                          u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, c = DX::channel(i % DX::len), p = DX::position(i % DX::len);
    constexpr u32 channels = DX::channels;
    const float value = x[X::at(n, c, p)];
    const float derivative = passed<RELU>(dy[DY::at(n, c, p)], value, c, channels, state, weight, bias);
    put<STORE>(dx + DX::at(n, c, p), state[2 * channels + c] * derivative + state[3 * channels + c] + state[4 * channels + c] * value);
}

// By the running statistics. A thread for each element.
template <class Numbers, class X, class Y, class Act>
__device__ void norm_by_running(const float *x, const float *weight, const float *bias, const float *mean, const float *var, float *y,
                                u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const float scale = (weight ? weight[c] : 1.0f) / sqrtf(var[c] + Numbers::eps);
    y[Y::at(n, c, p)] = Act::of((x[X::at(n, c, p)] - mean[c]) * scale + (bias ? bias[c] : 0.0f));
}

// `dx = weight dy / sqrt(var + eps)`. A thread for each element.
template <class Numbers, class DY, class DX>
__device__ void norm_by_running_back(const float *dy, const float *weight, const float *var, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, c = DX::channel(i % DX::len), p = DX::position(i % DX::len);
    dx[DX::at(n, c, p)] = dy[DY::at(n, c, p)] * ((weight ? weight[c] : 1.0f) / sqrtf(var[c] + Numbers::eps));
}

// A copy of parameters and statistics, one behind the other. A thread for each.
template <u32 PARAMS, u32 STATISTICS>
__device__ void copy_weights(const float *params, const float *statistics, float *folded) {
    const u64 i = thread_number();
    if (i < PARAMS) folded[i] = params[i];
    else if (i < (u64)PARAMS + STATISTICS) folded[i] = statistics[i - PARAMS];
}

// Folds a norm into the layer before it: its weights times `gamma / sqrt(var + eps)`, and the bias that gives the same, from the layer's
// own or none. A block for each channel, of 64 threads.
template <class Numbers, u32 PER_CHANNEL>
__device__ void fold_norm(float *weight, const float *bias_from, float *bias_to, const float *gamma, const float *beta, const float *mean,
                          const float *var) {
    const u32 c = blockIdx.x;
    const double scale = (gamma ? gamma[c] : 1.0) / sqrt((double)var[c] + Numbers::eps);
    for (u32 i = threadIdx.x; i < PER_CHANNEL; i += 64) weight[(u64)c * PER_CHANNEL + i] *= scale;
    if (threadIdx.x > 0) return;
    const double own = bias_from ? bias_from[c] : 0.0;
    bias_to[c] = (own - mean[c]) * scale + (beta ? beta[c] : 0.0);
}
