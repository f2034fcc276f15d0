"""Checked values of the command line's arguments."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from typing import NoReturn

from cutout_client._client import DEFAULT_URL


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, instead of after the whole usage; exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.rstrip('.')}; see {self.prog} --help\n")


def positive(text: str) -> float:
    """A finite number above 0."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def count_from(least: int) -> Callable[[str], int]:
    """A whole number from `least`."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return count


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Adds `--server` and `--api-key`. The key's default is read by `key_of`, so that no help text shows it."""
    server = os.environ.get("CUTOUT_SERVER") or DEFAULT_URL
    shown = server.replace("%", "%%")
    parser.add_argument(
        "--server",
        metavar="URL",
        default=server,
        help=f"http://, https://, grpc://host:port or grpcs://host:port; environment CUTOUT_SERVER ({shown})",
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help="where the server wants one; other users of this machine may see it in the list of processes, unlike the "
        "environment variable CUTOUT_API_KEY",
    )


def key_of(args: argparse.Namespace) -> str | None:
    """The API key, from the argument or the environment."""
    return args.api_key or os.environ.get("CUTOUT_API_KEY") or None
