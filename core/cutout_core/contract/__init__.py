"""What every part of Cutout agrees on: tensors, options, limits, errors, META and the gRPC messages.

Needs the standard library and protobuf only, so that the client installs light.
"""

from cutout_core.contract.errors import ERROR_TABLE, CutoutError, ErrorCode, ErrorRow
from cutout_core.contract.limits import FORMATS, MAX_BATCH_SIZE, Limits
from cutout_core.contract.meta import (
    RULE_MEANINGS,
    WARNING_MEANINGS,
    Box,
    ResultWarning,
    RowError,
    RowMeta,
    Rule,
    Violation,
)
from cutout_core.contract.option_help import OPTION_HELP
from cutout_core.contract.options import Options

__all__ = [
    "ERROR_TABLE",
    "FORMATS",
    "MAX_BATCH_SIZE",
    "OPTION_HELP",
    "RULE_MEANINGS",
    "WARNING_MEANINGS",
    "Box",
    "CutoutError",
    "ErrorCode",
    "ErrorRow",
    "Limits",
    "Options",
    "ResultWarning",
    "RowError",
    "RowMeta",
    "Rule",
    "Violation",
]
