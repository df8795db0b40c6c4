"""Webhooks from the server to a back end, over real HTTP."""

import asyncio
import time

from chaosproxy.demo.auth import App, Webhook
from tests.demo.conftest import Run
from tests.demo.hooks import BackEnd, back_end
from tests.demo.peers import connected, serving
from tests.interop.processes import free_ports


def app_telling(*urls: str) -> App:
    return App("app-id", "app-key", "app-secret", webhooks=tuple(map(Webhook, urls)))


def test_each_event_is_one_signed_post(run_on: Run) -> None:
    async def story(told: BackEnd) -> None:
        async with serving(app_telling(told.url)) as server, connected(server) as ann:
            before_ms = time.time_ns() // 1_000_000
            await ann.subscribe("presence-room", "ann")
            occupied, added = [await asyncio.to_thread(told.next) for _ in range(2)]
            assert occupied.event == {"name": "channel_occupied", "channel": "presence-room"}
            assert added.event == {"name": "member_added", "channel": "presence-room", "user_id": "ann"}
            for delivery in (occupied, added):
                assert delivery.is_signed("app-secret")
                assert (delivery.headers["X-Pusher-Key"], delivery.headers["Content-Type"]) == (
                    "app-key",
                    "application/json",
                )
                assert before_ms <= delivery.time_ms <= time.time_ns() // 1_000_000

    with back_end() as told:
        run_on(story(told))


def test_a_back_end_that_does_not_answer_holds_up_nobody_and_gets_the_rest_in_order(run_on: Run) -> None:
    async def story(slow: BackEnd, swift: BackEnd) -> None:
        slow.may_answer.clear()
        async with serving(app_telling(slow.url, swift.url)) as server, connected(server) as ann:
            channels = [f"news-{number}" for number in range(5)]
            for channel in channels:
                await ann.subscribe(channel)
            assert [(await asyncio.to_thread(swift.next_event))["channel"] for _ in channels] == channels
            assert (await asyncio.to_thread(slow.next_event))["channel"] == channels[0]
            assert slow.deliveries.empty()
            slow.may_answer.set()
            assert [(await asyncio.to_thread(slow.next_event))["channel"] for _ in channels[1:]] == channels[1:]

    with back_end() as slow, back_end() as swift:
        run_on(story(slow, swift))


def test_what_a_back_end_refuses_is_not_sent_again(run_on: Run) -> None:
    async def story(told: BackEnd) -> None:
        told.status = 500
        async with serving(app_telling(told.url)) as server, connected(server) as ann:
            await ann.subscribe("news-1")
            await ann.subscribe("news-2")
        for channel in ("news-1", "news-2"):
            assert (await asyncio.to_thread(told.next_event))["channel"] == channel

    with back_end() as told:
        run_on(story(told))
        vacated = [told.next_event() for _ in range(2)]
        assert [(event["name"], event["channel"]) for event in vacated] == [
            ("channel_vacated", "news-1"),
            ("channel_vacated", "news-2"),
        ]
        assert told.deliveries.empty()


def test_a_back_end_that_is_away_or_has_no_address_harms_nobody(run_on: Run) -> None:
    async def story(nowhere: str, told: BackEnd) -> None:
        async with serving(app_telling(nowhere, "no address", told.url)) as server, connected(server) as ann:
            for channel in ("news-1", "news-2"):
                assert (await ann.subscribe(channel))["event"] == "pusher_internal:subscription_succeeded"
                assert (await asyncio.to_thread(told.next_event))["channel"] == channel
            assert await ann.hears_nothing_more()

    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}/"
    with back_end() as told:
        run_on(story(nowhere, told))


def test_stopping_tells_what_it_ends_and_does_not_wait_for_a_back_end_that_sleeps(run_on: Run) -> None:
    async def story(told: BackEnd) -> None:
        async with serving(app_telling(told.url), close_patience_s=0.1) as server, connected(server) as ann:
            await ann.subscribe("news")
            assert (await asyncio.to_thread(told.next_event))["name"] == "channel_occupied"
            await server.stop()
            assert (await asyncio.to_thread(told.next_event))["name"] == "channel_vacated"
            await server.start()
            told.may_answer.clear()
            async with connected(server) as bob:
                await bob.subscribe("news")
                await server.stop()

    with back_end() as told:
        run_on(story(told))
