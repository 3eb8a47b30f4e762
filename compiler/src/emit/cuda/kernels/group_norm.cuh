// Norms of groups of one sample, `[group][channel][position]`: group, layer and instance norm.
//
// Numbers has `groups`, `channels` of each, `positions`, `eps`, and `shared`: whether all groups have the weights of one. A block of 256
// threads for each sample and group. Moments are `[mean, 1 / sqrt(var + eps)][group]`.

// The weight of an element of a group.
template <class Numbers> __device__ u32 weight_of(u32 group, u32 i) {
    const u32 c = i / Numbers::positions;
    return Numbers::shared ? c : group * Numbers::channels + c;
}

template <class Numbers, class X, class Y>
__device__ void group_norm(const float *x, const float *weight, const float *bias, float *y, float *moments) {
    constexpr u32 size = Numbers::channels * Numbers::positions;
    const u32 n = blockIdx.x / Numbers::groups, group = blockIdx.x % Numbers::groups;
    float sum = 0.0f, squares = 0.0f;
    for (u32 i = threadIdx.x; i < size; i += 256) sum += x[X::element(n, group * size + i)];
    const float mean = block_sum<256>(sum) / size;
    for (u32 i = threadIdx.x; i < size; i += 256) {
        const float apart = x[X::element(n, group * size + i)] - mean;
        squares += apart * apart;
    }
    const float inverse = 1.0f / sqrtf(block_sum<256>(squares) / size + Numbers::eps);
    for (u32 i = threadIdx.x; i < size; i += 256) {
        const u32 w = weight_of<Numbers>(group, i);
        const float normal = (x[X::element(n, group * size + i)] - mean) * inverse;
        y[Y::element(n, group * size + i)] = (weight ? weight[w] : 1.0f) * normal + (bias ? bias[w] : 0.0f);
    }
    if (!moments || threadIdx.x > 0) return;
    moments[(u64)n * 2 * Numbers::groups + group] = mean;
    moments[((u64)n * 2 + 1) * Numbers::groups + group] = inverse;
}

// `dx = (g dy - mean(g dy) - xhat mean(g dy xhat)) / sqrt(var + eps)`, means of the group.
template <class Numbers, class X, class DY, class DX, Store STORE>
__device__ void group_norm_back(const float *x, const float *dy, const float *moments, const float *weight, float *dx) {
    constexpr u32 size = Numbers::channels * Numbers::positions;
    const u32 n = blockIdx.x / Numbers::groups, group = blockIdx.x % Numbers::groups;
    const float mean = moments[(u64)n * 2 * Numbers::groups + group];
    const float inverse = moments[((u64)n * 2 + 1) * Numbers::groups + group];
    float of_dy = 0.0f, of_both = 0.0f;
    for (u32 i = threadIdx.x; i < size; i += 256) {
        const u32 e = group * size + i;
        const float weighted = (weight ? weight[weight_of<Numbers>(group, i)] : 1.0f) * dy[DY::element(n, e)];
        of_dy += weighted;
        of_both += weighted * ((x[X::element(n, e)] - mean) * inverse);
    }
    of_dy = block_sum<256>(of_dy) / size;
    of_both = block_sum<256>(of_both) / size;
    for (u32 i = threadIdx.x; i < size; i += 256) {
        const u32 e = group * size + i;
        const float weighted = (weight ? weight[weight_of<Numbers>(group, i)] : 1.0f) * dy[DY::element(n, e)];
        const float normal = (x[X::element(n, e)] - mean) * inverse;
        put<STORE>(dx + DX::element(n, e), (weighted - of_dy - normal * of_both) * inverse);
    }
}

// Adds `sum of dy xhat` and `sum of dy` to the gradients of weight and bias. A block of 256 threads for each weight.
template <class Numbers, class X, class DY>
__device__ void group_norm_weights(const float *x, const float *dy, const float *moments, float *of_weight, float *of_bias, u32 batch) {
    constexpr u32 size = Numbers::channels * Numbers::positions;
    // The groups that have this weight, and its channel in them.
    const u32 c = blockIdx.x % Numbers::channels, first = Numbers::shared ? 0 : blockIdx.x / Numbers::channels;
    constexpr u32 groups = Numbers::shared ? Numbers::groups : 1;
    float of_dy = 0.0f, of_both = 0.0f;
    for (u32 i = threadIdx.x; i < batch * groups * Numbers::positions; i += 256) {
        const u32 n = i / Numbers::positions / groups, group = first + i / Numbers::positions % groups;
        const u32 e = group * size + c * Numbers::positions + i % Numbers::positions;
        const float mean = moments[(u64)n * 2 * Numbers::groups + group];
        const float inverse = moments[((u64)n * 2 + 1) * Numbers::groups + group];
        const float derivative = dy[DY::element(n, e)];
        of_dy += derivative;
        of_both += derivative * ((x[X::element(n, e)] - mean) * inverse);
    }
    of_dy = block_sum<256>(of_dy);
    of_both = block_sum<256>(of_both);
    if (threadIdx.x > 0) return;
    if (of_weight) of_weight[blockIdx.x] += of_both;
    if (of_bias) of_bias[blockIdx.x] += of_dy;
}
