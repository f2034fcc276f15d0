"""The HTTP application in the test's own process, so that a test can give it names and networks for downloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from cutout_gateway.access import Access
from cutout_gateway.admission import Admission, Budget
from cutout_gateway.batcher import Batcher
from cutout_gateway.http_api import create_app
from cutout_gateway.metrics import Metrics
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings
from cutout_gateway.triton import TritonClient
from cutout_gateway.url_fetch import FetchRules, UrlFetcher
from tests.integration.fake_triton import FakeTriton


async def loopback(host: str, port: int) -> list[str]:
    """Every name is this machine, but for one that is a private address."""
    return ["10.0.0.5" if host == "private.test" else "127.0.0.1"]


@asynccontextmanager
async def downloading_app(triton: FakeTriton, *, max_bytes: int = 200_000) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that downloads from loopback."""
    settings = Settings(max_bytes=max_bytes, max_pixels=1_000_000)
    client = TritonClient(f"127.0.0.1:{triton.port}", "cpu")
    metrics = Metrics()
    batcher = Batcher(client.infer, metrics, slots=1, max_rows=4, max_pixels=10**7)
    admission = Admission(Budget(4, 10**9, 10**8, 4))
    service = CutoutService(settings.limits, admission, batcher, metrics, Access(metrics))
    service.set_readiness(await client.readiness())
    rules = FetchRules(enabled=True, max_bytes=max_bytes, ports=None)
    fetcher = UrlFetcher(rules, resolve=loopback, is_allowed=lambda address: address == "127.0.0.1")

    async def info() -> dict[str, object]:
        return {}

    async def triton_metrics() -> bytes:
        return b""

    app = create_app(service, settings, info, triton_metrics, fetcher)
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cutout") as caller:
            yield caller
    finally:
        await batcher.close()
        await client.close()
