"""From rows to items: each with its options, a key that tells it from every other, and a result's name of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from cutout_client._bulk import storage
from cutout_client._bulk.manifest import Row
from cutout_client._cli_plan import OUTPUTS_OF_SUFFIX, UsageError
from cutout_core.contract import CutoutError, Options
from cutout_core.contract.options import FILE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a job.

    key: hex digest of the photo (a file's name, size and time of change, or a URL), the options and the result's name.
    target: the result's name below the results' folder. error: why it cannot be sent at all, else None.
    """

    key: str
    row: Row
    options: Mapping[str, str]
    target: str
    error: CutoutError | None = None


def make_items(rows: Sequence[Row], defaults: Mapping[str, str]) -> tuple[list[Item], int]:
    """The items of a job, and the number of rows that repeat another one.

    `a.jpg` becomes `a.png`; where a name is taken, by another photo or by other options, `a.jpg.png`, and after that
    `a.jpg-0c3f9a12.png`. The first row keeps the short name, so a manifest that grows changes no earlier name.
    Raises `UsageError` where two rows ask for one name.
    """
    items: list[Item] = []
    seen: set[tuple[str, str, str | None]] = set()
    taken: dict[str, Row] = {}
    for row in rows:
        options = _options(row, defaults)
        identity = (row.image, _canonical(options), row.name)
        if identity not in seen:
            seen.add(identity)
            item = _item(row, options, taken)
            taken[item.target.casefold()] = row
            items.append(item)
    return items, len(rows) - len(items)


def _item(row: Row, options: dict[str, str], taken: Mapping[str, Row]) -> Item:
    error: CutoutError | None = None
    suffix = ".png"
    try:
        suffix = FILE_SUFFIXES[Options.parse(options).output]
    except CutoutError as bad:
        error = bad
    target = _named(row, suffix, taken) if row.name is not None else _free(row, options, suffix, taken)
    photo = row.image if storage.is_url(row.image) else _last_part(row.image)
    digest = hashlib.sha256("\0".join((photo, storage.version_of(row.image), _canonical(options), target)).encode())
    return Item(digest.hexdigest()[:32], row, options, target, error)


def _options(row: Row, defaults: Mapping[str, str]) -> dict[str, str]:
    """The row's options over the command's; the suffix of a given name chooses the output like `cutout -o`."""
    options = {**defaults, **row.options}
    if row.name is None or "output" in row.options:
        return options
    possible = OUTPUTS_OF_SUFFIX.get(PurePosixPath(row.name).suffix.lower(), ())
    if possible and options.get("output") not in possible:
        options["output"] = possible[0]
    return options


def _named(row: Row, suffix: str, taken: Mapping[str, Row]) -> str:
    name = row.name or ""
    given = PurePosixPath(name).suffix.lower()
    if given in OUTPUTS_OF_SUFFIX and given not in (suffix, suffix.replace("jpg", "jpeg")):
        raise UsageError(f"{row.where}: the name {name} contradicts its output: use the suffix {suffix}")
    target = name if given in OUTPUTS_OF_SUFFIX or given == suffix else name + suffix
    other = taken.get(target.casefold())
    if other is not None:
        raise UsageError(f"{row.where}: the name {target} is taken by {other.where}")
    return target


def _free(row: Row, options: Mapping[str, str], suffix: str, taken: Mapping[str, Row]) -> str:
    source = PurePosixPath(row.place if row.place is not None else _last_part(row.image))
    digest = hashlib.sha256(f"{row.image}\0{_canonical(options)}".encode()).hexdigest()
    for name in (source.stem, source.name, *(f"{source.name}-{digest[:length]}" for length in (8, 64))):
        target = source.with_name(name + suffix).as_posix()
        if target.casefold() not in taken:
            return target
    raise UsageError(f"{row.where}: no name is free for its result; give one in the column 'name'")


def _last_part(image: str) -> str:
    path = urlsplit(image).path if storage.is_url(image) else image.replace("\\", "/")
    return path.rstrip("/").rsplit("/", 1)[-1] or "image"


def _canonical(options: Mapping[str, str]) -> str:
    return json.dumps(options, sort_keys=True)
