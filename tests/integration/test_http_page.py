"""The page's files over HTTP: types, caching, and a policy that lets nothing else in."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.integration.gateway_process import GatewayProcess

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def test_every_file_that_is_named_is_served_with_its_type(gateway: GatewayProcess) -> None:
    index = httpx.get(gateway.http).raise_for_status()
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    names = set(re.findall(r'page/([\w.]+)"', index.text))
    seen: set[str] = set()
    while names - seen:
        name = (names - seen).pop()
        seen.add(name)
        answer = httpx.get(f"{gateway.http}/page/{name}").raise_for_status()
        assert answer.headers["content-type"].startswith(TYPES[name.rpartition(".")[2]]), name
        names |= set(re.findall(r'from "\./([\w.]+)"', answer.text))
    assert {"app.js", "stage.js", "style.css", "icon.svg"} <= seen


def test_a_known_version_is_not_sent_again(gateway: GatewayProcess) -> None:
    first = httpx.get(gateway.http)
    etag = first.headers["etag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        again = httpx.get(gateway.http, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert httpx.get(gateway.http, headers={"If-None-Match": '"other"'}).content == first.content
    assert httpx.head(gateway.http).headers["content-length"] == str(len(first.content))


def test_the_policy_allows_the_page_itself_and_nothing_else(gateway: GatewayProcess) -> None:
    index = httpx.get(gateway.http)
    policy = index.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert index.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", index.text), "nothing inline"
    assert not re.search(r'(src|href)="(https?:)?//', index.text), "nothing from elsewhere"


@pytest.mark.parametrize("name", ["none.js", "..%2Fserver.py", "index.html%00", "__init__.py"])
def test_other_files_are_not_there(gateway: GatewayProcess, name: str) -> None:
    answer = httpx.get(f"{gateway.http}/page/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
