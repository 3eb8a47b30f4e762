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
    static constexpr u32 unrolled = channels % 4 > 0 && terms <= 64 ? 4 : 1;
};

// Term i of a slice from k on, of so many for each tap. A tap that has WHOLE slices is found for all of a slice at once.
template <u32 CHANNELS, bool WHOLE = CHANNELS % 16 == 0> struct Term {
    u32 tap, c;
    __device__ Term(u32 k, u32 i) : tap((WHOLE ? k : k + i) / CHANNELS), c(k + i - tap * CHANNELS) {}
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
    static constexpr bool knows_rows = true;
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
        const Term<Per<G>::channels> of(k, i);
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

// The weights as a matrix: rows are output channels, columns taps and channels. PACKED: `[output][tap][channel of its group]`, each row at a
// multiple of 16 bytes.
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
        const Term<Per<G>::channels> of(k, i);
        return {row + (of.c * Per<G>::taps + of.tap), true};
    }
};

// A product whose sums are cut into parts is two launches: of the parts' SUMS, and of what FINISHes them.
enum Phase { WHOLE, SUMS, FINISH };

// The sums over the terms before `to`, or this block's part of them. A block with the same place in another part is `blocks` further on.
template <Phase PHASE, u32 PARTS, u32 UNROLLED, u32 COLUMNS, class A, class B>
__device__ void sum_up(Product<COLUMNS> &product, const A &a, const B &b, u32 first_row, u32 first_column, u32 to, u32 blocks, float *parts) {
    const u64 area = (u64)gridDim.x * gridDim.y, block = (blockIdx.z * gridDim.y + blockIdx.y) * (u64)gridDim.x + blockIdx.x;
    if constexpr (PHASE == FINISH) {
        product.add_up(parts, block, area * blocks, PARTS);
    } else {
        const u32 share = PARTS == 1 ? to : (to + PARTS * 16 - 1) / (PARTS * 16) * 16, from = min(blockIdx.z / blocks * share, to);
        product.template run<UNROLLED>(a, b, first_row, first_column, from, min(from + share, to));
        if constexpr (PHASE == SUMS) product.keep(parts, block);
    }
}

// The places of a block's maxima, each row of them a window, four channels to a byte. A barrier of the block of 128 threads, since a byte is
// of what two threads have.
template <class Places, u32 STRIDE>
__device__ void write_places(const u8 (&taps)[32][STRIDE], u32 first_window, u32 windows, u32 first_column, u8 *places) {
    constexpr u32 fours = STRIDE / 4 - 1;
    __syncthreads();
#pragma unroll
    for (u32 i = threadIdx.x; i < 32 * fours; i += 128) {
        const u32 window = first_window + i / fours, c = first_column + i % fours * 4;
        if (window >= windows || c >= Places::channels) continue;
        const u32 four = *reinterpret_cast<const u32 *>(&taps[i / fours][i % fours * 4]);
        places[Places::at(window / Places::positions, c, window % Places::positions)] = four | four >> 6 | four >> 12 | four >> 18;
    }
}

