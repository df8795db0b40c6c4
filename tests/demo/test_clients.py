"""The clients on real sockets, against the demo's server and against one that follows a script."""

import asyncio
import json
import socket
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from chaosproxy.demo import frames
from chaosproxy.demo.auth import DEFAULT_APP, App, authorise
from chaosproxy.demo.clients import ClientEvent, GoodClient, Kind, NaiveClient
from chaosproxy.demo.server import DemoServer
from chaosproxy.recovery import Backoff
from tests.demo.conftest import Run
from tests.demo.peers import serving
from tests.demo.stage import (
    Log,
    playing,
    refuse,
    running,
    stay,
    url_of,
    welcome,
    welcome_then_close,
    welcome_then_silence,
)
from tests.interop.processes import free_ports

SWIFT = Backoff(pause_s=0.01, first_s=0.01, limit_s=0.02)
NEVER_S = 1000.0
CLOSE_WITHOUT_ANSWER = bytes([0x88, 2]) + (1000).to_bytes(2)


def good(url: str, log: Log, *channels: str, **options: Any) -> GoodClient:
    return GoodClient("good", url, channels, on_event=log, **{"backoff": SWIFT, **options})


def naive(url: str, log: Log, *channels: str) -> NaiveClient:
    return NaiveClient("naive", url, channels, on_event=log, retry_pause_s=0.01)


