// Kernels that are right, and with -DBUG each with one mistake. `tests/bugs.rs` says which check must see it.
// All have the parameters (x, y, n): n numbers each, x given and y not yet written.
#ifdef BUG
#define OR(right, wrong) wrong
#else
#define OR(right, wrong) right
#endif
#define KERNEL extern "C" __global__ void

// The numbers of a block in reverse: other warps' are read.
KERNEL barrier(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    s[t] = 0;
    __syncthreads();
    s[t] = x[i];
    OR(__syncthreads(), );
    y[i] = s[63 - t];
}

// Each round must not overwrite what the last one still reads.
KERNEL barrier_of_a_loop(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    float sum = 0;
    for (int k = 0; k < 3; ++k) {
        s[t] = x[i] + k;
        __syncthreads();
        sum += s[63 - t];
        OR(__syncthreads(), );
    }
    y[i] = sum;
}

// The neighbour's number, of the same warp.
KERNEL syncwarp(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    s[t] = x[i];
    OR(__syncwarp(), );
    y[i] = s[t ^ 1];
}

// All add to one number of the block.
KERNEL atomic_in_block(const float* x, float* y, int n) {
    __shared__ int s;
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    if (t == 0) s = 0;
    __syncthreads();
    if (x[i] > 0) OR(atomicAdd(&s, 1), s += 1);
    __syncthreads();
    y[i] = s;
}

KERNEL guard(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    if (OR(i < n, true)) y[i] = x[i];
}

KERNEL off_by_one(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    if (i OR(<, <=) n) y[i] = x[i];
}

KERNEL before_the_first(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    if (i < n) y[i] = OR(i > 0, true) ? x[i - 1] : 0;
}

KERNEL shared_overrun(const float* x, float* y, int n) {
    __shared__ float s[OR(65, 64)];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    s[t + 1] = x[i];
    __syncthreads();
    y[i] = s[t + 1];
}

KERNEL unwritten_global(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    OR(y[i] = x[i], y[i] += x[i]);
}

KERNEL unwritten_shared(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    if (t < OR(64, 32)) s[t] = x[i];
    __syncthreads();
    y[i] = s[63 - t];
}

// A sum over blocks.
KERNEL write_across_blocks(const float* x, float* y, int n) {
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    y[OR(i, t)] = x[i];
}

// What another block wrote.
KERNEL read_across_blocks(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    y[i] = x[i];
    if (OR(i % 64, i) >= 1) y[i] += OR(x, y)[i < 64 ? i : i - 64] * (OR(0, i >= 64));
}

KERNEL divergent_barrier(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    s[t] = x[i];
    if (OR(true, t < 40)) __syncthreads();
    y[i] = s[OR(63 - t, t)];
}

KERNEL return_before_barrier(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    OR(, if (i >= n) return);
    s[t] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n) y[i] = s[t];
}

// Half of the warp shuffles: its mask must name that half.
KERNEL shuffle_mask(const float* x, float* y, int n) {
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    float v = x[i];
    if (t % 32 < 16) v += __shfl_xor_sync(OR(0xffffu, 0xffffffffu), v, 8);
    y[i] = v;
}

// All of the warp shuffles, and the mask names half of it.
KERNEL shuffle_mask_too_small(const float* x, float* y, int n) {
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    y[i] = __shfl_xor_sync(OR(0xffffffffu, 0xffffu), x[i], 16);
}

KERNEL misaligned_vector(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    if (i % 4 == 0 && i + 8 <= n) {
        float4 v = *(const float4*)(x + i + OR(4, 1));
        y[i] = v.x + v.w;
    }
}

// A copy of 16 bytes for each thread.
KERNEL wait_for_copy(const float* x, float* y, int n) {
    __shared__ __align__(16) float s[64 * 4];
    int t = threadIdx.x;
    unsigned to = (unsigned)__cvta_generic_to_shared(s + 4 * t);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(x + 4 * (t % 16)));
    asm volatile("cp.async.commit_group;");
    OR(asm volatile("cp.async.wait_group 0;"), asm volatile("cp.async.wait_group 1;"));
    __syncthreads();
    y[blockIdx.x * 64 + t] = s[4 * (63 - t)];
}

// `__ldg` is for what nobody writes: not even the same thread, a barrier ago.
KERNEL read_only(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    y[i] = 2 * x[i];
    __syncthreads();
    y[i] += __ldg(OR(x, y) + i);
}

KERNEL __launch_bounds__(OR(64, 32)) launch_bounds(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    y[i] = x[i];
}

KERNEL failed_assertion(const float* x, float* y, int n) {
    int i = blockIdx.x * 64 + threadIdx.x;
    if (x[i] > OR(1e9f, 0.f)) __trap();
    y[i] = x[i];
}
