"""The HTTP side, asked by aiohttp's client."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from chaosproxy.demo.auth import DEFAULT_APP, App, authorise, authorise_user, sign_request
from chaosproxy.demo.limits import EVENT_BYTES_MAX
from chaosproxy.demo.server import DemoServer
from tests.demo.conftest import Run
from tests.demo.peers import connected, serving


class BackEnd:
    """Asks the API; signs its requests as an app's back end does."""

    def __init__(self, session: ClientSession, server: DemoServer) -> None:
        self._session = session
        self._base = f"http://127.0.0.1:{server.port}"

    async def ask(self, method: str, path: str, body: bytes = b"", app: App = DEFAULT_APP) -> tuple[int, Any]:
        query = sign_request(app, method, path, body, timestamp_s=1)
        async with self._session.request(method, self._base + path, params=query, data=body) as response:
            return response.status, await response.json()

    async def publish(self, **event: Any) -> int:
        status, _ = await self.ask("POST", "/apps/app-id/events", json.dumps(event).encode())
        return status

    async def authorise(self, endpoint: str = "auth", **options: Any) -> tuple[int, Any]:
        async with self._session.post(f"{self._base}/pusher/{endpoint}", **options) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            return response.status, await response.json()

    async def preflight(self, endpoint: str = "auth") -> tuple[int, str]:
        async with self._session.options(f"{self._base}/pusher/{endpoint}") as response:
            return response.status, response.headers["Access-Control-Allow-Headers"]


@asynccontextmanager
async def asking(*apps: App) -> AsyncIterator[tuple[DemoServer, BackEnd]]:
    async with serving(*apps) as server, ClientSession() as session:
        yield server, BackEnd(session, server)


