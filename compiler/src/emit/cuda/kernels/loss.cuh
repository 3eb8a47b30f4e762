// Losses, and their derivatives by each element of an output. A block of 128 threads for each sample.
//
// Everything is multiplied with `factor[0]`: what a loss counts, divided by what the samples of the batch count together.
//
// With `shares` the loss of a sample is a mean of two, to its own target, of which that is the share, and to one of those that stand behind
// the targets of the batch (mixup). Without it is null.

__device__ u32 targets_of(const float *shares) { return shares ? 2 : 1; }

__device__ float share_of(const float *shares, u32 which) {
    if (!shares) return 1.0f;
    return which == 0 ? shares[blockIdx.x] : 1.0f - shares[blockIdx.x];
}

// Where the elements of a target of this block's sample begin, of so many.
__device__ u64 target_at(u32 which, u32 len) { return ((u64)which * gridDim.x + blockIdx.x) * len; }

// A derivative, added to those to the targets before.
__device__ void put_slope(float *to, u32 which, float slope) { *to = which == 0 ? slope : *to + slope; }

// `-(1 - e) w[label] log p[label] - e / K sum over c of w[c] log p[c]`, p = softmax(y), e the smoothing, of K classes; the mean over the
// positions. No weights are all 1.
template <u32 CLASSES, u32 POSITIONS, class Y, class DY>
__device__ void loss_cross_entropy(const float *y, float *dy, const u32 *labels, const float *weights, float smoothing,
                                   const float *shares, const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float own = 1.0f - smoothing, spread = smoothing / CLASSES;
    const float each = factor[0] / POSITIONS;
    float all = 0.0f;
    for (u32 c = 0; c < CLASSES; ++c) all += weights ? weights[c] : 1.0f;
    float loss = 0.0f;
    for (u32 p = threadIdx.x; p < POSITIONS; p += 128) {
        float most = y[Y::element(n, p)], sum = 0.0f;
        for (u32 c = 1; c < CLASSES; ++c) most = fmaxf(most, y[Y::element(n, c * POSITIONS + p)]);
        for (u32 c = 0; c < CLASSES; ++c) sum += expf(y[Y::element(n, c * POSITIONS + p)] - most);
        const float log_sum = logf(sum);
        for (u32 which = 0; which < targets_of(shares); ++which) {
            const u32 label = labels[target_at(which, POSITIONS) + p];
            const float share = share_of(shares, which), of_label = own * (weights ? weights[label] : 1.0f);
            for (u32 c = 0; c < CLASSES; ++c) {
                const u32 e = c * POSITIONS + p;
                const float log = y[Y::element(n, e)] - most - log_sum;
                const float of_class = spread * (weights ? weights[c] : 1.0f);
                const float at_label = c == label ? of_label : 0.0f;
                // A weight of 0 hides what is not a number no more than on the processor.
                if (c == label) loss -= share * (of_label * log);
                if (smoothing > 0.0f) loss -= share * (of_class * log);
                const float slope = expf(y[Y::element(n, e)] - most) / sum * (of_label + spread * all) - at_label - of_class;
                put_slope(dy + DY::element(n, e), which, share * (slope * each));
            }
        }
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// `-w[label] y[label]`; the mean over the positions.
template <u32 CLASSES, u32 POSITIONS, class Y, class DY>
__device__ void loss_nll(const float *y, float *dy, const u32 *labels, const float *weights, const float *shares, const float *factor,
                         float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / POSITIONS;
    float loss = 0.0f;
    for (u32 p = threadIdx.x; p < POSITIONS; p += 128) {
        for (u32 which = 0; which < targets_of(shares); ++which) {
            const u32 label = labels[target_at(which, POSITIONS) + p];
            const float weight = share_of(shares, which) * (weights ? weights[label] : 1.0f);
            for (u32 c = 0; c < CLASSES; ++c) {
                put_slope(dy + DY::element(n, c * POSITIONS + p), which, c == label ? -weight * each : 0.0f);
            }
            loss -= weight * y[Y::element(n, label * POSITIONS + p)];
        }
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
__device__ void loss_of_values(const float *y, float *dy, const float *targets, float number, const float *shares, const float *factor,
                               float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / Y::len;
    float loss = 0.0f;
    for (u32 e = threadIdx.x; e < Y::len; e += 128) {
        for (u32 which = 0; which < targets_of(shares); ++which) {
            float slope;
            const float share = share_of(shares, which);
            loss += share * Of::of(y[Y::element(n, e)] - targets[target_at(which, Y::len) + e], number, slope);
            put_slope(dy + DY::element(n, e), which, share * (slope * each));
        }
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// The mean over the elements of `-w t log p - (1 - t) log (1 - p)`, p = sigmoid(y); w is one for all, or one for each.
template <class Y, class DY>
__device__ void loss_bce_with_logits(const float *y, float *dy, const float *targets, const float *weights, float weight,
                                     const float *shares, const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / Y::len;
    float loss = 0.0f;
    for (u32 e = threadIdx.x; e < Y::len; e += 128) {
        const float value = y[Y::element(n, e)];
        // log(1 + e^-y), which does not overflow, and sigmoid(-y).
        const float small = expf(-fabsf(value)), softplus = log1pf(small) + fmaxf(-value, 0.0f);
        const float no = value > 0.0f ? small / (1.0f + small) : 1.0f / (1.0f + small);
        for (u32 which = 0; which < targets_of(shares); ++which) {
            const float share = share_of(shares, which), target = targets[target_at(which, Y::len) + e];
            const float both = 1.0f + ((weights ? weights[e] : weight) - 1.0f) * target;
            loss += share * ((1.0f - target) * value + both * softplus);
            put_slope(dy + DY::element(n, e), which, share * (((1.0f - target) - both * no) * each));
        }
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
