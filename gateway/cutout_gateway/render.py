"""`python -m cutout_gateway.render TARGET`: the model repository for a Triton that is not the gateway's child.

The embedded Triton gets the same by itself. The engines come from the cache; their files are linked, so the Triton
needs the cache at the same path.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cutout_core.contract import Limits
from cutout_core.contract.certificate import PRECISIONS
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import PROFILE_BACKENDS
from cutout_gateway.embedded.repository import RenderSettings, RepositoryError, default_source, render_repository


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it is written, 1 with one sentence on stderr when it cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m cutout_gateway.render", description="Write a model repository for Triton."
    )
    parser.add_argument("target", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--profile", choices=list(PROFILE_BACKENDS), default="gpu")
    parser.add_argument("--precision", choices=["auto", *PRECISIONS], default="auto", help="of the profile cpu")
    parser.add_argument("--precision-force", action="store_true", help="as the gateway's CUTOUT_PRECISION_FORCE")
    parser.add_argument("--source", type=Path, metavar="DIR", help="default: model_repository of this checkout")
    parser.add_argument("--max-bytes", type=int, default=Limits().max_bytes, help="as the gateway's CUTOUT_MAX_BYTES")
    parser.add_argument("--max-pixels", type=int, default=Limits().max_pixels, help="as CUTOUT_MAX_PIXELS")
    parser.add_argument("--threads", type=int, default=0, help="of the pixel work; 0: one a core")
    parser.add_argument("--instances", type=int, default=1, help="of every model in Python")
    parser.add_argument("--postprocess-instances", type=int, default=0, help="0: one a thread, at most 4")
    options = parser.parse_args(arguments)
    if options.profile == "gpu" and options.precision != "auto":
        parser.error("--precision is for the profile cpu; of the profile gpu it is that of the plans")
    if options.precision_force and options.precision == "auto":
        parser.error("--precision-force is for a precision that is named: give --precision too")
    settings = RenderSettings(
        options.profile,
        Limits(options.max_bytes, options.max_pixels),
        options.precision,
        options.precision_force,
        options.threads,
        instances=options.instances,
        postprocess_instances=options.postprocess_instances,
    )
    try:
        render_repository(options.source or default_source(), engines_root(), options.target, settings)
    except RepositoryError as error:
        print(f"cutout_gateway.render: {error}", file=sys.stderr)
        return 1
    except FileExistsError:
        print(f"cutout_gateway.render: {options.target} exists already.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
