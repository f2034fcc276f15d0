"""What the command line tells: the paths that were written, or `--json`, on standard output; progress, warnings and a
summary on standard error.

The bar is for a terminal and several images; a log file gets whole lines only.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cutout_client._cli_plan import Job
from cutout_client._exceptions import CutoutClientError, ServiceError, TransportError
from cutout_client._messages import CutoutResult
from cutout_core.contract import RULE_MEANINGS, WARNING_MEANINGS

#: Confidence below which a person should look: 16 to 29 % of the calibration's results, by quality, with 94 to 100 %
#: of the bad ones.
LOOK_BELOW = 0.9
_MEANINGS = {warning.value: meaning for warning, meaning in WARNING_MEANINGS.items()}
_RULES = {rule.value: meaning for rule, meaning in RULE_MEANINGS.items()}


@dataclass
class Report:
    """Counts the outcomes of `total` jobs and tells them as they come."""

    total: int
    as_json: bool
    quiet: bool
    done: int = 0
    skipped: int = 0
    failures: list[tuple[Job, Exception]] = field(default_factory=list)
    unreachable: TransportError | None = None

    def __post_init__(self) -> None:
        self._bar = tqdm(
            total=self.total,
            unit="image",
            file=sys.stderr,
            disable=self.quiet or self.total == 1 or not sys.stderr.isatty(),
            leave=False,
        )

    @property
    def finished(self) -> int:
        return self.done + self.skipped + len(self.failures)

    def succeed(self, job: Job, result: CutoutResult) -> None:
        self.done += 1
        for warning in result.warnings:
            self._say(f"{job.source_name}: warning: {_MEANINGS.get(warning, warning)}")
        if result.confidence is not None and result.confidence < LOOK_BELOW:
            self._say(f"{job.source_name}: confidence {result.confidence:.2f}: look at the result")
        for rule in result.violations:
            self._say(f"{job.source_name}: violates the preset: {_RULES.get(rule, rule)}")
        outcome = {
            "status": "done",
            "width": result.width,
            "height": result.height,
            "bytes": len(result.data),
            "confidence": result.confidence,
            "warnings": list(result.warnings),
            "violations": list(result.violations),
            "timings_ms": dict(result.timings_ms),
            "request_id": result.request_id,
        }
        self._tell(job, outcome)
        if job.target is not None and not (self.as_json or self.quiet):
            _print_path(job.target)

    def skip(self, job: Job) -> None:
        self.skipped += 1
        self._tell(job, {"status": "skipped"})

    def fail(self, job: Job, error: Exception) -> None:
        self.failures.append((job, error))
        self._tell(job, {"status": "failed", "error": _as_data(error)})

    def close(self) -> None:
        """Ends the bar and writes the summary; failures are listed even when quiet."""
        self._bar.close()
        parts = [f"{self.done} done"]
        if self.skipped:
            parts.append(f"{self.skipped} skipped because the result exists (--overwrite replaces it)")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if self.finished < self.total:
            parts.append(f"{self.total - self.finished} not tried")
        self._say(", ".join(parts))
        for job, error in self.failures:
            print(f"  {job.source_name}: {describe(error)}", file=sys.stderr)

    def _say(self, line: str) -> None:
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)

    def _tell(self, job: Job, outcome: dict[str, Any]) -> None:
        if self.as_json:
            line = {"path": job.source_name, "output": job.target_name, **outcome}
            tqdm.write(json.dumps(line, ensure_ascii=False), file=sys.stdout)
            sys.stdout.flush()
        self._bar.update()


def _print_path(path: Path) -> None:
    """As bytes: a file's name need not be text in the terminal's encoding."""
    if sys.stdout is not None:
        with tqdm.external_write_mode(file=sys.stdout):
            sys.stdout.flush()
            sys.stdout.buffer.write(os.fsencode(path) + b"\n")
            sys.stdout.buffer.flush()


def describe(error: Exception) -> str:
    """One line for a person."""
    if isinstance(error, OSError) and not isinstance(error, CutoutClientError):
        return error.strerror or str(error)
    if isinstance(error, ServiceError) and error.code == "missing_key":
        return f"{error} Give --api-key or set CUTOUT_API_KEY."
    return str(error)


def _as_data(error: Exception) -> dict[str, Any]:
    if not isinstance(error, CutoutClientError):
        return {"code": "file", "message": describe(error)}
    code = error.code if isinstance(error, ServiceError) else "transport"
    known = {"request_id": error.request_id, "retryable": error.retryable}
    return {"code": code, "message": error.message, **known}
