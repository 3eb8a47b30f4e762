// What kernels do, one thing a row: row r of the result is what `tests/broad.rs` computes in its row r.
#define KERNEL extern "C" __global__ void
#define ROW(value) y[row++ * n + i] = (value)
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;
typedef long long s64;

KERNEL floats(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, row = 0;
    if (i >= n) return;
    float v = x[i], a = fabsf(v);
    ROW(sinf(v));
    ROW(cosf(v));
    ROW(tanf(v));
    ROW(sinf(v * 1e5f));
    ROW(expf(v));
    ROW(exp2f(v));
    ROW(expm1f(v));
    ROW(logf(a));
    ROW(log2f(a));
    ROW(log1pf(a));
    ROW(powf(a, 1.7f));
    ROW(tanhf(v));
    ROW(sinhf(v));
    ROW(sqrtf(a));
    ROW(rsqrtf(a));
    ROW(cbrtf(v));
    ROW(hypotf(v, 2.f));
    ROW(atan2f(v, 2.f));
    ROW(asinf(v / 8));
    ROW(fmodf(v, .3f));
    ROW(floorf(v));
    ROW(ceilf(v));
    ROW(rintf(v));
    ROW(roundf(v));
    ROW(truncf(v));
    ROW(fmaxf(v, .1f));
    ROW(fminf(v, .1f));
    ROW(__saturatef(v));
    ROW(copysignf(2.f, v));
    ROW(ldexpf(v, 3));
    ROW(__expf(v));
    ROW(__logf(a));
    ROW(__fdividef(v, 3.f));
    ROW(1 / v);
    ROW(v / 3);
    ROW(fmaf(v, v, .1f));
    ROW(__fadd_rz(v, .1f));
    ROW(__fmul_ru(v, .1f));
    ROW((float)(int)v);
    ROW((float)(u32)a);
    ROW((float)__float2int_rn(v * 100));
    ROW((float)(s64)(v * 1e10f));
    ROW((float)(double)v);
    ROW((float)((double)v / 3 + sqrt((double)a)));
    ROW(isnan(v) ? 1 : v > 0 ? 2 : 3);
    ROW(1 / (1 + expf(-v)));
}

KERNEL integers(const u32* x, u32* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, row = 0;
    if (i >= n) return;
    u32 u = x[i], w = x[(i + 1) % n];
    int v = u, z = w;
    ROW(u + w);
    ROW(u * w);
    ROW(u / w);
    ROW(u % w);
    ROW(u / 10);
    ROW(v / 7);
    ROW(v % 7);
    ROW(v / z);
    ROW(v % z);
    ROW(min(v, z));
    ROW(max(u, w));
    ROW(abs(v));
    ROW(__mulhi(v, z));
    ROW(__umulhi(u, w));
    ROW(u << (w & 31));
    ROW(v >> (w & 31));
    ROW(u >> (w & 31));
    ROW(__popc(u));
    ROW(__clz(u));
    ROW(__brev(u));
    ROW(__ffs(u));
    ROW(__byte_perm(u, w, 0x3254));
    ROW(__funnelshift_l(u, w, 7));
    ROW(__funnelshift_r(u, w, w));
    ROW(__usad(u, w, 1));
    ROW((u & w) | (~u & 0x5555));
    ROW(u ^ w ^ 0x1234);
    ROW((u >> 5) & 0xff);
    ROW((u & ~0xff00u) | ((w & 0xff) << 8));
    ROW((v << 12) >> 20);
    ROW(v == z ? 1 : v < z ? 2 : 3);
    ROW((u16)u * (u16)w);
    ROW((u32)((short)u / 3));
    ROW((u32)(signed char)u);
    ROW(__vadd4(u, w));
}

KERNEL wide_integers(const u64* x, u64* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, row = 0;
    if (i >= n) return;
    u64 u = x[i], w = x[(i + 1) % n];
    s64 v = u, z = w;
    ROW(u + w);
    ROW(u * w);
    ROW(u / w);
    ROW(u % w);
    ROW(u / 1000);
    ROW(v / z);
    ROW(v % 13);
    ROW(v < z ? v : z);
    ROW(__umul64hi(u, w));
    ROW(__mul64hi(v, z));
    ROW(u << (w & 63));
    ROW(v >> (w & 63));
    ROW(__popcll(u));
    ROW(__clzll(u));
    ROW(__brevll(u));
    ROW(__ffsll(u));
    ROW((u64)(u32)u * (u32)w);
    ROW((s64)(int)u * (int)w + z);
}

