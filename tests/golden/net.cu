// `Net`, from specs/net.yaml.

// What all kernels share: names of types, how values lie, sums over a block.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Products in f32 (0), tf32 (1) or bf16 (2); sums are in f32.
#ifndef PRECISION
#define PRECISION 0
#endif

// A value of the batch in PyTorch's order: `[sample][channel][position]`.
template <u32 C, u32 P> struct First {
    static constexpr u32 channels = C, positions = P, len = C * P;
    // Whether channels are last; whether elements lie in PyTorch's order; whether the channels of a position are next to each other.
    static constexpr bool is_last = false, is_plain = true, is_packed = P == 1;
    // The place of an element by channel and position, and by its number in PyTorch's order.
    static __device__ u64 at(u32 n, u32 c, u32 p) { return (u64)n * len + c * P + p; }
    static __device__ u64 element(u32 n, u32 e) { return (u64)n * len + e; }
    // What lies at place i of a sample.
    static __device__ u32 channel(u32 i) { return i / P; }
    static __device__ u32 position(u32 i) { return i % P; }
    static __device__ u32 number(u32 i) { return i; }
};

// A value of the batch with channels last: `[sample][position][channel]`.
template <u32 C, u32 P> struct Last {
    static constexpr u32 channels = C, positions = P, len = C * P;
    static constexpr bool is_last = true, is_plain = false, is_packed = true;
    static __device__ u64 at(u32 n, u32 c, u32 p) { return (u64)n * len + p * C + c; }
    static __device__ u64 element(u32 n, u32 e) { return at(n, e / P, e % P); }
    static __device__ u32 channel(u32 i) { return i % C; }
    static __device__ u32 position(u32 i) { return i / C; }
    static __device__ u32 number(u32 i) { return i % C * P + i / C; }
};

// Elements of a value from one on, in PyTorch's order.
template <class Whole, u32 FROM, u32 LEN> struct Part {
    static constexpr u32 len = LEN;
    // Whole channels of a value with channels last are gone through as they lie.
    static constexpr bool is_last = Whole::is_last && FROM % Whole::positions == 0 && LEN % Whole::positions == 0;
    static constexpr bool is_plain = false;
    static __device__ u64 element(u32 n, u32 e) { return Whole::element(n, FROM + e); }
    static __device__ u32 number(u32 i) {
        constexpr u32 channels = is_last ? LEN / Whole::positions : 1;
        return is_last ? i % channels * Whole::positions + i / channels : i;
    }
};

// A value that an op sees as a map of other channels than it lies in.
template <class Whole, u32 C, u32 P> struct As {
    static constexpr u32 channels = C, positions = P, len = C * P;
    static constexpr bool is_packed = false;
    static __device__ u64 at(u32 n, u32 c, u32 p) { return Whole::element(n, c * P + p); }
    static __device__ u32 channel(u32 i) { return i / P; }
    static __device__ u32 position(u32 i) { return i % P; }
};

// A value `[rows][features]`, as a map of so many channels with a position for each row.
template <class Whole, u32 FEATURES> struct Rows {
    static constexpr u32 len = Whole::len;
    static constexpr bool is_packed = Whole::is_plain;
    static __device__ u64 at(u32 n, u32 c, u32 p) { return Whole::element(n, p * FEATURES + c); }
};

// Whether a result replaces what is there or adds to it.
enum Store { WRITE, ADD };

template <Store STORE> __device__ void put(float *to, float value) { *to = STORE == ADD ? *to + value : value; }

// The number of this thread among all of the launch.
__device__ u64 thread_number() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

// The sum of a number of each thread of a block of so many, for all of them; always in the same order.
template <u32 THREADS> __device__ float block_sum(float number) {
    __shared__ float parts[THREADS / 32];
    for (u32 distance = 16; distance > 0; distance /= 2) number += __shfl_xor_sync(0xffffffffu, number, distance);
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = number;
    __syncthreads();
    float sum = 0.0f;
    for (u32 warp = 0; warp < THREADS / 32; ++warp) sum += parts[warp];
    return sum;
}

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

// Windows that slide over maps. A geometry G has the sizes `size`, `out`, `kernel`, `stride`, `padding` and `dilation`, on three axes.

template <int DEPTH, int HEIGHT, int WIDTH> struct Size {
    static constexpr int d = DEPTH, h = HEIGHT, w = WIDTH;
    static constexpr u32 len = (u32)DEPTH * HEIGHT * WIDTH;
};

// A position of a map.
template <class S> struct Position {
    int d, h, w;
    __device__ explicit Position(u32 p) : d(p / (S::h * S::w)), h(p / S::w % S::h), w(p % S::w) {}
};

// The input's position at a tap of the window of an output; whether that lies in the map.
template <class G> __device__ bool input_at(int d, int h, int w, u32 tap, u32 &position) {
    const Position<typename G::kernel> at(tap);
    d += at.d * G::dilation::d;
    h += at.h * G::dilation::h;
    w += at.w * G::dilation::w;
    position = (d * G::size::h + h) * G::size::w + w;
    return (u32)d < (u32)G::size::d && (u32)h < (u32)G::size::h && (u32)w < (u32)G::size::w;
}

// Along one axis the output whose window has an input at a tap; below 0 if there is none.
template <int STRIDE, int OUT> __device__ int output_along(int at) {
    return at >= 0 && at % STRIDE == 0 && at / STRIDE < OUT ? at / STRIDE : -1;
}

// Products of matrices whose elements are found as they are copied: `sum[m][n] = sum over k of a(m, k) b(n, k)`.
//
// A block of 128 threads makes 128 rows by COLUMNS, from slices of 16 terms k. The slices of both matrices are copied to shared memory
// while those before are multiplied: four elements at once where they lie next to each other, else one by one.
//
// Of a matrix `row(m)` is what a thread knows of a row, and `find(row, k, i)` where term i of the slice from k on is. A thread then holds
// four rows that follow each other, for COLUMNS / 4 columns, whatever the precision: those of a window of 2 by 2, say.

// Which elements of a matrix lie next to each other, by fours that begin at multiples of 16 bytes: terms of a row, or rows of a term.
enum Fours { NO_FOURS, FOUR_TERMS, FOUR_ROWS };

