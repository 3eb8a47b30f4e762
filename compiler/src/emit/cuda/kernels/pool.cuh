// Pools. A window W has `size`, `out`, `kernel`, `stride`, `padding`, `dilation`, as a convolution's geometry.

// The maximum of each window, and which of its elements that is: the first of equal ones, NaN above all. A thread for each output.
template <class W, class X, class Y, class Places>
__device__ void max_pool(const float *x, float *y, typename Places::Word *places, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const Position<typename W::out> of(p);
    const int d = of.d * W::stride::d - W::padding::d, h = of.h * W::stride::h - W::padding::h,
              w = of.w * W::stride::w - W::padding::w;
    float most = __int_as_float(0xff800000);
    u32 place = W::kernel::len;
    for (u32 tap = 0; tap < W::kernel::len; ++tap) {
        u32 position;
        if (!input_at<W>(d, h, w, tap, position)) continue;
        const float value = x[X::at(n, c, position)];
        if (place == W::kernel::len || value > most || value != value) most = value, place = tap;
    }
    y[Y::at(n, c, p)] = most;
    if (places) Places::keep(places, n, c, p, place);
}

// `dx = dy` where the maximum was, else 0; dy on its way through the nonlinearity Back whose result y is. A thread for each input, which
// looks at the windows that have it.
template <class W, class DY, class Y, class DX, class Back, class Places, Store STORE>
__device__ void max_pool_back(const float *dy, const typename Places::Word *places, const float *y, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, c = DX::channel(i % DX::len), p = DX::position(i % DX::len);
    const Position<typename W::size> at(p);
    float sum = 0.0f;
    for (u32 k = 0; k < W::kernel::len; ++k) {
        const Position<typename W::kernel> tap(k);
        const int d = output_along<W::stride::d, W::out::d>(at.d + W::padding::d - tap.d * W::dilation::d);
        const int h = output_along<W::stride::h, W::out::h>(at.h + W::padding::h - tap.h * W::dilation::h);
        const int w = output_along<W::stride::w, W::out::w>(at.w + W::padding::w - tap.w * W::dilation::w);
        if (d < 0 || h < 0 || w < 0) continue;
        const u32 output = (d * W::out::h + h) * W::out::w + w;
        if (Places::of(places, n, c, output) != k) continue;
        const float derivative = dy[DY::at(n, c, output)];
        sum += y ? Back::back(y[Y::at(n, c, output)], derivative) : derivative;
    }
    put<STORE>(dx + DX::at(n, c, p), sum);
}

// The same of windows of 2 by 2 that do not overlap, whose places are two bits. A thread for four channels of all that a window has, or would
// have at the end of an odd map: there the gradients are 0.
template <class W, class DY, class Y, class DX, class Back, Store STORE>
__device__ void max_pool_back_by_four(const float *dy, const u8 *places, const float *y, float *dx, u32 batch) {
    using Places = TwoBits<DY::channels, DY::positions>;
    constexpr u32 fours = DX::channels / 4, across = (W::size::w + 1) / 2, windows = (W::size::h + 1) / 2 * across;
    const u64 i = thread_number();
    if (i >= (u64)batch * windows * fours) return;
    const u32 n = i / fours / windows, c = i % fours * 4, down = i / fours % windows / across, right = i / fours % windows % across;
    float4 of_window = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    u32 four = 0;
    if (down < W::out::h && right < W::out::w) {
        const u32 p = down * W::out::w + right;
        of_window = *reinterpret_cast<const float4 *>(dy + DY::at(n, c, p));
        if (y) {
            const float4 of = *reinterpret_cast<const float4 *>(y + Y::at(n, c, p));
            of_window = make_float4(Back::back(of.x, of_window.x), Back::back(of.y, of_window.y), Back::back(of.z, of_window.z),
                                    Back::back(of.w, of_window.w));
        }
        four = places[Places::at(n, c, p)];
    }
#pragma unroll
    for (u32 tap = 0; tap < 4; ++tap) {
        const u32 h = 2 * down + tap / 2, w = 2 * right + tap % 2;
        if (h >= W::size::h || w >= W::size::w) continue;
        const auto passed = [&](u32 of, float derivative) { return (four >> 2 * of & 3) == tap ? derivative : 0.0f; };
        float4 sum = make_float4(passed(0, of_window.x), passed(1, of_window.y), passed(2, of_window.z), passed(3, of_window.w));
        float4 *const to = reinterpret_cast<float4 *>(dx + DX::at(n, c, h * W::size::w + w));
        if (STORE == ADD) sum = make_float4(to->x + sum.x, to->y + sum.y, to->z + sum.z, to->w + sum.w);
        *to = sum;
    }
}

// Elements along one axis that a mean is of: of the map, or of the padded map.
template <int SIZE, int KERNEL, int STRIDE, int PADDING, bool PADDED> __device__ int counted(int out) {
    const int first = out * STRIDE, behind = min(first + KERNEL, SIZE + 2 * PADDING);
    return PADDED ? behind - first : min(behind, SIZE + PADDING) - max(first, PADDING);
}

// What the sum of a window is divided by.
template <class W, bool PADDED> __device__ float divisor(int d, int h, int w) {
    return (float)(counted<W::size::d, W::kernel::d, W::stride::d, W::padding::d, PADDED>(d) *
                   counted<W::size::h, W::kernel::h, W::stride::h, W::padding::h, PADDED>(h) *
                   counted<W::size::w, W::kernel::w, W::stride::w, W::padding::w, PADDED>(w));
}

// The mean of each window. A thread for each output.
template <class W, bool PADDED, class X, class Y> __device__ void avg_pool(const float *x, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const Position<typename W::out> of(p);
    float sum = 0.0f;
    for (u32 tap = 0; tap < W::kernel::len; ++tap) {
        u32 position;
        const bool inside = input_at<W>(of.d * W::stride::d - W::padding::d, of.h * W::stride::h - W::padding::h,
                                        of.w * W::stride::w - W::padding::w, tap, position);
        if (inside) sum += x[X::at(n, c, position)];
    }
    y[Y::at(n, c, p)] = sum / divisor<W, PADDED>(of.d, of.h, of.w);
}

// The gradient of a window's mean, shared out. A thread for each input.
template <class W, bool PADDED, class DY, class DX, Store STORE> __device__ void avg_pool_back(const float *dy, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, c = DX::channel(i % DX::len), p = DX::position(i % DX::len);
    const Position<typename W::size> at(p);
    float sum = 0.0f;
    for (u32 k = 0; k < W::kernel::len; ++k) {
        const Position<typename W::kernel> tap(k);
        const int d = output_along<W::stride::d, W::out::d>(at.d + W::padding::d - tap.d);
        const int h = output_along<W::stride::h, W::out::h>(at.h + W::padding::h - tap.h);
        const int w = output_along<W::stride::w, W::out::w>(at.w + W::padding::w - tap.w);
        if (d < 0 || h < 0 || w < 0) continue;
        sum += dy[DY::at(n, c, (d * W::out::h + h) * W::out::w + w)] / divisor<W, PADDED>(d, h, w);
    }
    put<STORE>(dx + DX::at(n, c, p), sum);
}
