/* The two hot loops of refine.py: the linear models on the grid, and their values at the photo's mixed pixels. */

#include "common.h"

enum { R, G, B, A, RR, GG, BB, RG, GB, BR, RA, GA, BA, ENERGY, SUMS = 16 };

/* Energy of alpha's finest detail at a cell, in squared levels times 81. */
INLINED int32_t detail(const uint8_t *alpha, ptrdiff_t height, ptrdiff_t width, ptrdiff_t y, ptrdiff_t x) {
    int32_t around = 0;
    for (ptrdiff_t dy = -1; dy <= 1; dy++) {
        const uint8_t *row = alpha + clamped(y + dy, 0, height - 1) * width;
        around += row[clamped(x - 1, 0, width - 1)] + row[x] + row[clamped(x + 1, 0, width - 1)];
    }
    int32_t fine = 9 * alpha[y * width + x] - around;
    return fine * fine;
}

/* Adds a column of 2 × reach + 1 cells to the sums. */
INLINED void add_column(const uint8_t *rgb, const uint8_t *alpha, const int32_t *energy, ptrdiff_t height,
                        ptrdiff_t width, ptrdiff_t y, ptrdiff_t x, ptrdiff_t reach, int32_t *sums) {
    x = clamped(x, 0, width - 1);
    for (ptrdiff_t dy = -reach; dy <= reach; dy++) {
        ptrdiff_t cell = clamped(y + dy, 0, height - 1) * width + x;
        int32_t r = rgb[3 * cell], g = rgb[3 * cell + 1], b = rgb[3 * cell + 2], a = alpha[cell];
        int32_t terms[SUMS] = {r,     g,     b,     a,     r * r, g * g, b * b,        r * g,
                               g * b, b * r, r * a, g * a, b * a, energy[cell], 0, 0};
        for (int k = 0; k < SUMS; k++) sums[k] += terms[k];
    }
}

/* The slopes and the offset of one cell, from the sums over its window. */
INLINED void fit(const int32_t *sums, ptrdiff_t reach, const uint8_t *rgb, float alpha, float share,
                 float soft_detail, float noise, float *model) {
    float scale = 1.0f / ((2 * reach + 1) * (2 * reach + 1)), m[SUMS];
    for (int k = 0; k < SUMS; k++) m[k] = sums[k] * scale;
    float a = m[RR] - m[R] * m[R] + noise, b = m[GG] - m[G] * m[G] + noise, c = m[BB] - m[B] * m[B] + noise;
    float d = m[RG] - m[R] * m[G], e = m[GB] - m[G] * m[B], f = m[BR] - m[B] * m[R];
    float x = m[RA] - m[R] * m[A], y = m[GA] - m[G] * m[A], z = m[BA] - m[B] * m[A];
    float ab = a * b - d * d, bc = b * c - e * e, ca = c * a - f * f;
    float de = d * e - b * f, ef = e * f - c * d, fd = f * d - a * e;
    float determinant = a * bc + d * ef + f * de;
    float slope[3] = {(bc * x + ef * y + de * z) / determinant, (ef * x + ca * y + fd * z) / determinant,
                      (de * x + fd * y + ab * z) / determinant};
    float fitted = m[A], energy = m[ENERGY] / 81, offset = 0;
    for (int k = 0; k < 3; k++) fitted += slope[k] * (rgb[k] - m[k]);
    float value = alpha + share * (fitted - alpha);
    for (int k = 0; k < 3; k++) {
        model[k] = slope[k] * energy / (energy + soft_detail);
        offset += model[k] * rgb[k];
    }
    model[3] = value - offset;
}

/* rgb [height, width, 3], alpha [height, width]: the photo and its alpha on the grid. models: float [height, width, 4],
 * zeros; filled in and beside the cells that are not alike around: slopes, and the offset in levels.
 * Returns 0, or -1 where memory is short. */
