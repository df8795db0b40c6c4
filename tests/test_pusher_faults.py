"""Stories of faults that speak Pusher: refusals at first and later, quotas, refused subscriptions, heartbeats."""

import json
from base64 import b64decode
from hashlib import sha1
from typing import Any

import pytest

from chaosproxy.events import Answered, Closed, Struck, Suppressed, Unsubscribed
from chaosproxy.units import SECOND

from .virtual import (
    CLIENT,
    KEY,
    SERVER,
    Connection,
    Network,
    Seen,
    close_frame,
    frame,
    live_rule,
    payloads,
    profile,
    read_frames,
    request,
    text,
)

M = b"mask"


def network_with(*rules: dict[str, Any], **top: Any) -> Network:
    return Network(profile(protocol="pusher", rules=list(rules), **top))


def said(event: str, data: Any = None, **more: Any) -> bytes:
    return json.dumps({"event": event, "data": data, **more}).encode()


def asked(network: Network, path: str = "/app/key") -> Connection:
    c = network.connect()
    c.send(CLIENT, request(path))
    return c


def frames_behind_the_head(c: Connection) -> list[Seen]:
    return read_frames(c.client.data.partition(b"\r\n\r\n")[2])[0]


def errors(frames: list[Seen]) -> list[Any]:
    return [json.loads(each.payload) for each in frames if each.opcode == 1]


class TestInTheHandshake:
    def test_the_upgrade_is_accepted_the_error_told_and_closed_and_the_server_learns_nothing(self) -> None:
        network = network_with({"pusher_error": {"code": 4001, "hits": "new"}})
        c = asked(network)

        head = c.client.data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        accept = sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
        assert head[0] == b"HTTP/1.1 101 Switching Protocols"
        assert [b64decode(line[22:]) for line in head if line.startswith(b"Sec-WebSocket-Accept: ")] == [accept]
        error, close = frames_behind_the_head(c)
        assert json.loads(error.payload) == {
            "event": "pusher:error",
            "data": {"code": 4001, "message": "There is no app of this key."},
        }
        assert (close.opcode, close.payload) == (8, (4001).to_bytes(2, "big"))
        assert not c.is_dialled and c.client.fin_at is None

    def test_behind_the_clients_close_comes_fin(self) -> None:
        network = network_with({"pusher_error": {"code": 4001, "hits": "new"}})
        c = asked(network)
        c.send(CLIENT, close_frame(1000, mask=M))
        assert c.client.fin_at == network.now
        c.fin(CLIENT)
        assert c.is_over and network.events(Closed) == [Closed("rule", "close", 4001)]
        assert network.events(Answered) == [Answered(101, "rule", "")]
        assert network.world.totals.outcomes == {"dismissed": 1}

    def test_a_client_that_does_not_answer_gets_fin_after_five_seconds(self) -> None:
        network = network_with({"pusher_error": {"code": 4001, "hits": "new"}})
        c = asked(network)
        network.wait(5 * SECOND)
        assert c.client.fin_at == network.now

    def test_what_came_right_behind_the_request_goes_nowhere(self) -> None:
        network = network_with({"pusher_error": {"code": 4001, "hits": "new"}})
        c = network.connect()
        c.send(CLIENT, request() + text(said("pusher:subscribe", {"channel": "a"}), M) + close_frame(1000, mask=M))
        c.fin(CLIENT)
        assert c.is_over and not c.is_dialled

    def test_the_message_may_be_chosen_and_its_data_put_into_a_string(self) -> None:
        network = network_with({"pusher_error": {"code": 4009, "message": "no", "as_text": "true", "hits": "new"}})
        (error,) = errors(frames_behind_the_head(asked(network)))
        assert error == {"event": "pusher:error", "data": '{"code": 4009, "message": "no"}'}

    def test_without_a_close_it_comes_before_the_servers_first_message_on_an_open_connection(self) -> None:
        network = network_with({"pusher_error": {"code": 4009, "close": "false", "hits": "new"}})
        c = network.open()
        c.send(SERVER, text("established"))
        error, first = read_frames(c.client.stream)[0]
        assert json.loads(error.payload)["data"]["code"] == 4009 and first.payload == b"established"
        assert not c.is_over and c.client.fin_at is None

    def test_it_ends_with_its_phase(self) -> None:
        network = Network(
            profile({"name": "off", "lasts": "5s", "rules": [{"pusher_error": {"code": 4100, "hits": "new"}}]})
        )
        assert not asked(network).is_dialled
        network.wait(5 * SECOND)
        assert asked(network).is_dialled


