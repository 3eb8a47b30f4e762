// What follows a pass, over flat memory: gradients accumulated, penalized and clipped, and the optimizers. A thread for each float, in
// blocks of 256. Numbers are on the device, so that a captured step can be replayed with others.

extern "C" __global__ void __launch_bounds__(256) gather(float *sum, const float *x, u32 count, float factor) {
    const u64 i = thread_number();
    if (i < count) sum[i] += factor * x[i];
}

extern "C" __global__ void __launch_bounds__(256) scale(float *x, u32 count, float factor) {
    const u64 i = thread_number();
    if (i < count) x[i] *= factor;
}

// What `l1 |p| + l2 p^2 / 2` adds to a gradient.
extern "C" __global__ void __launch_bounds__(256)
    penalize(const float *params, float *gradients, u32 count, float l1, float l2) {
    const u64 i = thread_number();
    if (i < count) gradients[i] += l2 * params[i] + l1 * ((params[i] > 0.0f) - (params[i] < 0.0f));
}

extern "C" __global__ void __launch_bounds__(256) limit(float *x, u32 count, float most) {
    const u64 i = thread_number();
    if (i < count) x[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
}

// Each block's part of the sums of |x| and of x^2, in 256 blocks.
extern "C" __global__ void __launch_bounds__(256) sums(const float *x, u32 count, double *sums) {
    __shared__ double sizes[256], squares[256];
    double size = 0.0, square = 0.0;
    for (u64 i = thread_number(); i < count; i += 256 * 256) {
        size += fabs((double)x[i]);
        square += (double)x[i] * x[i];
    }
    sizes[threadIdx.x] = size;
    squares[threadIdx.x] = square;
    for (u32 distance = 128; distance > 0; distance /= 2) {
        __syncthreads();
        if (threadIdx.x >= distance) continue;
        sizes[threadIdx.x] += sizes[threadIdx.x + distance];
        squares[threadIdx.x] += squares[threadIdx.x + distance];
    }
    if (threadIdx.x > 0) return;
    sums[2 * blockIdx.x] = sizes[0];
    sums[2 * blockIdx.x + 1] = squares[0];
}

// x with a norm of at most so much, of the sums that `sums` made (Pascanu et al. 2013). A factor that is no number makes all of them none.
extern "C" __global__ void __launch_bounds__(256) clip(float *x, u32 count, const double *sums, u32 pairs, float most) {
    __shared__ float factor;
    if (threadIdx.x == 0) {
        double squares = 0.0;
        for (u32 pair = 0; pair < pairs; ++pair) squares += sums[2 * pair + 1];
        factor = most / (sqrt(squares) + 1e-6);
    }
    __syncthreads();
    const u64 i = thread_number();
    if (i < count && !(factor >= 1.0f)) x[i] *= factor;
}

// Numbers: learning rate, weight decay.
extern "C" __global__ void __launch_bounds__(256)
    descend(float *params, const float *gradients, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i < count) params[i] -= numbers[0] * (gradients[i] + numbers[1] * params[i]);
}

// Numbers: learning rate, weight decay, what is kept of a velocity, what it takes of a gradient, 1 if it looks ahead (Nesterov).
extern "C" __global__ void __launch_bounds__(256)
    descend_with_momentum(float *params, const float *gradients, float *velocity, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i >= count) return;
    const float gradient = gradients[i] + numbers[1] * params[i];
    const float v = numbers[2] * velocity[i] + numbers[3] * gradient;
    velocity[i] = v;
    params[i] -= numbers[0] * (numbers[4] != 0.0f ? gradient + numbers[2] * v : v);
}

// Numbers: step, scale of the root, eps, weight decay, what is kept of a parameter, what of its squares, what means and squares take.
extern "C" __global__ void __launch_bounds__(256)
    adapt(float *params, const float *gradients, float *means, float *squares, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i >= count) return;
    const float gradient = gradients[i] + numbers[3] * params[i];
    const float mean = means[i] + numbers[6] * (gradient - means[i]);
    const float square = numbers[5] * squares[i] + numbers[7] * gradient * gradient;
    means[i] = mean;
    squares[i] = square;
    params[i] = numbers[4] * params[i] - numbers[0] * (mean / (sqrtf(square) / numbers[1] + numbers[2]));
}

// Numbers: learning rate, weight decay, eps, what is kept of squares and means, what they take, what is kept of a velocity. Without means
// it is not centred.
extern "C" __global__ void __launch_bounds__(256)
    scale_by_root(float *params, const float *gradients, float *squares, float *means, float *velocity, u32 count, const float *numbers) {
    const u64 i = thread_number();
    if (i >= count) return;
    const float gradient = gradients[i] + numbers[1] * params[i];
    float square = numbers[3] * squares[i] + numbers[4] * gradient * gradient;
    squares[i] = square;
    if (means) {
        const float mean = means[i] + numbers[4] * (gradient - means[i]);
        means[i] = mean;
        // Of a gradient that never changes, rounding may leave less than nothing.
        square = fmaxf(square - mean * mean, 0.0f);
    }
    float step = gradient / (sqrtf(square) + numbers[2]);
    if (velocity) {
        step += numbers[5] * velocity[i];
        velocity[i] = step;
    }
    params[i] -= numbers[0] * step;
}

// What a penalty adds to the loss, of the sums that `sums` made. One block.
extern "C" __global__ void __launch_bounds__(256) add_penalty(const double *sums, float l1, float l2, double *loss) {
    __shared__ double parts[256];
    parts[threadIdx.x] = l1 * sums[2 * threadIdx.x] + l2 * sums[2 * threadIdx.x + 1];
    for (u32 distance = 128; distance > 0; distance /= 2) {
        __syncthreads();
        if (threadIdx.x < distance) parts[threadIdx.x] += parts[threadIdx.x + distance];
    }
    if (threadIdx.x == 0) loss[3] += parts[0];
}

// The loss, of losses that are parts of it and of what penalties have added: `loss` has it; the sum of all losses since it was last 0, up
// to the first that is no finite number; how many these are; and what penalties add to the next. One block.
extern "C" __global__ void __launch_bounds__(256) add_up(const float *losses, u32 count, double *loss) {
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < count; i += 256) sum += losses[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x > 0) return;
    const double mean = sum + loss[3];
    loss[0] = mean;
    loss[3] = 0.0;
    if (!isfinite(loss[1])) return;
    loss[1] += mean;
    loss[2] += 1.0;
}
