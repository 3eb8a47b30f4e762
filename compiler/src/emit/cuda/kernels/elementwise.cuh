// Values moved, added and multiplied. A thread for each element of the result, in the order in which those lie.

// `y = x`, from one way to lie to another, or a part.
template <class X, class Y, Store STORE> __device__ void copy(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    put<STORE>(y + Y::element(n, e), x[X::element(n, e)]);
}

// `y[e] = x[From::of(e)]`: elements in another order.
template <class From, class X, class Y, Store STORE> __device__ void move(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    put<STORE>(y + Y::element(n, e), x[X::element(n, From::of(e))]);
}

// `y = 0`
template <u32 LEN> __device__ void clear(float *y, u32 batch) {
    const u64 i = thread_number();
    if (i < (u64)batch * LEN) y[i] = 0.0f;
}

// `y = a + b`
template <class A, class B, class Y> __device__ void add(const float *a, const float *b, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    y[Y::element(n, e)] = a[A::element(n, e)] + b[B::element(n, e)];
}

// `y = a b` over `[outer][count][inner]`, where b is `[outer][inner]` and repeated.
template <u32 COUNT, u32 INNER, class A, class B, class Y, Store STORE>
__device__ void multiply(const float *a, const float *b, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    const u32 of_b = e / (COUNT * INNER) * INNER + e % INNER;
    put<STORE>(y + Y::element(n, e), a[A::element(n, e)] * b[B::element(n, of_b)]);
}

// `s = sum over count of a b`, of two values over `[outer][count][inner]`. A block of 128 threads for each sum.
template <u32 COUNT, u32 INNER, class A, class B, class S, Store STORE>
__device__ void multiply_sum(const float *a, const float *b, float *s) {
    const u32 n = blockIdx.x / S::len, e = blockIdx.x % S::len;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < COUNT; i += 128) {
        const u32 at = (e / INNER * COUNT + i) * INNER + e % INNER;
        sum += a[A::element(n, at)] * b[B::element(n, at)];
    }
    sum = block_sum<128>(sum);
    if (threadIdx.x == 0) put<STORE>(s + S::element(n, e), sum);
}
