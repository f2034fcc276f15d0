"""API keys at rest, and the command that makes one: `python -m cutout_gateway.keys new NAME`.

A key is told once, to whom it is for; the server holds its SHA-256 only. One line of the list is

    NAME  SHA-256 of the key, in hex  [megapixels a minute]  [admin]

with `#` before a comment. A plain hash is enough because a key is 256 random bits: there is no list of likely ones to
try, which is what slow, salted hashes are for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

#: Most keys of one list; every key is a label value of the metrics, and is compared at every request.
MAX_KEYS = 1000

#: Shortest key of one's own that is taken (`--stdin`), characters.
MIN_LENGTH = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. `digest`: SHA-256, 32 bytes. `megapixels_per_minute`: from 1, None for no limit of its own."""

    name: str
    digest: bytes
    megapixels_per_minute: float | None = None
    admin: bool = False

    @property
    def line(self) -> str:
        """The line of the list that says the same."""
        rate = [] if self.megapixels_per_minute is None else [f"{self.megapixels_per_minute:g}"]
        return " ".join([self.name, self.digest.hex(), *rate, *(["admin"] if self.admin else [])])


def hash_key(key: str) -> bytes:
    """What is kept of a key: the SHA-256 (FIPS 180-4) of its UTF-8 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of a list; entries end with a line or a `;`. Raises ValueError, which never quotes an entry."""
    keys: list[ApiKey] = []
    for line_number, line in enumerate(text.splitlines(), 1):
        for entry in line.partition("#")[0].split(";"):
            if not entry.strip():
                continue
            try:
                keys.append(_parse_entry(entry.split()))
            except ValueError as error:
                raise ValueError(f"line {line_number} of the API keys {error}") from None
    if len(keys) > MAX_KEYS:
        raise ValueError(f"{len(keys)} API keys are more than the {MAX_KEYS} that one server takes")
    for what, values in (("name", [key.name for key in keys]), ("key", [key.digest for key in keys])):
        if len(set(values)) < len(values):
            raise ValueError(f"two of the API keys have the same {what}")
    return tuple(keys)


def _parse_entry(words: list[str]) -> ApiKey:
    if len(words) < 2 or not _NAME.fullmatch(words[0]) or not _DIGEST.fullmatch(words[1].lower()):
        raise ValueError("is not: name, SHA-256 in hex, then optionally megapixels a minute and the word admin")
    rate, admin = None, False
    for word in words[2:]:
        if word == "admin" and not admin:
            admin = True
        elif rate is None and not admin:
            rate = _parse_rate(word)
        else:
            raise ValueError("has a word too many")
    return ApiKey(words[0], bytes.fromhex(words[1]), rate, admin)


def _parse_rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= 1e9:
        raise ValueError("has a rate that is no number of megapixels a minute from 1")
    return rate


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 0, or 1 where the name, the key or the file cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m cutout_gateway.keys", description="API keys of the gateway.")
    new = parser.add_subparsers(required=True, metavar="COMMAND").add_parser("new", help="make a key")
    new.add_argument("name", help="whose key it is: letters, digits, . _ - (shown in logs and metrics)")
    new.add_argument("--rate", type=float, metavar="MP", help="megapixels a minute; without it there is no limit")
    new.add_argument("--admin", action="store_true", help="the key may also control the models")
    new.add_argument("--stdin", action="store_true", help="take an existing key from standard input")
    new.add_argument("--file", type=Path, help="add the line to this file (CUTOUT_API_KEYS_FILE); it is made if needed")
    asked = parser.parse_args(arguments)
    key = sys.stdin.readline().strip() if asked.stdin else f"cutout_{secrets.token_urlsafe(32)}"
    try:
        if len(key) < MIN_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(f"a key is at least {MIN_LENGTH} printable ASCII characters, and random ones")
        entry = ApiKey(asked.name, hash_key(key), asked.rate, asked.admin)
        parse_keys(entry.line)
        if asked.file is not None:
            _append(asked.file, entry)
    except (OSError, ValueError) as error:
        print(f"cutout_gateway.keys: {error}", file=sys.stderr)
        return 1
    if not asked.stdin:
        print(f"key (shown this once): {key}")
    print(f"added to {asked.file}" if asked.file is not None else f"line for the server: {entry.line}")
    return 0


def _append(file: Path, key: ApiKey) -> None:
    """Writes the list anew and puts it in place at once, so that a running server never reads half of it."""
    if not file.parent.is_dir():
        raise ValueError(f"there is no folder {file.parent}: create it first")
    old = file.read_text() if file.exists() else ""
    text = old + ("\n" if old and not old.endswith("\n") else "") + key.line + "\n"
    parse_keys(text)
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(file)


if __name__ == "__main__":
    sys.exit(main())
