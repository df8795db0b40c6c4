"""The server on real sockets, judged by the websockets library, which knows nothing of aiohttp."""

import asyncio
import gc
import json
import socket

import pytest
from aiohttp import ClientSession
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chaosproxy.demo.auth import App, authorise_user
from chaosproxy.demo.limits import EVENT_BYTES_MAX
from chaosproxy.demo.server import DemoServer
from tests.demo.conftest import Run
from tests.demo.peers import connected, dialling, serving


class TestConnecting:
    def test_a_client_is_welcomed_and_its_ping_answered(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server, dialling(server) as link:
                welcome = json.loads(await link.recv())
                assert list(welcome) == ["event", "data"]
                assert welcome["event"] == "pusher:connection_established"
                data = json.loads(welcome["data"])
                whole, _, part = data["socket_id"].partition(".")
                assert (whole.isdecimal(), part.isdecimal(), data["activity_timeout"]) == (True, True, 30)
                await link.send('{"event":"pusher:ping","data":{}}')
                assert await link.recv() == '{"event":"pusher:pong","data":{}}'

        run_on(story())

    def test_neither_compression_nor_a_subprotocol_is_agreed_on(self, run: Run) -> None:
        async def story() -> None:
            async with serving() as server, dialling(server, subprotocols=["pusher"]) as link:
                assert link.response is not None
                assert link.response.headers.get("Sec-WebSocket-Extensions") is None
                assert link.subprotocol is None

        run(story())

    @pytest.mark.parametrize(
        ("key", "code"), [("nope", 4001), ("off-key", 4003), ("full-key", 4100)], ids=["unknown", "disabled", "full"]
    )
    def test_a_refusal_is_an_error_frame_and_a_close_without_a_reason(self, run_on: Run, key: str, code: int) -> None:
        async def story() -> None:
            off = App("off", "off-key", "s", enabled=False)
            full = App("full", "full-key", "s", max_connections=0)
            async with serving(off, full) as server, dialling(server, key) as link:
                error = json.loads(await link.recv())
                assert (error["event"], error["data"]["code"]) == ("pusher:error", code)
                with pytest.raises(ConnectionClosed) as ending:
                    await link.recv()
                assert ending.value.rcvd is not None
                assert (ending.value.rcvd.code, ending.value.rcvd.reason) == (code, "")

        run_on(story())

    @pytest.mark.parametrize("wrong_path_code", [None, 4005])
    def test_what_is_no_upgrade_is_not_found_there_whatever_its_method(
        self, run: Run, wrong_path_code: int | None
    ) -> None:
        async def story() -> None:
            async with serving(wrong_path_code=wrong_path_code) as server, ClientSession() as session:
                for method in ("GET", "POST", "DELETE", "OPTIONS"):
                    async with session.request(method, f"http://127.0.0.1:{server.port}/nowhere") as answer:
                        assert (method, answer.status) == (method, 404)

        run(story())

    def test_an_upgrade_on_any_other_path_is_not_found(self, run: Run) -> None:
        async def story() -> None:
            async with serving() as server:
                with pytest.raises(InvalidStatus) as refusal:
                    async with dialling(server, "app-key/more"):
                        pass
                assert refusal.value.response.status_code == 404

        run(story())

    def test_or_it_is_told_4005_if_the_server_shall_say_so(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving(wrong_path_code=4005) as server:
                async with dialling(server, "app-key/more") as link:
                    assert json.loads(await link.recv())["data"]["code"] == 4005
                    with pytest.raises(ConnectionClosed):
                        await link.recv()
                    assert link.close_code == 4005
                async with connected(server) as ann:
                    assert await ann.hears_nothing_more()

        run_on(story())


class TestTalking:
    def test_presence_is_announced_and_an_abrupt_end_noticed(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann:
                await ann.subscribe("presence-room", "ann")
                async with connected(server) as bob:
                    answer = await bob.subscribe("presence-room", "bob")
                    assert json.loads(answer["data"])["presence"]["ids"] == ["ann", "bob"]
                    added = await ann.hear()
                    assert added["event"] == "pusher_internal:member_added"
                    bob.link.transport.abort()
                removed = await ann.hear()
                assert removed == {
                    "event": "pusher_internal:member_removed",
                    "channel": "presence-room",
                    "data": '{"user_id":"bob"}',
                }

        run_on(story())

    def test_a_client_event_reaches_the_others_only(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann, connected(server) as bob:
                await ann.subscribe("private-room")
                await bob.subscribe("private-room")
                await ann.say("client-wave", channel="private-room", data={"x": 1})
                assert await bob.hear() == {"event": "client-wave", "channel": "private-room", "data": {"x": 1}}
                assert await ann.hears_nothing_more()

        run_on(story())

    def test_a_binary_frame_is_read_like_a_text(self, run: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann:
                await ann.link.send(b'{"event":"pusher:ping"}')
                assert (await ann.hear())["event"] == "pusher:pong"

        run(story())

    def test_the_program_around_it_can_publish_and_terminate(self, run: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann:
                await ann.subscribe("presence-room", "ann")
                server.publish("presence-room", "tick", '{"n":1}')
                assert await ann.hear() == {"event": "tick", "channel": "presence-room", "data": '{"n":1}'}
                server.terminate("ann")
                assert (await ann.hear())["data"]["code"] == 4009
                with pytest.raises(ConnectionClosed):
                    await ann.hear()
                assert ann.link.close_code == 4009

        run(story())


class TestSigningIn:
    def test_a_user_signs_in_hears_what_is_for_it_and_is_ended(self, run_on: Run) -> None:
        async def story() -> None:
            app = App("app-id", "app-key", "app-secret", signin_within_s=30.0)
            async with serving(app) as server, connected(server) as ann:
                grant = authorise_user(app, ann.socket_id, "ann")
                await ann.say("pusher:signin", data=grant)
                assert await ann.hear() == {"event": "pusher:signin_success", "data": grant}
                server.publish("#server-to-user-ann", "hello", "{}")
                assert (await ann.hear())["event"] == "hello"
                server.terminate("ann")
                assert (await ann.hear())["data"]["code"] == 4009

        run_on(story())


class TestWaiting:
    def test_a_member_is_missed_after_the_grace_period(self, run_on: Run) -> None:
        async def story() -> None:
            loop = asyncio.get_running_loop()
            app = App("app-id", "app-key", "app-secret", grace_s=0.2)
            async with serving(app) as server, connected(server) as ann:
                await ann.subscribe("presence-room", "ann")
                async with connected(server) as bob:
                    await bob.subscribe("presence-room", "bob")
                    assert (await ann.hear())["event"] == "pusher_internal:member_added"
                    lost_at = loop.time()
                    bob.link.transport.abort()
                assert (await ann.hear())["event"] == "pusher_internal:member_removed"
                assert loop.time() - lost_at >= 0.2

        run_on(story())

    def test_a_client_to_which_nothing_is_sent_is_closed_with_4201_and_nothing_else(self, run_on: Run) -> None:
        async def story() -> None:
            app = App("app-id", "app-key", "app-secret", silence_timeout_s=0.1)
            async with serving(app) as server, dialling(server) as link:
                assert json.loads(await link.recv())["event"] == "pusher:connection_established"
                with pytest.raises(ConnectionClosed) as ending:
                    await link.recv()
                assert ending.value.rcvd is not None
                assert (ending.value.rcvd.code, ending.value.rcvd.reason) == (4201, "")

        run_on(story())

    def test_a_peer_that_does_not_answer_the_close_is_cut_off(self, run_on: Run) -> None:
        async def story() -> None:
            app = App("app-id", "app-key", "app-secret", silence_timeout_s=0.1)
            async with serving(app, close_patience_s=0.1) as server:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(
                    b"GET /app/app-key HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==\r\n\r\n"
                )
                assert (await reader.read()).endswith(b"\x88\x02" + (4201).to_bytes(2))  # and then the end
                writer.close()
                await writer.wait_closed()

        run_on(story())


class TestBadInput:
    @pytest.mark.parametrize(
        "frame",
        [
            "",
            "not JSON",
            "[1,2]",
            "null",
            b"\xff\xfe",
            "[" * 50_000,
            '{"event":"pusher:signin"}',
            '{"event":7}',
            '{"event":"' + "x" * 1_000_000 + '"}',
            '{"event":"pusher:unsubscribe","data":{"channel":"never-joined"}}',
            '{"event":"client-a","channel":"private-not-joined","data":NaN}',
        ],
        ids=lambda frame: repr(frame[:20]),
    )
    def test_what_makes_no_sense_is_ignored(self, run: Run, frame: str | bytes) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann:
                await ann.link.send(frame)
                assert await ann.hears_nothing_more()

        run(story())

    @pytest.mark.parametrize(
        "frame",
        [
            '{"event":"pusher:subscribe"}',
            '{"event":"pusher:subscribe","data":"x"}',
            '{"event":"pusher:unsubscribe"}',
            '{"event":"client-' + "x" * 1_000_000 + '","channel":"private-a"}',
        ],
        ids=lambda frame: frame[:30],
    )
    def test_what_lacks_its_data_is_answered_with_4301(self, run: Run, frame: str) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann:
                await ann.link.send(frame)
                assert (await ann.hear())["data"]["code"] == 4301
                assert await ann.hears_nothing_more()

        run(story())

    def test_a_channel_name_of_a_megabyte_is_refused_and_the_connection_goes_on(self, run: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann:
                await ann.say("pusher:subscribe", data={"channel": "x" * 1_000_000})
                answer = await ann.hear()
                assert (answer["event"], answer["data"]["status"]) == ("pusher:subscription_error", 4009)
                assert await ann.hears_nothing_more()

        run(story())

    def test_a_broken_frame_ends_its_own_connection_and_no_other(self, run: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann, connected(server) as bob:
                bob.link.transport.write(b"\xf1\x80\0\0\0\0")  # all reserved bits set
                with pytest.raises(ConnectionClosed) as ending:
                    await bob.hear()
                assert ending.value.rcvd is not None
                assert ending.value.rcvd.code == 1002
                assert await ann.hears_nothing_more()

        run(story())


class TestSlowClients:
    def test_a_client_that_does_not_read_stops_nobody(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server, connected(server) as ann, connected(server) as bob:
                await ann.subscribe("private-room")
                await bob.subscribe("private-room")
                bob.link.transport.pause_reading()
                for _ in range(200):  # 20 MB, far more than the system's buffers and ours take for bob
                    server.publish("private-room", "flood", "x" * EVENT_BYTES_MAX)
                    assert (await ann.hear())["event"] == "flood"
                bob.link.transport.resume_reading()
                await bob.say("pusher:ping", data={})
                heard = [(await bob.hear())["event"]]
                while heard[-1] == "flood":
                    heard.append((await bob.hear())["event"])
                assert heard[-1] == "pusher:pong"
                assert len(heard) < 200

        run_on(story())


class TestStopping:
    def test_clients_are_told_4200_and_closed(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving() as server, dialling(server) as link:
                await link.recv()
                listener = asyncio.create_task(server.stop())
                assert json.loads(await link.recv())["data"]["code"] == 4200
                with pytest.raises(ConnectionClosed) as ending:
                    await link.recv()
                assert ending.value.rcvd is not None
                assert ending.value.rcvd.code == 4200
                await listener
                assert server.connection_count == 0

        run_on(story())

    def test_who_comes_back_meanwhile_is_told_4200_as_well(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving(shutdown_grace_s=1000) as server, dialling(server) as link:
                await link.recv()
                stopping = asyncio.create_task(server.stop())
                assert json.loads(await link.recv())["data"]["code"] == 4200
                async with dialling(server) as again:
                    assert json.loads(await again.recv())["data"]["code"] == 4200
                    with pytest.raises(ConnectionClosed):
                        await again.recv()
                    assert again.close_code == 4200
                port = server.port
                await server.stop()  # no longer waits
                with pytest.raises(OSError):
                    await asyncio.open_connection("127.0.0.1", port)
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)

        run_on(story())

    def test_a_client_that_neither_reads_nor_answers_is_cut_off(self, run_on: Run) -> None:
        async def story() -> None:
            async with serving(close_patience_s=0.1) as server, connected(server) as ann, connected(server) as bob:
                await ann.subscribe("private-room")
                await bob.subscribe("private-room")
                bob.link.transport.pause_reading()
                for _ in range(200):
                    server.publish("private-room", "flood", "x" * EVENT_BYTES_MAX)
                    assert (await ann.hear())["event"] == "flood"
                await server.stop()
                assert server.connection_count == 0
                assert (await ann.hear())["data"]["code"] == 4200
                bob.link.transport.abort()
            gc.collect()  # a socket left open would be reported here

        run_on(story())

    def test_a_stopped_server_can_start_again_and_stopping_twice_is_harmless(self, run: Run) -> None:
        async def story() -> None:
            server = DemoServer()
            for _ in range(2):
                await server.start()
                async with connected(server) as ann:
                    assert await ann.hears_nothing_more()
                await server.stop()
                await server.stop()

        run(story())

    def test_the_port_is_known_only_while_it_listens(self, run: Run) -> None:
        async def story() -> None:
            with pytest.raises(RuntimeError):
                _ = DemoServer().port

        run(story())

    def test_a_taken_port_is_an_error_that_leaves_nothing_behind(self, run: Run) -> None:
        async def story() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                server = DemoServer(port=taken.getsockname()[1])
                with pytest.raises(OSError):
                    await server.start()
                await server.stop()

        run(story())
