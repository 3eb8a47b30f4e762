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

// Which elements of their windows maxima are: a number for each element of Y...
template <class Y, class Number> struct Each {
    using Word = Number;
    static __device__ u32 of(const Number *places, u32 n, u32 c, u32 p) { return places[Y::at(n, c, p)]; }
    static __device__ void keep(Number *places, u32 n, u32 c, u32 p, u32 place) { places[Y::at(n, c, p)] = place; }
};

// ...or, of windows of 2 by 2, two bits, those of four channels of a position in a byte.
template <u32 C, u32 P> struct TwoBits {
    using Word = u8;
    static constexpr u32 channels = C, positions = P;
    static __device__ u64 at(u32 n, u32 c, u32 p) { return ((u64)n * P + p) * ((C + 3) / 4) + c / 4; }
    static __device__ u32 of(const u8 *places, u32 n, u32 c, u32 p) { return places[at(n, c, p)] >> c % 4 * 2 & 3; }
    // Of threads of which each four that follow each other have four channels.
    static __device__ void keep(u8 *places, u32 n, u32 c, u32 p, u32 place) {
        u32 four = place << c % 4 * 2;
        const u32 lanes = 0xfu << threadIdx.x % 32 / 4 * 4;
        four |= __shfl_xor_sync(lanes, four, 1);
        four |= __shfl_xor_sync(lanes, four, 2);
        if (c % 4 == 0) places[at(n, c, p)] = four;
    }
};
