// Curves: `of(x)`, and their `slope(x)`; where they are lines, what is no number passes or does not, as on the processor.

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// `x P(x)`, P the normal distribution.
struct Gelu {
    static __device__ float of(float x) { return x * normcdff(x); }
    static __device__ float back(float x, float dy) {
        return dy * (normcdff(x) + x * (0.3989423f * expf(-0.5f * x * x)));
    }
};

// `x (1 + tanh u) / 2`, `u = sqrt(2 / pi) (x + 0.044715 x^3)`
struct GeluTanh {
    static __device__ float bend(float x) { return tanhf(0.7978846f * x * (1.0f + 0.044715f * x * x)); }
    static __device__ float of(float x) { return 0.5f * x * (1.0f + bend(x)); }
    static __device__ float back(float x, float dy) {
        float t = bend(x), of_u = 0.7978846f * (1.0f + 3.0f * 0.044715f * x * x);
        return dy * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * of_u);
    }
};

struct Silu {
    static __device__ float of(float x) { return x / (1.0f + expf(-x)); }
    static __device__ float back(float x, float dy) {
        float s = sigmoid(x);
        return dy * (s * (1.0f + x * (1.0f - s)));
    }
};

struct Hardswish {
    static __device__ float of(float x) {
        return x * clamp(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    }
    static __device__ float back(float x, float dy) {
        return x <= -3.0f ? 0.0f : x >= 3.0f ? dy : dy * (x / 3.0f + 0.5f);
    }
};

// Of `Numbers::beta` and any `Numbers::threshold`.
template <class Numbers> struct SoftplusCurve {
    static __device__ float of(float x) {
        return softplus(x, Numbers::beta, Numbers::threshold);
    }
    static __device__ float back(float x, float dy) {
        return Numbers::beta * x > Numbers::threshold ? dy : dy * sigmoid(Numbers::beta * x);
    }
};

// `y = curve(x)`
template <class Curve, class X, class Y> __device__ void bend(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    y[Y::element(n, e)] = Curve::of(x[X::element(n, e)]);
}

// `dx = dy curve'(x)`
template <class Curve, class X, class DY, class DX, Store STORE>
__device__ void bend_back(const float *x, const float *dy, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, e = DX::number(i % DX::len);
    put<STORE>(dx + DX::element(n, e), Curve::back(x[X::element(n, e)], dy[DY::element(n, e)]));
}
