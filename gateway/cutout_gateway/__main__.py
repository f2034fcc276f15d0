"""`python -m cutout_gateway`: serves until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from cutout_core import allocator
from cutout_gateway.logs import configure_logging
from cutout_gateway.server import Server
from cutout_gateway.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Runs the gateway. Returns 0 after a clean stop, 1 where it could not start, 2 for wrong settings."""
    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:] if arguments is None else arguments)
    except ValidationError as error:
        for problem in error.errors():
            place = ".".join(f"CUTOUT_{str(part).upper()}" for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            print(f"cutout_gateway: {place + ': ' if place else ''}{message}", file=sys.stderr)
        return 2
    allocator.tune()
    configure_logging(settings.log_level, settings.log_format)
    log = logging.getLogger("cutout.gateway")
    for name in Settings.unknown_variables():
        log.warning("environment variable %s is read by nothing: misspelt?", name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Server(settings).run())
    except (OSError, RuntimeError, ValueError) as error:
        log.error("cannot serve: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
