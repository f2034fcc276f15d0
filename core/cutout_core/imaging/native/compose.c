/* `flatten` and `flatten_on` of compose.py, in place and exact. */

#include "common.h"

INLINED uint8_t blended(uint8_t front, uint8_t back, uint8_t alpha) {
    return (uint8_t)((front * alpha + back * (255 - alpha) + 127) / 255);
}

/* rgb [pixels, 3], overwritten, with alpha [pixels], over `behind`: one colour (step 0) or a picture (step 3). */
EXPORTED PER_PROCESSOR int cutout_flatten(uint8_t *rgb, const uint8_t *alpha, ptrdiff_t pixels, const uint8_t *behind,
                                          ptrdiff_t step) {
    int grey = step == 0 && behind[0] == behind[1] && behind[1] == behind[2];
    for (ptrdiff_t i = 0, run; i < pixels; i += run) {
        uint8_t a = alpha[i], *color = rgb + 3 * i;
        const uint8_t *back = behind + step * i;
        run = 1;
        if (a == 0 || a == 255) {
            run = pure_run(alpha + i, pixels - i);
            if (a == 255) continue;
            if (step) memcpy(color, back, 3 * run);
            else if (grey) memset(color, back[0], 3 * run);
            else
                for (ptrdiff_t k = 0; k < run; k++) memcpy(color + 3 * k, back, 3);
        } else {
            for (int k = 0; k < 3; k++) color[k] = blended(color[k], back[k], a);
        }
    }
    return 0;
}
