"""The workers' side of the benchmark's protocol, for our Python and the peers': standard library only.

One JSON object a line in: {"file": path, "images": n, "seconds": s, "threads": t, ...}; the worker cuts the file out
with `threads` callers until n are begun and s seconds have passed. One line out: {"exchanges": [[took, done], ...],
"closed": ..., "bytes": ...}: seconds that each result took and when it was there, when the first caller had no more to
begin (both since the first began), and the bytes of all results. Its first line, when it is ready, is {"ready": true}.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

#: The file's bytes and the request to the result's bytes.
CutOut = Callable[[bytes, "dict[str, Any]"], bytes]


def serve(cut_out: CutOut) -> None:
    """Answers until the input ends. What the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_measure(cut_out, json.loads(line))), file=answers, flush=True)


def _measure(cut_out: CutOut, request: dict[str, Any]) -> dict[str, Any]:
    file = Path(request["file"]).read_bytes()
    numbers = itertools.count()
    exchanges: list[tuple[float, float]] = []
    closed: list[float] = []
    sizes: list[int] = []
    started = time.perf_counter()

    def caller() -> None:
        while next(numbers) < request["images"] or time.perf_counter() - started < request["seconds"]:
            begin = time.perf_counter()
            sizes.append(len(cut_out(file, request)))
            end = time.perf_counter()
            exchanges.append((end - begin, end - started))
        closed.append(time.perf_counter() - started)

    with ThreadPoolExecutor(request["threads"]) as pool:
        for future in [pool.submit(caller) for _ in range(request["threads"])]:
            future.result()
    return {"exchanges": exchanges, "closed": closed[0], "bytes": sum(sizes)}
