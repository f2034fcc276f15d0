"""The options of the cut-out as flags of the command line."""

from __future__ import annotations

import argparse
import re
from typing import Any

from cutout_client._cli_arguments import positive
from cutout_core.contract import OPTION_HELP
from cutout_core.contract.option_values import ALIASES
from cutout_core.contract.options import ALPHA_KINDS, CHANNELS, FLAGS, ICC_MODES, MODE_CHOICES, OUTPUTS
from cutout_core.contract.presets import PRESETS

#: The options that are on or off.
FLAG_OPTIONS = ("crop", "semitransparency", "decontaminate", "cleanup")


#: How argparse reads each option that is more than text; the other ones' name for their value.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "output": {"choices": OUTPUTS, "type": lambda text: ALIASES.get(text, text)},
    "mode": {"choices": MODE_CHOICES},
    "icc": {"choices": ICC_MODES},
    "channels": {"choices": CHANNELS},
    "alpha": {"choices": ALPHA_KINDS},
    "preset": {"choices": tuple(PRESETS)},
    "size": {"type": positive, "metavar": "MEGAPIXELS"},
    "max_bytes": {"type": int, "metavar": "BYTES"},
    "dpi": {"type": int, "metavar": "DPI"},
    "background": {"metavar": "COLOUR"},
    "roi": {"metavar": "'X1 Y1 X2 Y2'"},
    **{name: {"choices": tuple(FLAGS)} for name in FLAG_OPTIONS},
}


def add_options(group: argparse._ArgumentGroup) -> None:
    """Adds a flag for every option (`max_bytes` is `--max-bytes`), and --background-image."""
    for name in OPTION_HELP:
        names = (["-f"] if name == "output" else []) + [f"--{name.replace('_', '-')}"]
        more = " Default: by the suffix of -o, else png or the preset's." if name == "output" else ""
        how = _ARGUMENTS.get(name, {"metavar": name.upper()})
        group.add_argument(*names, help=option_help(name) + more, **how)
    group.add_argument(
        "--background-image",
        metavar="FILE",
        help="a picture to put behind every subject, in place of --background; it covers the result from its centre",
    )


def option_help(name: str) -> str:
    """`OPTION_HELP` as argparse takes it, with other options called by what is typed: `crop` is --crop.

    A word that is a value of the option itself (`alpha` of `channels`) is not meant as an option.
    """
    values = _ARGUMENTS.get(name, {}).get("choices", ())

    def typed(match: re.Match[str]) -> str:
        word = match[1]
        return f"--{word.replace('_', '-')}" if word in OPTION_HELP and word not in values else word

    return re.sub("`([^`]*)`", typed, OPTION_HELP[name]).replace("%", "%%")
