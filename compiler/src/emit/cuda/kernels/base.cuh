// What all kernels share: names of types, how values lie, sums over a block.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Products in f32 (0), tf32 (1) or bf16 (2); sums are in f32.
#ifndef PRECISION
#define PRECISION 0
#endif

// Blocks of 128 threads that are on a multiprocessor at once, of 65,536 registers: each thread has 128 at most, or 168.
enum { RESIDENT = PRECISION == 1 ? 3 : 4 };

// A value of the batch in PyTorch's order: `[sample][channel][position]`.
template <u32 C, u32 P> struct First {
    static constexpr u32 channels = C, positions = P, len = C * P;
    // Whether channels are last; whether elements lie in PyTorch's order; whether the channels of a position are next to each other, and
    // how far positions then are apart.
    static constexpr bool is_last = false, is_plain = true, is_packed = P == 1;
    static constexpr u32 apart = C;
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
    static constexpr u32 apart = C;
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
    static constexpr u32 apart = FEATURES;
    static __device__ u64 at(u32 n, u32 c, u32 p) { return Whole::element(n, p * FEATURES + c); }
};

// One of two types.
template <bool FIRST, class A, class B> struct Either {
    using type = A;
};
template <class A, class B> struct Either<false, A, B> {
    using type = B;
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
