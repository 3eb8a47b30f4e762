// Convolutions and linear layers as products of matrices that are never written out (implicit GEMM).
//
// A geometry G also has `channels`, `out_channels` and `groups`. Weights lie in PyTorch's order, `[output][channel of its group][tap]`, or
// packed, in the order in which a product goes through them.

// A convolution; its channel c is the weight's channel of the same number.
struct Convolution {
    static __device__ u32 number(u32 c) { return c; }
};

// A linear layer: a convolution of one tap, over rows. Its channels are features as they lie in X.
template <u32 ROWS, u32 INPUTS, u32 OUTPUTS, class X = First<INPUTS, 1>> struct Linear {
    static __device__ u32 number(u32 c) { return X::number(c); }
    static constexpr u32 channels = INPUTS, out_channels = OUTPUTS, groups = 1;
    using size = Size<1, 1, ROWS>;
    using out = Size<1, 1, ROWS>;
    using kernel = Size<1, 1, 1>;
    using stride = Size<1, 1, 1>;
    using padding = Size<0, 0, 0>;
    using dilation = Size<1, 1, 1>;
};

template <class G> struct Per {
    static constexpr u32 channels = G::channels / G::groups, outputs = G::out_channels / G::groups;
    static constexpr u32 taps = G::kernel::len;
    // Rows of the weights' gradient: a row for each tap and channel; one more is the bias's.
    static constexpr u32 terms = taps * channels;
    // Steps of a product over them that are written out: those of a first layer, whose channels are few and no four.
    static constexpr u32 unrolled = channels % 4 > 0 && terms <= 64 ? 6 : 1;
};

// The order of a product's terms, of which there are CHANNELS for each of TAPS. BY_SLICE, each of 16 channels of one tap, all taps of these
// channels follow each other, so that what neighbouring taps read is read again while it is near.
template <u32 CHANNELS, u32 TAPS, bool BY_SLICE> struct Terms {
    static __device__ u32 tap(u32 term) { return BY_SLICE ? term / 16 % TAPS : term / CHANNELS; }
    static __device__ u32 channel(u32 term) { return BY_SLICE ? term / 16 / TAPS * 16 + term % 16 : term % CHANNELS; }
    static __device__ u32 term(u32 tap, u32 c) { return BY_SLICE ? (c / 16 * TAPS + tap) * 16 + c % 16 : tap * CHANNELS + c; }
};

// Term i of a slice from k on. BY_SLICE all but `i` is found at once.
template <class Order, bool BY_SLICE> struct Term {
    u32 tap, c;
    __device__ Term(u32 k, u32 i) : tap(Order::tap(BY_SLICE ? k : k + i)), c(BY_SLICE ? Order::channel(k) + i : Order::channel(k + i)) {}
};

// The terms of a product forward, and back: not by slices for classes of inputs, which have a part of the taps.
template <class G> struct Forward {
    static constexpr bool by_slice = Per<G>::channels % 16 == 0;
    using order = Terms<Per<G>::channels, Per<G>::taps, by_slice>;
    using term = Term<order, by_slice>;
};
template <class G> struct Backward {
    static constexpr bool by_slice = Per<G>::outputs % 16 == 0 && G::stride::len == 1;
    using order = Terms<Per<G>::outputs, Per<G>::taps, by_slice>;
    using term = Term<order, by_slice>;
};

// A coordinate that is beside every map, whatever tap is added.
enum { NOWHERE = -(1 << 30) };

// Which output a row is: in their order; or, before a pool of 2 by 2, window by window.
template <class G, bool POOL> struct Output {
    static constexpr u32 height = G::out::h / 2, width = G::out::w / 2;
    static constexpr u32 rows = POOL ? 4 * height * width : G::out::len;
    u32 n;
    int d, h, w;
    __device__ explicit Output(u32 row) : n(row / rows) {
        if constexpr (POOL) {
            const u32 window = row % rows / 4, tap = row % 4;
            d = 0;
            h = window / width * 2 + tap / 2;
            w = window % width * 2 + tap % 2;
        } else {
            const Position<typename G::out> at(row % rows);
            d = at.d;
            h = at.h;
            w = at.w;
        }
    }
};

