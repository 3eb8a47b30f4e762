// Maps in another frame or of another size, channel by channel.

// `y[p] = x[p - before]` where that is an element of the map, else 0. F has `size`, `out`, and `before` on each axis.
template <class F, class X, class Y, Store STORE> __device__ void frame(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const Position<typename F::out> of(p);
    const int d = of.d - F::before::d, h = of.h - F::before::h, w = of.w - F::before::w;
    const bool inside = (u32)d < (u32)F::size::d && (u32)h < (u32)F::size::h && (u32)w < (u32)F::size::w;
    put<STORE>(y + Y::at(n, c, p), inside ? x[X::at(n, c, (d * F::size::h + h) * F::size::w + w)] : 0.0f);
}

// What an output is made of along an axis: inputs `from` to before `to`, the first with one weight, the others with another.
struct Share {
    int from, to;
    float first, others;
    __device__ float of(int input) const { return input < from || input >= to ? 0.0f : input == from ? first : others; }
};

enum How { ADAPTIVE, NEAREST, LINEAR, LINEAR_CORNERS };

template <How HOW, int SIZE, int OUT> __device__ Share share(int out) {
    if (SIZE == OUT) return {out, out + 1, 1.0f, 0.0f};
    if (HOW == ADAPTIVE) {
        const int from = (long long)out * SIZE / OUT, to = ((long long)(out + 1) * SIZE + OUT - 1) / OUT;
        return {from, to, 1.0f / (to - from), 1.0f / (to - from)};
    }
    if (HOW == NEAREST) {
        const int from = (long long)out * SIZE / OUT;
        return {from, from + 1, 1.0f, 0.0f};
    }
    // The line through two inputs around a place, which is a quotient of whole numbers.
    const long long corners = (long long)out * (SIZE - 1), centers = (long long)(2 * out + 1) * SIZE - OUT;
    const long long above = HOW == LINEAR_CORNERS ? corners : centers > 0 ? centers : 0;
    const long long below = HOW == LINEAR_CORNERS ? (OUT > 1 ? OUT - 1 : 1) : 2 * OUT;
    const int from = above / below < SIZE - 1 ? above / below : SIZE - 1;
    const float rest = (float)(above - from * below) / below;
    // Behind the last input stands itself.
    return from + 1 < SIZE ? Share{from, from + 2, 1.0f - rest, rest} : Share{from, from + 1, 1.0f, 0.0f};
}

// `y = sum of weight x`. R has `size` and `out`. A thread for each output.
template <class R, How HOW, class X, class Y> __device__ void resample(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const Position<typename R::out> of(p);
    const Share depths = share<HOW, R::size::d, R::out::d>(of.d), lines = share<HOW, R::size::h, R::out::h>(of.h),
                columns = share<HOW, R::size::w, R::out::w>(of.w);
    float sum = 0.0f;
    for (int d = depths.from; d < depths.to; ++d) {
        for (int h = lines.from; h < lines.to; ++h) {
            for (int w = columns.from; w < columns.to; ++w) {
                const float weight = depths.of(d) * lines.of(h) * columns.of(w);
                sum += weight * x[X::at(n, c, (d * R::size::h + h) * R::size::w + w)];
            }
        }
    }
    y[Y::at(n, c, p)] = sum;
}

// The outputs along an axis that may have a part of an input: a few more than do.
template <int SIZE, int OUT> __device__ void outputs_of(int input, int &from, int &to) {
    if (SIZE == OUT) {
        from = input, to = input + 1;
        return;
    }
    const long long before = (long long)(input - 1) * OUT / SIZE - 2, behind = (long long)(input + 2) * OUT / SIZE + 2;
    from = before > 0 ? before : 0;
    to = behind < OUT ? behind : OUT;
}

// `dx = sum of weight dy`. A thread for each input.
template <class R, How HOW, class DY, class DX, Store STORE> __device__ void resample_back(const float *dy, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, c = DX::channel(i % DX::len), p = DX::position(i % DX::len);
    const Position<typename R::size> at(p);
    int d, h, w, d_end, h_end, w_end, h_begin, w_begin;
    outputs_of<R::size::d, R::out::d>(at.d, d, d_end);
    outputs_of<R::size::h, R::out::h>(at.h, h_begin, h_end);
    outputs_of<R::size::w, R::out::w>(at.w, w_begin, w_end);
    float sum = 0.0f;
    for (; d < d_end; ++d) {
        const float of_depth = share<HOW, R::size::d, R::out::d>(d).of(at.d);
        if (of_depth == 0.0f) continue;
        for (h = h_begin; h < h_end; ++h) {
            const float of_line = of_depth * share<HOW, R::size::h, R::out::h>(h).of(at.h);
            if (of_line == 0.0f) continue;
            for (w = w_begin; w < w_end; ++w) {
                const float weight = of_line * share<HOW, R::size::w, R::out::w>(w).of(at.w);
                if (weight != 0.0f) sum += weight * dy[DY::at(n, c, (d * R::out::h + h) * R::out::w + w)];
            }
        }
    }
    put<STORE>(dx + DX::at(n, c, p), sum);
}
