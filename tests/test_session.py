"""Stories of single connections: heads, dials, ends in all orders, and what the faults of ending and half-open do."""

import pytest

from chaosproxy.events import (
    Answered,
    Closed,
    Cut,
    Dial,
    Discarded,
    End,
    Healed,
    Limited,
    Pause,
    Release,
    Reset,
    Resume,
    Send,
    Struck,
    Suppressed,
)
from chaosproxy.legs import State
from chaosproxy.opening import EARLY_BYTES_MAX
from chaosproxy.units import SECOND

from .virtual import (
    CLIENT,
    MS,
    SERVER,
    Connection,
    Network,
    close_frame,
    live_rule,
    payloads,
    profile,
    request,
    switching,
    text,
)

M = b"mask"
IDLE = profile()


def phases(*rules: object, lasts: str = "10s", **top: object) -> Network:
    """A quiet first phase and a second one with rules, to be stepped into; then one without rules."""
    return Network(
        profile(
            {"name": "quiet", "until": "step"},
            {"name": "fault", "lasts": lasts, "rules": list(rules)},
            {"name": "after"},
            **top,
        )
    )


def status(connection: Connection) -> int:
    return int(connection.client.data[9:12])


class TestHeads:
    def test_a_request_reaches_the_server_as_it_came(self) -> None:
        c = Network(IDLE).connect()
        head = request("/app/key?x=1", ["X-Odd:   spaced  ", "x-Case: kEpT"])
        c.send(CLIENT, head)
        assert c.server.data == head

    def test_an_answer_reaches_the_client_as_it_came_and_after_a_103(self) -> None:
        c = Network(IDLE).connect()
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        c.send(CLIENT, request())
        c.send(SERVER, early + switching())
        assert c.client.data == early + switching()
        assert c.session.state is State.TUNNEL

    def test_data_glued_to_both_heads_is_carried_in_order(self) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request() + text("a", M))
        assert c.server.data == request()
        c.send(SERVER, switching() + text("b"))
        assert c.server.data == request() + text("a", M)
        assert c.client.data == switching() + text("b")

    def test_early_client_data_is_never_forwarded_after_another_answer(self) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request() + text("a", M))
        c.send(SERVER, b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
        c.send(CLIENT, text("b", M))
        assert c.server.data == request()
        assert c.client.data.endswith(b"\r\n\r\nno")
        assert c.client.fin_at == c.network.now

    def test_a_refusal_without_a_length_passes_until_the_server_ends(self) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request())
        c.send(SERVER, b"HTTP/1.1 500 Oops\r\n\r\nabc", b"def")
        assert c.client.fin_at is None
        c.fin(SERVER)
        assert c.client.data.endswith(b"abcdef")
        assert c.client.fin_at == c.network.now

    def test_a_refusal_that_the_server_resets_is_reset(self) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request())
        c.send(SERVER, b"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nabc")
        c.rst(SERVER)
        assert c.client.reset_at == c.network.now
        assert c.is_over

    @pytest.mark.parametrize("how", ["fin", "rst"])
    def test_an_upstream_that_fails_before_its_head_is_complete_gives_502(self, how: str) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request())
        c.send(SERVER, switching()[:20])
        getattr(c, how)(SERVER)
        assert status(c) == 502
        assert c.client.fin_at == c.network.now

    def test_an_upstream_that_refuses_the_dial_gives_502_at_once(self) -> None:
        network = Network(IDLE, accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        c.dial_answered("connection refused")
        assert status(c) == 502
        c.fin(CLIENT)
        assert c.is_over

    @pytest.mark.parametrize("header", ["Upgrade: websocket\r\n", "Sec-WebSocket-Accept: FlYPPSB53TTF16oKOkJqU84hNz0="])
    def test_a_101_that_does_not_accept_gives_502(self, header: str) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request())
        c.send(SERVER, switching().replace(header.encode(), b"X: y\r\n" if header.endswith("\n") else b"X: y"))
        assert status(c) == 502
        assert c.server.reset_at == c.network.now

    def test_a_head_that_does_not_come_gets_408_after_ten_seconds_and_the_server_sees_nothing(self) -> None:
        network = Network(IDLE)
        c = network.connect()
        c.send(CLIENT, request()[:30])
        network.wait(10 * SECOND - 1)
        assert c.client.data == b""
        network.wait(1)
        assert status(c) == 408
        assert c.actions(Dial) == []
        network.wait(5 * SECOND)
        assert c.is_over

    def test_an_upstream_that_does_not_answer_gives_504_after_a_minute(self) -> None:
        network = Network(IDLE)
        c = network.connect()
        c.send(CLIENT, request())
        network.wait(60 * SECOND)
        assert status(c) == 504
        assert c.server.reset_at == network.now

    def test_a_client_that_sends_too_much_before_the_answer_is_paused(self) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request(), b"x" * EARLY_BYTES_MAX, b"y")
        assert not c.client.is_read
        c.send(SERVER, switching())
        assert c.client.is_read
        assert c.server.stream == b"x" * EARLY_BYTES_MAX + b"y"

    def test_a_fin_glued_to_the_request_is_passed_on_behind_the_early_data(self) -> None:
        c = Network(IDLE).connect()
        c.send(CLIENT, request() + text("a", M))
        c.fin(CLIENT)
        assert c.server.fin_at is None
        c.send(SERVER, switching() + text("b"))
        assert c.server.stream == text("a", M)
        assert c.server.fin_at == c.network.now
        assert c.client.fin_at is None

    def test_a_client_gone_while_the_dial_is_under_way_ends_the_connection(self) -> None:
        network = Network(IDLE, accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        c.rst(CLIENT)
        assert c.is_over

    def test_an_upstream_that_accepts_a_dial_nobody_waits_for_any_more_is_reset(self) -> None:
        network = Network(IDLE, accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        network.drain()
        assert c.client.fin_at == network.now
        c.dial_answered()
        assert c.actions(Reset) == [Reset(SERVER)]
        network.wait(5 * SECOND)
        assert c.is_over

    def test_a_pause_decided_before_the_server_leg_exists_is_performed_when_it_does(self) -> None:
        network = Network(IDLE, accepts_dials=False)
        c = network.connect()
        c.send(CLIENT, request())
        c.blocked(CLIENT, True)
        c.dial_answered()
        assert not c.server.is_read
        c.blocked(CLIENT, False)
        assert c.server.is_read


class TestEnds:
    def test_a_half_close_is_passed_on_and_the_other_way_goes_on(self) -> None:
        c = Network(IDLE).open()
        c.send(CLIENT, text("a", M))
        c.fin(CLIENT)
        assert c.actions(End) == [End(SERVER)]
        c.send(SERVER, text("b"))
        assert c.client.stream == text("b")
        c.fin(SERVER)
        assert c.actions(End, Release) == [End(SERVER), End(CLIENT), Release(CLIENT), Release(SERVER)]
        assert c.is_over

    def test_a_reset_is_passed_on_as_a_reset(self) -> None:
        c = Network(IDLE).open()
        c.rst(SERVER)
        assert c.actions(Reset) == [Reset(CLIENT)]
        assert c.network.events(Closed) == [Closed("server", "reset", None)]

    def test_eof_waits_behind_what_is_held(self) -> None:
        network = phases({"latency": "300ms"})
        c = network.open()
        network.step()
        c.send(SERVER, text("a"))
        c.fin(SERVER)
        network.wait(300 * MS - 1)
        assert c.client.fin_at is None
        network.wait(1)
        assert c.client.stream == text("a")
        assert c.client.fin_at == network.now

    def test_eof_in_the_middle_of_a_held_message_brings_what_came_of_it(self) -> None:
        network = phases({"drop": {}, "when": {"event": "nothing"}}, protocol="pusher")
        c = network.open()
        network.step()
        c.send(SERVER, text("whole") + text("half")[:4])
        c.fin(SERVER)
        assert c.client.stream == text("whole") + text("half")[:4]
        assert c.client.fin_at == network.now

    def test_eof_in_the_middle_of_a_head_that_is_withheld_brings_it(self) -> None:
        network = phases({"latency": "1s"})
        c = network.open()
        network.step()
        c.send(SERVER, text("half")[:1])
        c.fin(SERVER)
        network.wait(SECOND)
        assert c.client.stream == text("half")[:1]
        assert c.client.fin_at is not None

    def test_a_reset_does_not_wait_and_what_is_held_is_dropped_and_counted(self) -> None:
        network = phases({"latency": "300ms"})
        c = network.open()
        network.step()
        c.send(SERVER, text("a"))
        c.rst(SERVER)
        assert c.client.reset_at == network.now
        assert c.client.stream == b""
        assert network.events(Discarded) == [Discarded(SERVER, len(text("a")))]

    def test_a_fin_and_then_a_reset_while_held_is_a_reset(self) -> None:
        network = phases({"latency": "300ms"})
        c = network.open()
        network.step()
        c.send(SERVER, text("a"))
        c.fin(SERVER)
        c.rst(SERVER)
        assert c.client.reset_at == network.now
        assert c.is_over

    def test_a_close_frame_and_silence_stay_as_they_are(self) -> None:
        c = Network(IDLE).open()
        c.send(SERVER, close_frame(4200))
        c.network.wait(3600 * SECOND)
        assert c.client.fin_at is None and c.server.fin_at is None

    def test_a_closed_connection_is_told_with_who_and_its_code(self) -> None:
        c = Network(IDLE).open()
        c.send(SERVER, close_frame(4200))
        c.send(CLIENT, close_frame(4200, mask=M))
        c.fin(SERVER)
        c.fin(CLIENT)
        assert c.network.events(Closed) == [Closed("server", "close", 4200)]

    def test_a_slow_reader_pauses_the_other_side_and_only_it(self) -> None:
        c = Network(IDLE).open()
        c.blocked(CLIENT, True)
        assert not c.server.is_read and c.client.is_read
        c.send(SERVER, text("a"))
        c.blocked(CLIENT, False)
        assert c.client.stream == text("a")


class TestClose:
    def test_the_client_gets_the_code_and_the_server_1001_and_fin(self) -> None:
        network = phases({"close": {"code": 4200, "reason": "bye"}})
        c = network.open()
        network.step()
        assert c.client.stream == close_frame(4200, b"bye")
        (seen,) = c.server.frames
        assert seen.opcode == 8 and seen.payload == (1001).to_bytes(2, "big") and len(seen.mask) == 4
        assert c.server.fin_at == network.now
        assert c.client.fin_at is None

    def test_its_reply_is_consumed_and_then_fin(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        network.step()
        c.send(CLIENT, text("late", M) + close_frame(4200, mask=M))
        assert c.client.fin_at == network.now
        c.fin(CLIENT)
        c.fin(SERVER)
        assert c.server.frames[0].opcode == 8 and len(c.server.frames) == 1
        assert network.events(Closed) == [Closed("rule", "close", 4200)]

    def test_without_a_reply_fin_follows_after_five_seconds(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        network.step()
        network.wait(5 * SECOND - 1)
        assert c.client.fin_at is None
        network.wait(1)
        assert c.client.fin_at == network.now
        network.wait(5 * SECOND)
        assert c.is_over

    def test_no_status_at_all_can_be_sent(self) -> None:
        network = phases({"close": "none"})
        c = network.open()
        network.step()
        assert c.client.stream == close_frame(None)

    def test_toward_the_server_it_is_masked_and_awaits_the_reply(self) -> None:
        network = phases({"close": {"code": 3000, "to": "server"}})
        c = network.open()
        network.step()
        assert c.server.close_code == 3000 and c.server.fin_at is None
        assert c.client.close_code == 1001 and c.client.fin_at == network.now
        c.send(SERVER, close_frame(3000))
        assert c.server.fin_at == network.now

    def test_to_both_awaits_both_replies(self) -> None:
        network = phases({"close": {"code": 3000, "to": "both"}})
        c = network.open()
        network.step()
        assert (c.client.close_code, c.server.close_code) == (3000, 3000)
        assert c.client.fin_at is None and c.server.fin_at is None

    def test_between_fragments_it_goes_at_once(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        fragment = b"\x01\x01a"
        c.send(SERVER, fragment)
        network.step()
        assert c.client.stream == fragment + close_frame(4200)

    def test_inside_a_frame_it_waits_for_its_end_and_nothing_follows(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        c.send(SERVER, text("hello")[:3])
        network.step()
        assert c.client.stream == text("hello")[:3]
        network.wait(SECOND - 1)
        c.send(SERVER, text("hello")[3:] + text("more"))
        assert c.client.stream == text("hello") + close_frame(4200)

    def test_a_frame_that_does_not_end_within_a_second_is_cut_by_rst(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        c.send(SERVER, text("hello")[:3])
        network.step()
        network.wait(SECOND)
        assert c.client.reset_at == network.now
        assert c.client.stream == text("hello")[:3]
        assert network.events(Cut) == [Cut(CLIENT)]

    def test_a_reply_that_arrives_in_pieces_while_the_frame_in_flight_ends_is_recognised(self) -> None:
        network = phases({"close": {"code": 4200}})
        c = network.open()
        c.send(SERVER, text("hello")[:3])
        network.step()
        c.send(CLIENT, text("some", M)[:5])
        c.send(SERVER, text("hello")[3:])
        c.send(CLIENT, text("some", M)[5:] + close_frame(4200, mask=M))
        assert c.client.fin_at == network.now

    def test_it_overtakes_what_is_held_which_is_discarded_and_counted(self) -> None:
        network = phases({"latency": "5s"}, {"close": 4200, "when": {"from": "client", "nth": 1}})
        c = network.open()
        network.step()
        c.send(SERVER, text("held"))
        c.send(CLIENT, text("now", M))
        assert c.client.stream == close_frame(4200)
        assert Discarded(SERVER, len(text("held"))) in network.events(Discarded)

    def test_after_held_it_comes_behind_what_is_held(self) -> None:
        network = phases({"latency": "5s"}, {"close": {"code": 4200, "after_held": True}, "when": {"nth": 1}})
        c = network.open()
        network.step()
        c.send(SERVER, text("held"))
        network.wait(5 * SECOND - 1)
        assert c.client.stream == b""
        network.wait(1)
        assert c.client.stream == text("held") + close_frame(4200)

    def test_after_held_it_waits_for_what_was_held_then_and_not_for_what_comes_later(self) -> None:
        network = phases({"latency": "5s"}, lasts="60s")
        c = network.open()
        network.step()
        c.send(SERVER, text("held"))
        network.wait(SECOND)
        network.add(live_rule("close", {"code": 4200, "after_held": True}))
        c.send(SERVER, text("later"))
        network.wait(10 * SECOND)
        assert c.client.stream == text("held") + close_frame(4200)

    def test_after_held_it_waits_for_a_bandwidth_too(self) -> None:
        network = phases({"bandwidth": "1000B/s"}, lasts="60s")
        c = network.open()
        network.step()
        c.send(SERVER, text("x" * 996))
        network.add(live_rule("close", {"code": 4200, "after_held": True}))
        network.wait(10 * SECOND)
        assert c.client.stream == text("x" * 996) + close_frame(4200)

    def test_a_pending_close_does_not_break_the_silence_of_a_half_open(self) -> None:
        network = phases({"latency": "5s"}, lasts="60s")
        c = network.open()
        network.step()
        c.send(SERVER, text("held"))
        network.add(live_rule("close", {"code": 4200, "after_held": True}, id="c"))
        network.add(live_rule("half_open", {"heal": "flush"}, id="h"))
        network.wait(30 * SECOND)
        assert c.client.stream == b""
        network.heal("h")
        assert c.client.stream == text("held") + close_frame(4200)

    def test_a_paused_peer_is_read_again_since_its_reply_is_behind(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        c.blocked(SERVER, True)
        c.send(CLIENT, close_frame(4200, mask=M))
        assert not c.client.is_read
        network.step()
        assert c.client.is_read
        assert c.client.fin_at == network.now

    def test_a_server_that_resets_does_not_take_the_close_from_the_client(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        network.step()
        c.rst(SERVER)
        assert c.client.reset_at is None
        c.send(CLIENT, close_frame(4200, mask=M))
        assert c.client.fin_at == network.now

    def test_a_leg_that_had_its_fin_before_is_let_go_too(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        c.fin(CLIENT)
        network.step()
        network.wait(5 * SECOND)
        assert c.is_over

    def test_before_the_tunnel_is_open_it_is_suppressed(self) -> None:
        network = phases({"close": 4200})
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        assert len(network.events(Suppressed)) == 1
        c.send(SERVER, switching())
        assert c.client.stream == b""

    def test_a_client_that_has_sent_its_close_already_gets_fin_at_once(self) -> None:
        network = phases({"close": 4200})
        c = network.open()
        c.send(CLIENT, close_frame(1000, mask=M))
        network.step()
        assert c.client.fin_at == network.now


class TestResetAndFin:
    def test_reset_is_rst_on_both_legs_at_once(self) -> None:
        network = phases({"reset": {}})
        c = network.open()
        network.step()
        assert c.actions(Reset) == [Reset(CLIENT), Reset(SERVER)]
        assert c.is_over

    def test_a_reset_caused_by_a_message_leaves_nothing_behind(self) -> None:
        network = phases({"reset": {}, "when": {"nth": 2}})
        c = network.open()
        network.step()
        c.send(CLIENT, text("a", M) + text("b", M) + text("c", M))
        assert c.is_over
        assert network.world.sessions == {}
        assert network.events(Struck)[0].message == 2

    @pytest.mark.parametrize(("other", "expected"), [("fin", (None, 0)), ("reset", (0, None)), ("keep", (None, None))])
    def test_the_other_leg_gets_what_the_rule_says(self, other: str, expected: tuple[int | None, int | None]) -> None:
        network = phases({"reset": {"leg": "client", "other": other}})
        c = network.open()
        network.step()
        assert c.client.reset_at == network.now
        seen = (c.server.reset_at, c.server.fin_at)
        assert seen == tuple(None if at is None else network.now for at in expected)

    def test_fin_is_sent_without_a_close_frame(self) -> None:
        network = phases({"fin": {"leg": "client", "other": "reset"}})
        c = network.open()
        network.step()
        assert c.client.fin_at == network.now and c.client.stream == b""
        assert c.server.reset_at == network.now
        network.wait(5 * SECOND)
        assert c.is_over

    def test_a_kept_leg_is_read_and_discarded_until_its_peer_ends_it(self) -> None:
        network = phases({"reset": {"leg": "server", "other": "keep"}})
        c = network.open()
        network.step()
        c.send(CLIENT, text("anyone?", M))
        network.wait(3600 * SECOND)
        assert c.client.fin_at is None and c.client.reset_at is None
        c.fin(CLIENT)
        assert c.is_over

    def test_a_kept_leg_that_was_paused_is_read_so_that_its_end_is_seen(self) -> None:
        network = phases({"reset": {"leg": "server", "other": "keep"}})
        c = network.open()
        c.blocked(SERVER, True)
        c.send(CLIENT, text("anyone?", M))
        c.fin(CLIENT)
        network.step()
        assert c.is_over

    def test_a_kept_leg_outlives_the_end_of_the_other(self) -> None:
        network = phases({"fin": {"leg": "server", "other": "keep"}})
        c = network.open()
        network.step()
        c.rst(SERVER)
        network.wait(60 * SECOND)
        assert c.client.reset_at is None and c.client.fin_at is None


HEALS = ["flush", "discard", "reset"]


class TestHalfOpen:
    @pytest.mark.parametrize("heal", HEALS)
    @pytest.mark.parametrize("mode", ["freeze", "blackhole"])
    @pytest.mark.parametrize("leg", ["client", "server", "both"])
    def test_nothing_leaves_until_it_heals(self, leg: str, mode: str, heal: str) -> None:
        network = phases({"half_open": {"leg": leg, "mode": mode, "heal": heal}}, lasts="90s")
        c = network.open()
        network.step()
        before = len(c.actions(Send, End, Reset, Release))
        c.send(CLIENT, text("a", M))
        c.send(SERVER, text("b"))
        network.wait(90 * SECOND - 1)
        assert len(c.actions(Send, End, Reset, Release)) == before
        frozen = {"client": (False, True), "server": (True, False), "both": (False, False)}[leg]
        assert (c.client.is_read, c.server.is_read) == (frozen if mode == "freeze" else (True, True))
        network.wait(1)
        match heal, mode:
            case "reset", _:
                assert c.client.reset_at == c.server.reset_at == network.now
            case "flush", _:
                assert c.server.stream == text("a", M) and c.client.stream == text("b")
            case _:
                # What a frozen leg's peer sent is with the kernel: it arrives after the heal.
                assert c.server.stream == (
                    b"" if (c.client.is_read and frozen[0]) or mode == "blackhole" else text("a", M)
                )
                assert c.client.stream == (b"" if frozen[1] or mode == "blackhole" else text("b"))

    def test_flush_delivers_in_order_and_the_connection_lives_on(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.open()
        network.step()
        c.send(SERVER, text("a"), text("b")[:2])
        network.wait(10 * SECOND)
        assert c.client.stream == text("a") + text("b")[:2]
        c.send(SERVER, text("b")[2:], text("c"))
        assert payloads(c.client.stream) == [b"a", b"b", b"c"]

    def test_a_message_begun_before_a_discard_is_finished_and_one_across_the_heal_is_dropped(self) -> None:
        network = phases({"half_open": {"heal": "discard"}})
        c = network.open()
        c.send(SERVER, text("first")[:3])
        network.step()
        c.send(SERVER, text("first")[3:], text("lost"), text("across")[:4])
        network.wait(10 * SECOND)
        assert c.client.stream == text("first")
        c.send(SERVER, text("across")[4:], text("next"))
        assert payloads(c.client.stream) == [b"first", b"next"]

    def test_a_message_of_which_one_byte_came_before_the_heal_is_dropped_whole(self) -> None:
        network = phases({"half_open": {"heal": "discard"}})
        c = network.open()
        network.step()
        c.send(SERVER, text("across")[:1])
        network.wait(10 * SECOND)
        c.send(SERVER, text("across")[1:], text("next"))
        assert payloads(c.client.stream) == [b"next"]

    def test_a_ping_across_the_heal_does_not_cost_the_next_message(self) -> None:
        network = phases({"half_open": {"heal": "discard"}})
        c = network.open()
        network.step()
        c.send(SERVER, b"\x89\x02h")
        network.wait(10 * SECOND)
        c.send(SERVER, b"i", text("next"))
        assert payloads(c.client.stream) == [b"next"]

    @pytest.mark.parametrize("heal", ["flush", "discard"])
    def test_what_a_latency_has_begun_to_hold_is_kept_whole(self, heal: str) -> None:
        network = phases({"latency": "1s"}, lasts="60s")
        c = network.open()
        network.step()
        c.send(SERVER, text("held"), text("partly")[:4])
        network.add(live_rule("half_open", {"heal": heal}))
        c.send(SERVER, text("partly")[4:], text("later"))
        network.wait(5 * SECOND)
        network.heal()
        network.wait(SECOND)
        expected = [b"held", b"partly", b"later"] if heal == "flush" else [b"held", b"partly"]
        assert payloads(c.client.stream) == expected

    @pytest.mark.parametrize("size", [1, 4])
    def test_an_end_in_the_middle_of_a_message_that_would_be_discarded_discards_it(self, size: int) -> None:
        network = phases({"half_open": {"heal": "discard"}})
        c = network.open()
        network.step()
        c.send(SERVER, text("half")[:size])
        c.fin(SERVER)
        network.wait(10 * SECOND)
        assert c.client.stream == b"" and c.client.fin_at == network.now
        assert network.events(Discarded) == [Discarded(SERVER, size)]

    @pytest.mark.parametrize("how", ["fin", "rst"])
    def test_an_end_is_remembered_and_performed_after_the_held_bytes(self, how: str) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.open()
        network.step()
        c.send(SERVER, text("a"))
        getattr(c, how)(SERVER)
        network.wait(10 * SECOND - 1)
        assert c.client.fin_at is None and c.client.reset_at is None
        network.wait(1)
        assert c.client.stream == text("a")
        assert (c.client.fin_at if how == "fin" else c.client.reset_at) == network.now

    def test_at_held_bytes_max_reading_pauses_and_it_is_told_once(self) -> None:
        network = phases({"half_open": {"heal": "flush"}}, held_bytes_max="1KiB")
        c = network.open()
        network.step()
        c.send(SERVER, text("x" * 1000), text("y" * 1000), text("z"))
        assert c.actions(Pause, Resume) == [Pause(SERVER)]
        assert len(network.events(Limited)) == 1
        network.wait(10 * SECOND)
        assert payloads(c.client.stream) == [b"x" * 1000, b"y" * 1000, b"z"]
        assert c.actions(Pause, Resume) == [Pause(SERVER), Resume(SERVER)]

    def test_a_close_aimed_at_it_is_suppressed(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.open()
        network.step()
        network.add(live_rule("close", "4200"))
        assert c.client.stream == b""
        assert [(event.rule, event.fault) for event in network.events(Suppressed)] == [("live", "close")]
        assert [event.fault for event in network.events(Struck)] == ["half_open"]

    def test_a_message_that_would_close_it_is_suppressed_and_has_not_struck(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.open()
        network.step()
        network.add(live_rule("close", "4200", when={"from": "client", "nth": 1}))
        c.send(CLIENT, text("a", M))
        assert [event.fault for event in network.events(Struck)] == ["half_open"]
        assert [event.fault for event in network.events(Suppressed)] == ["close"]

    def test_a_stronger_fault_of_the_same_phase_acts_first(self) -> None:
        network = phases({"half_open": {}}, {"reset": {}})
        c = network.open()
        network.step()
        assert c.client.reset_at == network.now

    @pytest.mark.parametrize("heal", HEALS)
    def test_a_new_connection_is_read_but_not_dialled(self, heal: str) -> None:
        network = phases({"half_open": {"heal": heal}})
        network.open()
        network.step()
        c = network.connect()
        c.send(CLIENT, request() + text("early", M))
        network.wait(10 * SECOND - 1)
        assert c.actions() == []
        network.wait(1)
        if heal == "flush":
            assert c.server.data == request()
            c.send(SERVER, switching())
            assert c.server.stream == text("early", M)
        else:
            assert c.client.reset_at == network.now
            assert c.is_over

    def test_with_hits_live_new_connections_are_spared(self) -> None:
        network = phases({"half_open": {"hits": "live"}})
        network.open()
        network.step()
        network.open()

    def test_with_hits_new_live_connections_are_spared(self) -> None:
        network = phases({"half_open": {"hits": "new"}})
        c = network.open()
        network.step()
        c.send(CLIENT, text("a", M))
        assert c.server.stream == text("a", M)
        d = network.connect()
        d.send(CLIENT, request())
        assert d.actions() == []

    def test_a_request_under_way_is_not_sent_twice(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        network.wait(10 * SECOND)
        assert c.server.data == request()
        c.send(SERVER, switching())
        assert c.client.data == switching()

    def test_a_request_dialled_while_it_falls_silent_is_sent_at_the_heal(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        network.accepts_dials = False
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        c.dial_answered()
        assert c.server.data == b""
        network.wait(10 * SECOND)
        assert c.server.data == request()

    def test_a_refused_dial_is_told_to_the_client_at_the_heal(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        network.accepts_dials = False
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        c.dial_answered("connection refused")
        assert c.client.data == b""
        network.wait(10 * SECOND)
        assert status(c) == 502

    @pytest.mark.parametrize("end", ["fin", "rst", ""])
    def test_an_answer_is_kept_until_the_heal_and_an_end_behind_it_too(self, end: str) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        c.send(SERVER, switching() + text("a"))
        if end:
            getattr(c, end)(SERVER)
        network.wait(10 * SECOND - 1)
        assert c.client.data == b"" and c.client.fin_at is None
        network.wait(1)
        assert c.client.data == switching() + text("a")
        assert (c.client.fin_at == network.now) is (end == "fin")
        assert (c.client.reset_at == network.now) is (end == "rst")

    @pytest.mark.parametrize("end", ["fin", "rst"])
    def test_an_upstream_that_ends_without_an_answer_gives_502_at_the_heal_only(self, end: str) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.connect()
        c.send(CLIENT, request())
        network.step()
        getattr(c, end)(SERVER)
        assert c.client.data == b""
        network.wait(10 * SECOND)
        assert status(c) == 502

    @pytest.mark.parametrize("end", ["fin", ""])
    def test_the_body_of_a_refusal_is_kept_until_the_heal(self, end: str) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.connect()
        c.send(CLIENT, request())
        head = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\n"
        c.send(SERVER, head)
        network.step()
        c.send(SERVER, b"body")
        if end:
            c.fin(SERVER)
        assert c.client.data == head and c.client.fin_at is None
        network.wait(10 * SECOND)
        assert c.client.data == head + b"body"
        assert c.client.fin_at == network.now

    def test_healed_is_told_once_per_connection(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        network.open()
        network.step()
        network.wait(10 * SECOND)
        assert [event.fault for event in network.events(Healed)] == ["half_open"]

    def test_two_of_them_end_with_the_last(self) -> None:
        network = phases({"half_open": {"heal": "flush", "mode": "freeze"}})
        c = network.open()
        network.step()
        network.add(live_rule("half_open", {"heal": "flush", "mode": "freeze"}))
        c.send(SERVER, text("a"))
        network.wait(10 * SECOND)
        assert c.client.stream == b"" and not c.server.is_read
        network.heal()
        assert c.client.stream == text("a")

    def test_both_peers_gone_meanwhile_end_it(self) -> None:
        network = phases({"half_open": {"heal": "flush"}})
        c = network.open()
        network.step()
        c.rst(CLIENT)
        c.rst(SERVER)
        network.wait(10 * SECOND)
        assert c.is_over

    def test_a_heal_at_the_instant_a_peer_ends_is_one_story_in_either_order(self) -> None:
        for order in (0, 1):
            network = phases({"half_open": {"heal": "flush"}})
            c = network.open()
            network.step()
            c.send(SERVER, text("a"))
            if order:
                network.step()
            c.fin(SERVER)
            if not order:
                network.step()
            assert c.client.stream == text("a") and c.client.fin_at == network.now

    def test_the_latency_of_held_messages_still_counts_after_the_heal(self) -> None:
        network = phases({"latency": "3s"}, {"half_open": {}}, lasts="1s")
        c = network.open()
        network.step()
        c.send(SERVER, text("a"))
        network.wait(2 * SECOND)
        assert c.client.stream == b""
        network.wait(SECOND)
        assert c.client.stream == text("a")


class TestOpeningFaults:
    def test_reject_answers_and_does_not_dial(self) -> None:
        network = Network(
            profile(rules=[{"reject": {"status": 503, "headers": {"Retry-After": "5"}, "body": "later"}}])
        )
        c = network.connect()
        c.send(CLIENT, request())
        assert status(c) == 503 and b"Retry-After: 5\r\n" in c.client.data and c.client.data.endswith(b"later")
        assert c.client.fin_at == network.now
        assert c.actions(Dial) == []
        assert network.events(Answered) == [Answered(503, "rule", "")]

    def test_hang_never_answers_and_outlives_its_phase(self) -> None:
        network = Network(profile({"name": "stuck", "lasts": "10s", "rules": ["hang"]}, {"name": "after"}))
        c = network.connect()
        c.send(CLIENT, request(), text("early", M))
        network.wait(3600 * SECOND)
        assert c.actions() == []
        network.open()
        c.fin(CLIENT)
        assert c.is_over

    def test_reset_at_accept_comes_before_any_byte(self) -> None:
        network = Network(profile(rules=[{"reset": {"at": "accept"}}]))
        c = network.connect()
        assert c.client.reset_at == network.now
        assert c.is_over and network.world.sessions == {}

    @pytest.mark.parametrize("rule", ["hang", "half_open"])
    @pytest.mark.parametrize("start", [b"GET / HT", b"garbage\r\n\r\n"])
    def test_while_new_connections_wait_no_bad_or_unfinished_head_is_answered(self, rule: str, start: bytes) -> None:
        network = Network(
            profile({"name": "stuck", "lasts": "30s", "rules": [rule]}, {"name": "after"}, starts="launch")
        )
        c = network.connect()
        c.send(CLIENT, start)
        network.wait(29 * SECOND)
        assert c.actions() == []
        network.wait(12 * SECOND)
        assert c.client.data.startswith(b"HTTP/1.1 408 ") == start.startswith(b"GET")

    def test_a_head_that_is_complete_only_after_its_time_still_counts_while_new_connections_wait(self) -> None:
        network = Network(profile({"name": "stuck", "until": "step", "rules": ["hang"]}, starts="launch"))
        c = network.connect()
        network.wait(11 * SECOND)
        c.send(CLIENT, request())
        assert c.actions() == [] and [event.fault for event in network.events(Struck)] == ["hang"]

    def test_compression_strip_takes_only_the_offer_out_of_the_request(self) -> None:
        network = Network(profile(compression="strip"))
        c = network.connect()
        odd = ["X-Odd:  kept ", "sec-websocket-Extensions: permessage-deflate", "Cookie: a=b"]
        c.send(CLIENT, request(headers=odd))
        assert c.server.data == request(headers=[odd[0], odd[2]])

    @pytest.mark.parametrize("fault", ["reset", "fin"])
    def test_a_leg_whose_peer_has_ended_is_not_kept(self, fault: str) -> None:
        network = phases({fault: {"leg": "client", "other": "keep"}})
        c = network.open()
        c.fin(SERVER)
        network.step()
        network.wait(10 * SECOND)
        assert c.is_over

    def test_hang_beside_a_half_open_strikes_too(self) -> None:
        network = phases({"half_open": {"heal": "flush"}}, "hang")
        network.open()
        network.step()
        c = network.connect()
        c.send(CLIENT, request())
        c.fin(CLIENT)
        assert c.actions() == []
        assert "hang" in [event.fault for event in network.events(Struck)]
        network.wait(10 * SECOND)
        assert c.is_over
