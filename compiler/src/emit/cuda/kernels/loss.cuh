// Losses, and their derivatives by each element of an output. A block of 128 threads for each sample.
//
// Everything is multiplied with `factor[0]`: what a loss counts, divided by what the samples of the batch count together.

// `-(1 - e) w[label] log p[label] - e / K sum over c of w[c] log p[c]`, p = softmax(y), e the smoothing, of K classes; the mean over the
// positions. No weights are all 1.
template <u32 CLASSES, u32 POSITIONS, class Y, class DY>
__device__ void loss_cross_entropy(const float *y, float *dy, const u32 *labels, const float *weights, float smoothing,
                                   const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float own = 1.0f - smoothing, spread = smoothing / CLASSES;
    const float each = factor[0] / POSITIONS;
    float all = 0.0f;
    for (u32 c = 0; c < CLASSES; ++c) all += weights ? weights[c] : 1.0f;
    float loss = 0.0f;
    for (u32 p = threadIdx.x; p < POSITIONS; p += 128) {
        const u32 label = labels[(u64)n * POSITIONS + p];
        const float of_label = own * (weights ? weights[label] : 1.0f);
        float most = y[Y::element(n, p)], sum = 0.0f;
        for (u32 c = 1; c < CLASSES; ++c) most = fmaxf(most, y[Y::element(n, c * POSITIONS + p)]);
        for (u32 c = 0; c < CLASSES; ++c) sum += expf(y[Y::element(n, c * POSITIONS + p)] - most);
        const float log_sum = logf(sum);
        for (u32 c = 0; c < CLASSES; ++c) {
            const u32 e = c * POSITIONS + p;
            const float log = y[Y::element(n, e)] - most - log_sum;
            const float of_class = spread * (weights ? weights[c] : 1.0f);
            const float at_label = c == label ? of_label : 0.0f;
            // A weight of 0 hides what is not a number no more than on the processor.
            if (c == label) loss -= of_label * log;
            if (smoothing > 0.0f) loss -= of_class * log;
            dy[DY::element(n, e)] = (expf(y[Y::element(n, e)] - most) / sum * (of_label + spread * all) - at_label - of_class) * each;
        }
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// `-w[label] y[label]`; the mean over the positions.
template <u32 CLASSES, u32 POSITIONS, class Y, class DY>
__device__ void loss_nll(const float *y, float *dy, const u32 *labels, const float *weights, const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / POSITIONS;
    float loss = 0.0f;
    for (u32 p = threadIdx.x; p < POSITIONS; p += 128) {
        const u32 label = labels[(u64)n * POSITIONS + p];
        const float weight = weights ? weights[label] : 1.0f;
        for (u32 c = 0; c < CLASSES; ++c) dy[DY::element(n, c * POSITIONS + p)] = c == label ? -weight * each : 0.0f;
        loss -= weight * y[Y::element(n, label * POSITIONS + p)];
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

__device__ float sign(float x) { return (x > 0.0f) - (x < 0.0f); }

// Losses of `d = y - target`: `of(d, number, slope)`.
struct Squared {
    static __device__ float of(float d, float, float &slope) {
        slope = 2.0f * d;
        return d * d;
    }
};

struct Absolute {
    static __device__ float of(float d, float, float &slope) {
        slope = sign(d);
        return fabsf(d);
    }
};

struct Smooth {
    static __device__ float of(float d, float beta, float &slope) {
        const bool is_square = fabsf(d) < beta;
        slope = is_square ? d / beta : sign(d);
        return is_square ? 0.5f * d * d / beta : fabsf(d) - 0.5f * beta;
    }
};

struct Huber {
    static __device__ float of(float d, float delta, float &slope) {
        const bool is_square = fabsf(d) <= delta;
        slope = is_square ? d : delta * sign(d);
        return is_square ? 0.5f * d * d : delta * (fabsf(d) - 0.5f * delta);
    }
};

// The mean over the elements of a loss of their differences.
template <class Of, class Y, class DY>
__device__ void loss_of_values(const float *y, float *dy, const float *targets, float number, const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / Y::len;
    float loss = 0.0f;
    for (u32 e = threadIdx.x; e < Y::len; e += 128) {
        float slope;
        loss += Of::of(y[Y::element(n, e)] - targets[(u64)n * Y::len + e], number, slope);
        dy[DY::element(n, e)] = slope * each;
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// The mean over the elements of `-w t log p - (1 - t) log (1 - p)`, p = sigmoid(y); w is one for all, or one for each.
template <class Y, class DY>
__device__ void loss_bce_with_logits(const float *y, float *dy, const float *targets, const float *weights, float weight,
                                     const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / Y::len;
    float loss = 0.0f;
    for (u32 e = threadIdx.x; e < Y::len; e += 128) {
        const float value = y[Y::element(n, e)], target = targets[(u64)n * Y::len + e];
        // log(1 + e^-y), which does not overflow, and sigmoid(-y).
        const float small = expf(-fabsf(value)), softplus = log1pf(small) + fmaxf(-value, 0.0f);
        const float no = value > 0.0f ? small / (1.0f + small) : 1.0f / (1.0f + small);
        const float both = 1.0f + ((weights ? weights[e] : weight) - 1.0f) * target;
        loss += (1.0f - target) * value + both * softplus;
        dy[DY::element(n, e)] = ((1.0f - target) - both * no) * each;
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// No loss.
template <class DY> __device__ void loss_none(float *dy, float *losses) {
    const u32 n = blockIdx.x;
    for (u32 e = threadIdx.x; e < DY::len; e += 128) dy[DY::element(n, e)] = 0.0f;
    if (threadIdx.x == 0) losses[n] = 0.0f;
}
