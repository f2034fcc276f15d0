/* A PNG's filtered rows back to pixels (PNG Specification, Third Edition, section 9), for png_decode.py. */

#include "common.h"

enum { NONE, SUB, UP, AVERAGE, PAETH, WRONG_FILTER = -2 };

INLINED uint8_t nearest(int left, int up, int corner) {
    int to_left = abs(up - corner), to_up = abs(left - corner), to_corner = abs(left + up - 2 * corner);
    return (uint8_t)(to_left <= to_up && to_left <= to_corner ? left : to_up <= to_corner ? up : corner);
}

/* One row in place; `before` are the channels to its left, zeros, and `above` the row above it. */
INLINED int unfilter(int type, uint8_t *row, const uint8_t *above, ptrdiff_t stride, const ptrdiff_t channels) {
    switch (type) {
        case NONE: return 0;
        case SUB:
            for (ptrdiff_t i = channels; i < stride; i++) row[i] += row[i - channels];
            return 0;
        case UP:
            for (ptrdiff_t i = 0; i < stride; i++) row[i] += above[i];
            return 0;
        case AVERAGE:
            for (ptrdiff_t i = 0; i < channels; i++) row[i] += above[i] / 2;
            for (ptrdiff_t i = channels; i < stride; i++) row[i] += (uint8_t)((row[i - channels] + above[i]) / 2);
            return 0;
        case PAETH: {
            uint8_t left[4] = {0}, corner[4] = {0}; /* in registers: each pixel waits for the one before */
            for (ptrdiff_t i = 0; i < stride; i += channels)
                for (ptrdiff_t k = 0; k < channels; k++) {
                    uint8_t up = above[i + k];
                    left[k] = row[i + k] = (uint8_t)(row[i + k] + nearest(left[k], up, corner[k]));
                    corner[k] = up;
                }
            return 0;
        }
        default: return WRONG_FILTER;
    }
}

/* filtered [height, 1 + width × channels]: a filter type and the samples of each row; channels: 3 or 4.
 * color [height, width, 3], and with 4 channels alpha [height, width], are written.
 * Returns 0, -1 where memory is short, -2 for a filter that does not exist. */
EXPORTED PER_PROCESSOR int cutout_unfilter(const uint8_t *filtered, ptrdiff_t height, ptrdiff_t width,
                                           ptrdiff_t channels, uint8_t *color, uint8_t *alpha) {
    ptrdiff_t stride = width * channels;
    uint8_t *rows = calloc(2, stride); /* the one above, at first zeros, and this one */
    if (!rows) return -1;
    int failed = 0;
    const uint8_t *above = rows;
    for (ptrdiff_t y = 0; y < height && !failed; y++) {
        const uint8_t *in = filtered + y * (1 + stride);
        uint8_t *row = channels == 3 ? color + y * stride : rows + (y % 2 ? 0 : stride);
        memcpy(row, in + 1, stride);
        failed = channels == 4 ? unfilter(*in, row, above, stride, 4) : unfilter(*in, row, above, stride, 3);
        above = row;
        if (channels == 3) continue;
        uint8_t *rgb = color + 3 * y * width;
        for (ptrdiff_t x = 0; x < width; x++) {
            for (int k = 0; k < 3; k++) rgb[3 * x + k] = row[4 * x + k];
            alpha[y * width + x] = row[4 * x + 3];
        }
    }
    free(rows);
    return failed;
}
