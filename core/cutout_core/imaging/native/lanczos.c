/* `squeeze` of resize.py: an image to a square through Lanczos (a = 3), by columns and then by rows, in floats. */

#include "common.h"

enum { LOBES = 3 };

/* Red, green, blue and a fourth value that nobody reads: one operation of every processor that we know. */
typedef float Pixel __attribute__((vector_size(16)));

/* The weights of the source's cells in one cell of the result: `count` of them from `first` on. */
typedef struct {
    int32_t first, count;
} Taps;

static double lanczos(double x) {
    if (x == 0) return 1;
    double slow = sin(M_PI / LOBES * x), fast = slow * (3 - 4 * slow * slow); /* sin 3t = 3 sin t - 4 sin³ t */
    return LOBES * fast * slow / (M_PI * M_PI * x * x);
}

/* For `cells` of the result over from..to of the source's `size` cells; weights: float [cells, longest]. */
static void find_taps(double from, double to, ptrdiff_t size, ptrdiff_t cells, ptrdiff_t longest, Taps *taps,
                      float *weights) {
    double scale = (to - from) / cells, wide = scale < 1 ? 1 : scale;
    for (ptrdiff_t cell = 0; cell < cells; cell++) {
        double center = from + (cell + 0.5) * scale, sum = 0;
        ptrdiff_t first = clamped((ptrdiff_t)(center - LOBES * wide + 0.5), 0, size - 1);
        ptrdiff_t end = clamped((ptrdiff_t)(center + LOBES * wide + 0.5), first + 1, size);
        float *weight = weights + cell * longest;
        for (ptrdiff_t k = 0; k < end - first; k++) {
            double x = (first + k + 0.5 - center) / wide;
            weight[k] = x > -LOBES && x < LOBES ? (float)lanczos(x) : 0;
            sum += weight[k];
        }
        for (ptrdiff_t k = 0; k < end - first; k++) weight[k] /= (float)sum;
        taps[cell] = (Taps){(int32_t)first, (int32_t)(end - first)};
    }
}

/* rgb [height, width, 3], of which the part left, top, right, bottom fills out [size, size, 3].
 * Returns 0, or -1 where memory is short. */
EXPORTED PER_PROCESSOR int cutout_lanczos(const uint8_t *rgb, ptrdiff_t height, ptrdiff_t width, double left,
                                          double top, double right, double bottom, ptrdiff_t size, uint8_t *out) {
    double x_scale = (right - left) / size, y_scale = (bottom - top) / size;
    double widest = fmax(1, fmax(x_scale, y_scale));
    ptrdiff_t longest = (ptrdiff_t)ceil(2 * LOBES * widest) + 2;
    Taps *across = malloc(size * sizeof *across), *down = malloc(size * sizeof *down);
    float *x_weights = malloc(size * longest * sizeof(float)), *y_weights = malloc(size * longest * sizeof(float));
    float *sums = malloc(3 * width * sizeof(float));
    Pixel *row = malloc(width * sizeof *row);
    int failed = !across || !down || !x_weights || !y_weights || !sums || !row ? -1 : 0;
    if (!failed) {
        find_taps(left, right, width, size, longest, across, x_weights);
        find_taps(top, bottom, height, size, longest, down, y_weights);
    }
    for (ptrdiff_t y = 0; !failed && y < size; y++) {
        memset(sums, 0, 3 * width * sizeof(float));
        for (ptrdiff_t k = 0; k < down[y].count; k++) {
            const uint8_t *line = rgb + 3 * width * (down[y].first + k);
            float weight = y_weights[y * longest + k];
            for (ptrdiff_t i = 0; i < 3 * width; i++) sums[i] += weight * line[i];
        }
        for (ptrdiff_t x = 0; x < width; x++) row[x] = (Pixel){sums[3 * x], sums[3 * x + 1], sums[3 * x + 2], 0};
        for (ptrdiff_t x = 0; x < size; x++) {
            const float *weight = x_weights + x * longest;
            const Pixel *pixel = row + across[x].first;
            Pixel even = {0}, odd = {0};
            ptrdiff_t k = 0;
            for (; k + 1 < across[x].count; k += 2) {
                even += weight[k] * pixel[k];
                odd += weight[k + 1] * pixel[k + 1];
            }
            if (k < across[x].count) even += weight[k] * pixel[k];
            even += odd;
            for (int i = 0; i < 3; i++) out[3 * (y * size + x) + i] = level(even[i]);
        }
    }
    free(across), free(down), free(x_weights), free(y_weights), free(sums), free(row);
    return failed;
}
