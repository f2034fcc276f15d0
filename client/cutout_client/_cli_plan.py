"""From the command line's inputs to a list of jobs: which file becomes which. Reads folders, writes nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutout_core.contract.options import FILE_SUFFIXES

#: Files of these suffixes are taken out of folders; a file that is named itself is taken whatever its suffix.
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .apng .webp .tif .tiff .bmp .gif .avif .heic .heif".split())

#: What a result file's suffix can mean, the first where nothing else is said.
OUTPUTS_OF_SUFFIX = {
    ".png": ("png", "mask"),
    ".webp": ("webp",),
    ".jpg": ("jpeg",),
    ".jpeg": ("jpeg",),
    ".zip": ("zip",),
}

STANDARD = "-"


class UsageError(Exception):
    """The arguments contradict each other; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image. `source` None is standard input, `target` None is standard output."""

    source: Path | None
    target: Path | None

    @property
    def source_name(self) -> str:
        return STANDARD if self.source is None else str(self.source)

    @property
    def target_name(self) -> str:
        return STANDARD if self.target is None else str(self.target)


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs, in order, and the `output` option that fits their suffixes."""

    output: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """An input and the folder that its result goes to."""

    source: Path
    folder: Path


def make_plan(inputs: Sequence[str], out: str | None, output: str | None, default: str = "png") -> Plan:
    """Decides every source and target. Raises `UsageError`.

    inputs: files, folders, or `-` alone. out: a file, a folder, `-`, or None for "beside the photo".
    output: the option's value, None where the suffix of `out` or else `default` decides.
    """
    if STANDARD in inputs and len(inputs) > 1:
        raise UsageError("standard input (-) must be the only input")
    folders = [name for name in inputs if name != STANDARD and Path(name).is_dir()]
    if len(inputs) == 1 and not folders and (out == STANDARD or (out is None and inputs[0] == STANDARD)):
        return Plan(output or default, (Job(_source(inputs[0]), None),))
    if out == STANDARD:
        raise UsageError("only one image can be written to standard output")
    if len(inputs) == 1 and not folders and out is not None and not _means_folder(out):
        return _single(inputs[0], Path(out), output, default)
    if inputs == [STANDARD]:
        raise UsageError("the result of standard input needs a file name: -o FILE")
    if folders and out is None:
        raise UsageError(f"the results of the folder {folders[0]} need a place of their own: -o FOLDER")
    if out is not None:
        _check_folder(Path(out), folders)
    chosen = output or default
    found = list(_unique(_find(inputs, Path(out) if out is not None else None)))
    if not found:
        raise UsageError(f"there is no image file in {', '.join(folders)}")
    jobs = _name_targets(found, "" if out is not None else ".cutout", FILE_SUFFIXES[chosen])
    return Plan(chosen, tuple(jobs))


def _source(name: str) -> Path | None:
    return None if name == STANDARD else Path(name)


def _means_folder(out: str) -> bool:
    return out.endswith(("/", os.sep)) or Path(out).is_dir()


def _single(name: str, target: Path, output: str | None, default: str) -> Plan:
    suffix = target.suffix.lower()
    possible = OUTPUTS_OF_SUFFIX.get(suffix, tuple(FILE_SUFFIXES) if not suffix else ())
    if not possible:
        raise UsageError(f"{target}: no output has the suffix {suffix}; use {', '.join(OUTPUTS_OF_SUFFIX)}")
    if output is not None and output not in possible:
        raise UsageError(f"{target} contradicts --output {output}: use the suffix {FILE_SUFFIXES[output]}")
    job = Job(_source(name), target)
    _check_no_source_is_written([job])
    return Plan(output or (default if default in possible else possible[0]), (job,))


def _check_folder(out: Path, folders: Sequence[str]) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; several results need a folder")
    if not out.exists() and out.suffix.lower() in OUTPUTS_OF_SUFFIX:
        raise UsageError(f"{out} names one file, but there may be several results: -o FOLDER/")
    for folder in folders:
        if os.path.realpath(folder) == os.path.realpath(out):
            raise UsageError(f"the results would mix with the photos in {folder}: give another folder with -o")


def _find(inputs: Sequence[str], out: Path | None) -> Iterator[_Found]:
    for name in inputs:
        path = Path(name)
        if out is None or not path.is_dir():
            yield _Found(path, path.parent if out is None else out)
            continue
        for file in images_below(path, leave_out=os.path.realpath(out)):
            yield _Found(file, out / file.parent.relative_to(path))


def images_below(folder: Path, leave_out: str) -> Iterator[Path]:
    """Image files by suffix, sorted; nothing hidden, nothing of the results' own folder, no linked folders."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(parent, name)) != leave_out
        )
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)


def _unique(found: Iterable[_Found]) -> Iterator[_Found]:
    """Each source once, however often it was named."""
    seen: set[str] = set()
    for item in found:
        key = os.path.abspath(item.source)
        if key not in seen:
            seen.add(key)
            yield item


def _name_targets(found: Sequence[_Found], infix: str, suffix: str) -> list[Job]:
    """`a.jpg` becomes `a.png`; where `a.png` would come from several photos, `a.jpg.png` and `a.webp.png`."""
    short = [item.folder / f"{item.source.stem}{infix}{suffix}" for item in found]
    uses = Counter(short)
    jobs = [
        Job(item.source, name if uses[name] == 1 else item.folder / f"{item.source.name}{infix}{suffix}")
        for item, name in zip(found, short, strict=True)
    ]
    first: dict[Path | None, Job] = {}
    for job in jobs:
        other = first.setdefault(job.target, job)
        if other is not job:
            raise UsageError(
                f"{other.source_name} and {job.source_name} would both be written to {job.target_name}: "
                "rename one, or run the command once for each"
            )
    _check_no_source_is_written(jobs)
    return jobs


def _check_no_source_is_written(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs if job.source is not None}
    for job in jobs:
        if job.target is not None and os.path.realpath(job.target) in sources:
            raise UsageError(f"{job.target} is itself an input and would be overwritten: give another name with -o")
