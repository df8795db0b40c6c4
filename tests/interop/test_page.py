"""The live page in a real Chromium, before a real proxy, server and pusher-js: what people see there, and do."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from websockets.sync.client import connect

from chaosproxy.demo.auth import DEFAULT_APP
from chaosproxy.page import report_html
from tests.interop.crowd import Crowd, served
from tests.interop.demo_server import Demo
from tests.interop.live_page import LivePage
from tests.interop.proxy import Proxy
from tests.interop.pusher_client import PusherClient

PROFILE = """\
version: 1
name: page-under-test
protocol: pusher
identify: {query: user}
phases:
  - name: healthy
    until: step
  - name: slow
    until: step
    rules:
      - latency: {delay: 20ms}
        when: {from: server}
  - name: calm
    until: step
expect:
  - {reconnected_within: 10s, phase: calm}
"""
HOSTILE = "<img src=x onerror=window.hacked=1>"
TOKEN = "token-of-the-page"
CLIENT = "[data-lane='1']"
ALL_OF_THE_RUN = ".windows [aria-label='Show all of the run']"
CLOSE_BY = "page.timeline.go(() => page.timeline.window.follow(10))"  # no sign stands in the way of another
LIVE = "document.querySelector('#link').textContent === 'live'"


class TokenProxy(Proxy):
    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--token", TOKEN]


class Scene(NamedTuple):
    demo: Demo
    proxy: Proxy
    client: PusherClient
    page: LivePage
    url: str


@pytest.fixture(scope="module")
def browser() -> Iterator[LivePage]:
    with LivePage() as page:
        yield page


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, browser: LivePage) -> Iterator[Scene]:
    """A proxy with pusher-js on it, which reports its states, all for this module."""
    folder = tmp_path_factory.mktemp("page")
    profile = folder / "profile.yaml"
    profile.write_text(PROFILE)
    with ExitStack() as stack:
        demo = stack.enter_context(Demo())
        proxy = stack.enter_context(Proxy(folder, f"ws://127.0.0.1:{demo.port}", profile=profile))
        report = {"url": proxy.report_url}
        client = stack.enter_context(PusherClient(proxy.port, app=DEFAULT_APP, channels=["news"], report=report))
        client.wait_for("subscribed", channel="news")
        yield Scene(demo, proxy, client, browser, f"http://127.0.0.1:{proxy.control_port}/")


@pytest.fixture
def scene(stage: Scene) -> Scene:
    """The page, just opened, with the client connected."""
    stage.page.open(stage.url)
    stage.page.see(LIVE)
    stage.page.see(f"document.querySelector(\"{CLIENT}[data-state='connected']\")")
    return stage


def wire_of_client(wanted: str) -> str:
    return f'document.querySelector("{CLIENT}").dataset.wire === {wanted!r}'


class TestSteering:
    def test_the_next_phase_is_a_band_and_is_told_to_those_who_listen(self, scene: Scene) -> None:
        page = scene.page
        page.see_text("#phase-name", "healthy")
        page.click("#next")
        page.see_text("#phase-name", "slow")
        page.see_text("text.phase", "slow")
        page.see("document.querySelector('#said').textContent.includes('phase slow')")
        assert scene.proxy.control("GET", "/api/state")["phase"]["name"] == "slow"

    def test_a_connection_freezes_and_heals_before_ones_eyes(self, scene: Scene) -> None:
        page = scene.page
        page.see(wire_of_client("established"))
        page.click(f"{CLIENT} .freeze")
        page.see(wire_of_client("silent"))
        page.see(f'document.querySelector("{CLIENT} .wire.silent")')
        page.see("document.querySelector('.spells .on-spell').textContent.startsWith('half_open · freeze-')")
        page.see_text(f"{CLIENT} .freeze", "Heal")
        page.click(f"{CLIENT} .freeze")
        page.see(wire_of_client("established"))
        page.see(f'document.querySelector("{CLIENT} .sign.healed")')
        page.click("#all-freeze")
        page.see(wire_of_client("silent"))
        page.click("#all-heal")
        page.see(wire_of_client("established"))

    def test_a_close_with_its_code_ends_a_lane_which_goes_on_as_the_client_comes_back(self, scene: Scene) -> None:
        page = scene.page
        page.evaluate(CLOSE_BY)
        before = scene.client.latest()
        page.click(f"{CLIENT} [aria-haspopup]")
        page.click("#menu-buttons button:last-child")
        scene.client.wait_for("error", code=4200, after=before)
        page.see_text(f"{CLIENT} .sign.end text", "4200")
        page.see(f"document.querySelector(\"{CLIENT} .attempt\").textContent.trim() !== '#1'")
        page.see(f"document.querySelector(\"{CLIENT}[data-state='connected'][data-wire='established']\")")
        assert page.evaluate("document.activeElement.getAttribute('aria-haspopup')") == "true"

    def test_a_reset_is_one_on_the_wire(self, scene: Scene) -> None:
        page = scene.page
        page.see(wire_of_client("established"))
        page.evaluate(CLOSE_BY)
        before = scene.client.latest()
        page.click("#all-reset")
        scene.client.wait_for("error", code=1006, after=before)
        page.see_text(f"{CLIENT} .sign.end text", "RST")

    def test_time_stands_still_and_goes_on(self, scene: Scene) -> None:
        page = scene.page
        page.click("#pause")
        page.see_text("#pause", "Resume")
        page.see("document.querySelector('#phase-words').textContent.includes('paused')")
        page.click("#pause")
        page.see_text("#pause", "Pause")

    def test_one_goes_to_any_phase_and_plays_another_profile(self, tmp_path: Path, browser: LivePage) -> None:
        profile = tmp_path / "profile.yaml"
        profile.write_text(PROFILE)
        with Demo() as demo, Proxy(tmp_path, f"ws://127.0.0.1:{demo.port}", profile=profile) as proxy:
            browser.open(f"http://127.0.0.1:{proxy.control_port}/")
            browser.see_text("#phases button", "calm")
            browser.click("#phases li:last-child button")
            browser.see_text("#phase-name", "calm")
            browser.see_text("#phases [aria-current]", "calm")
            browser.click("#next")
            browser.see_text("#phase-name", "over")
            browser.see("document.querySelector('#next').disabled")
            look = "getComputedStyle(document.querySelector('{}')).backgroundColor"
            assert browser.evaluate(look.format("#next")) == browser.evaluate(look.format("#pause")), "it looks alive"
            browser.click("#phases li:last-child button")
            browser.see_text("#phase-name", "calm")
            browser.see("!document.querySelector('#play').disabled")
            browser.evaluate("document.querySelector('#profile').value = 'close-4200'")
            browser.click("#play")
            browser.see("document.querySelector('#facts').textContent.includes('close-4200')")
            assert proxy.control("GET", "/api/state")["profile"]["name"] == "close-4200"
            browser.click("#reset")
            browser.see("document.querySelector('#trouble').hidden")

            # A session is a stage of its own, to be chosen; when it has ended, one is led back.
            session = proxy.control("POST", "/api/sessions", {"profile": "not-found-404"}, expect=201)
            browser.evaluate("page.findStages()")
            browser.see("!document.querySelector('#choosing').hidden")
            choice = "document.querySelector('#stage')"
            browser.evaluate(f"{choice}.selectedIndex = 1; {choice}.dispatchEvent(new Event('change'))")
            browser.see("document.querySelector('#facts').textContent.includes('not-found-404')")
            proxy.control("DELETE", f"/api/sessions/{session['id']}", {})
            browser.see_text("#trouble-words", "This stage has ended.")
            browser.see("document.querySelector('#facts').textContent.includes('close-4200')")

    def test_what_the_api_refuses_is_said_in_its_words_until_something_works(self, scene: Scene) -> None:
        page = scene.page
        page.fill("#code", "70000")
        page.click("#all-close")
        page.see("document.querySelector('#trouble-words').textContent.includes('expected at most 65535 or none')")
        page.click("#trouble-gone")
        page.see("document.querySelector('#trouble').hidden")


class TestLooking:
    def test_a_sign_says_rule_fault_and_message_to_who_goes_there_by_key(self, scene: Scene) -> None:
        page = scene.page
        scene.proxy.control("POST", "/api/phase", {"phase": "slow"})
        page.see_text("#phase-name", "slow")
        scene.demo.publish("news", "hello", {})
        page.see(f'document.querySelector("{CLIENT} .sign.struck")')
        page.press("End", f"{CLIENT} .plot")
        page.press(",")
        page.see("document.activeElement.classList.contains('sign')")
        page.see("!document.querySelector('.tip').hidden")
        for _ in range(20):  # back from the newest sign to the strike
            words = page.evaluate("document.querySelector('.tip').textContent")
            if "struck" in words:
                break
            page.press(",")
        assert words.startswith("latency struck message ")
        at = page.evaluate("shownBy.get(document.activeElement).items[0].at")
        assert " from the server, rule latency-" in words
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("latency struck message ")
        page.press("Escape")
        page.see("document.querySelector('.tip').hidden")
        page.evaluate(
            f"page.timeline.go(() => page.timeline.window.show({at} - 1, {at} + 1))"
        )  # there time stands still
        page.hover(f"{CLIENT} .sign[aria-label^='latency struck'] .hit")
        page.see("document.querySelector('.tip').textContent.startsWith('latency struck message ')")
        page.hover("h1")
        page.see("document.querySelector('.tip').hidden")

    def test_keys_move_and_zoom_the_time_that_is_seen(self, scene: Scene) -> None:
        page = scene.page
        view = "(({from, to}) => [from, to].map((at) => Math.round(at * 1000)))(page.timeline.view())"
        plot = f"{CLIENT} .plot"
        page.see("page.timeline.now > 5")
        for _ in range(4):
            page.press("+", plot)
        page.press("Home")
        assert page.evaluate(view) == [0, 3750]
        page.press("ArrowRight")
        assert page.evaluate(view) == [750, 4500]
        page.press("-")
        assert page.evaluate(view) == [-150, 7350]
        page.press("End")
        assert page.evaluate("page.timeline.window.mode") == "follow"
        assert page.evaluate("document.activeElement.classList.contains('plot')")

    def test_a_lane_has_its_sum_in_words_and_its_items_stand_in_a_table(self, scene: Scene) -> None:
        page = scene.page
        words = page.evaluate(f"document.querySelector(\"{CLIENT} .plot\").getAttribute('aria-label')")
        assert words.startswith("client: connected (reported) for ")
        assert " established, faults struck " in words
        page.click(".items summary")
        page.see_text(".items td", "client connected, reported")
        page.see_text(".items td", "wire established, connection 1")

    def test_evidence_leads_to_its_place(self, scene: Scene) -> None:
        page = scene.page
        page.see("!document.querySelector('#verdict').hidden")
        page.click(".verdict button.link")
        page.see(
            "[...document.querySelectorAll('.records:not([hidden]) code')].some((each) => each.textContent[0] === '#')"
        )
        assert page.evaluate("page.timeline.window.mode") == "fixed"

    def test_the_journal_can_be_had_as_a_file(self, scene: Scene, tmp_path: Path) -> None:
        assert scene.page.download("#journal", tmp_path / "journal") == "chaosproxy-journal.jsonl"
        header, *records = map(json.loads, (tmp_path / "journal").read_text().splitlines())
        assert header["profile"] == "page-under-test"
        assert [record["seq"] for record in records] == list(range(1, len(records) + 1))

    def test_the_report_can_be_had_as_a_file_which_opens_without_a_network(self, scene: Scene, tmp_path: Path) -> None:
        path = tmp_path / "report.html"
        assert scene.page.download("#report", path).endswith(".html")
        scene.page.open(path.as_uri(), offline=True)
        scene.page.see(f'document.querySelector("{CLIENT} .sign")')
        assert scene.page.requests() == [path.as_uri()]
        assert scene.page.complaints() == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_nobody_is_kept_out(self, scene: Scene, scheme: str) -> None:
        page = scene.page
        page.open(scene.url, scheme=scheme)
        page.see("!document.querySelector('#verdict').hidden")
        page.click(".items summary")
        page.see("document.querySelectorAll('.items tbody tr').length > 3")
        assert page.serious_barriers() == []
        page.click(f"{CLIENT} [aria-haspopup]")
        page.see("document.querySelector('#menu').matches(':popover-open')")
        assert page.serious_barriers() == []

    def test_on_a_phone_nothing_sticks_out_and_everything_can_be_hit(self, scene: Scene) -> None:
        page = scene.page
        page.open(scene.url, width=360, height=740, touch=True)
        page.see("!document.querySelector('#verdict').hidden")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        small = """[...document.querySelectorAll('button, select, input, summary')]
            .filter((each) => each.checkVisibility())
            .map((each) => [each.outerHTML, each.getBoundingClientRect()])
            .filter(([, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"""
        assert page.evaluate(small) == []
        page.see(f'document.querySelector("{CLIENT} .sign")')
        page.click(ALL_OF_THE_RUN)
        page.tap(f"{CLIENT} .sign .hit")
        page.see("!document.querySelector('.tip').hidden")
        assert page.evaluate("document.documentElement.scrollWidth") == 360

    def test_for_who_wants_little_motion_time_moves_by_the_second(self, scene: Scene) -> None:
        page = scene.page
        page.open(scene.url, motion="reduce")
        page.see("page.timeline.now > 2")
        begun = page.evaluate("[page.timeline.now, page.timeline.costs.length, page.costs.length]")
        page.see(f"page.timeline.now > {begun[0] + 2}")
        frames, answers = page.evaluate("[page.timeline.costs.length, page.costs.length]")
        assert frames - begun[1] <= answers - begun[2] + 4  # one a second, and one for each answer

    def test_the_browser_has_nothing_to_complain_of(self, scene: Scene) -> None:
        page = scene.page
        page.see("!document.querySelector('#verdict').hidden")
        page.click("#lanes .windows button:last-child")
        assert page.complaints() == []
        assert {url.removeprefix(scene.url).split("/")[0].split("?")[0] for url in page.requests()} == {
            "",
            "page",
            "api",
        }


def test_what_peers_say_is_text(scene: Scene) -> None:
    url = f"{scene.proxy.url}/app/{DEFAULT_APP.key}?protocol=7&user={quote(HOSTILE)}"
    with connect(url, proxy=None) as link:
        link.recv()
        link.close(4000, HOSTILE)
    page = scene.page
    page.see_text(".names strong", HOSTILE)
    page.see(f"document.querySelector('#log').textContent.includes('with 4000: ' + {HOSTILE!r})")
    page.click(".items summary")
    page.see(f"document.querySelector('.items tbody').textContent.includes('with 4000: ' + {HOSTILE!r})")
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("window.hacked === undefined")


def test_a_proxy_that_was_away_is_found_again_and_its_past_is_gone(tmp_path: Path, browser: LivePage) -> None:
    with Demo() as demo, Proxy(tmp_path, f"ws://127.0.0.1:{demo.port}") as proxy:
        browser.open(f"http://127.0.0.1:{proxy.control_port}/")
        with connect(f"{proxy.url}/app/{DEFAULT_APP.key}?protocol=7", proxy=None) as link:
            link.recv()
            browser.see("document.querySelector('.row.lane')")
            proxy.kill()
        browser.see("document.querySelector('#link').textContent.startsWith('connection lost')")
        browser.see("document.querySelector('#said').textContent.includes('Connection to the proxy lost')")
        proxy.start()
        browser.see(LIVE)
        browser.see("!document.querySelector('.row.lane') && !document.querySelector('.empty').hidden")
        # A client that names itself, where nothing tells connections apart, is seen on the wire that it has.
        report = {"url": proxy.report_url, "client": "anna"}
        with PusherClient(proxy.port, app=DEFAULT_APP, report=report):
            browser.see(f"document.querySelector(\"{CLIENT}[data-state='connected'][data-wire='open']\")")
            browser.see_text(f"{CLIENT} strong", "anna")


FRAME_MS = 16


def test_a_thousand_connections_are_a_few_rows_that_open_and_are_drawn_within_a_frame(browser: LivePage) -> None:
    with served(Crowd(clients=1000, restless=50)) as url:
        browser.open(url)
        browser.see(LIVE)
        browser.see("document.querySelectorAll('.row.group').length === 20 && !document.querySelector('.row.lane')")
        browser.see("document.querySelector('.row.group .status').textContent === '50 established'")
        browser.see("page.costs.length > 12 && page.timeline.costs.length > 60")
        groups = browser.evaluate("[page.costs.slice(1), page.timeline.costs.slice(2)]")
        browser.evaluate("document.querySelectorAll('.toggle').forEach((each) => each.click())")
        browser.see("document.querySelectorAll('.row.lane').length === 1000")
        browser.see("document.querySelectorAll('.row.lane .sign.end').length > 5")
        browser.evaluate("page.costs.length = page.timeline.costs.length = 0")
        browser.see("page.costs.length > 12 && page.timeline.costs.length > 60")
        lanes = browser.evaluate("[page.costs, page.timeline.costs]")
        # Half of the frames are well within; the 95th percentile is too (2 to 7 ms), but not while other tests have
        # the processor.
        costs = {"groups": [median(each) for each in groups], "lanes": [median(each) for each in lanes]}
        assert all(cost < FRAME_MS / 2 for each in costs.values() for cost in each), costs
        assert browser.evaluate("document.documentElement.scrollWidth") == 1280


class TestToken:
    def test_it_is_asked_for_and_kept_for_this_tab(self, tmp_path: Path, browser: LivePage) -> None:
        with Demo() as demo, TokenProxy(tmp_path, f"ws://127.0.0.1:{demo.port}") as proxy:
            browser.open(f"http://127.0.0.1:{proxy.control_port}/")
            browser.see("document.querySelector('#asking').open")
            assert browser.serious_barriers() == []
            browser.fill("#token", "guessed")
            browser.press("Enter", "#token")
            browser.see("document.querySelector('#asking-words').textContent.includes('refused')")
            browser.fill("#token", TOKEN)
            browser.press("Enter", "#token")
            browser.see(LIVE)
            browser.evaluate("location.reload()")
            browser.see(LIVE)
            assert browser.evaluate("document.querySelector('#asking').open") is False

            # In the fragment, as the greeting has it, it is left to nobody.
            browser.open(f"http://127.0.0.1:{proxy.control_port}/#token={TOKEN}")
            browser.see(LIVE)
            assert browser.evaluate("location.href") == f"http://127.0.0.1:{proxy.control_port}/"
            assert not any(TOKEN in url for url in browser.requests() if "#" not in url)


def spoiled(value: Any) -> Any:
    """The same with markup in each text that is a peer's or a user's."""
    match value:
        case dict():
            return {key: spoil(key, item) for key, item in value.items()}
        case list():
            return [spoiled(item) for item in value]
        case _:
            return value


FREE = {
    "client",
    "path",
    "reason",
    "detail",
    "profile",
    "phase",
    "rule",
    "fault",
    "seen",
    "name",
    "about",
    "state",
    "by",
    "how",
}


def spoil(key: str, value: Any) -> Any:
    return f"{value}</script>{HOSTILE}" if key in FREE and isinstance(value, str) else spoiled(value)


class TestReport:
    @pytest.fixture
    def runs(self, scene: Scene) -> list[dict[str, Any]]:
        """Two runs, the second one with markup wherever a text may be somebody else's."""
        picture = scene.proxy.control("GET", "/api/picture")
        told = scene.proxy.control("GET", "/api/verdict")
        verdict = told | {
            "profile": picture["profile"],
            "digest": told["digest"]["whole"],
            "repeat": None,
            "seconds": 1.5,
        }
        records = {str(each["seq"]): each for row in verdict["rows"] for each in row["evidence"]}
        run = {"picture": picture, "verdict": verdict, "records": records}
        return [run, spoiled(run)]

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_opens_from_disk_asks_nobody_and_keeps_nobody_out(
        self, runs: list[Any], tmp_path: Path, browser: LivePage, scheme: str
    ) -> None:
        path = tmp_path / "report.html"
        path.write_text(report_html(runs))
        browser.open(path.as_uri(), scheme=scheme, offline=True)
        browser.see_text("h1", "page-under-test")
        browser.see("document.querySelector('.row.lane .sign')")
        assert browser.serious_barriers() == []
        browser.click(".verdict button.link")
        browser.see("document.querySelector('.records:not([hidden]) code').textContent[0] === '#'")
        assert browser.requests() == [path.as_uri()]
        assert browser.complaints() == []

    def test_markup_in_it_is_text(self, runs: list[Any], tmp_path: Path, browser: LivePage) -> None:
        path = tmp_path / "report.html"
        path.write_text(report_html(runs))
        browser.open(path.as_uri(), offline=True, width=360)
        browser.evaluate("choice.selectedIndex = 1; choice.dispatchEvent(new Event('change'))")
        browser.see(f"document.querySelector('h1').textContent.includes({HOSTILE!r})")
        browser.click(".items summary")
        browser.see(f"document.querySelector('.items tbody').textContent.includes({HOSTILE!r})")
        assert browser.evaluate("[document.images.length, window.hacked === undefined]") == [0, True]
        assert browser.evaluate("document.documentElement.scrollWidth") == 360
        assert browser.complaints() == []
        assert browser.requests() == [path.as_uri()]
