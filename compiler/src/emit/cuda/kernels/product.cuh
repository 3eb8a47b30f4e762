// Products of matrices whose elements are computed as they are loaded: `sum[m][n] = sum over k of a(m, k) b(k, n)`.
//
// A block of 128 threads makes 128 rows by COLUMNS. `a.row(m)` is what a thread keeps of a row, `a.load(row, k)` an element, or where
// those lie next to each other (`by_four`) `a.load_four(row, k)` four; `b.load(k, n)` an element of the other side; beside the matrices all
// give 0. A thread then holds four rows that follow each other, for COLUMNS / 4 columns, whatever the precision: those of a window of 2 by
// 2, say.

template <u32 COLUMNS> struct Product {
    static constexpr u32 ROWS = 128, DEPTH = 16, HELD = COLUMNS / 4;
    // Floats from one k to the next: of a warp's reads none, and of its writes two at most meet in one bank.
    static constexpr u32 STRIDE = PRECISION == 0 ? ROWS + 4 : ROWS + 1;

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

    // The sums over k from `from` to before `to`. With UNROLLED steps written out, of few known terms, all that is computed of k is known.
    template <u32 UNROLLED, class A, class B>
    __device__ void run(const A &a, const B &b, u32 first_row, u32 first_column, u32 from, u32 to) {
        __shared__ __align__(16) float left[DEPTH][STRIDE];
        __shared__ __align__(16) float right[DEPTH][COLUMNS + 8];
        const u32 thread = threadIdx.x;
        // A thread loads all elements of one row, or a quarter of those of four.
        constexpr u32 loaded = A::by_four ? 4 : 1;
        typename A::Row rows[loaded];
#pragma unroll
        for (u32 i = 0; i < loaded; ++i) rows[i] = a.row(first_row + (A::by_four ? thread / 4 + 32 * i : thread));
        const u32 of_right = thread % COLUMNS;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
#pragma unroll
            for (u32 j = 0; j < HELD; ++j) sums[i][j] = 0.0f;
        }
#pragma unroll UNROLLED
        for (u32 k = from; k < to; k += DEPTH) {
            if constexpr (A::by_four) {
                const u32 quarter = thread % 4 * 4;
#pragma unroll
                for (u32 i = 0; i < loaded; ++i) {
                    const u32 m = thread / 4 + 32 * i;
                    const float4 four = k + quarter < to ? a.load_four(rows[i], k + quarter) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                    left[quarter][m] = four.x;
                    left[quarter + 1][m] = four.y;
                    left[quarter + 2][m] = four.z;
                    left[quarter + 3][m] = four.w;
                }
            } else {
#pragma unroll
                for (u32 i = 0; i < DEPTH; ++i) left[i][thread] = k + i < to ? a.load(rows[0], k + i) : 0.0f;
            }
#pragma unroll
            for (u32 i = thread / COLUMNS; i < DEPTH; i += ROWS / COLUMNS) {
                right[i][of_right] = k + i < to ? b.load(k + i, first_column + of_right) : 0.0f;
            }
            __syncthreads();
            step(left, right);
            __syncthreads();
        }
    }

    // Of each column's first `rows` sums the mean, and the sum of their squared distances from it: those of column n go to `means[n]` and
    // `squares[n]`, of the first so many columns.
    __device__ void moments(u32 rows, u32 columns, float *means, float *squares) const {
        // The parts of a column's total: the rows of each warp that has it.
        __shared__ float totals[SHARES][COLUMNS], distances[SHARES][COLUMNS];
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

    // How many warps have rows of a column, and how far apart the threads are in a warp that have it.
    static constexpr u32 SHARES = PRECISION == 0 ? 1 : 4, APART = PRECISION == 0 ? 1 : 4;

    // Keeps what the threads of this warp have of column `j` together.
    static __device__ void share(float (&shares)[SHARES][COLUMNS], u32 j, float total) {
#pragma unroll
        for (u32 distance = 16; distance >= APART; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
        if (threadIdx.x % 32 < APART) shares[threadIdx.x / 32 % SHARES][column(j)] = total;
    }

    static __device__ float of_all(const float (&shares)[SHARES][COLUMNS], u32 column) {
        float total = 0.0f;
#pragma unroll
        for (u32 i = 0; i < SHARES; ++i) total += shares[i][column];
        return total;
    }

#if PRECISION == 0
    __device__ void step(const float (&left)[DEPTH][STRIDE], const float (&right)[DEPTH][COLUMNS + 8]) {
#pragma unroll
        for (u32 k = 0; k < DEPTH; ++k) {
            const float4 a = *reinterpret_cast<const float4 *>(&left[k][row()]);
#pragma unroll
            for (u32 j = 0; j < HELD; ++j) {
                const float b = right[k][column(j)];
                sums[0][j] += a.x * b;
                sums[1][j] += a.y * b;
                sums[2][j] += a.z * b;
                sums[3][j] += a.w * b;
            }
        }
    }
#elif PRECISION == 1
    static __device__ u32 rounded(float x) {
        u32 bits;
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
        return bits;
    }

    // Two products of 16 by 8 by 8 for each eight columns: rows g and g + 8 of the instruction are rows 4 g + i of the warp's 32, so that
    // a thread's four follow each other. Fragments: PTX ISA, "Matrix Fragments for mma.m16n8k8".
    __device__ void step(const float (&left)[DEPTH][STRIDE], const float (&right)[DEPTH][COLUMNS + 8]) {
        const u32 group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
#pragma unroll
        for (u32 k = 0; k < DEPTH; k += 8) {
            u32 a[2][4];
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
#pragma unroll
                for (u32 i = 0; i < 4; ++i) a[half][i] = rounded(left[k + member + i / 2 * 4][row() + 2 * half + i % 2]);
            }
#pragma unroll
            for (u32 j = 0; j < HELD; j += 2) {
                const u32 b[2] = {rounded(right[k + member][j * 4 + group]), rounded(right[k + member + 4][j * 4 + group])};
#pragma unroll
                for (u32 half = 0; half < 2; ++half) {
                    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                        "{%0, %1, %2, %3};"
                        : "+f"(sums[2 * half][j]), "+f"(sums[2 * half][j + 1]), "+f"(sums[2 * half + 1][j]),
                          "+f"(sums[2 * half + 1][j + 1])
                        : "r"(a[half][0]), "r"(a[half][1]), "r"(a[half][2]), "r"(a[half][3]), "r"(b[0]), "r"(b[1]));
                }
            }
        }
    }
