"""The live page's files: open to who is here, also without a token, and to nobody's frame, script or rebound name."""

import re

import pytest

from chaosproxy.control.assets import ASSETS
from tests.control.conftest import Run
from tests.control.stage import staged
from tests.control.test_guard import HOSTILE, TOKEN, speak

ELSEWHERE = "{host}\r\nSec-Fetch-Site: cross-site"
VISIT = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document"


def test_they_are_served_without_the_token_with_a_policy_that_lets_nothing_else_in(run: Run) -> None:
    async def story() -> None:
        async with staged(token=TOKEN) as stage:
            for path, asset in ASSETS.items():
                reply = await speak(stage, "GET", path, "{host}")
                assert (reply.status, reply.body.decode()) == (200, asset.text)
                assert reply.headers["content-type"] == f"{asset.content_type}; charset=utf-8"
                assert TOKEN not in asset.text
                policy = dict(each.split(" ", 1) for each in reply.headers["content-security-policy"].split("; "))
                assert policy == {
                    "default-src": "'none'",
                    "script-src": "'self'",
                    "style-src": "'self'",
                    "img-src": "'self' data:",
                    "connect-src": "'self'",
                    "base-uri": "'none'",
                    "form-action": "'none'",
                    "frame-ancestors": "'none'",
                }
                assert reply.headers["cross-origin-opener-policy"] == "same-origin"
                assert reply.headers["x-content-type-options"] == "nosniff"

    run(story())


def test_the_page_names_each_of_its_files_and_no_other() -> None:
    page = ASSETS["/"].text
    named = re.findall(r'(?:src|href)="(/[^"]*)"', page)
    assert sorted(named) == sorted(path for path in ASSETS if path != "/")


def test_the_page_has_neither_scripts_nor_styles_in_line() -> None:
    page = ASSETS["/"].text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_request_gets_none_of_them(run: Run, what: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            for path in ASSETS:
                assert (await speak(stage, "GET", path, HOSTILE[what])).status in (400, 403)

    run(story())


def test_a_link_elsewhere_leads_to_the_page_but_not_into_a_frame_nor_to_anything_else(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            for site in ("cross-site", "same-site"):
                elsewhere = f"{{host}}\r\nSec-Fetch-Site: {site}"
                assert (await speak(stage, "GET", "/", elsewhere, VISIT)).status == 200
            for refused in (
                "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe",
                "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: embed",
                "Sec-Fetch-Mode: navigate",
                "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script",
                "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty",
                f"{VISIT}\r\nSec-Fetch-Dest: iframe",
                f"{VISIT}\r\nOrigin: http://evil.example",
                "X-Nothing: 1",
            ):
                assert (await speak(stage, "GET", "/", ELSEWHERE, refused)).status == 403, refused
            for path in ("/page/page.js", "/api/state", "/api/picture", "/api/journal?format=jsonl", "/livez"):
                assert (await speak(stage, "GET", path, ELSEWHERE, VISIT)).status == 403, path
            for method in ("POST", "PUT", "DELETE"):
                reply = await speak(stage, method, "/", ELSEWHERE, VISIT, "Content-Type: application/json")
                assert reply.status == 403
            rebound = "Host: evil.example\r\nSec-Fetch-Site: cross-site"
            assert (await speak(stage, "GET", "/", rebound, VISIT)).status == 403
            assert stage.journal.last == 0

    run(story())


def test_nothing_beside_them_is_served(run: Run) -> None:
    async def story() -> None:
        async with staged(token=TOKEN) as stage:
            bearer = f"Authorization: Bearer {TOKEN}"
            for path in (
                "/page/",
                "/page",
                "/page/__init__.py",
                "/page/report.html",
                "/page/../page/page.js",
                "/page/%2e%2e/x",
            ):
                assert (await speak(stage, "GET", path, "{host}")).status == 401
                assert (await speak(stage, "GET", path, "{host}", bearer)).status == 404

    run(story())
