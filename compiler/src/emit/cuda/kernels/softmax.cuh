// Softmax and its logarithm over `[outer][SIZE][INNER]`. A thread for each distribution.

// The first element of this thread's distribution, and its sample; whether there is one.
template <u32 SIZE, u32 INNER, u32 LEN> __device__ bool distribution(u32 batch, u32 &n, u32 &first) {
    constexpr u32 count = LEN / SIZE;
    const u64 i = thread_number();
    n = i / count;
    const u32 of_sample = i % count;
    first = of_sample / INNER * SIZE * INNER + of_sample % INNER;
    return i < (u64)batch * count;
}

template <u32 SIZE, u32 INNER, class X> __device__ void largest_and_sum(const float *x, u32 n, u32 first, float &most, float &sum) {
    most = x[X::element(n, first)];
    for (u32 i = 1; i < SIZE; ++i) most = fmaxf(most, x[X::element(n, first + i * INNER)]);
    sum = 0.0f;
    for (u32 i = 0; i < SIZE; ++i) sum += expf(x[X::element(n, first + i * INNER)] - most);
}

// `y = exp(x) / sum of exp(x)`
template <u32 SIZE, u32 INNER, class X, class Y> __device__ void softmax(const float *x, float *y, u32 batch) {
    u32 n, first;
    float most, sum;
    if (!distribution<SIZE, INNER, Y::len>(batch, n, first)) return;
    largest_and_sum<SIZE, INNER, X>(x, n, first, most, sum);
    for (u32 i = 0; i < SIZE; ++i) {
        const u32 e = first + i * INNER;
        y[Y::element(n, e)] = expf(x[X::element(n, e)] - most) / sum;
    }
}

// `dx = y (dy - sum of dy y)`
template <u32 SIZE, u32 INNER, class Y, class DY, class DX, Store STORE>
__device__ void softmax_back(const float *y, const float *dy, float *dx, u32 batch) {
    u32 n, first;
    if (!distribution<SIZE, INNER, DX::len>(batch, n, first)) return;
    float sum = 0.0f;
    for (u32 i = 0; i < SIZE; ++i) {
        const u32 e = first + i * INNER;
        sum += dy[DY::element(n, e)] * y[Y::element(n, e)];
    }
    for (u32 i = 0; i < SIZE; ++i) {
        const u32 e = first + i * INNER;
        put<STORE>(dx + DX::element(n, e), y[Y::element(n, e)] * (dy[DY::element(n, e)] - sum));
    }
}

// `y = x - log(sum of exp(x))`
template <u32 SIZE, u32 INNER, class X, class Y> __device__ void log_softmax(const float *x, float *y, u32 batch) {
    u32 n, first;
    float most, sum;
    if (!distribution<SIZE, INNER, Y::len>(batch, n, first)) return;
    largest_and_sum<SIZE, INNER, X>(x, n, first, most, sum);
    const float log_sum = logf(sum);
    for (u32 i = 0; i < SIZE; ++i) {
        const u32 e = first + i * INNER;
        y[Y::element(n, e)] = x[X::element(n, e)] - most - log_sum;
    }
}

// `dx = dy - exp(y) sum of dy`
template <u32 SIZE, u32 INNER, class Y, class DY, class DX, Store STORE>
__device__ void log_softmax_back(const float *y, const float *dy, float *dx, u32 batch) {
    u32 n, first;
    if (!distribution<SIZE, INNER, DX::len>(batch, n, first)) return;
    float sum = 0.0f;
    for (u32 i = 0; i < SIZE; ++i) sum += dy[DY::element(n, first + i * INNER)];
    for (u32 i = 0; i < SIZE; ++i) {
        const u32 e = first + i * INNER;
        put<STORE>(dx + DX::element(n, e), dy[DY::element(n, e)] - expf(y[Y::element(n, e)]) * sum);
    }
}