#else
    // Two neighbours along k, the first in the lower half.
    static __device__ u32 pair(float first, float second) {
        u32 bits;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
        return bits;
    }

    // As in tf32, of 16 by 8 by 16. Fragments: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
    __device__ void step(const float (&left)[DEPTH][STRIDE], const float (&right)[DEPTH][COLUMNS + 8]) {
        const u32 group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
        u32 a[2][4];
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                const u32 k = 2 * member + i / 2 * 8, m = row() + 2 * half + i % 2;
                a[half][i] = pair(left[k][m], left[k + 1][m]);
            }
        }
#pragma unroll
        for (u32 j = 0; j < HELD; j += 2) {
            const u32 n = j * 4 + group, k = 2 * member;
            const u32 b[2] = {pair(right[k][n], right[k + 1][n]), pair(right[k + 8][n], right[k + 9][n])};
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
                asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                    "{%0, %1, %2, %3};"
                    : "+f"(sums[2 * half][j]), "+f"(sums[2 * half][j + 1]), "+f"(sums[2 * half + 1][j]),
                      "+f"(sums[2 * half + 1][j + 1])
                    : "r"(a[half][0]), "r"(a[half][1]), "r"(a[half][2]), "r"(a[half][3]), "r"(b[0]), "r"(b[1]));
            }
        }
    }
#endif
};
