// Dropout, with the numbers that the processor draws: each is a function of its key.

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
__device__ u64 scatter(u64 number) {
    number += 0x9e3779b97f4a7c15ull;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ull;
    number = (number ^ number >> 27) * 0x94d049bb133111ebull;
    return number ^ number >> 31;
}

// `y = x / (1 - p)` with probability `1 - p`, else 0, unit by unit; of a gradient likewise, with the same key. D has `least`, the least
// draw that is kept in units of 2^-24, and `scale`. The draw is seed and step. A thread for each element.
template <class D, u32 PER_UNIT, class X, class Y, Store STORE>
__device__ void dropout(const float *x, float *y, const u64 *draw, u64 key, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, e = Y::number(i % Y::len);
    const u64 of_sample = scatter(scatter(scatter(scatter(draw[0]) ^ draw[1]) ^ key) ^ n);
    const float factor = scatter(of_sample ^ e / PER_UNIT) >> 40 >= D::least ? D::scale : 0.0f;
    put<STORE>(y + Y::element(n, e), x[X::element(n, e)] * factor);
}
