// Nonlinearities: `of(x)`, and `back(y, dy) = dy act'(x)` by the result y. NaN stays NaN.

struct None {
    static __device__ float of(float x) { return x; }
    static __device__ float back(float, float dy) { return dy; }
};

struct Relu {
    static __device__ float of(float x) { return x <= 0.0f ? 0.0f : x; }
    static __device__ float back(float y, float dy) { return y <= 0.0f ? 0.0f : dy; }
};

struct Tanh {
    static __device__ float of(float x) { return tanhf(x); }
    static __device__ float back(float y, float dy) { return dy * (1.0f - y * y); }
};

struct Sigmoid {
    static __device__ float of(float x) { return 1.0f / (1.0f + expf(-x)); }
    static __device__ float back(float y, float dy) { return dy * (y * (1.0f - y)); }
};

// Of `Numbers::slope`.
template <class Numbers> struct LeakyRelu {
    static __device__ float of(float x) { return x > 0.0f ? x : Numbers::slope * x; }
    static __device__ float back(float y, float dy) { return y > 0.0f ? dy : dy * Numbers::slope; }
};

// Of `Numbers::alpha`.
template <class Numbers> struct Elu {
    static __device__ float of(float x) { return x > 0.0f ? x : Numbers::alpha * expm1f(x); }
    static __device__ float back(float y, float dy) { return y > 0.0f ? dy : dy * (y + Numbers::alpha); }
};

__device__ float clamp(float x, float least, float most) { return x < least ? least : x > most ? most : x; }

// Between `Numbers::least` and `Numbers::most`.
template <class Numbers> struct Hardtanh {
    static __device__ float of(float x) { return clamp(x, Numbers::least, Numbers::most); }
    static __device__ float back(float y, float dy) { return y > Numbers::least && y < Numbers::most ? dy : 0.0f; }
};

struct Hardsigmoid {
    static __device__ float of(float x) { return clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f; }
    static __device__ float back(float y, float dy) { return y > 0.0f && y < 1.0f ? dy / 6.0f : 0.0f; }
};

__device__ float softplus(float x, float beta, float threshold) {
    return beta * x > threshold ? x : log1pf(expf(beta * x)) / beta;
}

// Of `Numbers::beta` and a `Numbers::threshold` that is so large that the two parts are one.
template <class Numbers> struct Softplus {
    static __device__ float of(float x) { return softplus(x, Numbers::beta, Numbers::threshold); }
    static __device__ float back(float y, float dy) { return dy * -expm1f(-Numbers::beta * y); }
};

// `y = act(x)`
template <class Act, class X, class Y> __device__ void activate(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    y[Y::element(n, e)] = Act::of(x[X::element(n, e)]);
}

// `dx = dy act'(x)`
template <class Act, class Y, class DY, class DX, Store STORE>
__device__ void activate_back(const float *y, const float *dy, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, e = DX::number(i % DX::len);
    put<STORE>(dx + DX::element(n, e), Act::back(y[Y::element(n, e)], dy[DY::element(n, e)]));
}
