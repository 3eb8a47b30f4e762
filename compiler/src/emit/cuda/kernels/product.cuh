// Products of matrices whose elements are found as they are copied: `sum[m][n] = sum over k of a(m, k) b(n, k)`.
//
// A block of 128 threads makes 128 rows by COLUMNS, from slices of 16 terms k. The slices of both matrices are copied to shared memory
// while those of two turns before are multiplied: four elements at once where they lie next to each other, else one by one.
//
// Of a matrix `row(m)` is what a thread knows of a row, and `find(row, k, i)` where term i of the slice from k on is. A thread then holds
// four rows that follow each other, those of a window of 2 by 2, say, for COLUMNS / 4 columns, of which so many follow each other as CHUNK
// says; whatever the precision.

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
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from.at),
                 "r"(from.is_there ? 16 : 0));
}
// Ends a group of copies, and waits for all groups but the last one.
__device__ void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
__device__ void wait_for_copies() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

// A slice of a matrix, ROWS by 16 terms: BY_TERMS with the terms of a row next to each other, else with the rows of a term. Fours of floats
// are in an order in which neither those that a quarter of a warp copies nor those that it reads meet in a bank.
template <u32 ROWS, bool BY_TERMS> struct Slice {
    static constexpr u32 len = ROWS * 16;

    static __device__ u32 place(u32 row, u32 term) {
        if constexpr (BY_TERMS) {
            // Of 128 rows a thread has four, which are 32 lines apart, so that its neighbours have the next lines.
            const u32 line = ROWS == 128 ? row % 4 * 32 + row / 4 : row;
            const u32 turn = line / 2 % 2 * 2 ^ line / 4 % 4;
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
// - of a row's terms, four threads beside each other all 64 bytes of one row; of the left matrix the four rows that follow each other;
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
    static constexpr bool has_rows = by_four && BY_TERMS && !is_right;
    static constexpr u32 kept = has_rows || by_warp ? 4 : 1;

    const Matrix &matrix;
    const u32 first;
    typename Matrix::Row rows[kept];

    // The row and the term of its copy i.
    static __device__ u32 row(u32 i) {
        if (has_rows) return threadIdx.x / 4 * 4 + i;
        if (by_four && BY_TERMS) return threadIdx.x / 4 + i * 32;
        if (by_four) return threadIdx.x % (ROWS / 4) * 4;
        if (by_row) return threadIdx.x;
        return by_warp ? threadIdx.x / 32 * 32 + threadIdx.x % 8 + i % 4 * 8 : threadIdx.x % 8 + i * 8;
    }
    static __device__ u32 term(u32 i) {
        if (by_four) return BY_TERMS ? threadIdx.x % 4 * 4 : threadIdx.x / (ROWS / 4) + i * (512 / ROWS);
        if (by_row) return i;
        return by_warp ? threadIdx.x / 8 % 4 + i / 4 * 4 : threadIdx.x / 8;
    }
    // Where it goes to: at known distances if that can be. 32 lines further on the turn of a line's fours is the same, and of a right
    // matrix, 8 lines further on, it differs by two.
    static __device__ u32 place(u32 i) {
        if (by_four) return To::place(row(0), term(0)) + i * 512;
        return BY_TERMS ? (To::place(row(0), term(0)) ^ i % 2 * 8) + i * 128 : To::place(row(i), term(i));
    }

    __device__ Copier(const Matrix &matrix, u32 first) : matrix(matrix), first(first) {
#pragma unroll
        for (u32 i = 0; i < kept; ++i) rows[i] = matrix.row(first + row(i));
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
        if constexpr (by_warp || has_rows) return matrix.find(rows[i % 4], k, term(i));
        else if constexpr (by_four && BY_TERMS) return matrix.find(Matrix::behind(rows[0], i * 32), k, term(i));
        else if constexpr (by_four || by_row) return matrix.find(rows[0], k, term(i));
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
    static constexpr u32 ROWS = 128, DEPTH = 16, HELD = COLUMNS / 4, CHUNK = HELD < 4 ? HELD : 4;

    float sums[4][HELD];

    // The first of this thread's four rows in the block: a warp has 32 of them.
    static __device__ u32 row() { return threadIdx.x / 4 * 4; }

    // The column of this thread's sums `j`: four threads beside each other have four chunks that are.
    static __device__ u32 column(u32 j) { return j / CHUNK * 4 * CHUNK + threadIdx.x % 4 * CHUNK + j % CHUNK; }

    // Shared memory of the block: three slices of each matrix. Behind `run` and a barrier nothing needs them.
    static __device__ float *memory() {
        __shared__ __align__(16) float slices[3 * (ROWS + COLUMNS) * DEPTH];
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
        // The slices that are multiplied now, in the next turn, and in the one behind it, for which they are copied.
        float *now = memory(), *next = now + Left::len + Right::len, *then = next + Left::len + Right::len;
        left.clear(now);
        left.clear(next);
        left.clear(then);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
#pragma unroll
            for (u32 j = 0; j < HELD; ++j) sums[i][j] = 0.0f;
        }
#pragma unroll UNROLLED
        for (u32 k = from; k < to + 2 * DEPTH; k += DEPTH) {
            // All have come but those of the last turn, and nobody multiplies what was copied before them.
            wait_for_copies();
            __syncthreads();
            if (k < to) {
                left.copy(then, k, to);
                right.copy(then + Left::len, k, to);
            }
            end_copies();
            const u32 turn = (k - from) / DEPTH;
            if (turn >= 2 && (!A::is_few || turn % 4 == threadIdx.x / 32)) {
                step<Left, Right>(now, now + Left::len, A::is_few ? row() % 32 : row());
            }
            float *const last = now;
            now = next;
            next = then;
            then = last;
        }
        if constexpr (A::is_few) gather();
    }

    // Of a left matrix of at most 32 rows, few, each warp has all of them, and multiplies every fourth slice: the first warp adds up what
    // they have.
    __device__ void gather() {
        float *const others = memory() + threadIdx.x;
        __syncthreads();
#pragma unroll
        for (u32 i = 0; i < 4 * HELD; ++i) {
            if (threadIdx.x >= 32) others[i * 128] = sums[i / HELD][i % HELD];
        }
        __syncthreads();
        if (threadIdx.x >= 32) return;
#pragma unroll
        for (u32 i = 0; i < 4 * HELD; ++i) {
            for (u32 warp = 1; warp < 4; ++warp) sums[i / HELD][i % HELD] += others[i * 128 + warp * 32];
        }
    }

    // Keeps the sums, one part of them.
    __device__ void keep(float *parts, u64 block) const {
        float4 *const to = reinterpret_cast<float4 *>(parts) + block * HELD * 128 + threadIdx.x;
#pragma unroll
        for (u32 j = 0; j < HELD; ++j) to[j * 128] = make_float4(sums[0][j], sums[1][j], sums[2][j], sums[3][j]);
    }

    // Adds up all parts that blocks of ALL columns in one place have kept, `apart` of them apart: of those columns from the one on that is
    // held as `first`.
    template <u32 ALL> __device__ void add_up(const float *parts, u64 block, u64 apart, u32 count, u32 first) {
#pragma unroll
        for (u32 j = 0; j < HELD; ++j) sums[0][j] = sums[1][j] = sums[2][j] = sums[3][j] = 0.0f;
        const float4 *from = reinterpret_cast<const float4 *>(parts) + (block * (ALL / 4) + first) * 128 + threadIdx.x;
#pragma unroll 4
        for (u32 part = 0; part < count; ++part, from += apart * (ALL / 4) * 128) {
#pragma unroll
            for (u32 j = 0; j < HELD; ++j) {
                const float4 four = from[j * 128];
                sums[0][j] += four.x, sums[1][j] += four.y, sums[2][j] += four.z, sums[3][j] += four.w;
            }
        }
    }

    // Of each column's first `rows` sums the mean, and the sum of their squared distances from it: those of column n go to `means[n]` and
    // `squares[n]`, of the first so many columns.
    __device__ void moments(u32 rows, u32 columns, float *means, float *squares) const {
        // The parts of a column's total, the rows of each warp that has it; where the slices were.
        using Shares = float[SHARES][COLUMNS];
        Shares &totals = *reinterpret_cast<Shares *>(memory()), &distances = *reinterpret_cast<Shares *>(memory() + SHARES * COLUMNS);
        __syncthreads();
#pragma unroll
        for (u32 j = 0; j < HELD; ++j) {
            float total = 0.0f;
#pragma unroll
            for (u32 i = 0; i < 4; ++i) total += row() + i < rows ? sums[i][j] : 0.0f;
            share(totals, j, total);
        }
        __syncthreads();
#pragma unroll
        for (u32 j = 0; j < HELD; ++j) {
            const float mean = of_all(totals, column(j)) / rows;
            float total = 0.0f;
#pragma unroll
            for (u32 i = 0; i < 4; ++i) total += row() + i < rows ? (sums[i][j] - mean) * (sums[i][j] - mean) : 0.0f;
            share(distances, j, total);
        }
        __syncthreads();
        if (threadIdx.x >= min(columns, COLUMNS)) return;
        means[threadIdx.x] = of_all(totals, threadIdx.x) / rows;
        squares[threadIdx.x] = of_all(distances, threadIdx.x);
    }

    // Keeps what the threads of this warp have of column `j` together.
    static constexpr u32 SHARES = 4;
    static __device__ void share(float (&shares)[SHARES][COLUMNS], u32 j, float total) {
#pragma unroll
        for (u32 distance = 16; distance >= 4; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
        if (threadIdx.x % 32 < 4) shares[threadIdx.x / 32][column(j)] = total;
    }

    static __device__ float of_all(const float (&shares)[SHARES][COLUMNS], u32 column) {
        float total = 0.0f;
#pragma unroll
        for (u32 i = 0; i < SHARES; ++i) total += shares[i][column];
        return total;
    }

#if PRECISION == 0
    template <class Left, class Right> __device__ void step(const float *left, const float *right, u32 row) {
        // Of many columns there are not registers enough for more than one quarter.
        constexpr u32 some = CHUNK, at_once = HELD < 16 ? 2 : 1;
#pragma unroll at_once
        for (u32 quarter = 0; quarter < 4; ++quarter) {
            float a[4][4];
            Left::read(left, row, quarter, a);
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
    // thread's four follow each other, and of 16 columns the first two and the last two of each four are those of one instruction. The
    // terms that a thread gives are its quarter. Fragments: PTX ISA, "Matrix Fragments for mma.m16n8k8" and "for mma.m16n8k16 with
    // floating point type".
    template <class Left, class Right> __device__ void step(const float *left, const float *right, u32 row) {
        const u32 group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
        float a[4][4];
        Left::read(left, row, member, a);
        u32 of_left[4][FACTORS];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) rounded(a[i], of_left[i]);
#pragma unroll
        for (u32 j = 0; j < HELD; j += 2) {
            float b[1][4];
            const u32 columns = CHUNK == 4 ? j / 4 * 16 + group / 2 * 4 + j % 4 + group % 2 : j * 4 + group;
            Right::read(right, columns, member, b);
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
