"""META: what is known of one row, as JSON between the models and to whoever calls the ensemble.

A row that failed is data too: its `error` is set, RESULT is empty, and the other rows of its batch are whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from cutout_core.contract.errors import CutoutError, ErrorCode


class ResultWarning(str, Enum):
    """Closed set of warnings; the value is what callers see."""

    NO_SUBJECT = "no_subject"
    ANIMATED_FIRST_FRAME = "animated_first_frame"
    COLOR_PROFILE_IGNORED = "color_profile_ignored"
    LOW_CONTRAST_EDGE = "low_contrast_edge"
    SUBJECT_TOUCHES_BORDER = "subject_touches_border"
    SEVERAL_SUBJECTS = "several_subjects"
    PROBABLY_TRANSPARENT = "probably_transparent"
    UNCERTIFIED_PRECISION = "uncertified_precision"
    ENLARGED = "enlarged"


WARNING_MEANINGS: dict[ResultWarning, str] = {
    ResultWarning.NO_SUBJECT: "No subject was found: the alpha is empty everywhere.",
    ResultWarning.ANIMATED_FIRST_FRAME: "The file is animated; its first frame was taken.",
    ResultWarning.COLOR_PROFILE_IGNORED: "The colour profile is damaged or does not fit the pixels and was left out.",
    ResultWarning.LOW_CONTRAST_EDGE: "Part of the edge lies between like colours, where it is a guess.",
    ResultWarning.SUBJECT_TOUCHES_BORDER: "The subject reaches the photo's border and may be cut off there.",
    ResultWarning.SEVERAL_SUBJECTS: "There is more than one separate subject in the alpha.",
    ResultWarning.PROBABLY_TRANSPARENT: "A large part of the subject's inside is see-through, as of glass or a veil.",
    ResultWarning.UNCERTIFIED_PRECISION: "The operator forced a precision that failed its certificate or has none.",
    ResultWarning.ENLARGED: "The canvas or scale asked for made the subject at least twice as large: it looks soft.",
}


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels of the result."""

    left: int
    top: int
    width: int
    height: int


class Rule(str, Enum):
    """Closed set of what a result can violate of a marketplace's requirement; the value is what callers see."""

    NO_SUBJECT = "no_subject"
    SUBJECT_CUT_OFF = "subject_cut_off"
    SUBJECT_TOO_SMALL = "subject_too_small"
    SUBJECT_TOO_LARGE = "subject_too_large"
    BACKGROUND_NOT_WHITE = "background_not_white"
    PICTURE_TOO_SMALL = "picture_too_small"
    PICTURE_TOO_LARGE = "picture_too_large"
    NOT_SQUARE = "not_square"
    ENLARGED = "enlarged"
    WRONG_FORMAT = "wrong_format"
    FILE_TOO_LARGE = "file_too_large"


RULE_MEANINGS: dict[Rule, str] = {
    Rule.NO_SUBJECT: "No subject was found.",
    Rule.SUBJECT_CUT_OFF: "The photo's border cuts the subject off.",
    Rule.SUBJECT_TOO_SMALL: "The subject fills too little of the frame.",
    Rule.SUBJECT_TOO_LARGE: "The subject fills too much of the frame.",
    Rule.BACKGROUND_NOT_WHITE: "The background is not pure white.",
    Rule.PICTURE_TOO_SMALL: "The picture has too few pixels.",
    Rule.PICTURE_TOO_LARGE: "The picture has too many pixels.",
    Rule.NOT_SQUARE: "The picture is not square.",
    Rule.ENLARGED: "The photo is too small: the subject was enlarged.",
    Rule.WRONG_FORMAT: "The format is not taken.",
    Rule.FILE_TOO_LARGE: "The file has too many bytes.",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a result violates, and a sentence with the figures."""

    rule: Rule
    message: str


@dataclass(frozen=True, slots=True)
class RowError:
    """An error of the table as data."""

    code: ErrorCode
    message: str
    field: str | None = None

    @classmethod
    def from_exception(cls, error: CutoutError) -> RowError:
        return cls(error.code, error.message, error.field)

    def to_exception(self) -> CutoutError:
        return CutoutError(self.code, self.message, field=self.field)


@dataclass(slots=True)
class RowMeta:
    """META of one row; `preprocess` begins it, `postprocess` completes it.

    Sizes are of the upright image (EXIF orientation applied). `coverage` is the mean alpha, 0..1. `mode` is the matting
    network's, empty where none ran; `mode_certainty` (0..1) is that of its automatic choice, None where the caller
    chose. `confidence` (0..1) that the cut-out shows the right thing is None where unknown. `timings_ms` holds
    durations, `stamps` the times at which the Python steps began and ended: seconds of CLOCK_MONOTONIC, comparable
    between processes of one machine only. `violations`: of the requirement that the option `preset` names.
    """

    error: RowError | None = None
    source_format: str = ""
    source_width: int = 0
    source_height: int = 0
    width: int = 0
    height: int = 0
    subject: Box | None = None
    coverage: float = 0.0
    mode: str = ""
    mode_certainty: float | None = None
    confidence: float | None = None
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)
    quality: str = ""
    precision: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    def to_json(self) -> bytes:
        """The META tensor's bytes."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> RowMeta:
        """Parses META. Raises ValueError where it is not what `to_json` writes."""
        try:
            data: dict[str, Any] = json.loads(raw)
            error, subject = data.pop("error"), data.pop("subject")
            violations = [Violation(Rule(v["rule"]), str(v["message"])) for v in data.pop("violations", ())]
            return cls(
                error=RowError(ErrorCode(error["code"]), error["message"], error["field"]) if error else None,
                subject=Box(**subject) if subject else None,
                violations=violations,
                **data,
            )
        except (KeyError, TypeError, AttributeError) as bad:
            raise ValueError("not a META row") from bad

    def warn(self, warning: ResultWarning) -> None:
        """Adds a warning once."""
        if warning.value not in self.warnings:
            self.warnings.append(warning.value)
