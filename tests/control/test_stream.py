import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chaosproxy.control.stream import STREAMS_MAX, Streams
from chaosproxy.events import Listening
from chaosproxy.journal import Journal, read_journal
from chaosproxy.profile import EMPTY
from chaosproxy.world import Told
from tests.control.conftest import Run
from tests.control.stage import Stage, staged


class Follower:
    """Reads server-sent events."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def hear(self) -> dict[str, str]:
        """The next event, as its fields; a comment is an event with none."""
        event = {}
        while line := (await self._answer.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(":")
            if name:
                event[name] = value.strip()
        return event

    async def hear_number(self) -> int:
        event = await self.hear()
        assert json.loads(event["data"])["seq"] == int(event["id"])
        return int(event["id"])


def listen(journal: Journal, times: int) -> None:
    for _ in range(times):
        journal.tell(Told(0, None, Listening(True, "x")))


def following(stage: Stage, **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return stage.http.get(f"{stage.url}/api/journal", headers=sent)


def test_the_tail_is_a_journal(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            listen(stage.journal, 3)
            answer = await stage.ask("GET", "/api/journal?format=jsonl")
            assert answer.headers["Content-Type"].startswith("application/jsonl")
            header, records = read_journal(answer.body.splitlines())
            assert (header["journal"], [record["seq"] for record in records]) == (1, [1, 2, 3])

    run(story())


def test_a_follower_hears_the_header_then_what_was_then_what_comes(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            listen(stage.journal, 2)
            async with following(stage) as answer:
                assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
                follower = Follower(answer)
                assert await follower.hear() == {"event": "header", "data": stage.journal.header}
                assert [await follower.hear_number() for _ in range(2)] == [1, 2]
                listen(stage.journal, 2)
                assert [await follower.hear_number() for _ in range(2)] == [3, 4]

    run(story())


@pytest.mark.parametrize(
    ("last_event_id", "first"), [("2", 3), ("0", 1), ("", 1), ("x", 1), ("99", 1), ("-1", 1), ("9" * 40, 1), ("²", 1)]
)
def test_a_follower_resumes_behind_the_last_it_had(run: Run, last_event_id: str, first: int) -> None:
    async def story() -> None:
        async with staged() as stage:
            listen(stage.journal, 4)
            async with following(stage, Last_Event_ID=last_event_id) as answer:
                follower = Follower(answer)
                await follower.hear()
                assert await follower.hear_number() == first

    run(story())


def test_who_resumes_too_late_is_told_how_much_is_missing(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            listen(stage.journal, 10_005)
            async with following(stage, Last_Event_ID="2") as answer:
                follower = Follower(answer)
                await follower.hear()
                assert await follower.hear() == {"event": "missed", "data": '{"records":3}'}
                assert await follower.hear_number() == 6

    run(story())


def test_a_line_has_no_control_characters_whatever_peers_say(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            await stage.ask("POST", "/api/reports", {"state": "a\n\ndata: forged\r\x1b\u2028"})
            async with following(stage) as answer:
                follower = Follower(answer)
                await follower.hear()
                assert json.loads((await follower.hear())["data"])["state"] == "a\n\ndata: forged\r\x1b\u2028"

    run(story())


def test_stopping_lets_followers_go(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage, following(stage) as answer:
            follower = Follower(answer)
            await follower.hear()
            await stage.control.stop()
            with pytest.raises(aiohttp.ClientPayloadError):
                await follower.hear()

    run(story())


def test_there_are_only_so_many_followers_and_one_that_leaves_makes_room(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            answers = [await following(stage) for _ in range(STREAMS_MAX)]
            for answer in answers:
                await Follower(answer).hear()
            assert (await stage.ask("GET", "/api/journal")).status == 503
            answers.pop().close()
            while (answer := await following(stage)).status == 503:
                await answer.read()
            assert answer.status == 200
            for kept in [*answers, answer]:
                kept.close()

    run(story())


def test_an_unknown_format_is_refused(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert (await stage.ask("GET", "/api/journal?format=xml")).status == 400

    run(story())


class Reader:
    """A server of streams of a small journal, and one follower that reads only when told to."""

    def __init__(self, journal: Journal, **options: float) -> None:
        self.journal = journal
        self.streams = Streams(journal, **options)

    async def __aenter__(self) -> "Reader":
        app = web.Application()
        app.router.add_get("/", self.streams.follow)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._reader, self._writer = await asyncio.open_connection(*self._runner.addresses[0], limit=1024)
        self._writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self.streams.close()
        await self._runner.cleanup()

    async def until_said(self, text: bytes) -> None:
        seen = b""
        while text not in seen:
            seen = (seen + await self._reader.read(4096))[-8192:]

    async def until_noted(self) -> dict[str, Any]:
        """Fill the journal until it says that the follower was dropped."""
        seq = 0
        while True:
            for _ in range(100):
                self.journal.note("filler", text="x" * 1000)
            for line in self.journal.after(seq, 100_000):
                if '"follower_dropped"' in line.text:
                    record: dict[str, Any] = json.loads(line.text)
                    return record
                seq = line.seq
            await asyncio.sleep(0)


def test_a_follower_that_does_not_read_is_dropped_and_the_journal_says_so(run: Run) -> None:
    async def story() -> None:
        async with Reader(Journal(EMPTY, 0), patience_s=0.05) as reader:
            record = await reader.until_noted()
            assert record["reason"] == "it did not read for 0.05 s"

    run(story())


def test_a_follower_that_falls_behind_is_told_so_and_dropped(run: Run) -> None:
    async def story() -> None:
        journal = Journal(EMPTY, 0, tail_records_max=10)
        async with Reader(journal) as reader:
            listen(journal, 1)
            await reader.until_said(b"id: 1\n")
            listen(journal, 25)
            await reader.until_said(b"event: dropped")
            (line,) = [line for line in journal.after(0) if "follower_dropped" in line.text]
            assert json.loads(line.text)["reason"] == "it fell behind by 15 records"

    run(story())


def test_an_idle_stream_has_a_pulse(run: Run) -> None:
    async def story() -> None:
        async with Reader(Journal(EMPTY, 0), pulse_s=0.01) as reader:
            await reader.until_said(b":\n\n\r\n3\r\n:\n\n")

    run(story())
