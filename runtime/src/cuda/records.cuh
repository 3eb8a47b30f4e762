
// Inputs of a batch from a data set that the card has: `records` are the numbers of the batch's, and `changes` has so many of each, in
// order, each five numbers: 0, nothing; 1, a pixel is that so far down and right, or black; 2, left and right change places; 3, rows and
// columns from and to which all is 0. A thread finds where an element of the batch comes from, from the last change to the first.
//
// With `shares` an element is a mean of two: of its own record, of which that is the share, and of another one, which is behind those of
// the batch with changes of its own (mixup). Without it is null.

// The records of a data set: bytes, and the number of each of 256 for each channel.
struct Bytes {
    const unsigned char *bytes;
    const float *tables;
    __device__ float at(unsigned long long i, unsigned c) const { return tables[256 * c + bytes[i]]; }
};

// Numbers, which are as a model reads them.
struct Floats {
    const float *floats;
    __device__ float at(unsigned long long i, unsigned) const { return floats[i]; }
};

// An element of a record behind its changes; `black` has that of a black pixel of each channel.
template <class Of>
__device__ float changed(Of of, const float *black, unsigned record, const int *changes, unsigned count, unsigned element,
                         unsigned channels, unsigned height, unsigned width) {
    const unsigned c = element / (height * width);
    int y = element / width % height, x = element % width;
    for (int at = (int)count - 1; at >= 0; --at) {
        const int *change = changes + 5 * at;
        if (change[0] == 1) {
            y += change[1];
            x += change[2];
            if (y < 0 || x < 0 || y >= (int)height || x >= (int)width) return black[c];
        } else if (change[0] == 2) {
            x = width - 1 - x;
        } else if (change[0] == 3 && y >= change[1] && y < change[2] && x >= change[3] && x < change[4]) {
            return 0.0f;
        }
    }
    return of.at(((unsigned long long)record * channels + c) * height * width + y * width + x, c);
}

template <class Of>
__device__ void pick(Of of, const float *black, const unsigned *records, const int *changes, unsigned count, const float *shares,
                     float *to, unsigned batch, unsigned channels, unsigned height, unsigned width) {
    const unsigned long long i = (unsigned long long)blockIdx.x * 256 + threadIdx.x;
    const unsigned len = channels * height * width;
    if (i >= (unsigned long long)batch * len) return;
    const unsigned sample = i / len, element = i % len, other = batch + sample;
    float value = changed(of, black, records[sample], changes + 5 * count * sample, count, element, channels, height, width);
    if (shares) {
        const float more = changed(of, black, records[other], changes + 5 * count * other, count, element, channels, height, width);
        value = shares[sample] * value + (1.0f - shares[sample]) * more;
    }
    to[i] = value;
}

extern "C" __global__ void __launch_bounds__(256) records_of_bytes(
    const unsigned char *bytes, const float *tables, const float *black, const unsigned *records, const int *changes, unsigned count,
    const float *shares, float *to, unsigned batch, unsigned channels, unsigned height, unsigned width) {
    pick(Bytes{bytes, tables}, black, records, changes, count, shares, to, batch, channels, height, width);
}

extern "C" __global__ void __launch_bounds__(256) records_of_floats(
    const float *floats, const float *black, const unsigned *records, const int *changes, unsigned count,
    const float *shares, float *to, unsigned batch, unsigned channels, unsigned height, unsigned width) {
    pick(Floats{floats}, black, records, changes, count, shares, to, batch, channels, height, width);
}
