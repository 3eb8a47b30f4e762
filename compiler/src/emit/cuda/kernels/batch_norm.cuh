// Batch normalisation: `xhat = (x - mean) / sqrt(var + eps)`, `y = weight xhat + bias`, by channel (Ioffe and Szegedy 2015): sums of each
// part of the batch, one small kernel that merges them, one pass over the values; backward likewise.
//
// A part is ROWS positions that follow each other, sample by sample, the last one what is left: the rows of a block of a product, whose
// epilogue gives their moments (`Product::moments`). Numbers has `eps` and `momentum`. The state is
// `[mean, 1 / sqrt(var + eps), a, b, c][channel]`: `dx = a dy + b + c x`.

// The sum over a block of 256 threads of each of COLUMNS columns, which are neighbours among the threads, for all of them.
template <u32 COLUMNS, class Number> __device__ Number column_sum(Number number) {
    __shared__ Number parts[256 / COLUMNS][COLUMNS];
    const u32 row = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    __syncthreads();
    parts[row][column] = number;
    __syncthreads();
    Number sum = 0;
    for (u32 i = 0; i < 256 / COLUMNS; ++i) sum += parts[i][column];
    return sum;
}

// For each part `[mean, sum of (x - mean)^2][channel]`. Blocks: parts, channels by COLUMNS; 256 threads.
template <class X, u32 ROWS, u32 COLUMNS> __device__ void norm_statistics(const float *x, float *sums, u32 batch) {
    const u32 first = blockIdx.x * ROWS, c = blockIdx.y * COLUMNS + threadIdx.x % COLUMNS;
    const u32 count = min(ROWS, batch * X::positions - first);
    float held[ROWS * COLUMNS / 256], sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (u32 i = 0; i < ROWS * COLUMNS / 256; ++i) {
        const u32 row = threadIdx.x / COLUMNS + i * (256 / COLUMNS), at = first + row;
        held[i] = c < X::channels && row < count ? x[X::at(at / X::positions, c, at % X::positions)] : 0.0f;
        sum += held[i];
    }
    const float mean = column_sum<COLUMNS>(sum) / count;
#pragma unroll
    for (u32 i = 0; i < ROWS * COLUMNS / 256; ++i) {
        const u32 row = threadIdx.x / COLUMNS + i * (256 / COLUMNS);
        if (row < count) squares += (held[i] - mean) * (held[i] - mean);
    }
    squares = column_sum<COLUMNS>(squares);
    if (c >= X::channels || threadIdx.x >= COLUMNS) return;
    sums[(u64)blockIdx.x * 2 * X::channels + c] = mean;
    sums[((u64)blockIdx.x * 2 + 1) * X::channels + c] = squares;
}

// Mean and deviation of the batch from the moments of its parts (Chan, Golub and LeVeque 1983): squared distances from the mean of all are
// those from a part's and those of the parts' means. And the running ones, if they are to change. A block of 256 threads for 8 channels,
// always in the same order.
template <class Numbers, u32 CHANNELS, u32 POSITIONS, u32 ROWS>
__device__ void norm_merge(const float *sums, float *state, float *running_mean, float *running_var, u32 updates, u32 batch) {
    const u32 c = blockIdx.x * 8 + threadIdx.x % 8, total = batch * POSITIONS;
    const u32 parts = c < CHANNELS ? (total + ROWS - 1) / ROWS : 0;
    double mean = 0.0, squares = 0.0;
    for (u32 part = threadIdx.x / 8; part < parts; part += 32) {
        mean += (double)min(ROWS, total - part * ROWS) * sums[(u64)part * 2 * CHANNELS + c];
    }
    mean = column_sum<8>(mean) / total;
    for (u32 part = threadIdx.x / 8; part < parts; part += 32) {
        const double apart = sums[(u64)part * 2 * CHANNELS + c] - mean;
        squares += sums[((u64)part * 2 + 1) * CHANNELS + c] + min(ROWS, total - part * ROWS) * apart * apart;
    }
    squares = column_sum<8>(squares);
    if (c >= CHANNELS || threadIdx.x >= 8) return;
    state[c] = mean;
    state[CHANNELS + c] = 1.0 / sqrt(squares / total + Numbers::eps);
    if (!updates) return;
    const double momentum = Numbers::momentum;
    running_mean[c] = (1.0 - momentum) * running_mean[c] + momentum * mean;
    running_var[c] = (1.0 - momentum) * running_var[c] + momentum * squares / (total - 1.0);
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

// For each part `[sum of dy, sum of dy xhat][channel]`. Blocks and threads as of the statistics.
template <class X, class DY, bool RELU, u32 ROWS, u32 COLUMNS>
__device__ void norm_sums(const float *x, const float *dy, const float *state, const float *weight, const float *bias, float *sums,
                          u32 batch) {
    const u32 c = blockIdx.y * COLUMNS + threadIdx.x % COLUMNS, first = blockIdx.x * ROWS;
    const u32 behind = c < X::channels ? min(first + ROWS, batch * X::positions) : 0;
    const float mean = behind ? state[c] : 0.0f, inverse = behind ? state[X::channels + c] : 0.0f;
    float of_dy = 0.0f, of_both = 0.0f;
    for (u32 row = first + threadIdx.x / COLUMNS; row < behind; row += 256 / COLUMNS) {
        const u32 n = row / X::positions, p = row % X::positions;
        const float value = x[X::at(n, c, p)];
        const float derivative = passed<RELU>(dy[DY::at(n, c, p)], value, c, X::channels, state, weight, bias);
        of_dy += derivative;
        of_both += derivative * ((value - mean) * inverse);
    }
    of_dy = column_sum<COLUMNS>(of_dy);
    of_both = column_sum<COLUMNS>(of_both);
    if (!behind || threadIdx.x >= COLUMNS) return;
    sums[(u64)blockIdx.x * 2 * X::channels + c] = of_dy;
    sums[((u64)blockIdx.x * 2 + 1) * X::channels + c] = of_both;
}

// The coefficients of `dx` from the sums of the parts; adds to the gradients of weight and bias, if there are any. Blocks and threads as
// forward.
template <u32 CHANNELS, u32 POSITIONS, u32 ROWS>
__device__ void norm_merge_back(const float *sums, float *state, const float *weight, float *of_weight, float *of_bias, u32 batch) {
    const u32 c = blockIdx.x * 8 + threadIdx.x % 8;
    const u32 parts = c < CHANNELS ? (batch * POSITIONS + ROWS - 1) / ROWS : 0;
    double of_dy = 0.0, of_both = 0.0;
    for (u32 part = threadIdx.x / 8; part < parts; part += 32) {
        of_dy += sums[(u64)part * 2 * CHANNELS + c];
        of_both += sums[((u64)part * 2 + 1) * CHANNELS + c];
    }
    of_dy = column_sum<8>(of_dy);
    of_both = column_sum<8>(of_both);
    if (c >= CHANNELS || threadIdx.x >= 8) return;
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
