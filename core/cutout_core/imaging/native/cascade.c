/* Where a boosted cascade of Haar-like features (Viola and Jones 2001) sees its object in a small picture; for
 * cascade.py. The same windows as OpenCV's detectMultiScale looks at and finds on one scale, bit for bit. */

#include "common.h"

/* Ints of a row of sums. With a step of 2 the even columns fill its first half and the odd ones its second, so that
 * neighbouring windows are neighbours in memory. */
enum { LONGEST = 128, PITCH = 160, WINDOW = 20, NORMED = WINDOW - 2, LANES = 4, MOST_WINDOWS = 112 };

/* Up to three boxes: where their corners lie from a window's first sum on, and their weights, 0 for none. */
typedef struct {
    int32_t corners[3][4], weights[3];
} Feature;

/* Two questions: is the first feature below its threshold (or, `flipped`, not below), the answer is leaf 0; else leaf 1
 * where the second is below its own, or leaf 2. */
typedef struct {
    Feature features[2];
    float thresholds[2];
    int32_t leaves[3], flipped; /* a leaf's bits as a float, and all bits or none */
} Tree;

typedef struct {
    int32_t trees;
    float threshold;
} Stage;

INLINED int32_t box(const int32_t *at, const int32_t corners[4]) {
    return at[corners[0]] - at[corners[1]] - at[corners[2]] + at[corners[3]];
}

/* One value of each of LANES windows that lie side by side. Eight are no faster, and a quarter as fast without AVX-512,
 * where GCC takes such vectors apart through memory. */
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef double Doubles __attribute__((vector_size(8 * LANES)));

/* Adds the sums of a box, weighted. */
INLINED void add_box(const int32_t *at, const int32_t corners[4], int32_t weight, Ints *value) {
    Ints sums[4];
    for (int i = 0; i < 4; i++) memcpy(sums + i, at + corners[i], sizeof(Ints));
    *value += weight * (sums[0] - sums[1] - sums[2] + sums[3]);
}

/* All bits where a feature is below its threshold. */
INLINED void is_below(const int32_t *at, const Feature *feature, const Floats *scale, float threshold, Ints *answer) {
    Ints value = {0};
    add_box(at, feature->corners[0], feature->weights[0], &value);
    add_box(at, feature->corners[1], feature->weights[1], &value);
    if (feature->weights[2]) add_box(at, feature->corners[2], feature->weights[2], &value);
    *answer = __builtin_convertvector(value, Floats) * *scale < threshold;
}

/* Adds up a stage's leaves in the windows from `at` on. */
INLINED void ask(const int32_t *at, const float *scales, const Tree *trees, ptrdiff_t count, double *sums) {
    Floats scale;
    Doubles sum = {0};
    memcpy(&scale, scales, sizeof scale);
    for (const Tree *tree = trees; tree < trees + count; tree++) {
        Ints first, second, leaf;
        is_below(at, &tree->features[0], &scale, tree->thresholds[0], &first);
        is_below(at, &tree->features[1], &scale, tree->thresholds[1], &second);
        first ^= tree->flipped;
        leaf = (second & tree->leaves[1]) | (~second & tree->leaves[2]);
        leaf = (first & tree->leaves[0]) | (~first & leaf);
        sum += __builtin_convertvector((Floats)leaf, Doubles);
    }
    memcpy(sums, &sum, sizeof sum);
}

INLINED int any(const uint8_t *flags) {
    int found = 0;
    for (int i = 0; i < LANES; i++) found |= flags[i];
    return found;
}

/* Sums of the image and of its squares above and left of each pixel, into zeros. */
static void integrate(const uint8_t *image, ptrdiff_t height, ptrdiff_t width, ptrdiff_t step, int32_t *sums,
                      int32_t *squares) {
    for (ptrdiff_t y = 0; y < height; y++) {
        int32_t *sum = sums + (y + 1) * PITCH, *square = squares + (y + 1) * PITCH, total = 0, total_square = 0;
        for (ptrdiff_t x = 0; x < width; x++) {
            int32_t value = image[y * width + x];
            ptrdiff_t at = (x + 1) / step + (x + 1) % step * (PITCH / 2);
            total += value;
            total_square += value * value;
            sum[at] = sum[at - PITCH] + total;
            square[at] = square[at - PITCH] + total_square;
        }
    }
}

/* image [height, width], at most LONGEST a side. step: 1 or 2, pixels between windows; the trees' corners are for it, and
 * so are those of the box of NORMED² pixels in the middle of a window. found: x and y of each window that passes all
 * stages, of which there are fewer than pixels. Returns how many, or -1 where memory is short. */
EXPORTED PER_PROCESSOR ptrdiff_t cutout_cascade(const uint8_t *image, ptrdiff_t height, ptrdiff_t width,
                                                ptrdiff_t step, const Stage *stages, ptrdiff_t stage_count,
                                                const Tree *trees, const int32_t normed[4], int32_t *found) {
    ptrdiff_t rows = height - WINDOW + 1, windows = (width - WINDOW + 1 + step - 1) / step, many = 0;
    ptrdiff_t padded = (windows + LANES - 1) / LANES * LANES;
    int32_t *sums = calloc(2 * (LONGEST + 2) * PITCH, sizeof *sums), *squares = sums + (LONGEST + 2) * PITCH;
    if (!sums) return -1;
    integrate(image, height, width, step, sums, squares);
    for (ptrdiff_t y = 0; y < rows; y += step) {
        const int32_t *at = sums + y * PITCH, *at_square = squares + y * PITCH;
        float scale[MOST_WINDOWS];
        double answers[MOST_WINDOWS];
        uint8_t open[MOST_WINDOWS]; /* what passed so far; one that is too even is not asked */
        for (ptrdiff_t i = 0; i < padded; i++) {
            double area = NORMED * NORMED, sum = box(at + i, normed);
            double spread = area * box(at_square + i, normed) - sum * sum;
            scale[i] = spread > 0 ? (float)(1 / sqrt(spread)) : 1;
            open[i] = i < windows && spread > 0 && area * scale[i] < 1e-1;
        }
        for (ptrdiff_t i = 0; i < padded; i += LANES) ask(at + i, scale + i, trees, stages[0].trees, answers + i);
        for (ptrdiff_t i = 0; i < windows; i++)
            if (open[i] && answers[i] < stages[0].threshold) {
                open[i] = 0;
                if (++i < windows) open[i] = 0; /* nor is the neighbour of one that fails at once */
            }
        for (ptrdiff_t i = 0; i < padded; i += LANES) {
            const Tree *next = trees + stages[0].trees;
            int more = any(open + i);
            for (const Stage *stage = stages + 1; stage < stages + stage_count && more; next += stage++->trees) {
                ask(at + i, scale + i, next, stage->trees, answers);
                for (int k = 0; k < LANES; k++) open[i + k] &= !(answers[k] < stage->threshold);
                more = any(open + i);
            }
            for (int k = 0; k < LANES && more; k++) {
                if (!open[i + k]) continue;
                found[2 * many] = (int32_t)((i + k) * step);
                found[2 * many++ + 1] = (int32_t)y;
            }
        }
    }
    free(sums);
    return many;
}