// The taps of a window along each axis that lie in the map: bits from 0, from 10 and from 20 on.
enum { AXIS = 10 };
template <int TAPS, int APART, int SIZE> __device__ u32 taps_inside(int first) {
    u32 bits = 0;
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) bits |= (u32)((u32)(first + tap * APART) < (u32)SIZE) << tap;
    return bits;
}

// Whether the bits of a window are enough for a tap of each axis.
template <class Taps> __device__ constexpr bool has_bits() { return Taps::d <= AXIS && Taps::h <= AXIS && Taps::w <= AXIS; }

// What is known of a row whose channels lie next to each other: where those of its window's first tap are, or would be, and which taps are
// in the map.
struct Windowed {
    const float *first;
    u32 inside;
    __device__ bool has(int d, int h, int w) const { return inside >> w & inside >> (AXIS + h) & inside >> (2 * AXIS + d) & 1; }
};

// The same of any row.
struct Placed {
    u32 n;
    int d, h, w;
};

// The input as a matrix: rows are outputs, columns taps and channels.
template <class G, class X, bool POOL> struct Unfolded {
    static constexpr bool by_four = X::is_packed && Per<G>::channels % 4 == 0 && has_bits<typename G::kernel>();
    static constexpr Fours fours = by_four ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = true, is_few = false;
    using Row = typename Either<by_four, Windowed, Placed>::type;
    const float *x;
    u32 rows, group;
    __device__ Row row(u32 m) const {
        const Output<G, POOL> of(m);
        const int d = of.d * G::stride::d - G::padding::d, h = of.h * G::stride::h - G::padding::h;
        const int w = of.w * G::stride::w - G::padding::w;
        if constexpr (by_four) {
            using K = typename G::kernel;
            using S = typename G::size;
            const u32 along_d = taps_inside<K::d, G::dilation::d, S::d>(d), along_h = taps_inside<K::h, G::dilation::h, S::h>(h);
            const u32 along_w = taps_inside<K::w, G::dilation::w, S::w>(w);
            const float *const first = x + X::at(of.n, group * Per<G>::channels, 0) + (long long)((d * S::h + h) * S::w + w) * X::apart;
            return {first, m < rows ? along_w | along_h << AXIS | along_d << 2 * AXIS : 0};
        } else {
            return {of.n, d, h, m < rows ? w : NOWHERE};
        }
    }
    // There is nothing beside the map.
    __device__ Found find(const Row &row, u32 k, u32 i) const {
        const typename Forward<G>::term of(k, i);
        if constexpr (by_four) {
            const Position<typename G::kernel> tap(of.tap);
            const int lines = tap.d * G::dilation::d * G::size::h + tap.h * G::dilation::h;
            return {row.first + ((lines * G::size::w + tap.w * G::dilation::w) * (int)X::apart + (int)of.c), row.has(tap.d, tap.h, tap.w)};
        } else {
            u32 position;
            const bool is_inside = input_at<G>(row.d, row.h, row.w, of.tap, position);
            return {x + X::at(row.n, group * Per<G>::channels + of.c, position), is_inside};
        }
    }
};

// The weights as a matrix: rows are output channels, columns taps and channels. PACKED: `[output][term]`, each row at a multiple of 16
// bytes.
template <class G, bool PACKED> struct Weights {
    static constexpr Fours fours = PACKED ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = false;
    static constexpr u32 rows = Per<G>::outputs;
    const float *weight;
    u32 group;
    using Row = const float *;
    __device__ Row row(u32 o) const { return weight + (u64)(group * Per<G>::outputs + o) * Per<G>::terms; }
    static __device__ Row behind(Row row, u32 count) { return row + count * Per<G>::terms; }
    __device__ Found find(Row row, u32 k, u32 i) const {
        if constexpr (PACKED) return {row + (k + i), true};
        const typename Forward<G>::term of(k, i);
        return {row + (of.c * Per<G>::taps + of.tap), true};
    }
};

// A product whose sums are cut into parts is two launches: of the parts' SUMS, and of what FINISHes them, whose blocks have up to 16 of the
// columns. Along z there are all these for each of `blocks`.
enum Phase { WHOLE, SUMS, FINISH };
template <Phase PHASE, u32 COLUMNS> struct BlockColumns {
    static constexpr u32 count = PHASE == FINISH && COLUMNS > 16 ? 16 : COLUMNS;
    using product = Product<count>;
    static __device__ u32 first(u32 blocks) { return blockIdx.y * COLUMNS + (PHASE == FINISH ? blockIdx.z / blocks * count : 0); }
};

