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