class TestPublishing:
    def test_an_event_reaches_the_channels_but_not_the_excluded_socket(self, run_on: Run) -> None:
        async def story() -> None:
            async with asking() as (server, back_end), connected(server) as ann, connected(server) as bob:
                await ann.subscribe("private-a")
                await bob.subscribe("private-b")
                event = {"name": "news", "data": '{"x":1}', "channels": ["private-a", "private-b"]}
                assert await back_end.publish(**event, socket_id=ann.socket_id) == 200
                assert await bob.hear() == {"event": "news", "channel": "private-b", "data": '{"x":1}'}
                assert await ann.hears_nothing_more()

        run_on(story())

    def test_a_batch_is_sent_in_its_order(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (server, back_end), connected(server) as ann:
                await ann.subscribe("private-a")
                batch = [{"name": f"e{number}", "channel": "private-a", "data": "x"} for number in range(3)]
                body = json.dumps({"batch": batch}).encode()
                assert await back_end.ask("POST", "/apps/app-id/batch_events", body) == (200, {"ok": True})
                assert [(await ann.hear())["event"] for _ in range(3)] == ["e0", "e1", "e2"]

        run(story())

    def test_a_batch_with_one_bad_event_sends_none(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (server, back_end), connected(server) as ann:
                await ann.subscribe("private-a")
                body = b'{"batch":[{"name":"e","channel":"private-a","data":"x"},{"name":"e"}]}'
                status, _ = await back_end.ask("POST", "/apps/app-id/batch_events", body)
                assert status == 400
                assert await ann.hears_nothing_more()

        run(story())

    @pytest.mark.parametrize(
        ("event", "status"),
        [
            ({}, 400),
            ({"name": "e", "channel": "c"}, 400),
            ({"name": "e", "data": "x"}, 400),
            ({"name": 7, "channel": "c", "data": "x"}, 400),
            ({"name": "e", "channels": "c", "data": "x"}, 400),
            ({"name": "e", "channels": ["c", 7], "data": "x"}, 400),
            ({"name": "e" * 201, "channel": "c", "data": "x"}, 400),
            ({"name": "e", "channels": ["c"] * 101, "data": "x"}, 400),
            ({"name": "e", "channel": "c", "data": "x" * (EVENT_BYTES_MAX + 1)}, 413),
            ({"name": "e", "channel": "c", "data": "x" * EVENT_BYTES_MAX}, 200),
        ],
    )
    def test_an_event_is_checked(self, run: Run, event: dict[str, Any], status: int) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                assert await back_end.publish(**event) == status

        run(story())

    @pytest.mark.parametrize("body", [b"", b"not JSON", b"[]", b"\xff"])
    def test_a_body_that_is_no_object_is_a_bad_request(self, run: Run, body: bytes) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                for path in ("/apps/app-id/events", "/apps/app-id/batch_events"):
                    status, answer = await back_end.ask("POST", path, body)
                    assert (status, answer["code"]) == (400, 400)

        run(story())


class TestSignatures:
    def test_another_secret_is_refused_with_401(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                thief = App(id="app-id", key="app-key", secret="guessed")
                for method, path in (
                    ("POST", "/apps/app-id/events"),
                    ("POST", "/apps/app-id/batch_events"),
                    ("GET", "/apps/app-id/channels"),
                    ("GET", "/apps/app-id/channels/presence-a/users"),
                    ("POST", "/apps/app-id/users/ann/terminate_connections"),
                ):
                    status, answer = await back_end.ask(method, path, app=thief)
                    assert (status, answer["code"]) == (401, 401)

        run(story())

    def test_an_unknown_app_is_not_found(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                status, _ = await back_end.ask("GET", "/apps/nope/channels")
                assert status == 404

        run(story())


class TestReading:
    def test_channels_are_listed_with_their_connections(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (server, back_end), connected(server) as ann, connected(server) as bob:
                await ann.subscribe("private-a")
                await bob.subscribe("private-a")
                assert await back_end.ask("GET", "/apps/app-id/channels") == (
                    200,
                    {"channels": {"private-a": {"subscription_count": 2, "occupied": True}}},
                )

        run(story())

    def test_users_of_a_presence_channel_are_listed(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (server, back_end), connected(server) as ann:
                await ann.subscribe("presence-room", "ann")
                users = await back_end.ask("GET", "/apps/app-id/channels/presence-room/users")
                assert users == (200, {"users": [{"id": "ann"}]})
                status, _ = await back_end.ask("GET", "/apps/app-id/channels/private-a/users")
                assert status == 400

        run(story())

    def test_a_users_connections_can_be_terminated(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (server, back_end), connected(server) as ann:
                await ann.subscribe("presence-room", "ann")
                await back_end.ask("POST", "/apps/app-id/users/ann/terminate_connections")
                assert (await ann.hear())["data"]["code"] == 4009

        run(story())


class TestAuthEndpoint:
    def test_a_form_and_json_get_the_same_signature(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                fields = {"socket_id": "1.2", "channel_name": "presence-room", "user_id": "ann"}
                expected = (200, authorise(DEFAULT_APP, "1.2", "presence-room", "ann"))
                assert await back_end.authorise(data=fields) == expected
                assert await back_end.authorise(json=fields) == expected

        run(story())

    def test_the_user_is_chosen_by_the_socket_when_nobody_else_does(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                _, answer = await back_end.authorise(data={"socket_id": "1.2", "channel_name": "presence-room"})
                assert json.loads(answer["channel_data"])["user_id"] == "user-1"

        run(story())

    def test_a_key_chooses_among_several_apps(self, run: Run) -> None:
        async def story() -> None:
            second = App("second-id", "second-key", "second-secret")
            async with asking(DEFAULT_APP, second) as (_, back_end):
                fields = {"socket_id": "1.2", "channel_name": "private-a"}
                assert await back_end.authorise(data=fields) == (200, authorise(DEFAULT_APP, "1.2", "private-a"))
                answer = await back_end.authorise(data={**fields, "app_key": "second-key"})
                assert answer == (200, authorise(second, "1.2", "private-a"))

        run(story())

    def test_a_user_is_signed_in_by_an_endpoint_of_its_own(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                fields = {"socket_id": "1.2", "user_id": "ann"}
                expected = (200, authorise_user(DEFAULT_APP, "1.2", "ann"))
                assert await back_end.authorise("user-auth", data=fields) == expected
                assert await back_end.authorise("user-auth", json=fields) == expected
                status, answer = await back_end.authorise("user-auth", data={"socket_id": "1.2"})
                assert (status, answer["user_data"]) == (200, '{"id":"user-1"}')
                assert (await back_end.authorise("user-auth", data={"socket_id": "1"}))[0] == 403
                assert await back_end.preflight("user-auth") == (204, "*")

        run(story())

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"socket_id": "1.2"},
            {"socket_id": "1.2", "channel_name": "public"},
            {"socket_id": "1.2:private-x", "channel_name": "private-a"},
            {"socket_id": "1.2", "channel_name": "private-a", "app_key": "nope"},
        ],
    )
    def test_what_cannot_be_signed_for_is_forbidden(self, run: Run, fields: dict[str, str]) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                status, _ = await back_end.authorise(data=fields)
                assert status == 403

        run(story())

    def test_a_body_that_cannot_be_read_is_a_bad_request(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                for content_type in ("application/json", "multipart/form-data"):
                    status, _ = await back_end.authorise(data=b"{", headers={"Content-Type": content_type})
                    assert status == 400

        run(story())

    def test_a_page_of_another_origin_may_ask(self, run: Run) -> None:
        async def story() -> None:
            async with asking() as (_, back_end):
                assert await back_end.preflight() == (204, "*")

        run(story())
