// Convolutions whose groups are single channels: nothing to multiply matrices for.

// `y[c] = act(w[c] x[c] + bias[c])`, with another value added before the nonlinearity or behind it. A thread for each output.
template <class G, class X, class Y, class R, class Act, bool BEHIND>
__device__ void depthwise_forward(const float *x, const float *weight, const float *bias, const float *added, float *y, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * Y::len) return;
    const u32 n = i / Y::len, c = Y::channel(i % Y::len), p = Y::position(i % Y::len);
    const Output<G, false> of(p);
    const int d = of.d * G::stride::d - G::padding::d, h = of.h * G::stride::h - G::padding::h,
              w = of.w * G::stride::w - G::padding::w;
    float sum = 0.0f;
    for (u32 tap = 0; tap < G::kernel::len; ++tap) {
        u32 position;
        if (input_at<G>(d, h, w, tap, position)) sum += weight[c * G::kernel::len + tap] * x[X::at(n, c, position)];
    }
    sum += bias ? bias[c] : 0.0f;
    const float other = added ? added[R::at(n, c, p)] : 0.0f;
    y[Y::at(n, c, p)] = BEHIND ? Act::of(sum) + other : Act::of(sum + other);
}

// `dx[c] = w[c] dy[c]`, and that on through the nonlinearity Back whose result y the input is; with bias and a nonlinearity Act a
// transposed convolution. A thread for each input.
template <class G, class DY, class DX, class Y, class Act, class Back, Store STORE>
__device__ void depthwise_grad_input(const float *dy, const float *weight, const float *bias, const float *y, float *dx, u32 batch) {
    const u64 i = thread_number();
    if (i >= (u64)batch * DX::len) return;
    const u32 n = i / DX::len, c = DX::channel(i % DX::len), p = DX::position(i % DX::len);
    const Position<typename G::size> at(p);
    float sum = 0.0f;
    for (u32 k = 0; k < G::kernel::len; ++k) {
        const Position<typename G::kernel> tap(k);
        const int d = output_along<G::stride::d, G::out::d>(at.d + G::padding::d - tap.d * G::dilation::d);
        const int h = output_along<G::stride::h, G::out::h>(at.h + G::padding::h - tap.h * G::dilation::h);
        const int w = output_along<G::stride::w, G::out::w>(at.w + G::padding::w - tap.w * G::dilation::w);
        if (d >= 0 && h >= 0 && w >= 0) {
            sum += weight[c * G::kernel::len + k] * dy[DY::at(n, c, (d * G::out::h + h) * G::out::w + w)];
        }
    }
    sum = Act::of(sum + (bias ? bias[c] : 0.0f));
    put<STORE>(dx + DX::at(n, c, p), y ? Back::back(y[Y::at(n, c, p)], sum) : sum);
}

// `dw[c][tap] = sum of dy[c] x[c]`, `db[c] = sum of dy[c]`, each added. A block for each channel and tap, the last tap being the bias.
template <class G, class X, class DY>
__device__ void depthwise_grad_weight(const float *x, const float *dy, float *of_weight, float *of_bias, u32 batch) {
    const u32 c = blockIdx.x, tap = blockIdx.y;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < batch * G::out::len; i += 256) {
        const Output<G, false> of(i);
        const float derivative = dy[DY::at(of.n, c, i % G::out::len)];
        u32 position;
        if (tap == G::kernel::len) {
            sum += derivative;
        } else if (input_at<G>(of.d * G::stride::d - G::padding::d, of.h * G::stride::h - G::padding::h,
                               of.w * G::stride::w - G::padding::w, tap, position)) {
            sum += derivative * x[X::at(of.n, c, position)];
        }
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x > 0) return;
    if (tap == G::kernel::len) of_bias[c] += sum;
    else of_weight[c * G::kernel::len + tap] += sum;
}