// `y = act(W x + bias)`, with the maxima of windows of 2 by 2 before the nonlinearity (POOL) and which of their elements they are, or
// with another value added before it or behind it. What a batch norm is to know goes to `moments`: of each block of rows
// `[mean, sum of (y - mean)^2][channel]`. Blocks: rows, output channels, groups of parts.
template <class G, class X, class Y, class R, class Act, bool POOL, bool BEHIND, u32 COLUMNS, bool PACKED, Phase PHASE = WHOLE, u32 PARTS = 1>
__device__ void conv_forward(const float *x, const float *weight, const float *bias, const float *added, float *y, u8 *places,
                             float *moments, float *parts, u32 batch) {
    const u32 rows = batch * Output<G, POOL>::rows, group = blockIdx.z % G::groups;
    const u32 first_row = blockIdx.x * 128, first_column = blockIdx.y * COLUMNS;
    Product<COLUMNS> product;
    const Unfolded<G, X, POOL> unfolded{x, rows, group};
    const Weights<G, PACKED> weights{weight, group};
    sum_up<PHASE, PARTS, Per<G>::unrolled>(product, unfolded, weights, first_row, first_column, Per<G>::terms, G::groups, parts);
    if constexpr (PHASE == SUMS) return;
    const u32 row = first_row + product.row();
    if constexpr (POOL) {
        // Where the slices were.
        u8(&taps)[32][COLUMNS + 4] = *reinterpret_cast<u8(*)[32][COLUMNS + 4]>(product.memory());
        if (places) __syncthreads();
#pragma unroll
        for (u32 j = 0; j < product.HELD; ++j) {
            const u32 c = first_column + product.column(j);
            float most = product.sums[0][j];
            u8 place = 0;
#pragma unroll
            for (u8 tap = 1; tap < 4; ++tap) {
                const float sum = product.sums[tap][j];
                if (sum > most || sum != sum) most = sum, place = tap;
            }
            if (places) taps[product.row() / 4][product.column(j)] = place;
            // There are whole windows only.
            if (c >= G::out_channels || row >= rows) continue;
            const u32 window = row / 4;
            y[Y::at(window / Y::positions, c, window % Y::positions)] = Act::of(most + (bias ? bias[c] : 0.0f));
        }
        if (places) write_places<TwoBits<G::out_channels, Y::positions>>(taps, first_row / 4, rows / 4, first_column, places);
    } else {
#pragma unroll
        for (u32 j = 0; j < product.HELD; ++j) {
            const u32 o = first_column + product.column(j), c = group * Per<G>::outputs + o;
            if (o >= Per<G>::outputs) continue;
            const float shift = bias ? bias[c] : 0.0f;
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                if (row + i >= rows) continue;
                const u32 n = (row + i) / G::out::len, p = (row + i) % G::out::len;
                const float other = added ? added[R::at(n, c, p)] : 0.0f;
                const float sum = product.sums[i][j] + shift;
                product.sums[i][j] = BEHIND ? Act::of(sum) + other : Act::of(sum + other);
                y[Y::at(n, c, p)] = product.sums[i][j];
            }
        }
        if (!moments) return;
        moments += (u64)blockIdx.x * 2 * G::out_channels + group * Per<G>::outputs + first_column;
        product.moments(min(product.ROWS, rows - first_row), Per<G>::outputs - first_column, moments, moments + G::out_channels);
    }
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
        DY::is_packed && Per<G>::outputs % 4 == 0 && has_bits<Size<I::D::most, I::H::most, I::W::most>>();
    static constexpr Fours fours = by_four ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = true;
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
        // With classes there are not registers enough to keep a tap.
        const Term<Per<G>::outputs, Per<G>::outputs % 16 == 0 && G::stride::len == 1> of(k, i);
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

// The weights the other way around: rows are channels, columns taps of a class and output channels. PACKED:
// `[channel][tap][output channel of its group]`, each tap at a multiple of 16 bytes.
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
        const Term<outputs, PACKED && outputs % 16 == 0 && G::stride::len == 1> of(k, i);
        const u32 tap = inputs.of_all(inputs.tap(of.tap));
        if constexpr (PACKED) return {row + (tap * outputs + of.c), true};
        return {row + (of.c * Per<G>::terms + tap), true};
    }
};