class TestOnOpenConnections:
    def test_the_error_comes_first_and_then_the_close_and_the_server_is_told_1001(self) -> None:
        network = network_with()
        c = network.open()
        network.add(live_rule("pusher_error", 4200))
        error, close = read_frames(c.client.stream)[0]
        assert json.loads(error.payload)["data"]["code"] == 4200
        assert close.payload == (4200).to_bytes(2, "big")
        assert c.server.close_code == 1001
        assert [event.fault for event in network.events(Struck)] == ["pusher_error"]

    def test_alone_it_changes_nothing(self) -> None:
        network = network_with()
        c = network.open()
        network.add(live_rule("pusher_error", {"code": 4301, "close": "false"}))
        c.send(SERVER, text("on"))
        assert [each.opcode for each in read_frames(c.client.stream)[0]] == [1, 1]
        assert c.server.stream == b""

    def test_behind_the_message_that_causes_it(self) -> None:
        network = network_with({"pusher_error": 4009, "when": {"event": "client-typing"}})
        c = network.open()
        c.send(CLIENT, text(said("client-other"), M), text(said("client-typing"), M))
        assert payloads(c.server.stream)[:2] == [said("client-other"), said("client-typing")]
        assert errors(read_frames(c.client.stream)[0])[0]["data"]["code"] == 4009 and c.client.close_code == 4009

    def test_inside_a_fragmented_message_only_the_close_can_be_sent(self) -> None:
        network = network_with()
        c = network.open()
        c.send(SERVER, frame(b"half", 1, fin=False))
        network.add(live_rule("pusher_error", 4200))
        assert [each.opcode for each in read_frames(c.client.stream)[0]] == [1, 8]
        assert ["another one is in progress" in event.reason for event in network.events(Suppressed)] == [True]

    def test_a_silent_client_is_told_nothing(self) -> None:
        network = network_with()
        c = network.open()
        network.add(live_rule("half_open", {"leg": "client"}, id="silence"))
        network.add(live_rule("pusher_error", 4200))
        network.wait(60 * SECOND)
        assert c.client.stream == b""
        assert [event.fault for event in network.events(Suppressed)] == ["pusher_error"]

    def test_inside_a_frame_it_waits_for_its_end(self) -> None:
        network = network_with()
        c = network.open()
        whole = text("a whole one")
        c.send(SERVER, whole[:5])
        network.add(live_rule("pusher_error", 4200))
        assert c.client.stream == whole[:5]
        c.send(SERVER, whole[5:])
        assert [each.opcode for each in read_frames(c.client.stream)[0]] == [1, 1, 8]


TWO_AT_MOST = {"pusher_error": {"code": 4100, "quota": 2}, "when": {"path": "/app/key"}}


class TestQuota:
    def test_whoever_comes_when_it_is_full_is_told_so_and_the_server_is_not_asked(self) -> None:
        network = network_with(TWO_AT_MOST)
        network.open(), network.open()
        third = asked(network)
        assert not third.is_dialled and errors(frames_behind_the_head(third))[0]["data"]["code"] == 4100

    def test_other_apps_have_room_of_their_own(self) -> None:
        network = network_with(TWO_AT_MOST)
        network.open(), network.open()
        assert asked(network, "/app/other").is_dialled

    def test_there_is_room_again_when_one_has_gone(self) -> None:
        network = network_with(TWO_AT_MOST)
        first, _ = network.open(), network.open()
        assert not asked(network).is_dialled
        first.rst(CLIENT)
        assert asked(network).is_dialled

    def test_connections_that_are_still_opening_count(self) -> None:
        network = network_with(TWO_AT_MOST)
        assert [asked(network).is_dialled for _ in range(4)] == [True, True, False, False]

    def test_those_that_were_there_before_the_rule_count(self) -> None:
        network = network_with()
        network.open(), network.open()
        network.add(live_rule("pusher_error", {"code": 4004, "quota": 2}))
        assert not asked(network).is_dialled

    def test_a_rejection_has_one_too(self) -> None:
        network = network_with({"reject": {"status": 503, "quota": 1}})
        network.open()
        assert asked(network).client.data.startswith(b"HTTP/1.1 503 ")