// Where an element is; what is not there is 0.
struct Found {
    const float *at;
    bool is_there;
};

// Copies to shared memory, which have come when they were waited for. Of nothing no byte is read, and zeros are written.
__device__ void copy_one(float *to, Found from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from.at),
                 "r"(from.is_there ? 4 : 0));
}
__device__ void copy_four(float *to, Found from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from.at),
                 "r"(from.is_there ? 16 : 0));
}
__device__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// A slice of a matrix, ROWS by 16 terms: BY_TERMS with the terms of a row next to each other, else with the rows of a term. Fours of floats
// are in an order in which neither those that a quarter of a warp copies nor those that it reads meet in a bank.
template <u32 ROWS, bool BY_TERMS> struct Slice {
    static constexpr u32 len = ROWS * 16;

    static __device__ u32 place(u32 row, u32 term) {
        if constexpr (BY_TERMS) {
            // Of 128 rows a thread has four, which are 32 lines apart, so that its neighbours have the next lines.
            const u32 line = ROWS == 128 ? row % 4 * 32 + row / 4 : row;
            const u32 turn = line / 2 % 2 * 2 + line / 4 % 2;
            return line * 16 + (term / 4 ^ turn) * 4 + term % 4;
        } else {
            const u32 turn = ROWS >= 32 ? term % 4 * 2 : ROWS == 16 ? term & 2 : 0;
            return term * ROWS + (row / 4 ^ turn) * 4 + row % 4;
        }
    }

    // Of N rows a quarter of the terms: 4 q and the three behind it BY_TERMS, else every fourth from q on.
    template <u32 N> static __device__ void read(const float *slice, u32 row, u32 quarter, float (&of)[N][4]) {
#pragma unroll
        for (u32 i = 0; i < (BY_TERMS ? N : 4); ++i) {
            if constexpr (BY_TERMS) {
                const u32 at = ROWS == 128 ? place(row, quarter * 4) + i * 512 : place(row + i, quarter * 4);
                const float4 terms = *reinterpret_cast<const float4 *>(slice + at);
                of[i][0] = terms.x, of[i][1] = terms.y, of[i][2] = terms.z, of[i][3] = terms.w;
            } else {
                const float *const rows = slice + place(row, quarter + i * 4);
                if constexpr (N == 4) {
                    const float4 four = *reinterpret_cast<const float4 *>(rows);
                    of[0][i] = four.x, of[1][i] = four.y, of[2][i] = four.z, of[3][i] = four.w;
                } else if constexpr (N == 2) {
                    const float2 two = *reinterpret_cast<const float2 *>(rows);
                    of[0][i] = two.x, of[1][i] = two.y;
                } else {
                    of[0][i] = *rows;
                }
            }
        }
    }
};

// Of so many copies of 8 rows each those of a matrix with few rows; of another, ALL.
template <class Matrix, bool ALL> __device__ constexpr u32 copies_of_rows(u32 copies) {
    if constexpr (ALL) return copies;
    else return Matrix::rows <= 32 ? (Matrix::rows + 7) / 8 : copies;
}

// Which elements of each slice of a matrix this thread copies. Four at once,
// - of a row's terms (has_halves) every other four, so that two neighbours copy a sector; of few rows one four;
// - of a term's rows always the same four;
// one at once, a warp 8 rows by 4 terms,
// - of the right matrix always a term, and every eighth row; the same of a left one of few rows;
// - of a left one of many rows (by_warp) every eighth of its warp's 32, and every fourth term;
// - but if it is much to know of a row (by_row), all of one.
template <class Matrix, u32 ROWS, bool BY_TERMS> struct Copier {
    using To = Slice<ROWS, BY_TERMS>;
    static constexpr bool by_four = Matrix::fours == (BY_TERMS ? FOUR_TERMS : FOUR_ROWS);
    static constexpr bool by_row = !by_four && ROWS == 128 && Matrix::knows_rows;
    static constexpr bool is_right = ROWS < 128;
    static constexpr u32 copies = by_four ? (ROWS < 32 ? 1 : ROWS / 32) : ROWS / 8;
    static constexpr u32 of_rows = copies_of_rows<Matrix, by_four || by_row || is_right>(copies);
    static constexpr bool by_warp = !by_four && !by_row && !is_right && of_rows == copies;
    static constexpr bool has_halves = by_four && BY_TERMS && ROWS >= 64;
    static constexpr u32 kept = has_halves ? copies / 2 : by_warp ? 4 : 1;

    const Matrix &matrix;
    const u32 first;
    typename Matrix::Row rows[kept];

    // The row and the term of its copy i.
    static __device__ u32 row(u32 i) {
        if (has_halves) return is_right ? threadIdx.x / 2 : threadIdx.x / 2 % 32 * 4 + threadIdx.x / 64 + i / 2 * 2;
        if (by_four && BY_TERMS) return threadIdx.x / 4;
        if (by_four) return threadIdx.x % (ROWS / 4) * 4;
        if (by_row) return threadIdx.x;
        return by_warp ? threadIdx.x / 32 * 32 + threadIdx.x % 8 + i % 4 * 8 : threadIdx.x % 8 + i * 8;
    }
    static __device__ u32 term(u32 i) {
        if (has_halves) return threadIdx.x % 2 * 4 + i % 2 * 8;
        if (by_four) return BY_TERMS ? threadIdx.x % 4 * 4 : threadIdx.x / (ROWS / 4) + i * (512 / ROWS);
        if (by_row) return i;
        return by_warp ? threadIdx.x / 8 % 4 + i / 4 * 4 : threadIdx.x / 8;
    }
    // Where it goes to: at known distances if that can be.
    static __device__ u32 place(u32 i) {
        if (has_halves) return (To::place(row(0), term(0)) ^ i % 2 * 8) + i / 2 * 1024;
        if (by_four) return To::place(row(0), term(0)) + i * 512;
        return BY_TERMS ? To::place(row(0), term(0)) + i * 128 : To::place(row(i), term(i));
    }

    __device__ Copier(const Matrix &matrix, u32 first) : matrix(matrix), first(first) {
#pragma unroll
        for (u32 i = 0; i < kept; ++i) rows[i] = matrix.row(first + row(by_warp ? i : i * (copies / kept)));
    }

    // Whether there is nothing in the row of its copy i. Of the left matrix there is then nothing behind it either: the slices are cleared
    // there at the start.
    __device__ bool is_beside(u32 i) const {
        if constexpr (is_right) return Matrix::rows % ROWS > 0 && first + row(i) >= Matrix::rows;
        else if constexpr (by_four || by_row) return false;
        else return first + (by_warp ? threadIdx.x / 32 * 32 : i * 8) >= matrix.rows;
    }
    __device__ void clear(float *slice) const {
        for (u32 i = 0; i < copies; ++i) {
            if (is_beside(i)) slice[place(i)] = 0.0f;
        }
    }

    __device__ Found find(u32 i, u32 k) const {
        if constexpr (by_warp) return matrix.find(rows[i % 4], k, term(i));
        else if constexpr (by_four || by_row) return matrix.find(rows[i * kept / copies], k, term(i));
        else if constexpr (is_right) return matrix.find(Matrix::behind(rows[0], i * 8), k, term(i));
        else return matrix.find(matrix.row(first + row(i)), k, term(i));
    }

    // Copies the slice whose first term is k, of a matrix of so many terms.
    __device__ void copy(float *slice, u32 k, u32 terms) const {
        if (by_four && ROWS < 32 && threadIdx.x >= ROWS * 4) return;
#pragma unroll
        for (u32 i = 0; i < of_rows; ++i) {
            if (!is_right && is_beside(i)) break;
            Found found = find(i, k);
            found.is_there = found.is_there && k + term(i) < terms && !is_beside(i);
            if constexpr (by_four) copy_four(slice + place(i), found);
            else copy_one(slice + place(i), found);
        }
    }
};

