/* The two hot loops of decontaminate.py: both colours on a grid, and the subject's at the photo's mixed pixels. */

#include "common.h"

/* A cell's colours: the foreground's three values and one unused, then the background's. */
enum { BACK = 4, COLORS = 8 };

INLINED int mixed(uint8_t alpha) { return (uint8_t)(alpha - 1) < 254; }

/* pixels [height, width, 4]: photo and alpha on a grid. coarser: float [rows, columns, 8], the colours of the coarser
 * level. colors: float [height, width, 8], filled: the coarser ones brought to this size, fitted to the window of
 * 3 × 3 in and beside mixed cells. hold: weight of the coarser colours against the window.
 * Returns 0, or -1 where memory is short. */
EXPORTED PER_PROCESSOR int cutout_fit_colors(const uint8_t *pixels, ptrdiff_t height, ptrdiff_t width,
                                             const float *coarser, ptrdiff_t rows, ptrdiff_t columns, float hold,
                                             float *colors) {
    Between *across = positions(width, columns);
    uint8_t *near = malloc(width + 2);
    if (!across || !near) {
        free(across), free(near);
        return -1;
    }
    for (ptrdiff_t y = 0; y < height; y++) {
        Between down = between(y, height, rows);
        const float *upper = coarser + COLORS * columns * down.first, *lower = coarser + COLORS * columns * down.second;
        const uint8_t *lines[3];
        for (int k = 0; k < 3; k++) lines[k] = pixels + 4 * width * clamped(y + k - 1, 0, height - 1);
        near[0] = near[width + 1] = 0;
        for (ptrdiff_t x = 0; x < width; x++)
            near[x + 1] = mixed(lines[0][4 * x + 3]) | mixed(lines[1][4 * x + 3]) | mixed(lines[2][4 * x + 3]);
        for (ptrdiff_t x = 0; x < width; x++) {
            float *color = colors + COLORS * (y * width + x);
            sample(upper, lower, across[x], down.weight, COLORS, color);
            if (!(near[x] | near[x + 1] | near[x + 2])) continue;
            int32_t all[4] = {0}, weighted[4] = {0};
            for (int k = 0; k < 3; k++)
                for (ptrdiff_t dx = -1; dx <= 1; dx++) {
                    const uint8_t *cell = lines[k] + 4 * clamped(x + dx, 0, width - 1);
                    for (int i = 0; i < 4; i++) {
                        all[i] += cell[i];
                        weighted[i] += cell[i] * cell[3];
                    }
                }
            float mean = all[3] / (9 * 255.0f), squares = weighted[3] / (9 * 255.0f * 255.0f), crossed = mean - squares;
            float front_weight = squares + hold, back_weight = 1 - mean - crossed + hold;
            float scale = 1 / (front_weight * back_weight - crossed * crossed);
            for (int i = 0; i < 3; i++) {
                float front = weighted[i] / (9 * 255.0f);
                float back = all[i] / 9.0f - front + hold * color[BACK + i];
                front += hold * color[i];
                float fitted = scale * (back_weight * front - crossed * back);
                float behind = scale * (front_weight * back - crossed * front);
                color[i] = fitted < 0 ? 0 : fitted > 255 ? 255 : fitted;
                color[BACK + i] = behind < 0 ? 0 : behind > 255 ? 255 : behind;
            }
        }
    }
    free(across), free(near);
    return 0;
}

/* rgb [height, width, 3], overwritten: zeros where alpha [height, width] is 0, as it is where that is 255, else the
 * subject's colour; colors: float [rows, columns, 8] of `cutout_fit_colors`. Returns 0, or -1 where memory is short. */
EXPORTED PER_PROCESSOR int cutout_unmix(uint8_t *rgb, const uint8_t *alpha, ptrdiff_t height, ptrdiff_t width,
                                        const float *colors, ptrdiff_t rows, ptrdiff_t columns, float hold) {
    Between *across = positions(width, columns);
    if (!across) return -1;
    float share[256], pull[256];
    for (int i = 0; i < 256; i++) {
        share[i] = i / 255.0f;
        pull[i] = share[i] / (share[i] * share[i] + (1 - share[i]) * (1 - share[i]) + hold);
    }
    for (ptrdiff_t y = 0; y < height; y++) {
        Between down = between(y, height, rows);
        const float *above = colors + COLORS * columns * down.first, *below = colors + COLORS * columns * down.second;
        for (ptrdiff_t x = 0; x < width; x++) {
            uint8_t a = alpha[y * width + x];
            uint8_t *color = rgb + 3 * (y * width + x);
            if (!mixed(a)) {
                ptrdiff_t run = pure_run(alpha + y * width + x, width - x);
                if (!a) memset(color, 0, 3 * run);
                x += run - 1;
                continue;
            }
            float both[COLORS];
            sample(above, below, across[x], down.weight, COLORS, both);
            for (int i = 0; i < 3; i++) {
                float unexplained = color[i] - both[BACK + i] - share[a] * (both[i] - both[BACK + i]);
                color[i] = level(both[i] + pull[a] * unexplained);
            }
        }
    }
    free(across);
    return 0;
}
