"""The options as keyword arguments, the same for both clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from cutout_core.contract import OPTION_HELP


class CutoutOptions(TypedDict, total=False):
    """What `remove_background` takes by name; `cutout_core.contract.OPTION_HELP` describes each.

    They are sent as given. None, or leaving one out, is the server's default. size: megapixels. max_bytes: bytes.
    dpi: dots an inch. Flags are True or False; every other option is text, as over HTTP ("85%", "2000x2000").
    """

    output: str | None
    background: str | None
    size: float | None
    roi: str | None
    crop: bool | None
    margin: str | None
    scale: str | None
    position: str | None
    canvas: str | None
    shadow: str | None
    channels: str | None
    alpha: str | None
    semitransparency: bool | None
    max_bytes: int | None
    dpi: int | None
    preset: str | None
    decontaminate: bool | None
    cleanup: bool | None
    icc: str | None
    quality: str | None
    mode: str | None


def as_sent(options: Mapping[str, object]) -> dict[str, str]:
    """The options that are given, as text. Raises TypeError for a name that is no option."""
    unknown = [name for name in options if name not in OPTION_HELP]
    if unknown:
        raise TypeError(f"remove_background() got an unexpected keyword argument {unknown[0]!r}")
    return {name: str(value) for name, value in options.items() if value is not None}