// The sums over the terms before `to`, or this block's part of them.
template <Phase PHASE, u32 PARTS, u32 COLUMNS, u32 UNROLLED, class Product, class A, class B>
__device__ void sum_up(Product &product, const A &a, const B &b, u32 first_row, u32 first_column, u32 to, u32 blocks, float *parts) {
    const u64 area = (u64)gridDim.x * gridDim.y, block = blockIdx.z % blocks * area + blockIdx.y * (u64)gridDim.x + blockIdx.x;
    if constexpr (PHASE == WHOLE) {
        product.template run<UNROLLED>(a, b, first_row, first_column, 0, to);
    } else if constexpr (PHASE == SUMS) {
        const u32 part = blockIdx.z / blocks, share = (to + PARTS * 16 - 1) / (PARTS * 16) * 16, from = min(part * share, to);
        product.template run<UNROLLED>(a, b, first_row, first_column, from, min(from + share, to));
        product.keep(parts, part * area * blocks + block);
    } else {
        product.template add_up<COLUMNS>(parts, block, area * blocks, PARTS, blockIdx.z / blocks * product.HELD);
    }
}

// Floats that follow each other, the first `count` of which are there. AT_ONCE all are, or none, and they begin at a multiple of their bytes.
template <bool AT_ONCE, u32 N> __device__ void read_floats(float (&to)[N], const float *from, u32 count) {
    if constexpr (AT_ONCE && N == 4) {
        const float4 four = *reinterpret_cast<const float4 *>(from);
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
    } else if constexpr (AT_ONCE && N == 2) {
        const float2 two = *reinterpret_cast<const float2 *>(from);
        to[0] = two.x, to[1] = two.y;
    } else {
#pragma unroll
        for (u32 i = 0; i < N; ++i) to[i] = i < count ? from[i] : 0.0f;
    }
}
template <bool AT_ONCE, u32 N> __device__ void write_floats(const float (&of)[N], float *to, u32 count) {
    if constexpr (AT_ONCE && N == 4) {
        *reinterpret_cast<float4 *>(to) = make_float4(of[0], of[1], of[2], of[3]);
    } else if constexpr (AT_ONCE && N == 2) {
        *reinterpret_cast<float2 *>(to) = make_float2(of[0], of[1]);
    } else {
#pragma unroll
        for (u32 i = 0; i < N; ++i) {
            if (i < count) to[i] = of[i];
        }
    }
}

// The same of channels of a position of a map that lies as Map says, from c on, of a group that has so many CHANNELS.
template <class Map, u32 CHANNELS, u32 N> __device__ void read_channels(float (&to)[N], const float *x, u32 n, u32 c, u32 p, u32 count) {
    if constexpr (Map::is_packed) {
        read_floats<Map::apart % N == 0 && CHANNELS % N == 0>(to, x + Map::at(n, c, p), count);
    } else {
#pragma unroll
        for (u32 i = 0; i < N; ++i) to[i] = i < count ? x[Map::at(n, c + i, p)] : 0.0f;
    }
}
template <class Map, u32 CHANNELS, u32 N> __device__ void write_channels(const float (&of)[N], float *y, u32 n, u32 c, u32 p, u32 count) {
    if constexpr (Map::is_packed) {
        write_floats<Map::apart % N == 0 && CHANNELS % N == 0>(of, y + Map::at(n, c, p), count);
    } else {
#pragma unroll
        for (u32 i = 0; i < N; ++i) {
            if (i < count) y[Map::at(n, c + i, p)] = of[i];
        }
    }
}

