"""rembg's library as a worker of the benchmark; run with the Python of the peers' environment, never imported."""

from __future__ import annotations

from typing import Any

import rembg  # type: ignore[import-not-found]
from worker import serve  # type: ignore[import-not-found]

_session = rembg.new_session("u2netp")


def cut_out(file: bytes, _request: dict[str, Any]) -> bytes:
    """A PNG, by rembg's defaults."""
    result: bytes = rembg.remove(file, session=_session)
    return result


if __name__ == "__main__":
    serve(cut_out)