template <u32 COLUMNS> struct Product {
    static constexpr u32 ROWS = 128, DEPTH = 16, HELD = COLUMNS / 4;

    float sums[4][HELD];

    // The first of this thread's four rows in the block.
    static __device__ u32 row() {
#if PRECISION == 0
        return threadIdx.x % 32 * 4;
#else
        return threadIdx.x / 32 * 32 + threadIdx.x % 32 / 4 * 4;
#endif
    }

    // The column of this thread's sums `j`.
    static __device__ u32 column(u32 j) {
#if PRECISION == 0
        return threadIdx.x / 32 * HELD + j;
#else
        return j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2;
#endif
    }

    // Shared memory of the block: two slices of each matrix. Behind `run` and a barrier nothing needs them.
    static __device__ float *memory() {
        __shared__ __align__(16) float slices[2 * (ROWS + COLUMNS) * DEPTH];
        return slices;
    }

    // The sums over k from `from` to before `to`. With UNROLLED steps written out, of few known terms, all that is computed of k is known.
    template <u32 UNROLLED, class A, class B>
    __device__ void run(const A &a, const B &b, u32 first_row, u32 first_column, u32 from, u32 to) {
        constexpr bool by_terms = A::fours == FOUR_TERMS;
        using Left = Slice<ROWS, by_terms>;
        using Right = Slice<COLUMNS, by_terms>;
        const Copier<A, ROWS, by_terms> left(a, first_row);
        const Copier<B, COLUMNS, by_terms> right(b, first_column);
        float *before = memory(), *now = before + Left::len + Right::len;
        left.clear(before);
        left.clear(now);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
#pragma unroll
            for (u32 j = 0; j < HELD; ++j) sums[i][j] = 0.0f;
        }
        // A slice is copied in one turn and multiplied in the next.
#pragma unroll UNROLLED
        for (u32 k = from; k < to + DEPTH; k += DEPTH) {
            wait_for_copies();
            __syncthreads();
            if (k < to) {
                left.copy(now, k, to);
                right.copy(now + Left::len, k, to);
            }
            if (k > from) step<Left, Right>(before, before + Left::len);
            float *const last = before;
            before = now;
            now = last;
        }
    }

#if PRECISION == 0
    template <class Left, class Right> __device__ void step(const float *left, const float *right) {
        // Of many columns there are not registers enough for more than one quarter.
        constexpr u32 some = HELD < 4 ? HELD : 4, at_once = HELD < 16 ? 2 : 1;
#pragma unroll at_once
        for (u32 quarter = 0; quarter < 4; ++quarter) {
            float a[4][4];
            Left::read(left, row(), quarter, a);
#pragma unroll
            for (u32 j = 0; j < HELD; j += some) {
                float b[some][4];
                Right::read(right, column(j), quarter, b);
#pragma unroll
                for (u32 term = 0; term < 4; ++term) {
#pragma unroll
                    for (u32 n = 0; n < some; ++n) {
#pragma unroll
                        for (u32 i = 0; i < 4; ++i) sums[i][j + n] += a[i][term] * b[n][term];
                    }
                }
            }
        }
    }
#elif PRECISION == 1
#define SHAPE "m16n8k8.row.col.f32.tf32.tf32.f32"
    static constexpr u32 FACTORS = 4;

    static __device__ void rounded(const float (&terms)[4], u32 (&factors)[FACTORS]) {
#pragma unroll
        for (u32 i = 0; i < 4; ++i) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(factors[i]) : "f"(terms[i]));
    }
#else
#define SHAPE "m16n8k16.row.col.f32.bf16.bf16.f32"
    static constexpr u32 FACTORS = 2;

    // Two neighbours, the first in the lower half.
    static __device__ void rounded(const float (&terms)[4], u32 (&factors)[FACTORS]) {
#pragma unroll
        for (u32 i = 0; i < 2; ++i) {
            asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(factors[i]) : "f"(terms[2 * i + 1]), "f"(terms[2 * i]));
        }
    }
#endif

