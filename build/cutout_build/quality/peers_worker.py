"""Runs the peers' methods; started by `peers.py` with the Python of their own environment, never imported.

One JSON object a line in, {"method", "photo", "mask", "out"} with paths of .npy files, and one a line out, {"seconds"}
of the method alone: without start-up, compilation and files. Photos are RGB uint8 [H, W, 3], masks and alphas uint8
[H, W].
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rembg  # type: ignore[import-not-found]
from PIL import Image
from pymatting import estimate_alpha_cf, estimate_foreground_ml  # type: ignore[import-not-found]
from scipy.ndimage import binary_erosion  # type: ignore[import-untyped]

#: rembg's own defaults for `alpha_matting`.
FOREGROUND_THRESHOLD, BACKGROUND_THRESHOLD, EROSION = 240, 10, 10

_session = None


def rembg_default(photo: Any, _mask: Any) -> Any:
    """rembg with u2netp and nothing else switched on."""
    return _rembg(photo, alpha_matting=False)


def rembg_matting(photo: Any, _mask: Any) -> Any:
    """rembg with u2netp and its closed-form matting at its default thresholds."""
    return _rembg(photo, alpha_matting=True)


def closed_form(photo: Any, mask: Any) -> Any:
    """pymatting's closed form (Levin et al. 2008) from a mask, with the trimap that rembg would make of it."""
    structure = np.ones((EROSION, EROSION), np.uint8)
    trimap = np.full(mask.shape, 0.5)
    trimap[binary_erosion(mask > FOREGROUND_THRESHOLD, structure)] = 1
    trimap[binary_erosion(mask < BACKGROUND_THRESHOLD, structure, border_value=1)] = 0
    try:
        alpha = estimate_alpha_cf(photo / 255.0, trimap)
    except ValueError:  # nothing certain on one side: rembg returns the mask then
        return mask
    return np.rint(np.clip(alpha, 0, 1) * 255).astype(np.uint8)


def foreground(photo: Any, mask: Any) -> Any:
    """pymatting's multilevel foreground colours (Germer et al. 2020) for an alpha."""
    colors = estimate_foreground_ml(photo / 255.0, mask / 255.0)
    return np.rint(np.clip(colors, 0, 1) * 255).astype(np.uint8)


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "rembg": rembg_default,
    "rembg_matting": rembg_matting,
    "closed_form": closed_form,
    "foreground": foreground,
}


def _rembg(photo: Any, alpha_matting: bool) -> Any:
    global _session
    if _session is None:
        _session = rembg.new_session("u2netp")
    cutout = rembg.remove(Image.fromarray(photo), session=_session, alpha_matting=alpha_matting)
    return np.asarray(cutout)[..., 3]


def main() -> None:
    """Warms the compilers up, then answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the packages print goes to stderr
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))
    for method in METHODS.values():
        method(np.dstack([ramp, ramp.T, ramp]), ramp)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        photo = np.load(request["photo"])
        mask = np.load(request["mask"]) if request["mask"] else None
        start = time.perf_counter()
        result = METHODS[request["method"]](photo, mask)
        seconds = time.perf_counter() - start
        np.save(request["out"], result)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
