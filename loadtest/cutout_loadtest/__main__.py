"""`python -m cutout_loadtest photo.jpg --url http://127.0.0.1:8080`: images a second of a running service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cutout_loadtest.closed_loop import run_closed_loop


def main(arguments: list[str] | None = None) -> int:
    """Runs the load. Returns 0, or 1 where any request failed."""
    parser = argparse.ArgumentParser(prog="python -m cutout_loadtest", description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path, help="image files, sent in turn")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="http://host:port or grpc://host:port")
    parser.add_argument("--requests", "-n", type=int, default=50, help="requests in all (default %(default)s)")
    parser.add_argument("--concurrency", "-c", type=int, default=4, help="callers (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        images = [photo.read_bytes() for photo in options.photos]
        report = run_closed_loop(options.url, images, requests=options.requests, concurrency=options.concurrency)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(report)
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main())