// `y = act(W x + bias)`, with the maxima of windows of 2 by 2 before the nonlinearity (POOL) and which of their elements they are, or
// with another value added before it or behind it. What a batch norm is to know goes to `moments`: of each block of rows
// `[mean, sum of (y - mean)^2][channel]`. Blocks: rows, output channels, groups of parts or of 16 columns.
template <class G, class X, class Y, class R, class Act, bool POOL, bool BEHIND, u32 COLUMNS, bool PACKED, Phase PHASE = WHOLE, u32 PARTS = 1>
__device__ void conv_forward(const float *x, const float *weight, const float *bias, const float *added, float *y, u8 *places,
                             float *moments, float *parts, u32 batch) {
    using Block = BlockColumns<PHASE, COLUMNS>;
    typename Block::product product;
    constexpr u32 outputs = Per<G>::outputs, N = product.CHUNK;
    const u32 rows = batch * Output<G, POOL>::rows, group = blockIdx.z % G::groups;
    const u32 first_row = blockIdx.x * 128, first_column = Block::first(G::groups);
    const Unfolded<G, X, POOL> unfolded{x, rows, group};
    const Weights<G, PACKED> weights{weight, group};
    sum_up<PHASE, PARTS, COLUMNS, Per<G>::unrolled>(product, unfolded, weights, first_row, first_column, Per<G>::terms, G::groups, parts);
    if constexpr (PHASE == SUMS) return;
    const u32 row = first_row + product.row();
#pragma unroll
    for (u32 j = 0; j < product.HELD; j += N) {
        const u32 o = first_column + product.column(j), c = group * outputs + o, count = o < outputs ? outputs - o : 0;
        float shifts[N];
#pragma unroll
        for (u32 k = 0; k < N; ++k) shifts[k] = bias && k < count ? bias[c + k] : 0.0f;
        if constexpr (POOL) {
            // There are whole windows only.
            const u32 window = row / 4, n = window / Y::positions, p = window % Y::positions;
            float maxima[N];
            u32 four = 0;
#pragma unroll
            for (u32 k = 0; k < N; ++k) {
                float most = product.sums[0][j + k];
                u32 place = 0;
#pragma unroll
                for (u32 tap = 1; tap < 4; ++tap) {
                    const float sum = product.sums[tap][j + k];
                    if (sum > most || sum != sum) most = sum, place = tap;
                }
                maxima[k] = Act::of(most + shifts[k]);
                if (k < count) four |= place << (c + k) % 4 * 2;
            }
            // A byte has four channels, which two threads may have.
            if (N == 2) four |= __shfl_xor_sync(0xffffffffu, four, 1);
            if (count == 0 || row >= rows) continue;
            write_channels<Y, outputs>(maxima, y, n, c, p, count);
            if (places && c % 4 == 0) places[TwoBits<G::out_channels, Y::positions>::at(n, c, p)] = four;
        } else {
            if (count == 0) continue;
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                if (row + i >= rows) continue;
                const u32 n = (row + i) / G::out::len, p = (row + i) % G::out::len;
                float others[N] = {}, results[N];
                if (added) read_channels<R, outputs>(others, added, n, c, p, count);
#pragma unroll
                for (u32 k = 0; k < N; ++k) {
                    const float sum = product.sums[i][j + k] + shifts[k];
                    results[k] = BEHIND ? Act::of(sum) + others[k] : Act::of(sum + others[k]);
                    product.sums[i][j + k] = results[k];
                }
                write_channels<Y, outputs>(results, y, n, c, p, count);
            }
        }
    }
    if (POOL || !moments) return;
    moments += (u64)blockIdx.x * 2 * G::out_channels + group * outputs + first_column;
    if (first_column >= outputs) return;
    product.moments(min(product.ROWS, rows - first_row), outputs - first_column, moments, moments + G::out_channels);
}

__device__ constexpr int common_divisor(int a, int b) { return b == 0 ? a : common_divisor(b, a % b); }