EXPORTED PER_PROCESSOR int cutout_fit_alpha(const uint8_t *rgb, const uint8_t *alpha, ptrdiff_t height,
                                            ptrdiff_t width, ptrdiff_t reach, float share, float soft_detail,
                                            float noise, float *models) {
    int32_t *energy = malloc(height * width * sizeof *energy);
    int32_t(*columns)[SUMS] = malloc((width + 2 * reach) * sizeof *columns);
    uint8_t *near = malloc(width), *low = malloc(width), *high = malloc(width);
    int failed = !energy || !columns || !near || !low || !high ? -1 : 0;
    for (ptrdiff_t y = 0; !failed && y < height; y++)
        for (ptrdiff_t x = 0; x < width; x++) energy[y * width + x] = detail(alpha, height, width, y, x);
    for (ptrdiff_t y = 0; !failed && y < height; y++) {
        const uint8_t *above = alpha + clamped(y - 1, 0, height - 1) * width, *row = alpha + y * width;
        const uint8_t *below = alpha + clamped(y + 1, 0, height - 1) * width;
        for (ptrdiff_t x = 0; x < width; x++) {
            uint8_t less = above[x] < below[x] ? above[x] : below[x], more = above[x] > below[x] ? above[x] : below[x];
            low[x] = row[x] < less ? row[x] : less;
            high[x] = row[x] > more ? row[x] : more;
        }
        for (ptrdiff_t x = 0; x < width; x++) {
            ptrdiff_t left = clamped(x - 1, 0, width - 1), right = clamped(x + 1, 0, width - 1);
            near[x] = (high[left] | high[x] | high[right]) && (low[left] & low[x] & low[right]) != 255;
        }
        for (ptrdiff_t from = 0, to; from < width; from = to) {
            to = from + 1;
            if (!near[from]) continue;
            while (to < width && near[to]) to++;
            int32_t sums[SUMS] = {0};
            for (ptrdiff_t x = from - reach; x < to + reach; x++) {
                int32_t *column = columns[x - from + reach];
                memset(column, 0, sizeof *columns);
                add_column(rgb, alpha, energy, height, width, y, x, reach, column);
            }
            for (ptrdiff_t k = 0; k < 2 * reach; k++)
                for (int i = 0; i < SUMS; i++) sums[i] += columns[k][i];
            for (ptrdiff_t x = from; x < to; x++) {
                const int32_t *in = columns[x - from + 2 * reach], *out = columns[x - from];
                for (int i = 0; i < SUMS; i++) sums[i] += in[i];
                ptrdiff_t cell = y * width + x;
                fit(sums, reach, rgb + 3 * cell, alpha[cell], share, soft_detail, noise, models + 4 * cell);
                for (int i = 0; i < SUMS; i++) sums[i] -= out[i];
            }
        }
    }
    free(energy), free(columns), free(near), free(low), free(high);
    return failed;
}

/* rgb [height, width, 3]; alpha [height, width]: its pixels that are neither 0 nor 255 get the value of the models,
 * float [rows, columns, 4]. Returns 0, or -1 where memory is short. */
EXPORTED PER_PROCESSOR int cutout_apply_models(const uint8_t *rgb, uint8_t *alpha, ptrdiff_t height, ptrdiff_t width,
                                               const float *models, ptrdiff_t rows, ptrdiff_t columns) {
    Between *across = positions(width, columns);
    if (!across) return -1;
    for (ptrdiff_t y = 0; y < height; y++) {
        Between down = between(y, height, rows);
        const float *above = models + 4 * columns * down.first, *below = models + 4 * columns * down.second;
        for (ptrdiff_t x = 0; x < width; x++) {
            uint8_t *pixel = alpha + y * width + x;
            if (*pixel == 0 || *pixel == 255) {
                x += pure_run(pixel, width - x) - 1;
                continue;
            }
            const uint8_t *color = rgb + 3 * (y * width + x);
            float model[4];
            sample(above, below, across[x], down.weight, 4, model);
            *pixel = level(model[0] * color[0] + model[1] * color[1] + model[2] * color[2] + model[3]);
        }
    }
    free(across);
    return 0;
}