#if PRECISION > 0
    // Two products of 16 by 8 for each eight columns: rows g and g + 8 of the instruction are rows 4 g + i of the warp's 32, so that a
    // thread's four follow each other, and the terms that a thread gives are its quarter. Fragments: PTX ISA, "Matrix Fragments for
    // mma.m16n8k8" and "for mma.m16n8k16 with floating point type".
    template <class Left, class Right> __device__ void step(const float *left, const float *right) {
        const u32 group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
        float a[4][4];
        Left::read(left, row(), member, a);
        u32 of_left[4][FACTORS];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) rounded(a[i], of_left[i]);
#pragma unroll
        for (u32 j = 0; j < HELD; j += 2) {
            float b[1][4];
            Right::read(right, j * 4 + group, member, b);
            u32 of_right[FACTORS];
            rounded(b[0], of_right);
#pragma unroll
            for (u32 at = 0; at < FACTORS; at += 2) {
#pragma unroll
                for (u32 half = 0; half < 2; ++half) {
                    const u32(&upper)[FACTORS] = of_left[2 * half], (&lower)[FACTORS] = of_left[2 * half + 1];
                    asm("mma.sync.aligned." SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                        : "+f"(sums[2 * half][j]), "+f"(sums[2 * half][j + 1]), "+f"(sums[2 * half + 1][j]),
                          "+f"(sums[2 * half + 1][j + 1])
                        : "r"(upper[at]), "r"(lower[at]), "r"(upper[at + 1]), "r"(lower[at + 1]), "r"(of_right[at]),
                          "r"(of_right[at + 1]));
                }
            }
        }
    }
#endif
};

// Convolutions and linear layers as products of matrices that are never written out (implicit GEMM).
//
// A geometry G also has `channels`, `out_channels` and `groups`. Weights lie in PyTorch's order, `[output][channel of its group][tap]`.