// Along an axis, the inputs that have one remainder by the stride: windows have them at the same taps, of which every so manieth is one.
template <int SIZE, int OUT, int KERNEL, int STRIDE, int PADDING, int DILATION> struct Axis {
    static constexpr int common = common_divisor(STRIDE, DILATION);
    // From one tap of theirs to the next, and from the output at the next to that at the one.
    static constexpr int apart = STRIDE / common, outputs = DILATION / common;
    // The most inputs and the most taps: others have one less.
    static constexpr int inputs = (SIZE + STRIDE - 1) / STRIDE, most = (KERNEL + apart - 1) / apart;

    int first, first_tap, taps, origin;

    // Those that begin with an input.
    __device__ explicit Axis(int first) : first(first), first_tap(KERNEL) {
#pragma unroll
        for (int tap = apart - 1; tap >= 0; --tap) {
            if (tap * DILATION % STRIDE == (first + PADDING) % STRIDE) first_tap = tap;
        }
        taps = first_tap < KERNEL ? (KERNEL - first_tap + apart - 1) / apart : 0;
        origin = (first + PADDING - first_tap * DILATION) / STRIDE;
    }

    // The number divided by that of the taps.
    __device__ u32 by_taps(u32 number) const { return taps == most ? number / most : number / (most > 1 ? most - 1 : 1); }
    // One of the inputs by its number, and whether there is one.
    __device__ int input(int at) const { return first + at * STRIDE; }
    __device__ bool is_input(int at) const { return SIZE % STRIDE == 0 || input(at) < SIZE; }
    // The output whose window has it at one of the taps, and whether there is one.
    __device__ int output(int at, int tap) const { return origin + at - tap * outputs; }
    __device__ bool is_output(int at, int tap) const { return (u32)output(at, tap) < (u32)OUT; }
    // The taps with an output, as bits.
    __device__ u32 bits(int at) const {
        u32 bits = 0;
#pragma unroll
        for (int tap = 0; tap < most; ++tap) bits |= (u32)is_output(at, tap) << tap;
        return bits;
    }
};

// A class of inputs: those that are of one kind along each axis. Their gradients are a product without terms that must be 0.
template <class G> struct Inputs {
    using D = Axis<G::size::d, G::out::d, G::kernel::d, G::stride::d, G::padding::d, G::dilation::d>;
    using H = Axis<G::size::h, G::out::h, G::kernel::h, G::stride::h, G::padding::h, G::dilation::h>;
    using W = Axis<G::size::w, G::out::w, G::kernel::w, G::stride::w, G::padding::w, G::dilation::w>;
    // Those of a sample that are rows: as many as the largest class has.
    using rows = Size<D::inputs, H::inputs, W::inputs>;
    // Taps of the class before one, along each axis.
    struct Taps {
        int d, h, w;
    };
    D d;
    H h;
    W w;
    __device__ explicit Inputs(u32 number)
        : d(number / (G::stride::h * G::stride::w)), h(number / G::stride::w % G::stride::h), w(number % G::stride::w) {}
    __device__ u32 taps() const { return d.taps * h.taps * w.taps; }
    __device__ Taps tap(u32 number) const {
        const u32 lines = w.by_taps(number), planes = h.by_taps(lines);
        return {(int)planes, (int)(lines - planes * h.taps), (int)(number - lines * w.taps)};
    }
    // The number of a tap among all of the kernel.
    __device__ u32 of_all(Taps at) const {
        const u32 plane = d.first_tap + at.d * D::apart, line = h.first_tap + at.h * H::apart;
        return (plane * G::kernel::h + line) * G::kernel::w + w.first_tap + at.w * W::apart;
    }
    // The place of an input by its numbers along the axes.
    __device__ bool is_there(const Position<rows> &at) const { return d.is_input(at.d) && h.is_input(at.h) && w.is_input(at.w); }
    __device__ u32 position(const Position<rows> &at) const {
        return (d.input(at.d) * G::size::h + h.input(at.h)) * G::size::w + w.input(at.w);
    }
};