// `dx = W^T dy`, and that on through the nonlinearity Back whose result y the input is; with bias and a nonlinearity Act a transposed
// convolution. Blocks: rows, channels, parts of groups of classes of inputs.
template <class G, class DY, class DX, class Y, class Act, class Back, Store STORE, u32 COLUMNS, bool PACKED, Phase PHASE = WHOLE, u32 PARTS = 1>
__device__ void conv_grad_input(const float *dy, const float *weight, const float *bias, const float *y, float *dx, float *parts, u32 batch) {
    const u32 rows = batch * Inputs<G>::rows::len, group = blockIdx.z / G::stride::len % G::groups;
    const u32 first_row = blockIdx.x * 128, first_column = blockIdx.y * COLUMNS;
    const Inputs<G> inputs(blockIdx.z % G::stride::len);
    Product<COLUMNS> product;
    const Spread<G, DY> spread{dy, inputs, rows, group};
    const WeightsBack<G, PACKED> weights{weight, inputs, group};
    const u32 terms = inputs.taps() * Per<G>::outputs, blocks = G::stride::len * G::groups;
    sum_up<PHASE, PARTS, 1>(product, spread, weights, first_row, first_column, terms, blocks, parts);
    if constexpr (PHASE == SUMS) return;
    const u32 row = first_row + product.row();
#pragma unroll
    for (u32 j = 0; j < product.HELD; ++j) {
        const u32 of_group = first_column + product.column(j), c = group * Per<G>::channels + of_group;
        if (of_group >= Per<G>::channels) continue;
        const float shift = bias ? bias[c] : 0.0f;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 n = (row + i) / Inputs<G>::rows::len;
            const Position<typename Inputs<G>::rows> at((row + i) % Inputs<G>::rows::len);
            if (row + i >= rows || !inputs.is_there(at)) continue;
            const u32 p = inputs.position(at);
            const float sum = Act::of(product.sums[i][j] + shift);
            put<STORE>(dx + DX::at(n, c, p), y ? Back::back(y[Y::at(n, c, p)], sum) : sum);
        }
    }
}

// The input as a matrix: rows are taps and channels, the last one all 1; columns are the outputs of the batch.
template <class G, class X> struct Terms {
    static constexpr Fours fours = X::is_packed && Per<G>::channels % 4 == 0 ? FOUR_ROWS : NO_FOURS;
    static constexpr bool knows_rows = Per<G>::taps == 1;
    static constexpr u32 rows = Per<G>::terms + 1;
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
    constexpr u32 rows = Per<G>::terms + BIAS;
    const u32 outputs = batch * G::out::len, group = blockIdx.z % G::groups, part = blockIdx.z / G::groups;
    const u32 first_row = blockIdx.x * 128, first_column = blockIdx.y * COLUMNS;
    const u32 share = (outputs + PARTS * 16 - 1) / (PARTS * 16) * 16;
    const u32 from = min(part * share, outputs);
    Product<COLUMNS> product;
    const Gradients<G, DY> gradients{dy, group};
    product.template run<1>(Terms<G, X>{x, group}, gradients, first_row, first_column, from, min(from + share, outputs));
    const u32 row = first_row + product.row();
#pragma unroll
    for (u32 j = 0; j < product.HELD; ++j) {
        const u32 o = first_column + product.column(j);
        if (o >= Per<G>::outputs) continue;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            if (row + i >= rows) continue;
            if constexpr (PARTS > 1) parts[((u64)blockIdx.z * rows + row + i) * Per<G>::outputs + o] = product.sums[i][j];
            else *gradient_at<G>(of_weight, of_bias, group, row + i, o) += product.sums[i][j];
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

// Packed weights of a layer: forward `[output][tap][channel of its group]`; BACK `[channel][tap][output channel of its group]`.
template <class G, bool BACK> struct Packed {
    static constexpr u32 len = G::out_channels * Per<G>::terms;
    static __device__ float at(const float *weight, u32 i) {
        const u32 outer = i / (len / (BACK ? G::channels : G::out_channels)), inner = i % (BACK ? Per<G>::outputs : Per<G>::channels);
        const u32 tap = i / (BACK ? Per<G>::outputs : Per<G>::channels) % Per<G>::taps;
        const u32 o = BACK ? outer / Per<G>::channels * Per<G>::outputs + inner : outer, c = BACK ? outer % Per<G>::channels : inner;
        return weight[((u64)o * Per<G>::channels + G::number(c)) * Per<G>::taps + tap];
    }
};

// Packs weights, those of each layer behind those of the one before: a thread for each. Of a layer in repeats there are those of `count`
// iterations, which `from` finds.
template <class Layer, class... Others> __device__ void pack_at(u64 i, const float *weights, float *packed) {
    constexpr u64 len = (u64)Layer::len * Layer::count;
    if (i < len) packed[i] = Layer::at(weights + Layer::from(i / Layer::len), i % Layer::len);
    else if constexpr (sizeof...(Others) > 0) pack_at<Others...>(i - len, weights, packed + len);
}
template <class... Layers> __device__ void pack(const float *weights, float *packed) { pack_at<Layers...>(thread_number(), weights, packed); }