// A linear layer: a convolution of one tap, over rows.
template <u32 ROWS, u32 INPUTS, u32 OUTPUTS> struct Linear {
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
    static constexpr u32 unrolled = channels % 4 > 0 && terms <= 64 ? 5 : 1;
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

// The input as a matrix: rows are outputs, columns taps and channels.
template <class G, class X, bool POOL> struct Unfolded {
    static constexpr Fours fours = X::is_packed && Per<G>::channels % 4 == 0 ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = true;
    const float *x;
    u32 rows, group;
    struct Row {
        u32 n;
        int d, h, w;
    };
    __device__ Row row(u32 m) const {
        const Output<G, POOL> of(m);
        return {of.n, of.d * G::stride::d - G::padding::d, of.h * G::stride::h - G::padding::h,
                m < rows ? of.w * G::stride::w - G::padding::w : NOWHERE};
    }
    // There is nothing beside the map.
    __device__ Found find(const Row &row, u32 k, u32 i) const {
        const Term<Per<G>::channels> of(k, i);
        u32 position;
        const bool is_inside = input_at<G>(row.d, row.h, row.w, of.tap, position);
        return {x + X::at(row.n, group * Per<G>::channels + of.c, position), is_inside};
    }
};

// The weights as a matrix: rows are output channels, columns taps and channels. Channels of one tap lie next to each other, ALIGNED if each
// row begins at a multiple of 16 bytes.
template <class G, bool ALIGNED> struct Weights {
    static constexpr Fours fours = ALIGNED && Per<G>::taps == 1 && Per<G>::channels % 4 == 0 ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = false;
    static constexpr u32 rows = Per<G>::outputs;
    const float *weight;
    u32 group;
    using Row = const float *;
    __device__ Row row(u32 o) const { return weight + (u64)(group * Per<G>::outputs + o) * Per<G>::terms; }
    static __device__ Row behind(Row row, u32 count) { return row + count * Per<G>::terms; }
    __device__ Found find(Row row, u32 k, u32 i) const {
        const Term<Per<G>::channels> of(k, i);
        return {row + (of.c * Per<G>::taps + of.tap), true};
    }
};

// `y = act(W x + bias)`, with the maxima of windows of 2 by 2 before the nonlinearity (POOL) and which of their elements they are, or
// with another value added before it or behind it. Blocks: rows, output channels, groups.
template <class G, class X, class Y, class R, class Act, bool POOL, bool BEHIND, u32 COLUMNS, bool ALIGNED>
__device__ void conv_forward(const float *x, const float *weight, const float *bias, const float *added, float *y, u8 *places,
                             u32 batch) {
    const u32 rows = batch * Output<G, POOL>::rows, group = blockIdx.z;
    const u32 first_row = blockIdx.x * 128, first_column = blockIdx.y * COLUMNS;
    Product<COLUMNS> product;
    const Unfolded<G, X, POOL> unfolded{x, rows, group};
    const Weights<G, ALIGNED> weights{weight, group};
    product.template run<Per<G>::unrolled>(unfolded, weights, first_row, first_column, 0, Per<G>::terms);
    const u32 row = first_row + product.row();
#pragma unroll
    for (u32 j = 0; j < product.HELD; ++j) {
        const u32 o = first_column + product.column(j), c = group * Per<G>::outputs + o;
        if (o >= Per<G>::outputs) continue;
        const float shift = bias ? bias[c] : 0.0f;
        if constexpr (POOL) {
            // There are whole windows only.
            if (row >= rows) continue;
            float most = product.sums[0][j];
            u8 place = 0;
#pragma unroll
            for (u8 tap = 1; tap < 4; ++tap) {
                const float sum = product.sums[tap][j];
                if (sum > most || sum != sum) most = sum, place = tap;
            }
            const u32 window = row / 4;
            const u64 at = Y::at(window / Y::positions, c, window % Y::positions);
            y[at] = Act::of(most + shift);
            if (places) places[at] = place;
        } else {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                if (row + i >= rows) continue;
                const u32 n = (row + i) / G::out::len, p = (row + i) % G::out::len;
                const float other = added ? added[R::at(n, c, p)] : 0.0f;
                const float sum = product.sums[i][j] + shift;
                y[Y::at(n, c, p)] = BEHIND ? Act::of(sum) + other : Act::of(sum + other);
            }
        }
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
    static constexpr Fours fours = DY::is_packed && Per<G>::outputs % 4 == 0 ? FOUR_TERMS : NO_FOURS;
    static constexpr bool knows_rows = true;
    const float *dy;
    const Inputs<G> &inputs;
    u32 rows, group;
    struct Row {
        u32 n;
        int d, h, w;
    };
    __device__ Row row(u32 m) const {
        const Position<typename Inputs<G>::rows> at(m % Inputs<G>::rows::len);
        return {m / Inputs<G>::rows::len, at.d, at.h, m < rows ? at.w : NOWHERE};
    }
    // There is nothing where no window has the input at this tap.
    __device__ Found find(const Row &row, u32 k, u32 i) const {
        // With classes there are not registers enough to keep a tap.
        const Term<Per<G>::outputs, Per<G>::outputs % 16 == 0 && G::stride::len == 1> of(k, i);
        const auto tap = inputs.tap(of.tap);
        const int d = inputs.d.output(row.d, tap.d), h = inputs.h.output(row.h, tap.h), w = inputs.w.output(row.w, tap.w);
        const bool is_output = inputs.d.is_output(row.d, tap.d) && inputs.h.is_output(row.h, tap.h) && inputs.w.is_output(row.w, tap.w);
        return {dy + DY::at(row.n, group * Per<G>::outputs + of.c, (d * G::out::h + h) * G::out::w + w), is_output};
    }
};

// The weights the other way around: rows are channels, columns taps of a class and output channels.
template <class G> struct WeightsBack {
    static constexpr Fours fours = NO_FOURS;
    static constexpr bool knows_rows = false;
    static constexpr u32 rows = Per<G>::channels;
    const float *weight;
    const Inputs<G> &inputs;
    u32 group;
    using Row = const float *;
    __device__ Row row(u32 c) const { return weight + (u64)group * Per<G>::outputs * Per<G>::terms + c * Per<G>::taps; }
    static __device__ Row behind(Row row, u32 count) { return row + count * Per<G>::taps; }
    __device__ Found find(Row row, u32 k, u32 i) const {
        const Term<Per<G>::outputs, false> of(k, i);
        return {row + (of.c * Per<G>::terms + inputs.of_all(inputs.tap(of.tap))), true};
    }
};

// `dx = W^T dy`, and that on through the nonlinearity Back whose result y the input is; with bias and a nonlinearity Act a transposed
// convolution. Blocks: rows, channels, groups of classes of inputs.
template <class G, class DY, class DX, class Y, class Act, class Back, Store STORE, u32 COLUMNS>
__device__ void conv_grad_input(const float *dy, const float *weight, const float *bias, const float *y, float *dx, u32 batch) {
    const u32 rows = batch * Inputs<G>::rows::len, group = blockIdx.z / G::stride::len;
    const u32 first_row = blockIdx.x * 128, first_column = blockIdx.y * COLUMNS;
    const Inputs<G> inputs(blockIdx.z % G::stride::len);
    Product<COLUMNS> product;
    const Spread<G, DY> spread{dy, inputs, rows, group};
    const WeightsBack<G> weights{weight, inputs, group};
    product.template run<1>(spread, weights, first_row, first_column, 0, inputs.taps() * Per<G>::outputs);
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
    const u32 row = group * Per<G>::outputs + o, tap = m / Per<G>::channels, c = m % Per<G>::channels;
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

// Adds the parts of a gradient to it, in their order. A thread for each weight.
template <class G, bool BIAS, u32 PARTS>
__device__ void add_parts(const float *parts, float *of_weight, float *of_bias) {
    constexpr u32 rows = Per<G>::terms + BIAS, len = G::groups * rows * Per<G>::outputs;
    const u32 i = thread_number();
    if (i >= len) return;
    float sum = 0.0f;
    for (u32 part = 0; part < PARTS; ++part) sum += parts[(u64)part * len + i];
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

// A linear layer of so few outputs that products in blocks would leave most of a card idle: `y = act(W x + bias)`, a warp for four rows and
// one output, in f32.
template <class G, class X, class Y, class Act>
__device__ void linear_by_warps(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    const u32 lane = threadIdx.x % 32, rows = batch * G::out::len;
    const u32 warp = thread_number() / 32, o = warp % G::out_channels, first = warp / G::out_channels * 4;
    if (first >= rows) return;
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (u32 k = lane; k < G::channels; k += 32) {
        const float factor = weight[(u64)o * G::channels + k];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            const u32 row = min(first + i, rows - 1);
            sums[i] += factor * x[X::at(row / G::out::len, k, row % G::out::len)];
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        for (u32 distance = 16; distance > 0; distance /= 2) sums[i] += __shfl_xor_sync(0xffffffffu, sums[i], distance);
        const u32 row = first + i;
        if (lane == i && row < rows) y[Y::at(row / G::out::len, o, row % G::out::len)] = Act::of(sums[i] + (bias ? bias[o] : 0.0f));
    }
}

// Pools. A window W has `size`, `out`, `kernel`, `stride`, `padding`, `dilation`, as a convolution's geometry.

// The maximum of each window, and which of its elements that is: the first of equal ones, NaN above all. A thread for each output.
template <class W, class X, class Y, class Where> __device__ void max_pool(const float *x, float *y, Where *places, u32 batch) {
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
    if (places) places[Y::at(n, c, p)] = place;
}

// `dx = dy` where the maximum was, else 0; dy on its way through the nonlinearity Back whose result y is. A thread for each input, which
// looks at the windows that have it.
template <class W, class DY, class Y, class DX, class Back, class Where, Store STORE>
__device__ void max_pool_back(const float *dy, const Where *places, const float *y, float *dx, u32 batch) {
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
        if (places[Y::at(n, c, output)] != k) continue;
        const float derivative = dy[DY::at(n, c, output)];
        sum += y ? Back::back(y[Y::at(n, c, output)], derivative) : derivative;
    }
    put<STORE>(dx + DX::at(n, c, p), sum);
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

// Losses, and their derivatives by each element of an output. A block of 128 threads for each sample.
//
// Everything is multiplied with `factor[0]`: what a loss counts, divided by what the samples of the batch count together.

// `-(1 - e) w[label] log p[label] - e / K sum over c of w[c] log p[c]`, p = softmax(y), e the smoothing, of K classes; the mean over the
// positions. No weights are all 1.
template <u32 CLASSES, u32 POSITIONS, class Y, class DY>
__device__ void loss_cross_entropy(const float *y, float *dy, const u32 *labels, const float *weights, float smoothing,
                                   const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float own = 1.0f - smoothing, spread = smoothing / CLASSES;
    const float each = factor[0] / POSITIONS;
    float all = 0.0f;
    for (u32 c = 0; c < CLASSES; ++c) all += weights ? weights[c] : 1.0f;
    float loss = 0.0f;
    for (u32 p = threadIdx.x; p < POSITIONS; p += 128) {
        const u32 label = labels[(u64)n * POSITIONS + p];
        const float of_label = own * (weights ? weights[label] : 1.0f);
        float most = y[Y::element(n, p)], sum = 0.0f;
        for (u32 c = 1; c < CLASSES; ++c) most = fmaxf(most, y[Y::element(n, c * POSITIONS + p)]);
        for (u32 c = 0; c < CLASSES; ++c) sum += expf(y[Y::element(n, c * POSITIONS + p)] - most);
        const float log_sum = logf(sum);
        for (u32 c = 0; c < CLASSES; ++c) {
            const u32 e = c * POSITIONS + p;
            const float log = y[Y::element(n, e)] - most - log_sum;
            const float of_class = spread * (weights ? weights[c] : 1.0f);
            const float at_label = c == label ? of_label : 0.0f;
            // A weight of 0 hides what is not a number no more than on the processor.
            if (c == label) loss -= of_label * log;
            if (smoothing > 0.0f) loss -= of_class * log;
            dy[DY::element(n, e)] = (expf(y[Y::element(n, e)] - most) / sum * (of_label + spread * all) - at_label - of_class) * each;
        }
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// `-w[label] y[label]`; the mean over the positions.
template <u32 CLASSES, u32 POSITIONS, class Y, class DY>
__device__ void loss_nll(const float *y, float *dy, const u32 *labels, const float *weights, const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / POSITIONS;
    float loss = 0.0f;
    for (u32 p = threadIdx.x; p < POSITIONS; p += 128) {
        const u32 label = labels[(u64)n * POSITIONS + p];
        const float weight = weights ? weights[label] : 1.0f;
        for (u32 c = 0; c < CLASSES; ++c) dy[DY::element(n, c * POSITIONS + p)] = c == label ? -weight * each : 0.0f;
        loss -= weight * y[Y::element(n, label * POSITIONS + p)];
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
__device__ void loss_of_values(const float *y, float *dy, const float *targets, float number, const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / Y::len;
    float loss = 0.0f;
    for (u32 e = threadIdx.x; e < Y::len; e += 128) {
        float slope;
        loss += Of::of(y[Y::element(n, e)] - targets[(u64)n * Y::len + e], number, slope);
        dy[DY::element(n, e)] = slope * each;
    }
    loss = block_sum<128>(loss) * each;
    if (threadIdx.x == 0) losses[n] = loss;
}

// The mean over the elements of `-w t log p - (1 - t) log (1 - p)`, p = sigmoid(y); w is one for all, or one for each.
template <class Y, class DY>
__device__ void loss_bce_with_logits(const float *y, float *dy, const float *targets, const float *weights, float weight,
                                     const float *factor, float *losses) {
    const u32 n = blockIdx.x;
    const float each = factor[0] / Y::len;
    float loss = 0.0f;
    for (u32 e = threadIdx.x; e < Y::len; e += 128) {
        const float value = y[Y::element(n, e)], target = targets[(u64)n * Y::len + e];
        // log(1 + e^-y), which does not overflow, and sigmoid(-y).
        const float small = expf(-fabsf(value)), softplus = log1pf(small) + fmaxf(-value, 0.0f);
        const float no = value > 0.0f ? small / (1.0f + small) : 1.0f / (1.0f + small);
        const float both = 1.0f + ((weights ? weights[e] : weight) - 1.0f) * target;
        loss += (1.0f - target) * value + both * softplus;
        dy[DY::element(n, e)] = ((1.0f - target) - both * no) * each;
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

// What follows a pass, over flat memory: gradients accumulated, penalized and clipped, and the optimizers. A thread for each float, in
// blocks of 256. Numbers are on the device, so that a captured step can be replayed with others.

extern "C" __global__ void __launch_bounds__(256) gather(float *sum, const float *x, u32 count, float factor) {
    const u64 i = thread_number();
    if (i < count) sum[i] += factor * x[i];
}

extern "C" __global__ void __launch_bounds__(256) scale(float *x, u32 count, float factor) {
    const u64 i = thread_number();
    if (i < count) x[i] *= factor;
}

// What `l1 |p| + l2 p^2 / 2` adds to a gradient.
extern "C" __global__ void __launch_bounds__(256)
    penalize(const float *params, float *gradients, u32 count, float l1, float l2) {
    const u64 i = thread_number();
    if (i < count) gradients[i] += l2 * params[i] + l1 * ((params[i] > 0.0f) - (params[i] < 0.0f));
}

extern "C" __global__ void __launch_bounds__(256) limit(float *x, u32 count, float most) {
    const u64 i = thread_number();
    if (i < count) x[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
}

// Each block's part of the sums of |x| and of x^2, in 256 blocks.
extern "C" __global__ void __launch_bounds__(256) sums(const float *x, u32 count, double *sums) {
    __shared__ double sizes[256], squares[256];
    double size = 0.0, square = 0.0;
    for (u64 i = thread_number(); i < count; i += 256 * 256) {
        size += fabs((double)x[i]);
        square += (double)x[i] * x[i];
    }
    sizes[threadIdx.x] = size;
    squares[threadIdx.x] = square;
    for (u32 distance = 128; distance > 0; distance /= 2) {
        __syncthreads();
        if (threadIdx.x >= distance) continue;
        sizes[threadIdx.x] += sizes[threadIdx.x + distance];
        squares[threadIdx.x] += squares[threadIdx.x + distance];
    }
    if (threadIdx.x > 0) return;
    sums[2 * blockIdx.x] = sizes[0];
    sums[2 * blockIdx.x + 1] = squares[0];
}

// x with a norm of at most so much, of the sums that `sums` made (Pascanu et al. 2013). A factor that is no number makes all of them none.
extern "C" __global__ void __launch_bounds__(256) clip(float *x, u32 count, const double *sums, u32 pairs, float most) {
    __shared__ float factor;
    if (threadIdx.x == 0) {
        double squares = 0.0;
        for (u32 pair = 0; pair < pairs; ++pair) squares += sums[2 * pair + 1];
        factor = most / (sqrt(squares) + 1e-6);
    }
    __syncthreads();
    const u64 i = thread_number();
    if (i < count && !(factor >= 1.0f)) x[i] *= factor;
}

// Numbers: learning rate, weight decay.
extern "C" __global__ void __launch_bounds__(256)
    descend(float *params, const float *gradients, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i < count) params[i] -= numbers[0] * (gradients[i] + numbers[1] * params[i]);
}

// Numbers: learning rate, weight decay, what is kept of a velocity, what it takes of a gradient, 1 if it looks ahead (Nesterov).
extern "C" __global__ void __launch_bounds__(256)
    descend_with_momentum(float *params, const float *gradients, float *velocity, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i >= count) return;
    const float gradient = gradients[i] + numbers[1] * params[i];
    const float v = numbers[2] * velocity[i] + numbers[3] * gradient;
    velocity[i] = v;
    params[i] -= numbers[0] * (numbers[4] != 0.0f ? gradient + numbers[2] * v : v);
}

// Numbers: step, scale of the root, eps, weight decay, what is kept of a parameter, what of its squares, what means and squares take.
extern "C" __global__ void __launch_bounds__(256)
    adapt(float *params, const float *gradients, float *means, float *squares, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i >= count) return;
    const float gradient = gradients[i] + numbers[3] * params[i];
    const float mean = means[i] + numbers[6] * (gradient - means[i]);
    const float square = numbers[5] * squares[i] + numbers[7] * gradient * gradient;
    means[i] = mean;
    squares[i] = square;
    params[i] = numbers[4] * params[i] - numbers[0] * (mean / (sqrtf(square) / numbers[1] + numbers[2]));
}

// Numbers: learning rate, weight decay, eps, what is kept of squares and means, what they take, what is kept of a velocity. Without means
// it is not centred.
extern "C" __global__ void __launch_bounds__(256)
    scale_by_root(float *params, const float *gradients, float *squares, float *means, float *velocity, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i >= count) return;
    const float gradient = gradients[i] + numbers[1] * params[i];
    float square = numbers[3] * squares[i] + numbers[4] * gradient * gradient;
    squares[i] = square;
    if (means) {
        const float mean = means[i] + numbers[4] * (gradient - means[i]);
        means[i] = mean;
        // Of a gradient that never changes, rounding may leave less than nothing.
        square = fmaxf(square - mean * mean, 0.0f);
    }
    float step = gradient / (sqrtf(square) + numbers[2]);
    if (velocity) {
        step += numbers[5] * velocity[i];
        velocity[i] = step;
    }
    params[i] -= numbers[0] * step;
}

// The mean loss: the sum of losses that are parts of it; and the sum of those since it was last 0. One block.
extern "C" __global__ void __launch_bounds__(256) add_up(const float *losses, u32 count, float *mean) {
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < count; i += 256) sum += losses[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x > 0) return;
    mean[0] = sum;
    mean[1] += sum;
}

// The model's sizes.

struct CONV1 {
    static constexpr u32 channels = 3, out_channels = 16, groups = 1;
    using size = Size<1, 32, 32>;
    using out = Size<1, 32, 32>;
    using kernel = Size<1, 3, 3>;
    using stride = Size<1, 1, 1>;
    using padding = Size<0, 1, 1>;
    using dilation = Size<1, 1, 1>;
};

struct CONV2 {
    static constexpr u32 channels = 16, out_channels = 8, groups = 1;
    using size = Size<1, 16, 16>;
    using out = Size<1, 16, 16>;
    using kernel = Size<1, 3, 3>;
    using stride = Size<1, 1, 1>;
    using padding = Size<0, 1, 1>;
    using dilation = Size<1, 1, 1>;
};

using FC1 = Linear<1, 512, 32>;

using FC2 = Linear<1, 32, 2>;

struct CONV2_2 {
    using size = Size<1, 16, 16>;
    using out = Size<1, 8, 8>;
    using kernel = Size<1, 2, 2>;
    using stride = Size<1, 2, 2>;
    using padding = Size<0, 0, 0>;
    using dilation = Size<1, 1, 1>;
};

struct CONV1_2 {
    using size = Size<1, 32, 32>;
    using out = Size<1, 16, 16>;
    using kernel = Size<1, 2, 2>;
    using stride = Size<1, 2, 2>;
    using padding = Size<0, 0, 0>;
    using dilation = Size<1, 1, 1>;
};

// Its kernels.

// specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    train_conv1_pool(const float *x, const float *weight, const float *bias, float *y, u8 *places, u32 batch) {
    conv_forward<CONV1, First<3, 1024>, Last<16, 256>, Last<16, 256>, Tanh, true, false, 16, true>(
        x, weight, bias, nullptr, y, places, batch);
}

// specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    train_conv2_pool(const float *x, const float *weight, const float *bias, float *y, u8 *places, u32 batch) {
    conv_forward<CONV2, Last<16, 256>, Last<8, 64>, Last<8, 64>, Tanh, true, false, 8, true>(x, weight, bias, nullptr, y, places, batch);
}

// specs/net.yaml:16 `linear: { in: 512, out: 32 }`
extern "C" __global__ void __launch_bounds__(256)
    train_fc1(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    linear_by_warps<FC1, Rows<Last<8, 64>, 512>, Rows<First<32, 1>, 32>, Tanh>(x, weight, bias, y, batch);
}

// specs/net.yaml:19 `linear: { in: 32, out: 2 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<FC2, Rows<First<32, 1>, 32>, Rows<First<2, 1>, 2>, Rows<First<2, 1>, 2>, None, false, false, 8, true>(
        x, weight, bias, nullptr, y, nullptr, batch);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_none(float *dy, float *losses) {
    loss_none<First<2, 1>>(dy, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_crossentropy(
        const float *y, float *dy, const u32 *labels, const float *weights, float smoothing, const float *factor, float *losses) {
    loss_cross_entropy<2, 1, First<2, 1>, First<2, 1>>(y, dy, labels, weights, smoothing, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_nll(const float *y, float *dy, const u32 *labels, const float *weights, const float *factor, float *losses) {
    loss_nll<2, 1, First<2, 1>, First<2, 1>>(y, dy, labels, weights, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_mse(const float *y, float *dy, const float *targets, float number, const float *factor, float *losses) {
    loss_of_values<Squared, First<2, 1>, First<2, 1>>(y, dy, targets, number, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_l1(const float *y, float *dy, const float *targets, float number, const float *factor, float *losses) {
    loss_of_values<Absolute, First<2, 1>, First<2, 1>>(y, dy, targets, number, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_smoothl1(const float *y, float *dy, const float *targets, float number, const float *factor, float *losses) {
    loss_of_values<Smooth, First<2, 1>, First<2, 1>>(y, dy, targets, number, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_huber(const float *y, float *dy, const float *targets, float number, const float *factor, float *losses) {
    loss_of_values<Huber, First<2, 1>, First<2, 1>>(y, dy, targets, number, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_loss_bcewithlogits(
        const float *y, float *dy, const float *targets, const float *weights, float weight, const float *factor, float *losses) {
    loss_bce_with_logits<First<2, 1>, First<2, 1>>(y, dy, targets, weights, weight, factor, losses);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_input_back(const float *dy, const float *weight, const float *y, float *dx, u32 batch) {
    conv_grad_input<FC2, Rows<First<2, 1>, 2>, Rows<First<32, 1>, 32>, Rows<First<32, 1>, 32>, None, Tanh, WRITE, 32>(
        dy, weight, nullptr, y, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc2_weight_back(const float *x, const float *dy, float *of_weight, float *of_bias, u32 batch) {
    conv_grad_weight<FC2, Rows<First<32, 1>, 32>, Rows<First<2, 1>, 2>, true, 1, 8>(x, dy, of_weight, of_bias, nullptr, batch);
}

// specs/net.yaml:16 `linear: { in: 512, out: 32 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc1_input_back(const float *dy, const float *weight, float *dx, u32 batch) {
    conv_grad_input<FC1, Rows<First<32, 1>, 32>, Rows<Last<8, 64>, 512>, Rows<Last<8, 64>, 512>, None, None, WRITE, 64>(
        dy, weight, nullptr, nullptr, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_fc1_weight_back(const float *x, const float *dy, float *of_weight, float *of_bias, u32 batch) {
    conv_grad_weight<FC1, Rows<Last<8, 64>, 512>, Rows<First<32, 1>, 32>, true, 1, 32>(x, dy, of_weight, of_bias, nullptr, batch);
}

// specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(256)
    train_conv2_pool_back(const float *dy, const u8 *places, const float *y, float *dx, u32 batch) {
    max_pool_back<CONV2_2, Last<8, 64>, Last<8, 64>, Last<8, 256>, Tanh, u8, WRITE>(dy, places, y, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_conv2_input_back(const float *dy, const float *weight, const float *y, float *dx, u32 batch) {
    conv_grad_input<CONV2, Last<8, 256>, Last<16, 256>, Last<16, 256>, None, Tanh, WRITE, 16>(dy, weight, nullptr, y, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_conv2_weight_back(const float *x, const float *dy, float *parts, u32 batch) {
    conv_grad_weight<CONV2, Last<16, 256>, Last<8, 256>, true, 32, 8>(x, dy, nullptr, nullptr, parts, batch);
}

extern "C" __global__ void __launch_bounds__(256)
    train_conv2_weight_parts(const float *parts, float *of_weight, float *of_bias) {
    add_parts<CONV2, true, 32>(parts, of_weight, of_bias);
}

// specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(256)
    train_conv1_pool_back(const float *dy, const u8 *places, float *dx, u32 batch) {
    max_pool_back<CONV1_2, Last<16, 256>, Last<16, 256>, Last<16, 1024>, None, u8, WRITE>(dy, places, nullptr, dx, batch);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    train_conv1_weight_back(const float *x, const float *dy, float *parts, u32 batch) {
    conv_grad_weight<CONV1, First<3, 1024>, Last<16, 1024>, true, 128, 16>(x, dy, nullptr, nullptr, parts, batch);
}

extern "C" __global__ void __launch_bounds__(256)
    train_conv1_weight_parts(const float *parts, float *of_weight, float *of_bias) {
    add_parts<CONV1, true, 128>(parts, of_weight, of_bias);
}

// specs/net.yaml:6 `conv: { in: 3, out: 16, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    infer_conv1_pool(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<CONV1, First<3, 1024>, Last<16, 256>, Last<16, 256>, Tanh, true, false, 16, true>(
        x, weight, bias, nullptr, y, nullptr, batch);
}

// specs/net.yaml:10 `conv: { in: 16, out: 8, kernel: 3, padding: 1 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    infer_conv2_pool(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<CONV2, Last<16, 256>, Last<8, 64>, Last<8, 64>, Tanh, true, false, 8, true>(x, weight, bias, nullptr, y, nullptr, batch);
}

// specs/net.yaml:16 `linear: { in: 512, out: 32 }`
extern "C" __global__ void __launch_bounds__(256)
    infer_fc1(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    linear_by_warps<FC1, Rows<Last<8, 64>, 512>, Rows<First<32, 1>, 32>, Tanh>(x, weight, bias, y, batch);
}

// specs/net.yaml:19 `linear: { in: 32, out: 2 }`
extern "C" __global__ void __launch_bounds__(128, 4)
    infer_fc2(const float *x, const float *weight, const float *bias, float *y, u32 batch) {
    conv_forward<FC2, Rows<First<32, 1>, 32>, Rows<First<2, 1>, 2>, Rows<First<2, 1>, 2>, None, false, false, 8, true>(
        x, weight, bias, nullptr, y, nullptr, batch);
}