// The gradient of outputs as a matrix: rows are the inputs of a class, columns its taps and output channels.
template <class G, class DY> struct Spread {
    using I = Inputs<G>;
    static constexpr bool by_four =
        DY::is_packed && Per<G>::outputs % 4 == 0 && has_bits<typename G::kernel>();
    static constexpr Fours fours = by_four ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = true, is_few = false;
    using Row = typename Either<by_four, Windowed, Placed>::type;
    const float *dy;
    const I &inputs;
    u32 rows, group;
    __device__ Row row(u32 m) const {
        const u32 n = m / I::rows::len;
        const Position<typename I::rows> at(m % I::rows::len);
        if constexpr (by_four) {
            const u32 inside = inputs.d.bits(at.d) << 2 * AXIS | inputs.h.bits(at.h) << AXIS | inputs.w.bits(at.w);
            const int place = (inputs.d.output(at.d, 0) * G::out::h + inputs.h.output(at.h, 0)) * G::out::w + inputs.w.output(at.w, 0);
            return {dy + DY::at(n, group * Per<G>::outputs, 0) + (long long)place * DY::apart, m < rows ? inside : 0};
        } else {
            return {n, at.d, at.h, m < rows ? at.w : NOWHERE};
        }
    }
    // There is nothing where no window has the input at this tap.
    __device__ Found find(const Row &row, u32 k, u32 i) const {
        const typename Backward<G>::term of(k, i);
        const auto tap = inputs.tap(of.tap);
        if constexpr (by_four) {
            const int lines = tap.d * I::D::outputs * G::out::h + tap.h * I::H::outputs;
            const int before = (lines * G::out::w + tap.w * I::W::outputs) * (int)DY::apart;
            return {row.first + ((int)of.c - before), row.has(tap.d, tap.h, tap.w)};
        } else {
            const int d = inputs.d.output(row.d, tap.d), h = inputs.h.output(row.h, tap.h), w = inputs.w.output(row.w, tap.w);
            const bool is_output = inputs.d.is_output(row.d, tap.d) && inputs.h.is_output(row.h, tap.h) && inputs.w.is_output(row.w, tap.w);
            return {dy + DY::at(row.n, group * Per<G>::outputs + of.c, (d * G::out::h + h) * G::out::w + w), is_output};
        }
    }
};

// The weights the other way around: rows are channels, columns taps of a class and output channels. PACKED: `[channel][term]`, of all taps,
// each tap at a multiple of 16 bytes.
template <class G, bool PACKED> struct WeightsBack {
    static constexpr Fours fours = PACKED ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = false;
    static constexpr u32 rows = Per<G>::channels, taps = Per<G>::taps, outputs = Per<G>::outputs;
    const float *weight;
    const Inputs<G> &inputs;
    u32 group;
    using Row = const float *;
    __device__ Row row(u32 c) const {
        if constexpr (PACKED) return weight + (u64)(group * rows + c) * taps * outputs;
        return weight + (u64)group * outputs * Per<G>::terms + c * taps;
    }
    static __device__ Row behind(Row row, u32 count) { return row + count * taps * (PACKED ? outputs : 1); }
    __device__ Found find(Row row, u32 k, u32 i) const {
        const typename Backward<G>::term of(k, i);
        const u32 tap = inputs.of_all(inputs.tap(of.tap));
        if constexpr (PACKED) return {row + Backward<G>::order::term(tap, of.c), true};
        return {row + (of.c * Per<G>::terms + tap), true};
    }
};

// `dx = W^T dy`, and that on through the nonlinearity Back whose result y the input is; with bias and a nonlinearity Act a transposed
// convolution. Blocks: rows, channels, classes of inputs of groups of parts or of 16 columns.
template <class G, class DY, class DX, class Y, class Act, class Back, Store STORE, u32 COLUMNS, bool PACKED, Phase PHASE = WHOLE, u32 PARTS = 1>
__device__ void conv_grad_input(const float *dy, const float *weight, const float *bias, const float *y, float *dx, float *parts, u32 batch) {
    using Block = BlockColumns<PHASE, COLUMNS>;
    typename Block::product product;
    constexpr u32 channels = Per<G>::channels, N = product.CHUNK, blocks = G::stride::len * G::groups;
    const u32 rows = batch * Inputs<G>::rows::len, group = blockIdx.z / G::stride::len % G::groups;
    const u32 first_row = blockIdx.x * 128, first_column = Block::first(blocks);
    const Inputs<G> inputs(blockIdx.z % G::stride::len);
    const Spread<G, DY> spread{dy, inputs, rows, group};
    const WeightsBack<G, PACKED> weights{weight, inputs, group};
    const u32 terms = inputs.taps() * Per<G>::outputs;
    sum_up<PHASE, PARTS, COLUMNS, 1>(product, spread, weights, first_row, first_column, terms, blocks, parts);
    if constexpr (PHASE == SUMS) return;
    const u32 row = first_row + product.row();
#pragma unroll
    for (u32 j = 0; j < product.HELD; j += N) {
        const u32 of_group = first_column + product.column(j), c = group * channels + of_group;
        if (of_group >= channels) continue;
        const u32 count = channels - of_group;
        float shifts[N];
#pragma unroll
        for (u32 k = 0; k < N; ++k) shifts[k] = bias && k < count ? bias[c + k] : 0.0f;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 n = (row + i) / Inputs<G>::rows::len;
            const Position<typename Inputs<G>::rows> at((row + i) % Inputs<G>::rows::len);
            if (row + i >= rows || !inputs.is_there(at)) continue;
            const u32 p = inputs.position(at);
            float of_y[N] = {}, before[N] = {}, results[N];
            if (y) read_channels<Y, channels>(of_y, y, n, c, p, count);
            if (STORE == ADD) read_channels<DX, channels>(before, dx, n, c, p, count);
#pragma unroll
            for (u32 k = 0; k < N; ++k) {
                const float sum = Act::of(product.sums[i][j + k] + shifts[k]);
                results[k] = (y ? Back::back(of_y[k], sum) : sum) + (STORE == ADD ? before[k] : 0.0f);
            }
            write_channels<DX, channels>(results, dx, n, c, p, count);
        }
    }
}

