"""Logging: one line of text or one JSON object per event, to stderr.

What a JSON reader wants to pick out goes along as a record's `fields` (`extra={"fields": {...}}`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

from cutout_core.contract import ErrorCode


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event |= getattr(record, "fields", {})
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def configure_logging(level: str, style: str) -> None:
    """Sets up the root logger: `level` debug|info|warning|error, `style` text|json.

    gRPC's C core writes lines of its own to stderr; their cause is in a call's status too, so they are left out.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    handler = logging.StreamHandler(sys.stderr)
    if style == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for chatty in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def log_request(
    log: logging.Logger, request_id: str, protocol: str, code: str, *, detail: str = "", **facts: str | float | None
) -> None:
    """The one line of a request that has ended, a warning where that was a defect.

    code: "ok" or the error table's. detail: the error's message. facts: more to tell, None for what is not known.
    """
    known = {name: value for name, value in facts.items() if value is not None}
    fields = {"request_id": request_id, "protocol": protocol, "code": code, **known}
    log.log(
        logging.WARNING if code == ErrorCode.INTERNAL.value else logging.INFO,
        "request %s %s %s%s%s",
        request_id,
        protocol,
        code,
        "".join(f" {name}={value}" for name, value in known.items()),
        f" ({detail})" if detail else "",
        extra={"fields": fields | ({"detail": detail} if detail else {})},
    )
