/* What the kernels share. Sizes and offsets are ptrdiff_t; images are contiguous, their rows from the top. */
#ifndef CUTOUT_COMMON_H
#define CUTOUT_COMMON_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define INLINED static inline __attribute__((always_inline))

/* Compiled for several generations of x86-64; the loader takes the best that this processor runs. */
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 12
#define PER_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PER_PROCESSOR
#endif

INLINED ptrdiff_t clamped(ptrdiff_t value, ptrdiff_t low, ptrdiff_t high) {
    return value < low ? low : value > high ? high : value;
}

/* Where one pixel lies between the cells of a grid: cells `first` and `second`, and the second's weight. */
typedef struct {
    int32_t first, second;
    float weight;
} Between;

/* Pixel centres between cell centres, as OpenCV's INTER_LINEAR has them, extended beyond the grid's border. */
INLINED Between between(ptrdiff_t pixel, ptrdiff_t pixels, ptrdiff_t cells) {
    double position = (pixel + 0.5) * ((double)cells / pixels) - 0.5;
    ptrdiff_t below = (ptrdiff_t)floor(position);
    Between found = {(int32_t)clamped(below, 0, cells - 1), (int32_t)clamped(below + 1, 0, cells - 1),
                     (float)(position - below)};
    return found;
}

static inline Between *positions(ptrdiff_t pixels, ptrdiff_t cells) {
    Between *all = malloc(pixels * sizeof *all);
    for (ptrdiff_t pixel = 0; all && pixel < pixels; pixel++) all[pixel] = between(pixel, pixels, cells);
    return all;
}

/* Bilinear sample of `channels` floats a cell between two rows of a grid; `out` lies elsewhere: sure of that, the
 * compiler takes all channels at once. */
INLINED void sample(const float *above, const float *below, Between x, float y_weight, int channels,
                    float *restrict out) {
    const float *a = above + channels * x.first, *b = above + channels * x.second;
    const float *c = below + channels * x.first, *d = below + channels * x.second;
    for (int k = 0; k < channels; k++) {
        float top = a[k] + x.weight * (b[k] - a[k]), bottom = c[k] + x.weight * (d[k] - c[k]);
        out[k] = top + y_weight * (bottom - top);
    }
}

INLINED uint8_t level(float value) {
    return (uint8_t)lrintf(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* How many bytes from `bytes` on, at most `count`, have the value 0 (or all 255, whichever the first one has). */
INLINED ptrdiff_t pure_run(const uint8_t *bytes, ptrdiff_t count) {
    uint64_t words[4], same = bytes[0] ? ~(uint64_t)0 : 0;
    ptrdiff_t run = 0;
    for (; run + 32 <= count; run += 32) {
        memcpy(words, bytes + run, 32);
        if ((words[0] ^ same) | (words[1] ^ same) | (words[2] ^ same) | (words[3] ^ same)) break;
    }
    while (run < count && bytes[run] == (uint8_t)same) run++;
    return run;
}

#endif
