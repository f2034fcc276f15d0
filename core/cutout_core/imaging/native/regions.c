/* The connected regions of a mask, from its rows' runs; for regions.py. */

#include "common.h"

/* Set cells begin..end (exclusive) of a row; its number is its place among all runs. */
typedef struct {
    int32_t row, begin, end;
} Run;

/* The first run of a run's region. */
static int32_t first_of(int32_t *parents, int32_t run) {
    while (parents[run] != run) run = parents[run] = parents[parents[run]];
    return run;
}

/* mask [height, width] of 0 and 255. labels [height, width]: 0 where the mask is, else the number of the region, from 1
 * on in the order of their first cells; cells that touch at a corner are of one. stats [regions + 1, 5]: left, top,
 * width, height and cells of each, those of 0 not written; there is room for a quarter of the cells, rounded up by rows
 * and columns. Returns the number of regions, or -1 where memory is short. */
EXPORTED PER_PROCESSOR ptrdiff_t cutout_regions(const uint8_t *mask, ptrdiff_t height, ptrdiff_t width, int32_t *labels,
                                                int32_t *stats) {
    ptrdiff_t most = height * (width / 2 + 1), count = 0, above = 0, above_end = 0, regions = 0;
    Run *runs = malloc(most * sizeof *runs);
    int32_t *parents = malloc(most * sizeof *parents);
    if (!runs || !parents) {
        free(runs), free(parents);
        return -1;
    }
    for (ptrdiff_t y = 0; y < height; y++, above = above_end, above_end = count) {
        const uint8_t *row = mask + y * width;
        ptrdiff_t next = above;
        for (ptrdiff_t x = 0, end; x < width; x = end) {
            end = x + pure_run(row + x, width - x);
            if (!row[x]) continue;
            runs[count] = (Run){(int32_t)y, (int32_t)x, (int32_t)end};
            parents[count] = (int32_t)count;
            while (next < above_end && runs[next].end < x) next++;
            for (ptrdiff_t other = next; other < above_end && runs[other].begin <= end; other++) {
                int32_t one = first_of(parents, (int32_t)count), two = first_of(parents, (int32_t)other);
                if (one < two) parents[two] = one;
                else parents[one] = two;
            }
            count++;
        }
    }
    memset(labels, 0, height * width * sizeof *labels);
    for (ptrdiff_t k = 0; k < count; k++) { /* a region's first run has been numbered when its others come */
        Run run = runs[k];
        int32_t first = first_of(parents, (int32_t)k), *cells = labels + run.row * width;
        int32_t number = first == k ? (int32_t)++regions : labels[runs[first].row * width + runs[first].begin];
        int32_t *found = stats + 5 * number;
        for (int32_t x = run.begin; x < run.end; x++) cells[x] = number;
        if (first == k) memcpy(found, (int32_t[5]){run.begin, run.row, run.end, 0, 0}, 5 * sizeof *found);
        if (run.begin < found[0]) found[0] = run.begin;
        if (run.end > found[2]) found[2] = run.end;
        found[3] = run.row + 1 - found[1];
        found[4] += run.end - run.begin;
    }
    for (ptrdiff_t k = 1; k <= regions; k++) stats[5 * k + 2] -= stats[5 * k];
    free(runs), free(parents);
    return regions;
}
