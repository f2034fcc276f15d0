"""What a job is made of: the rows of a CSV or NDJSON manifest, or the photos of a folder. Nothing is written here."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cutout_client._bulk import storage
from cutout_client._cli_plan import IMAGE_SUFFIXES, UsageError, images_below
from cutout_core.contract import OPTION_HELP

#: Columns that are not options.
IMAGE, NAME = "image", "name"


@dataclass(frozen=True, slots=True)
class Row:
    """One image to be done.

    image: the source as it can be read. place: the source below its manifest or folder, `/` between its parts; None
    where it lies outside. name: the result's name where the manifest gives one. options: the row's own.
    where: the row's own place, for messages.
    """

    image: str
    place: str | None
    name: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


def read_rows(source: str, leave_out: str | None = None) -> list[Row]:
    """The rows of a `.csv`, `.ndjson` or `.jsonl` file or of a folder, local or at a URL.

    leave_out: a local folder that is not looked into. Raises `UsageError` with the line, or OSError.
    """
    suffix = PurePosixPath(source).suffix.lower()
    if suffix == ".csv":
        return list(_rows(source, _csv_records(source)))
    if suffix in (".ndjson", ".jsonl"):
        return list(_rows(source, _json_records(source)))
    rows = list(_folder(source, leave_out))
    if not rows:
        raise UsageError(f"there is no image file in {source}")
    return rows


def _folder(source: str, leave_out: str | None) -> Iterator[Row]:
    if storage.is_url(source):
        if not storage.is_remote_folder(source):
            raise UsageError(f"{source} is neither a folder nor a manifest (.csv, .ndjson, .jsonl)")
        for name in storage.find(source):
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not name.rsplit("/", 1)[-1].startswith("."):
                yield Row(f"{source.rstrip('/')}/{name}", name, where=name)
        return
    folder = Path(source)
    if not folder.is_dir():
        raise UsageError(f"{source} is neither a folder nor a manifest (.csv, .ndjson, .jsonl)")
    for path in images_below(folder, leave_out=os.path.realpath(leave_out) if leave_out else ""):
        place = path.relative_to(folder).as_posix()
        yield Row(str(path), place, where=place)


def _csv_records(source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    text = _text(source)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for record in reader:
            if None in record:
                raise UsageError(f"{source}, line {reader.line_num}: more cells than the header has columns")
            yield reader.line_num, {name: value for name, value in record.items() if value not in (None, "")}
    except csv.Error as error:
        raise UsageError(f"{source}, line {reader.line_num}: {error}") from error


def _json_records(source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_text(source).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{source}, line {number}: this is not JSON ({error})") from error
        if not isinstance(record, dict):
            raise UsageError(f"{source}, line {number}: this is not a JSON object")
        yield number, {name: value for name, value in record.items() if value is not None}


def _text(source: str) -> str:
    try:
        return storage.read(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8: {error}") from error


def _rows(source: str, records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Row]:
    base = source.rsplit("/", 1)[0] if storage.is_url(source) else str(Path(source).parent)
    empty = True
    for line, record in records:
        empty = False
        yield _row(record, base, f"{source}, line {line}")
    if empty:
        raise UsageError(f"{source} has no rows; its columns are {IMAGE}, {NAME} and the options' names")


def _row(record: dict[str, Any], base: str, where: str) -> Row:
    """Columns that begin with `_` are notes, such as those of a file of failures."""
    values = {column.strip(): value for column, value in record.items() if not column.startswith("_")}
    unknown = sorted(values.keys() - {IMAGE, NAME} - OPTION_HELP.keys())
    if unknown:
        known = ", ".join((IMAGE, NAME, *sorted(OPTION_HELP)))
        raise UsageError(f"{where}: there is no column {unknown[0]!r}; known are {known}")
    image = values.pop(IMAGE, None)
    if not isinstance(image, str):
        raise UsageError(f"{where}: no {IMAGE!r}, the photo's path or URL")
    name = values.pop(NAME, None)
    if name is not None:
        name = _checked_name(name, where)
    options = {column: _as_text(value, column, where) for column, value in values.items()}
    if storage.is_url(image) or os.path.isabs(image):
        return Row(image, None, name, options, where)
    parts = image.replace("\\", "/").split("/") if os.sep == "\\" else image.split("/")
    place = None if ".." in parts else PurePosixPath(*parts).as_posix()
    found = f"{base}/{image}" if storage.is_url(base) else os.path.join(base, image)
    return Row(found, place, name, options, where)


def _checked_name(name: Any, where: str) -> str:
    path = PurePosixPath(name) if isinstance(name, str) else PurePosixPath("/")
    if path.is_absolute() or not path.name or ".." in path.parts or "\\" in str(name) or "\0" in str(name):
        raise UsageError(f"{where}: {NAME!r} is {name!r}; it takes a path below the results' folder")
    return path.as_posix()


def _as_text(value: Any, column: str, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise UsageError(f"{where}: {column!r} is neither text nor a number")
