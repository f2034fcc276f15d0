"""A segmentation mask's probabilities as an alpha: nearly certain pixels become certain.

The network's mask is rarely exactly 0 or 1, so taken as it is it leaves a veil of the background and makes the subject
slightly see-through. A fixed ramp mends that; unlike a stretch to the mask's own minimum and maximum it depends on no
other pixel. Measured on 36 composites of the training split with exact alpha (MAE ×10³ / band ×10³ / Grad / IoU):
as it is 9.90 / 107.5 / .0962 / .905, with 0.05..0.95 8.79 / 95.5 / .0929 / .905, with 0.1..0.9 8.21 / 88.9 / .0915 /
.905; steeper ramps lower the first two further and raise Grad again, as they turn soft edges into steps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Probabilities at and below the first are background, at and above the second subject.
LOW, HIGH = 0.1, 0.9


def mask_to_alpha(mask: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 [S, S] in 0..1 to an alpha of the same shape, in 0..1."""
    alpha: npt.NDArray[np.float32] = np.clip((mask - LOW) * np.float32(1 / (HIGH - LOW)), 0, 1, dtype=np.float32)
    return alpha