class TestSubscriptionError:
    def test_the_client_is_refused_and_the_server_does_not_get_it(self) -> None:
        network = network_with({"subscription_error": 401, "when": {"channel": "private-*"}})
        c = network.open()
        wish = said("pusher:subscribe", {"channel": "private-a", "auth": "key:signature"})
        c.send(CLIENT, text(wish, M), text(said("pusher:subscribe", {"channel": "open"}), M))
        assert payloads(c.server.stream) == [said("pusher:subscribe", {"channel": "open"})]
        assert errors(read_frames(c.client.stream)[0]) == [
            {
                "event": "pusher:subscription_error",
                "channel": "private-a",
                "data": {"type": "AuthError", "error": "The connection is unauthorized.", "status": 401},
            }
        ]
        assert network.world.tally.strikes == {"subscription_error": 1}

    def test_only_the_first_one(self) -> None:
        network = network_with({"subscription_error": {}, "when": {"nth": 1}})
        c = network.open()
        for channel in ("a", "b"):
            c.send(CLIENT, text(said("pusher:subscribe", {"channel": channel}), M))
        assert payloads(c.server.stream) == [said("pusher:subscribe", {"channel": "b"})]

    def test_one_that_names_no_channel_passes(self) -> None:
        network = network_with({"subscription_error": {}})
        c = network.open()
        c.send(CLIENT, text(said("pusher:subscribe"), M))
        assert payloads(c.server.stream) == [said("pusher:subscribe")]
        assert network.world.tally.strikes == {} and c.client.stream == b""


class TestHeartbeat:
    @pytest.mark.parametrize(("timeout", "seconds"), [("2s", 2), ("1500ms", 1.5), ("1m", 60)])
    def test_the_server_seems_to_announce_it(self, timeout: str, seconds: float) -> None:
        network = network_with({"heartbeat": timeout})
        c = network.open()
        c.send(SERVER, text(said("pusher:connection_established", '{"socket_id":"1.1","activity_timeout":30}')))
        (message,) = payloads(c.client.stream)
        assert json.loads(json.loads(message)["data"]) == {"socket_id": "1.1", "activity_timeout": seconds}


class TestCodes:
    def test_a_close_frame_is_matched_by_its_status(self) -> None:
        network = network_with({"drop": {}, "when": {"from": "client", "code": 1001}})
        c = network.open()
        c.send(CLIENT, close_frame(1001, mask=M), close_frame(1000, mask=M))
        assert c.server.stream == close_frame(1000, mask=M)

    def test_an_error_message_is_matched_by_its_code(self) -> None:
        network = network_with({"drop": {}, "when": {"code": 4200}})
        c = network.open()
        for code in (4200, 4201):
            c.send(SERVER, text(said("pusher:error", {"code": code, "message": ""})))
        assert payloads(c.client.stream) == [said("pusher:error", {"code": 4201, "message": ""})]


def test_a_channel_that_was_left_is_subscribed_no_more() -> None:
    network = network_with()
    c = network.open()
    c.send(SERVER, text(said("pusher_internal:subscription_succeeded", channel="a")))
    assert network.world.standing.subscribed == 1
    c.send(CLIENT, text(said("pusher:unsubscribe", {"channel": "a"}), M))
    assert network.events(Unsubscribed) == [Unsubscribed("a")]
    assert network.world.standing.channels == frozenset()
    assert network.world.standing.subscribed == 0