class TestGoodClient:
    def test_it_connects_subscribes_and_hears(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server:
                log = Log()
                client = good(
                    url_of(server.port),
                    log,
                    "news",
                    "private-room",
                    "presence-hall",
                    authorise=partial(authorise, DEFAULT_APP),
                )
                async with running(client):
                    await log.until(lambda: len(log.details(Kind.SUBSCRIBED)) == 3)
                    server.publish("news", "tick", "{}")
                    await log.until_seen(Kind.MESSAGE, "tick news")
                assert log.details(Kind.STATE) == ["connecting", "connected", "disconnected"]
                assert log.details(Kind.SUBSCRIBED) == ["news", "private-room", "presence-hall"]
                assert log.details(Kind.ERROR) == []

        run_on(story())

    def test_it_leaves_with_a_close_frame_when_cancelled(self, run_on: Run) -> None:
        async def story() -> None:
            codes: asyncio.Queue[int | None] = asyncio.Queue()

            async def scene(link: ServerConnection) -> None:
                await welcome(link)
                await link.wait_closed()
                codes.put_nowait(link.close_code)

            log = Log()
            async with playing(scene) as url:
                async with running(good(url, log)):
                    await log.until_seen(Kind.STATE, "connected")
                assert await codes.get() == 1000

        run_on(story())

    def test_it_subscribes_anew_after_each_reconnect(self, run_on: Run) -> None:
        async def story() -> None:
            log = Log()
            (port,) = free_ports(1)
            server = DemoServer(port=port)
            await server.start()
            async with running(good(url_of(port), log, "news")):
                await log.until_seen(Kind.SUBSCRIBED, "news")
                await server.stop()
                await log.until_seen(Kind.STATE, "connecting", times=2)
                async with serving(port=port):
                    await log.until_seen(Kind.SUBSCRIBED, "news", times=2)
                    assert log.details(Kind.CLOSED) == ["4200"]

        run_on(story())

    @pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4100, 4200, 4201])
    def test_after_a_close_that_allows_it_it_comes_back(self, run: Run, code: int) -> None:
        async def story() -> None:
            log = Log()
            async with playing(welcome_then_close(code), stay) as url, running(good(url, log)):
                await log.until_seen(Kind.STATE, "connected", times=2)
            assert log.details(Kind.STATE)[:4] == ["connecting", "connected", "connecting", "connected"]
            assert log.details(Kind.CLOSED) == [str(code)]

        run(story())

    @pytest.mark.parametrize("code", [4000, 4001, 4009, 4300, 4999])
    def test_after_a_close_that_forbids_it_it_gives_up(self, run: Run, code: int) -> None:
        async def story() -> None:
            log = Log()
            async with playing(welcome_then_close(code)) as url, running(good(url, log)) as task:
                await task
            assert log.details(Kind.STATE) == ["connecting", "connected", "disconnected"]
            assert log.details(Kind.DIAL) == ["1"]

        run(story())

    def test_an_error_frame_in_the_handshake_has_the_last_word(self, run: Run) -> None:
        async def story() -> None:
            off = App("off", "off-key", "s", enabled=False)
            async with serving(off) as server:
                log = Log()
                await good(url_of(server.port, "off-key"), log).run()
                assert log.details(Kind.STATE) == ["connecting", "disconnected"]
                assert '"code":4003' in log.details(Kind.ERROR)[0]

        run(story())

    def test_an_error_frame_later_on_changes_nothing(self, run: Run) -> None:
        async def story() -> None:
            async def scene(link: ServerConnection) -> None:
                await welcome(link)
                await link.send(frames.error(4001, "only words"))
                await link.send(frames.channel_event("after", "news", "{}"))
                await link.wait_closed()

            log = Log()
            async with playing(scene) as url, running(good(url, log)):
                await log.until_seen(Kind.MESSAGE, "after news")
                assert log.details(Kind.STATE) == ["connecting", "connected"]

        run(story())

    def test_an_abrupt_end_is_reported_as_1006_and_survived(self, run_on: Run) -> None:
        async def story() -> None:
            async def scene(link: ServerConnection) -> None:
                await welcome(link)
                link.transport.abort()

            log = Log()
            async with playing(scene, stay) as url, running(good(url, log)):
                await log.until_seen(Kind.STATE, "connected", times=2)
            assert log.details(Kind.CLOSED) == ["1006"]

        run_on(story())

    def test_a_silent_link_is_asked_and_then_replaced_at_once(self, run_on: Run) -> None:
        async def story() -> None:
            log = Log()
            slow_to_retry = Backoff(pause_s=NEVER_S, first_s=NEVER_S, limit_s=NEVER_S)
            async with (
                playing(welcome_then_silence, stay) as url,
                running(good(url, log, pong_timeout_s=0.02, backoff=slow_to_retry)),
            ):
                await log.until_seen(Kind.STATE, "connected", times=2)
            assert log.details(Kind.STATE)[:4] == ["connecting", "connected", "connecting", "connected"]
            assert log.details(Kind.ERROR) == ["no pong: the link is dead"]

        run_on(story())

    def test_a_link_that_answers_pings_is_kept(self, run: Run) -> None:
        async def story() -> None:
            async def scene(link: ServerConnection) -> None:
                await welcome(link, activity_timeout=0.01)
                for _ in range(5):
                    assert json.loads(await link.recv()) == {"event": "pusher:ping", "data": {}}
                    await link.send(frames.pong())
                await link.send(frames.channel_event("enough", "news", "{}"))
                await link.wait_closed()

            log = Log()
            async with playing(scene) as url, running(good(url, log)):
                await log.until_seen(Kind.MESSAGE, "enough news")
            assert log.details(Kind.DIAL) == ["1"]

        run(story())

    def test_its_own_activity_timeout_is_an_upper_bound(self, run: Run) -> None:
        async def story() -> None:
            pinged = asyncio.Event()

            async def scene(link: ServerConnection) -> None:
                await welcome(link, activity_timeout=NEVER_S)
                await link.recv()
                pinged.set()
                await link.wait_closed()

            async with playing(scene) as url, running(good(url, Log(), activity_timeout_s=0.01)):
                await pinged.wait()

        run(story())

    def test_it_answers_the_servers_ping(self, run: Run) -> None:
        async def story() -> None:
            answers: asyncio.Queue[str | bytes] = asyncio.Queue()

            async def scene(link: ServerConnection) -> None:
                await welcome(link)
                await link.send('{"event":"pusher:ping","data":{}}')
                answers.put_nowait(await link.recv())
                await link.wait_closed()

            async with playing(scene) as url, running(good(url, Log())):
                assert await answers.get() == '{"event":"pusher:pong","data":{}}'

        run(story())

    def test_it_becomes_unavailable_while_nobody_listens_and_connected_from_there(self, run_on: Run) -> None:
        async def story() -> None:
            (port,) = free_ports(1)
            log = Log()
            async with running(good(url_of(port), log, unavailable_timeout_s=0.05)):
                await log.until_seen(Kind.STATE, "unavailable")
                async with serving(port=port):
                    await log.until_seen(Kind.STATE, "connected")
                    assert log.details(Kind.STATE) == ["connecting", "unavailable", "connected"]
                    assert len(log.details(Kind.DIAL)) == len(log.details(Kind.ERROR)) + 1

        run_on(story())

    def test_an_attempt_that_hears_nothing_is_abandoned_in_time(self, run: Run) -> None:
        async def story() -> None:
            async def silent(link: ServerConnection) -> None:
                await link.wait_closed()

            log = Log()
            async with playing(silent, stay) as url, running(good(url, log, attempt_timeout_s=0.5)):
                await log.until_seen(Kind.STATE, "connected")
            assert log.details(Kind.DIAL) == ["1", "2"]
            assert log.details(Kind.ERROR) == ["TimeoutError"]

        run(story())

    def test_a_listener_that_never_answers_the_upgrade_is_abandoned_in_time(self, run_on: Run) -> None:
        async def story() -> None:
            with socket.create_server(("127.0.0.1", 0)) as deaf:
                log = Log()
                async with running(good(url_of(deaf.getsockname()[1]), log, attempt_timeout_s=0.05)):
                    await log.until_seen(Kind.ERROR, "TimeoutError", times=2)

        run_on(story())

    @pytest.mark.parametrize("first", ["{", "{}", "[]", '{"event":"pusher:connection_established","data":"{}"}'])
    def test_a_broken_first_frame_is_a_failed_attempt(self, run: Run, first: str) -> None:
        async def story() -> None:
            async def broken(link: ServerConnection) -> None:
                await link.send(first)
                await link.wait_closed()

            log = Log()
            async with playing(broken, stay) as url, running(good(url, log)):
                await log.until_seen(Kind.STATE, "connected")
            assert log.details(Kind.DIAL) == ["1", "2"]

        run(story())

    def test_nonsense_later_on_is_reported_and_ignored(self, run: Run) -> None:
        async def story() -> None:
            async def scene(link: ServerConnection) -> None:
                await welcome(link)
                for nonsense in ("{", "[]", b"\xff", '{"event":7}', "[" * 10_000):
                    await link.send(nonsense)
                await link.send(frames.channel_event("after", "news", "{}"))
                await link.wait_closed()

            log = Log()
            async with playing(scene) as url, running(good(url, log)):
                await log.until_seen(Kind.MESSAGE, "after news")
            assert len(log.details(Kind.ERROR)) == 4

        run(story())

    @pytest.mark.parametrize("status", [HTTPStatus.FOUND, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE])
    def test_a_refused_upgrade_is_a_failed_attempt_and_no_redirect_is_followed(
        self, run: Run, status: HTTPStatus
    ) -> None:
        async def story() -> None:
            left = [status]

            def answer(link: ServerConnection, request: Request) -> Response | None:
                if not left:
                    return None
                response = link.respond(left.pop(), "no")
                response.headers["Location"] = "http://[not-a-url"
                return response

            log = Log()
            async with (
                serve(stay, "127.0.0.1", 0, process_request=answer) as stage,
                running(good(url_of(stage.sockets[0].getsockname()[1]), log)),
            ):
                await log.until_seen(Kind.STATE, "connected")
            assert log.details(Kind.DIAL) == ["1", "2"]

        run(story())

    def test_a_close_frame_without_an_end_of_stream_is_enough(self, run: Run) -> None:
        async def story() -> None:
            async def scene(link: ServerConnection) -> None:
                await welcome(link)
                link.transport.write(CLOSE_WITHOUT_ANSWER)
                await link.wait_closed()

            log = Log()
            async with playing(scene, stay) as url, running(good(url, log)):
                await log.until_seen(Kind.STATE, "connected", times=2)
            assert log.details(Kind.CLOSED) == ["1000"]

        run(story())

    def test_a_refusal_with_4100_is_tried_again_until_it_is_lifted(self, run: Run) -> None:
        async def story() -> None:
            log = Log()
            async with playing(refuse(4100), refuse(4200), stay) as url, running(good(url, log)):
                await log.until_seen(Kind.STATE, "connected")
            assert log.details(Kind.STATE)[:2] == ["connecting", "connected"]
            assert log.details(Kind.DIAL) == ["1", "2", "3"]

        run(story())


