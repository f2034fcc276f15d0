"""The check of a finished result against the requirement that the option `preset` names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cutout_core.contract import Box, Options, Rule, Violation
from cutout_core.contract.presets import PRESETS, Preset
from cutout_core.imaging.frame import SOFT

_WHITE = (255, 255, 255, 255)
#: From here on a subject counts as enlarged: less comes from bringing its box to whole pixels.
_ENLARGED = 1.01


@dataclass(frozen=True, slots=True)
class Finished:
    """What the check looks at. subject: its box in the result, None without one. enlarged: how many times the
    photo was enlarged. cut_off: the photo itself cuts the subject off. source: the photo's width and height."""

    width: int
    height: int
    size: int
    subject: Box | None
    enlarged: float
    cut_off: bool
    source: tuple[int, int]


def check(options: Options, result: Finished) -> list[Violation]:
    """What the result violates, in the order of `Rule`; empty without a preset."""
    if options.preset is None:
        return []
    return list(_violations(PRESETS[options.preset], options, result))


def _violations(preset: Preset, options: Options, result: Finished) -> Iterator[Violation]:
    if result.subject is None:
        yield Violation(Rule.NO_SUBJECT, "No subject was found.")
    else:
        yield from _subject(preset, result, result.subject)
    if preset.white and not _white_enough(preset, options):
        allowed = " or transparent" if preset.transparent else ""
        yield Violation(Rule.BACKGROUND_NOT_WHITE, f"The background has to be pure white{allowed}, without a shadow.")
    longest = max(result.width, result.height)
    if longest < preset.min_side:
        yield Violation(
            Rule.PICTURE_TOO_SMALL, f"The longer side has {longest} pixels; it needs at least {preset.min_side}."
        )
    if preset.max_side is not None and longest > preset.max_side:
        yield Violation(
            Rule.PICTURE_TOO_LARGE, f"The longer side has {longest} pixels; at most {preset.max_side} are taken."
        )
    if preset.max_pixels is not None and result.width * result.height > preset.max_pixels:
        yield Violation(
            Rule.PICTURE_TOO_LARGE,
            f"The picture has {result.width} × {result.height} pixels; at most {preset.max_pixels} are taken.",
        )
    if preset.square and result.width != result.height:
        yield Violation(Rule.NOT_SQUARE, f"The picture has {result.width} × {result.height} pixels; it must be square.")
    if result.enlarged > _ENLARGED and (preset.no_enlarging or result.enlarged >= SOFT):
        wide, high = result.source
        why = "enlarged pictures are not allowed" if preset.no_enlarging else "it will look soft"
        yield Violation(
            Rule.ENLARGED,
            f"The subject was enlarged {result.enlarged:.2f} times, because the photo has only {wide} × {high} pixels; "
            f"{why}.",
        )
    if options.output not in preset.outputs:
        yield Violation(Rule.WRONG_FORMAT, f"{options.output} is not taken; {', '.join(preset.outputs)} are.")
    if preset.max_bytes is not None and result.size > preset.max_bytes:
        yield Violation(Rule.FILE_TOO_LARGE, f"The file has {result.size} bytes; at most {preset.max_bytes} are taken.")


def _subject(preset: Preset, result: Finished, subject: Box) -> Iterator[Violation]:
    if result.cut_off:
        yield Violation(Rule.SUBJECT_CUT_OFF, "The subject reaches the photo's border; it has to be shown whole.")
    if preset.fill is None:
        return
    # A box on whole pixels may miss the share that was asked for by half a pixel on either side.
    widest = 100 * max(subject.width / result.width, subject.height / result.height)
    tolerance = 100 * 1.0 / max(result.width, result.height)
    least, most = preset.fill
    if widest < least - tolerance:
        yield Violation(Rule.SUBJECT_TOO_SMALL, f"The subject fills {widest:.0f} % of the frame; at least {least:g} %.")
    if widest > most + tolerance:
        yield Violation(Rule.SUBJECT_TOO_LARGE, f"The subject fills {widest:.0f} % of the frame; at most {most:g} %.")


def _white_enough(preset: Preset, options: Options) -> bool:
    if options.shadow is not None:
        return False
    clear = options.background is None and options.output != "jpeg"
    white = options.background == _WHITE or (options.background is None and options.output == "jpeg")
    return white or (preset.transparent and clear)