// The input as a matrix: rows are taps and channels, the last one all 1; columns are the outputs of the batch.
template <class G, class X> struct Transposed {
    static constexpr Fours fours = X::is_packed && Per<G>::channels % 4 == 0 ? FOUR_ROWS : NO_FOURS;
    static constexpr u32 rows = Per<G>::terms + 1;
    static constexpr bool knows_rows = Per<G>::taps == 1, is_few = rows <= 32 && (fours == NO_FOURS || Per<G>::outputs <= 32);
    const float *x;
    u32 group;
    struct Row {
        u32 tap, c;
        bool is_there, is_one;
    };
    __device__ Row row(u32 m) const {
        return {m / Per<G>::channels, group * Per<G>::channels + m % Per<G>::channels, m < Per<G>::terms, m == Per<G>::terms};
    }
    __device__ Found find(const Row &row, u32 k, u32 i) const {
        const Output<G, false> of(k + i);
        u32 position;
        const bool is_inside = input_at<G>(of.d * G::stride::d - G::padding::d, of.h * G::stride::h - G::padding::h,
                                           of.w * G::stride::w - G::padding::w, row.tap, position);
        // Behind the row of ones there are none.
        __align__(16) static const float one[4] = {1.0f, 0.0f, 0.0f, 0.0f};
        if (row.is_one) return {one, true};
        return {x + X::at(of.n, row.c, position), row.is_there && is_inside};
    }
};

// The gradient of outputs as a matrix: rows are output channels, columns the outputs of the batch.
template <class G, class DY> struct Gradients {
    static constexpr Fours fours = DY::is_packed && Per<G>::outputs % 4 == 0 ? FOUR_ROWS : NO_FOURS;
    static constexpr bool knows_rows = false;
    static constexpr u32 rows = Per<G>::outputs;
    const float *dy;
    u32 group;
    using Row = u32;
    __device__ Row row(u32 o) const { return group * Per<G>::outputs + o; }
    static __device__ Row behind(Row row, u32 count) { return row + count; }
    __device__ Found find(Row row, u32 k, u32 i) const {
        return {dy + DY::at((k + i) / G::out::len, row, (k + i) % G::out::len), true};
    }
};

// Where a row and a column of a gradient belong: in the weight's, or in the bias's.
template <class G> __device__ float *gradient_at(float *of_weight, float *of_bias, u32 group, u32 m, u32 o) {
    const u32 row = group * Per<G>::outputs + o, tap = m / Per<G>::channels, c = G::number(m % Per<G>::channels);
    if (m == Per<G>::terms) return of_bias + row;
    return of_weight + ((u64)row * Per<G>::channels + c) * Per<G>::taps + tap;
}