class TestNaiveClient:
    def test_it_connects_subscribes_and_hears(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server:
                log = Log()
                async with running(naive(url_of(server.port), log, "news")):
                    await log.until_seen(Kind.SUBSCRIBED, "news")
                    server.publish("news", "tick", "{}")
                    await log.until_seen(Kind.MESSAGE, "tick news")
                assert log.details(Kind.STATE) == ["connecting", "connected", "disconnected"]

        run_on(story())

    def test_it_forgets_to_subscribe_after_a_reconnect(self, run_on: Run) -> None:
        async def story() -> None:
            heard: list[str | bytes] = []

            async def first(link: ServerConnection) -> None:
                await welcome(link)
                heard.append(await link.recv())
                await link.close(1011)

            async def second(link: ServerConnection) -> None:
                await welcome(link)
                await link.send(frames.channel_event("after", "news", "{}"))
                heard.extend([frame async for frame in link])

            log = Log()
            async with playing(first, second) as url, running(naive(url, log, "news")):
                await log.until_seen(Kind.MESSAGE, "after news")
            assert heard == ['{"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}']

        run_on(story())

    @pytest.mark.parametrize("code", [4001, 4100, 4300])
    def test_it_dials_again_whatever_the_code_says(self, run: Run, code: int) -> None:
        async def story() -> None:
            log = Log()
            async with playing(refuse(code)) as url, running(naive(url, log)):
                await log.until_seen(Kind.DIAL, "4")
            assert log.details(Kind.CLOSED)[:3] == [str(code)] * 3

        run(story())

    def test_it_dials_again_while_nobody_listens(self, run: Run) -> None:
        async def story() -> None:
            (port,) = free_ports(1)
            log = Log()
            async with running(naive(url_of(port), log)):
                await log.until_seen(Kind.DIAL, "3")
            assert log.details(Kind.STATE) == ["connecting", "disconnected"]

        run(story())

    def test_it_sends_no_ping_however_silent_the_link(self, run: Run) -> None:
        async def story() -> None:
            heard: list[str | bytes] = []

            async def scene(link: ServerConnection) -> None:
                await welcome(link, activity_timeout=0.001)
                heard.extend([frame async for frame in link])

            patient, hasty = Log(), Log()
            async with playing(scene) as url, running(naive(url, patient)):
                # A good client told the same timeout has asked many times and lost its link by then.
                async with playing(welcome_then_silence) as other, running(good(other, hasty, pong_timeout_s=0.01)):
                    await hasty.until_seen(Kind.STATE, "connected", times=3)
                assert patient.details(Kind.STATE) == ["connecting", "connected"]
            assert heard == []

        run(story())


def test_events_tell_who_and_when(run: Run) -> None:
    async def story() -> None:
        events: list[ClientEvent] = []
        async with playing(refuse(4001)) as url:
            await GoodClient("ann", url, [], on_event=events.append).run()
        assert {event.client for event in events} == {"ann"}
        assert [event.at_ns for event in events] == sorted(event.at_ns for event in events)

    run(story())
