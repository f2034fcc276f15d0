"""What a job tells: a bar or, in a log file, a line now and then; one line of JSON for each item; a summary."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tqdm import tqdm

#: Seconds between two lines of progress where there is no terminal.
_LINE_EVERY_S = 30.0


@dataclass
class Report:
    """Counts what became of the items. before: done by earlier runs. total: to be done by this one."""

    total: int
    before: int
    as_json: bool
    quiet: bool
    done: int = 0
    skipped: int = 0
    failed: int = 0
    recovered: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    _started: float = field(default_factory=time.monotonic)
    _line_at: float = 0.0

    def __post_init__(self) -> None:
        self._line_at = self._started + _LINE_EVERY_S
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=self.total,
            unit="image",
            file=sys.stderr,
            disable=self.quiet or not self._terminal,
            smoothing=0.05,
        )

    @property
    def finished(self) -> int:
        """Items of this run that have an end."""
        return self.done + self.skipped + self.failed

    @property
    def rate(self) -> float:
        """Cut-outs a second, over the whole run."""
        return self.done / max(time.monotonic() - self._started, 1e-9)

    def tell(self, image: str, target: str, status: str, details: Mapping[str, object]) -> None:
        """An item has an end: `done`, `failed` or `skipped`."""
        setattr(self, status, getattr(self, status) + 1)
        if self.as_json:
            line = {"image": image, "output": target, "status": status, **details}
            tqdm.write(json.dumps(line, ensure_ascii=False), file=sys.stdout)
            sys.stdout.flush()
        self._bar.update()

    def progress(self, in_flight: int, limit: int, refusals: int) -> None:
        """Called every second or so."""
        self._bar.set_postfix_str(f"{in_flight}/{limit} in flight, {self.failed} failed, {refusals} refusals")
        if self._terminal or time.monotonic() < self._line_at:
            return
        self._line_at = time.monotonic() + _LINE_EVERY_S
        left = self.total - self.finished
        eta = f", about {_duration(left / self.rate)} left" if self.done else ""
        self.say(
            f"{self.finished} of {self.total}, {self.rate:.2f} images/s{eta}; {in_flight} of {limit} in flight, "
            f"{self.failed} failed, {refusals} refusals"
        )

    def say(self, line: str) -> None:
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()

    def close(self, refusals: int, peak: int) -> None:
        """Ends the bar and writes the summary, with `--json` as the last line too."""
        self._bar.close()
        left = self.total - self.finished
        seconds = time.monotonic() - self._started
        parts = [f"{self.done} done"]
        parts += [f"{self.before} done before"] if self.before else []
        parts += [f"{self.skipped} skipped (a file of that name was there before: --overwrite)"] if self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{left} left"] if left else []
        if self.total:
            self.say(
                f"{', '.join(parts)}; {_duration(seconds)}, {self.rate:.2f} images/s, {self.bytes_in / 1e6:.1f} MB in, "
                f"{self.bytes_out / 1e6:.1f} MB out, {refusals} refusals, at most {peak} in flight"
            )
        else:
            self.say("nothing left to do" + (f"; {self.before} done before" if self.before else ""))
        if self.as_json:
            summary = {
                "done": self.done,
                "done_before": self.before,
                "recovered": self.recovered,
                "skipped": self.skipped,
                "failed": self.failed,
                "left": left,
                "seconds": round(seconds, 3),
                "bytes_in": self.bytes_in,
                "bytes_out": self.bytes_out,
                "refusals": refusals,
                "most_in_flight": peak,
            }
            print(json.dumps({"summary": summary}), flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
