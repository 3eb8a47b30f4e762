// Products of matrices: with one thread for each element, and with tensor cores.
#define KERNEL extern "C" __global__ void

#define TILE 16
// c = a b, row after row: a is m by k, b is k by n. Tiles go through shared memory; the last ones are not full.
KERNEL __launch_bounds__(TILE * TILE) tiled(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k) {
    __shared__ float left[TILE][TILE + 1], right[TILE][TILE + 1];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    float sum = 0;
    for (int at = 0; at < k; at += TILE) {
        left[y][x] = row < m && at + x < k ? a[row * k + at + x] : 0;
        right[y][x] = at + y < k && column < n ? b[(at + y) * n + column] : 0;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < TILE; ++i) sum = fmaf(left[y][i], right[i][x], sum);
        __syncthreads();
    }
    if (row < m && column < n) c[row * n + column] = sum;
}

// The lane's elements of the product, where `mma` leaves them.
__device__ __forceinline__ void store(float* c, const float (&sums)[4]) {
    int group = threadIdx.x / 4, in_group = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) c[(group + 8 * (i / 2)) * 8 + 2 * in_group + i % 2] = sums[i];
}

__device__ __forceinline__ unsigned tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// One warp: a is 16 by 16, b is 16 by 8, in steps of 8 and, into the second half of c, of 4. Both come by asynchronous copies, in two groups.
KERNEL tf32_product(const float* a, const float* b, float* c) {
    __shared__ __align__(16) float left[16 * 16], right[16 * 8];
    int lane = threadIdx.x, group = lane / 4, in_group = lane % 4;
    for (int i = 0; i < 2; ++i) {
        unsigned to = (unsigned)__cvta_generic_to_shared(left + 4 * (32 * i + lane));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(a + 4 * (32 * i + lane)));
    }
    asm volatile("cp.async.commit_group;");
    unsigned to = (unsigned)__cvta_generic_to_shared(right + 4 * lane);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(b + 4 * lane));
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 1;");
    __syncwarp();
    float first = left[0];
    asm volatile("cp.async.wait_group 0;");
    __syncwarp();
    float eights[4] = {0, 0, 0, first * 0}, fours[4] = {};
    for (int at = 0; at < 16; at += 8) {
        unsigned fa[4], fb[2];
        for (int i = 0; i < 4; ++i) fa[i] = tf32(left[(group + 8 * (i % 2)) * 16 + at + in_group + 4 * (i / 2)]);
        for (int i = 0; i < 2; ++i) fb[i] = tf32(right[(at + in_group + 4 * i) * 8 + group]);
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(eights[0]), "+f"(eights[1]), "+f"(eights[2]), "+f"(eights[3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
        for (int i = 0; i < 2; ++i)
            asm volatile("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                         : "+f"(fours[0]), "+f"(fours[1]), "+f"(fours[2]), "+f"(fours[3])
                         : "r"(fa[2 * i]), "r"(fa[2 * i + 1]), "r"(fb[i]));
    }
    store(c, eights);
    store(c + 16 * 8, fours);
}

// The same of numbers of 16 bits, which `ldmatrix` brings into place, in a step of 16 and in steps of 8.
#define HALF_PRODUCT(name, type)                                                                                          \
    KERNEL name(const unsigned* a, const unsigned* b, float* c) {                                                         \
        __shared__ __align__(16) unsigned left[16 * 8], right[16 * 4];                                                    \
        int lane = threadIdx.x;                                                                                           \
        for (int i = lane; i < 16 * 8; i += 32) left[i] = a[i];                                                           \
        for (int i = lane; i < 16 * 4; i += 32) right[i] = b[i];                                                          \
        __syncwarp();                                                                                                     \
        unsigned fa[4], fb[2];                                                                                            \
        unsigned from = (unsigned)__cvta_generic_to_shared(left + (lane / 8 % 2 * 8 + lane % 8) * 8 + lane / 16 * 4);     \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"                                      \
                     : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3]) : "r"(from));                                   \
        from = (unsigned)__cvta_generic_to_shared(right + lane % 16 * 4);                                                 \
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(fb[0]), "=r"(fb[1]) : "r"(from)); \
        float whole[4] = {}, halves[4] = {};                                                                              \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                     : "+f"(whole[0]), "+f"(whole[1]), "+f"(whole[2]), "+f"(whole[3])                                     \
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));                           \
        for (int i = 0; i < 2; ++i)                                                                                       \
            asm volatile("mma.sync.aligned.m16n8k8.row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};" \
                         : "+f"(halves[0]), "+f"(halves[1]), "+f"(halves[2]), "+f"(halves[3])                             \
                         : "r"(fa[2 * i]), "r"(fa[2 * i + 1]), "r"(fb[i]));                                               \
        store(c, whole);                                                                                                  \
        store(c + 16 * 8, halves);                                                                                        \
    }
HALF_PRODUCT(bf16_product, "bf16")
HALF_PRODUCT(f16_product, "f16")