// Adds `dW = dy x`, `db = sum of dy`; or, of the outputs of the batch in PARTS parts, writes sums of each. Blocks: rows of the gradient,
// output channels, groups of parts.
template <class G, class X, class DY, bool BIAS, u32 PARTS, u32 COLUMNS>
__device__ void conv_grad_weight(const float *x, const float *dy, float *of_weight, float *of_bias, float *parts, u32 batch) {
    constexpr u32 rows = Per<G>::terms + BIAS, of_group = Per<G>::outputs, N = Product<COLUMNS>::CHUNK;
    const u32 outputs = batch * G::out::len, group = blockIdx.z % G::groups, part = blockIdx.z / G::groups;
    const u32 first_row = blockIdx.x * 128, first_column = blockIdx.y * COLUMNS;
    const u32 share = (outputs + PARTS * 16 - 1) / (PARTS * 16) * 16;
    const u32 from = min(part * share, outputs);
    Product<COLUMNS> product;
    const Gradients<G, DY> gradients{dy, group};
    product.template run<1>(Transposed<G, X>{x, group}, gradients, first_row, first_column, from, min(from + share, outputs));
    const u32 row = first_row + product.row();
#pragma unroll
    for (u32 j = 0; j < product.HELD; j += N) {
        const u32 o = first_column + product.column(j);
        if (o >= of_group) continue;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (row + i >= rows) continue;
            float results[N];
#pragma unroll
            for (u32 k = 0; k < N; ++k) results[k] = product.sums[i][j + k];
            if constexpr (PARTS > 1) {
                write_floats<of_group % N == 0>(results, parts + ((u64)blockIdx.z * rows + row + i) * of_group + o, of_group - o);
            } else {
#pragma unroll
                for (u32 k = 0; k < N; ++k) {
                    if (o + k < of_group) *gradient_at<G>(of_weight, of_bias, group, row + i, o + k) += results[k];
                }
            }
        }
    }
}

// Adds the parts of a gradient to it. A block has 32 weights, and eight threads for each, of which each adds up every eighth part.
template <class G, bool BIAS, u32 PARTS>
__device__ void add_parts(const float *parts, float *of_weight, float *of_bias) {
    constexpr u32 rows = Per<G>::terms + BIAS, len = G::groups * rows * Per<G>::outputs;
    __shared__ float sums[8][32];
    const u32 i = blockIdx.x * 32 + threadIdx.x % 32;
    float sum = 0.0f;
#pragma unroll 8
    for (u32 part = threadIdx.x / 32; part < PARTS; part += 8) sum += i < len ? parts[(u64)part * len + i] : 0.0f;
    sums[threadIdx.x / 32][threadIdx.x % 32] = sum;
    __syncthreads();
    if (threadIdx.x >= 32 || i >= len) return;
    for (u32 of = 1; of < 8; ++of) sum += sums[of][threadIdx.x];
    const u32 o = i % Per<G>::outputs, m = i / Per<G>::outputs % rows, group = i / Per<G>::outputs / rows;
    *gradient_at<G>(of_weight, of_bias, group, m, o) += sum;
}

// Adds each channel's sum over the batch to the gradient of a bias. A block for each channel.
template <class DY> __device__ void grad_bias(const float *dy, float *of_bias, u32 batch) {
    const u32 c = blockIdx.x;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < batch * DY::positions; i += 256) sum += dy[DY::at(i / DY::positions, c, i % DY::positions)];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) of_bias[c] += sum;
}

// Packed weights of a layer: forward `[output][term]`; BACK `[channel][term]`.
template <class G, bool BACK> struct Packed {
    using Order = typename Either<BACK, Backward<G>, Forward<G>>::type::order;
    static constexpr u32 of_row = Per<G>::taps * (BACK ? Per<G>::outputs : Per<G>::channels), len = G::out_channels * Per<G>::terms;
    static __device__ float at(const float *weight, u32 i) {
        const u32 row = i / of_row, tap = Order::tap(i % of_row), in_row = Order::channel(i % of_row);
        const u32 o = BACK ? row / Per<G>::channels * Per<G>::outputs + in_row : row, c = BACK ? row % Per<G>::channels : in_row;
        return weight[((u64)o * Per<G>::channels + G::number(c)) * Per<G>::taps + tap];
    }
};

// Packs weights, those of each layer behind those of the one before: a thread for each. Of a layer in repeats there are those of `count`
// iterations, which `from` finds.
template <class Layer> __device__ bool pack_at(u64 &i, const float *weights, float *&packed) {
    constexpr u64 len = (u64)Layer::len * Layer::count;
    if (i < len) {
        packed[i] = Layer::at(weights + Layer::from(i / Layer::len), i % Layer::len);
        return true;
    }
    i -= len;
    packed += len;
    return false;
}
template <class... Layers> __device__ void pack(const float *weights, float *packed) {
    u64 i = thread_number();
    (pack_at<Layers>(i, weights, packed) || ...);
}