__constant__ float table[5] = {1, 2, 3, 4, 5};
__device__ int offset = 7;
__device__ __noinline__ float sum_to(float step, int count) {
    float sum = 0;
    for (int k = 0; k < count; ++k) sum += step * k;
    return sum;
}

// Memory of a thread, of the module, and a function that is called.
KERNEL memories(const int* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, row = 0;
    if (i >= n) return;
    float a[16];
    for (int k = 0; k < 16; ++k) a[k] = k + i;
    a[x[i] & 15] += .5f;
    float sum = 0;
    for (int k = 0; k < 16; ++k) sum += a[(k * x[i]) & 15];
    ROW(sum);
    ROW(table[x[i] % 5]);
    ROW(offset + x[i]);
    ROW(sum_to(.5f, x[i] & 7));
    switch (x[i] % 12) {
        case 0: ROW(3); break;
        case 1: ROW(sum * 2); break;
        case 2: ROW(-1); break;
        case 3: ROW(x[i] / 3); break;
        case 4: ROW(x[i] ^ 21); break;
        case 5: ROW(sum - 1); break;
        case 6: ROW(x[i] << 2); break;
        default: ROW(0);
    }
}

struct Params {
    int a;
    float weights[6];
    const float* p;
};
// A structure is one parameter; part of it is indexed.
KERNEL structure(Params params, float* y, int k) {
    int i = threadIdx.x;
    y[i] = params.a + params.weights[(i + k) % 6] * params.p[i];
}

// Bytes, halves, pairs and fours.
KERNEL sizes(const u8* bytes, const float4* fours, const float2* pairs, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, row = 0;
    if (i >= n) return;
    float4 four = __ldg(fours + i);
    float2 pair = pairs[i];
    ROW((bytes[i] / 255.f - .5f) / .25f);
    ROW(four.x * pair.x + four.y * pair.y);
    ROW(four.z - four.w);
    u16 bf16;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bf16) : "f"(four.x));
    ROW(__uint_as_float((u32)bf16 << 16));
    u32 both, sum;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(four.y), "f"(four.z));
    asm("add.rn.bf16x2 %0, %1, %1;" : "=r"(sum) : "r"(both));
    ROW(__uint_as_float(sum << 16));
    ROW(__uint_as_float(sum & 0xffff0000));
    u16 f16;
    float back;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(f16) : "f"(four.w));
    asm("cvt.f32.f16 %0, %1;" : "=f"(back) : "h"(f16));
    ROW(back);
}

// What lanes tell each other: 64 threads.
KERNEL warps(const int* x, int* y) {
    int i = threadIdx.x, n = 64, row = 0, v = x[i];
    int sum = v;
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    ROW(sum);
    ROW(__shfl_down_sync(~0u, v, 3));
    ROW(__shfl_up_sync(~0u, v, 2));
    ROW(__shfl_sync(~0u, v, v & 31));
    ROW(__shfl_sync(~0u, v, 1, 8));
    ROW(__ballot_sync(~0u, v > 50));
    ROW(__any_sync(~0u, v > 98));
    ROW(__all_sync(~0u, v < 200));
    ROW(__match_any_sync(~0u, v & 3));
    ROW(__reduce_add_sync(~0u, v));
    ROW(__reduce_max_sync(~0u, v));
    ROW(__activemask());
    ROW(__popc(__ballot_sync(~0u, v & 1) & ((1u << (i & 31)) - 1)));
    ROW(__syncthreads_count(v > 50));
}

// One block; all sums and the like are the same in any order.
KERNEL atomics(int* y, u32* u, u64* w, float* f) {
    __shared__ int s[4];
    int i = threadIdx.x;
    if (i < 4) s[i] = 0;
    __syncthreads();
    atomicAdd(&s[i & 3], i);
    atomicAdd(&y[0], i);
    atomicMax(&y[1], i);
    atomicMin(&y[2], -i);
    atomicSub(&y[3], 2);
    atomicOr(&u[0], 1u << (i & 31));
    atomicAnd(&u[1], ~(1u << (i & 7)));
    atomicXor(&u[2], i);
    atomicInc(&u[3], 5);
    atomicAdd(&w[0], 1ull << 33);
    atomicAdd(&f[0], .5f);
    while (atomicCAS(&u[4], i, i + 1) != i) {}
    __syncthreads();
    if (i < 4) atomicExch(&y[4 + i], s[i]);
}
