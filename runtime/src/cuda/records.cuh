
// Inputs of a batch from a data set that the card has: `records` are the numbers of the batch's, and `changes` has so many of each, in
// order, each five numbers: 0, nothing; 1, a pixel is that so far down and right, or black; 2, left and right change places; 3, rows and
// columns from and to which all is 0. A thread finds where an element of the batch comes from, from the last change to the first.
struct Place {
    unsigned c, y, x;
    // Not of the record, but black or 0.
    bool is_black, is_zero;
};

__device__ Place place(unsigned element, unsigned height, unsigned width, const int *changes, unsigned count) {
    int c = element / (height * width), y = element / width % height, x = element % width;
    for (int at = (int)count - 1; at >= 0; --at) {
        const int *change = changes + 5 * at;
        if (change[0] == 1) {
            y += change[1];
            x += change[2];
            if (y < 0 || x < 0 || y >= (int)height || x >= (int)width) return {(unsigned)c, 0, 0, true, false};
        } else if (change[0] == 2) {
            x = width - 1 - x;
        } else if (change[0] == 3 && y >= change[1] && y < change[2] && x >= change[3] && x < change[4]) {
            return {(unsigned)c, 0, 0, false, true};
        }
    }
    return {(unsigned)c, (unsigned)y, (unsigned)x, false, false};
}

// Of bytes: `tables` has the number of each of 256 for each channel, `black` that of black pixels.
extern "C" __global__ void __launch_bounds__(256) records_of_bytes(
    const unsigned char *bytes, const float *tables, const float *black, const unsigned *records, const int *changes, unsigned changed,
    float *to, unsigned batch, unsigned channels, unsigned height, unsigned width) {
    const unsigned long long i = (unsigned long long)blockIdx.x * 256 + threadIdx.x;
    const unsigned len = channels * height * width;
    if (i >= (unsigned long long)batch * len) return;
    const unsigned sample = i / len;
    const Place at = place(i % len, height, width, changes + 5 * changed * sample, changed);
    const unsigned long long from = (unsigned long long)records[sample] * len + (at.c * height + at.y) * width + at.x;
    to[i] = at.is_zero ? 0.0f : at.is_black ? black[at.c] : tables[256 * at.c + bytes[from]];
}

// Of numbers, which are as a model reads them.
extern "C" __global__ void __launch_bounds__(256) records_of_floats(
    const float *floats, const float *black, const unsigned *records, const int *changes, unsigned changed,
    float *to, unsigned batch, unsigned channels, unsigned height, unsigned width) {
    const unsigned long long i = (unsigned long long)blockIdx.x * 256 + threadIdx.x;
    const unsigned len = channels * height * width;
    if (i >= (unsigned long long)batch * len) return;
    const unsigned sample = i / len;
    const Place at = place(i % len, height, width, changes + 5 * changed * sample, changed);
    const unsigned long long from = (unsigned long long)records[sample] * len + (at.c * height + at.y) * width + at.x;
    to[i] = at.is_zero ? 0.0f : at.is_black ? black[at.c] : floats[from];
}
