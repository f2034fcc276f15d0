/* The figures of an alpha that META tells, in one look at it; for subject.py. */

#include "common.h"

/* alpha [height, width]. found: left, top, right and bottom (exclusive) of the pixels of at least `least`, all 0 where
 * there are none, and the sum of all levels. Returns 0, or -1 where memory is short. */
EXPORTED PER_PROCESSOR int cutout_measure(const uint8_t *alpha, ptrdiff_t height, ptrdiff_t width, uint8_t least,
                                          int64_t found[5]) {
    uint8_t *highest = calloc(1, width); /* of each column */
    if (!highest) return -1;
    memset(found, 0, 5 * sizeof *found);
    for (ptrdiff_t y = 0; y < height; y++) {
        const uint8_t *row = alpha + y * width;
        uint8_t top = 0;
        int64_t sum = 0;
        for (ptrdiff_t from = 0; from < width; from += 4096) { /* a part's sum fits 32 bits, which is twice as fast */
            ptrdiff_t to = from + 4096 < width ? from + 4096 : width;
            uint32_t part = 0;
            for (ptrdiff_t x = from; x < to; x++) part += row[x];
            for (ptrdiff_t x = from; x < to; x++) {
                highest[x] = highest[x] > row[x] ? highest[x] : row[x];
                top = top > row[x] ? top : row[x];
            }
            sum += part;
        }
        found[4] += sum;
        if (top < least) continue;
        if (found[3] == 0) found[1] = y;
        found[3] = y + 1;
    }
    for (ptrdiff_t x = 0; x < width; x++) {
        if (highest[x] < least) continue;
        if (found[2] == 0) found[0] = x;
        found[2] = x + 1;
    }
    free(highest);
    return 0;
}
