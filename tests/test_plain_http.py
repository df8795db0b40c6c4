"""Plain HTTP in virtual time: what reaches whom, when, and on which leg."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy import library
from chaosproxy.effects import Leg
from chaosproxy.events import (
    Answered,
    Asked,
    Closed,
    Dial,
    End,
    Healed,
    Opened,
    Pause,
    PhaseEntered,
    Requested,
    Responded,
    Resume,
    Struck,
)
from chaosproxy.legs import REPLY_TIME, State
from chaosproxy.opening import EARLY_BYTES_MAX, HEAD_TIME
from chaosproxy.plain_http import PIPELINED_BYTES_MAX
from chaosproxy.units import SECOND
from chaosproxy.wire.http import accept_for
from chaosproxy.world import Options

from .virtual import (
    CLIENT,
    KEY,
    MS,
    SERVER,
    START,
    Connection,
    Network,
    Peer,
    live_rule,
    profile,
    request,
    switching,
    text,
)
from .wire.streams import chop, cuts

HOST = "Host: a"


def asks(
    target: str = "/", *lines: str, method: str = "GET", body: bytes = b"", version: str = "1.1", length: bool = True
) -> bytes:
    """A plain request."""
    given = [f"{method} {target} HTTP/{version}", HOST, *lines]
    given += [f"Content-Length: {len(body)}"] if body and length else []
    return "\r\n".join([*given, "", ""]).encode() + body


def answers(body: bytes = b"ok", *lines: str, status: int = 200, length: bool = True, version: str = "1.1") -> bytes:
    """A response."""
    given = [f"HTTP/{version} {status} X", *lines]
    given += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*given, "", ""]).encode() + body


def chunked(*parts: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"


def network(*rules: Any, **top: Any) -> Network:
    return Network(profile(rules=list(rules), **top))


def http(fault: dict[str, Any] | str, **when: Any) -> dict[str, Any]:
    """A rule on plain requests."""
    named = fault if isinstance(fault, dict) else {fault: {}}
    return {**named, "when": {"request": "http", **when}}


def status_of(peer: Peer) -> int:
    return int(peer.data[9:12]) if peer.data else 0


def statuses(network: Network) -> list[int]:
    return [event.status for event in network.events(Responded)]


class TestTransparency:
    def test_a_request_and_its_response_pass_as_they_came(self) -> None:
        asked, answer = asks("/a?b=c", "x-Odd:  1 ", method="POST", body=b"hello"), answers(b"world", "aBc:d")
        net = network()
        one = net.connect()
        one.send(CLIENT, asked)
        one.send(SERVER, answer)
        assert (one.server.data, one.client.data) == (asked, answer)
        assert not one.is_over

    def test_the_upstreams_leg_is_kept_for_the_next_request(self) -> None:
        net = network()
        one = net.connect()
        for number in range(5):
            one.send(CLIENT, asks(f"/{number}"))
            one.send(SERVER, answers(b"%d" % number))
        assert len(one.actions(Dial)) == 1
        assert one.server.data == b"".join(asks(f"/{number}") for number in range(5))
        assert one.client.data == b"".join(answers(b"%d" % number) for number in range(5))

    def test_it_is_dialled_anew_where_the_upstream_has_ended_it_between_requests(self) -> None:
        net = network()
        for end in (Connection.fin, Connection.rst):
            one = net.connect()
            one.send(CLIENT, asks("/1"))
            one.send(SERVER, answers())
            end(one, SERVER)
            assert (one.is_over, one.client.fin_at, one.client.reset_at) == (False, None, None)
            one.send(CLIENT, asks("/2"))
            one.send(SERVER, answers(b"again"))
            assert len(one.actions(Dial)) == 2
            assert one.server.data == asks("/2")
            assert one.client.data == answers() + answers(b"again")
        net.end_all()

    def test_an_upgrade_follows_on_the_same_connection_and_leg(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/auth", method="POST", body=b"x"))
        one.send(SERVER, answers(b"{}"))
        one.send(CLIENT, request() + text("early", b"mask"))
        one.send(SERVER, switching() + text("hello"))
        one.send(CLIENT, text("hi", b"mask"))
        assert one.session.state is State.TUNNEL
        assert len(one.actions(Dial)) == 1
        assert one.server.data.endswith(request() + text("early", b"mask") + text("hi", b"mask"))
        assert one.client.data == answers(b"{}") + switching() + text("hello")

    def test_an_upgrade_dials_where_the_leg_is_gone(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        one.fin(SERVER)
        one.send(CLIENT, request())
        one.send(SERVER, switching())
        assert one.session.state is State.TUNNEL
        assert len(one.actions(Dial)) == 2

    def test_pipelined_requests_wait_for_the_response(self) -> None:
        net = network()
        one = net.connect()
        asked = [asks("/1", method="POST", body=b"one"), asks("/2"), asks("/3", method="PUT", body=b"three")]
        one.send(CLIENT, b"".join(asked))
        assert one.server.data == asked[0]
        one.send(SERVER, answers(b"1"))
        assert one.server.data == asked[0] + asked[1]
        one.send(SERVER, answers(b"2"))
        assert one.server.data == b"".join(asked)
        assert one.client.data == answers(b"1") + answers(b"2")

    def test_so_many_pipelined_bytes_are_held_and_no_more(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks(), *[asks("/" + "a" * 1000)] * 200)
        assert one.actions(Pause) == [Pause(CLIENT)]
        assert len(one.session._early) < PIPELINED_BYTES_MAX + 2000
        for _ in range(201):
            one.send(SERVER, answers())
        assert one.server.data == asks() + asks("/" + "a" * 1000) * 200
        assert one.client.data == answers() * 201
        assert one.client.is_read

    def test_a_body_is_not_waited_for_and_not_collected(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", CHUNKED, method="POST") + b"3\r\nabc\r\n")
        assert one.server.data.endswith(b"\r\n\r\n3\r\nabc\r\n")
        one.send(CLIENT, b"2\r\n", b"de\r\n")
        assert one.server.data.endswith(b"2\r\nde\r\n")

    def test_an_event_stream_passes_piece_by_piece(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        head = answers(b"", "Content-Type: text/event-stream", length=False)
        one.send(SERVER, head)
        assert one.client.data == head
        for number in range(3):
            one.send(SERVER, b"data: %d\n\n" % number)
            assert one.client.data.endswith(b"data: %d\n\n" % number)
        one.fin(SERVER)
        assert (one.client.fin_at, one.client.reset_at) == (START, None)

    def test_there_is_no_time_limit_on_an_answer(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/poll"))
        net.wait(3600 * SECOND)
        one.send(SERVER, answers(b"late"))
        assert one.client.data == answers(b"late")
        net.wait(3600 * SECOND)
        assert not one.is_over

    @pytest.mark.parametrize("lines", [("Content-Length: 5",), (CHUNKED,), ()])
    def test_an_answer_to_head_has_no_body(self, lines: tuple[str, ...]) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1", method="HEAD"), asks("/2"))
        one.send(SERVER, answers(b"", *lines, length=False))
        assert one.server.data == asks("/1", method="HEAD") + asks("/2")

    @pytest.mark.parametrize("status", [204, 304])
    def test_some_answers_have_no_body(self, status: int) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1"), asks("/2"))
        one.send(SERVER, answers(b"", "Content-Length: 7", status=status, length=False))
        assert one.server.data == asks("/1") + asks("/2")

    def test_interim_answers_pass_and_the_body_follows(self) -> None:
        net = network()
        one = net.connect()
        head = asks("/", "Expect: 100-continue", "Content-Length: 5", method="POST")
        one.send(CLIENT, head)
        early = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        one.send(SERVER, early + go_on)
        assert one.client.data == early + go_on
        one.send(CLIENT, b"hello")
        one.send(SERVER, go_on + answers())
        assert one.server.data == head + b"hello"
        assert one.client.data == early + go_on + go_on + answers()

    def test_trailers_pass_both_ways(self) -> None:
        net = network()
        one = net.connect()
        body = chunked(b"a", b"bc", trailers=b"X-Sum: 1\r\n")
        one.send(CLIENT, asks("/", CHUNKED, method="POST") + body + asks("/2"))
        one.send(SERVER, answers(b"", CHUNKED, length=False) + body)
        assert one.client.data.endswith(body)
        assert one.server.data.endswith(body + asks("/2"))

    @pytest.mark.parametrize(
        ("lines", "version", "answer"),
        [
            (("Connection: close",), "1.1", answers()),
            ((), "1.1", answers(b"ok", "Connection: close")),
            ((), "1.0", answers()),
            (("Connection: keep-alive",), "1.0", answers()),
            ((), "1.1", answers(version="1.0")),
        ],
    )
    def test_a_connection_that_either_side_gives_up_ends_behind_the_response(
        self, lines: tuple[str, ...], version: str, answer: bytes
    ) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1", *lines, version=version) + asks("/2"))
        one.send(SERVER, answer)
        assert one.client.data == answer
        assert (one.client.fin_at, one.server.fin_at) == (START, START)
        assert b"/2" not in one.server.data

    def test_http_1_0_lives_on_where_both_say_so(self) -> None:
        net = network()
        one = net.connect()
        old = asks("/", "Connection: keep-alive", version="1.0")
        for _ in range(2):
            one.send(CLIENT, old)
            one.send(SERVER, answers(b"ok", "Connection: keep-alive"))
        assert (one.server.data, len(one.actions(Dial))) == (old * 2, 1)

    def test_a_request_without_a_host_passes_as_http_1_0(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, b"GET /old HTTP/1.0\r\n\r\n")
        one.send(SERVER, b"HTTP/1.0 200 OK\r\n\r\nall of it")
        one.fin(SERVER)
        assert one.client.data == b"HTTP/1.0 200 OK\r\n\r\nall of it"
        assert one.client.fin_at == START

    def test_a_slow_upstream_pauses_the_client_and_only_it(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 9", method="POST") + b"abc")
        one.blocked(SERVER, True)
        assert (one.client.is_read, one.server.is_read) == (False, True)
        one.blocked(SERVER, False)
        assert one.client.is_read

    def test_an_upload_waits_bounded_for_the_dial(self) -> None:
        net = Network(profile(), accepts_dials=False)
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 4000000", method="PUT"), *[b"x" * 100_000] * 40)
        assert not one.client.is_read
        assert EARLY_BYTES_MAX <= len(one.session._upload) < EARLY_BYTES_MAX + 100_000
        one.dial_answered()
        assert len(one.server.data.partition(b"\r\n\r\n")[2]) == 4_000_000

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    def test_a_leg_that_could_not_be_written_to_does_not_keep_the_client_paused(self, end: Any) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1", method="POST", body=b"long"))
        one.blocked(SERVER, True)
        one.send(SERVER, answers())
        assert not one.client.is_read
        end(one, SERVER)
        one.send(CLIENT, asks("/2"))
        assert one.server.data == asks("/2")
        net.end_all()

    def test_a_client_that_does_not_read_pauses_the_next_leg_too(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1") + asks("/2"))
        one.blocked(CLIENT, True)
        one.network.happen(one, lambda now: one.session.receive(SERVER, answers(), now))
        assert one.server.data == asks("/1") + asks("/2")
        assert not one.server.is_read


def again(net: Network, one: Connection) -> None:
    """The request that waited has been taken to the upstream on a leg of its own, and is answered."""
    before = one.client.data
    assert len(one.actions(Dial)) == 2
    one.send(SERVER, answers(b"again"))
    assert one.client.data == before + answers(b"again")
    net.end_all()


def says_408(one: Connection, side: Any) -> None:
    one.send(side, answers(b"", status=408))


class TestAKeptLeg:
    """The upstream may end it, or speak on it, at any time before the next request is sent there."""

    ENDS = pytest.mark.parametrize("end", [Connection.fin, Connection.rst, says_408])

    def used(self, net: Network) -> Connection:
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        return one

    @ENDS
    def test_its_end_while_a_request_waits_for_a_heal_is_none_of_the_clients_business(self, end: Any) -> None:
        net = network()
        one = self.used(net)
        net.add(live_rule("half_open", {"from": "client", "hits": "new"}))
        one.send(CLIENT, asks("/2"))
        end(one, SERVER)
        assert (one.client.data, one.is_over) == (answers(), False)
        net.heal()
        assert one.server.data == asks("/2")
        again(net, one)

    @ENDS
    def test_its_end_while_an_upgrade_waits_is_none_of_the_clients_business(self, end: Any) -> None:
        net = network({"latency": {"delay": "1s", "at": "request"}})
        one = self.used(net)
        one.send(CLIENT, request())
        end(one, SERVER)
        assert (one.client.data, one.is_over) == (answers(), False)
        net.wait(SECOND)
        assert one.server.data == request()
        one.send(SERVER, switching())
        assert one.session.state is State.TUNNEL
        net.end_all()

    def test_its_end_that_a_half_open_keeps_back_lets_go_of_it_before_the_next_dial(self) -> None:
        net = network()
        one = self.used(net)
        net.add(live_rule("half_open", {"from": "server"}))
        net.happen(one, lambda now: one.session.ended(SERVER, now))  # read before the loop could stop reading
        one.send(CLIENT, asks("/2"))
        assert one.past_servers[0].fin_at == START
        net.heal()
        again(net, one)

    @pytest.mark.parametrize("is_pipelined", [True, False])
    def test_its_end_behind_a_delayed_answer_is_its_own_only(self, is_pipelined: bool) -> None:
        net = network(http({"latency": "1s"}, nth=1))
        one = net.connect()
        one.send(CLIENT, asks("/1") + asks("/2") * is_pipelined)
        one.send(SERVER, answers())
        one.fin(SERVER)
        net.wait(SECOND)
        assert one.client.data == answers()
        one.send(CLIENT, asks("/2") * (not is_pipelined))
        assert one.server.data == asks("/2")
        again(net, one)

    @pytest.mark.parametrize("status", [204, 200])
    def test_a_delayed_answer_without_a_body_is_not_lost_to_what_the_client_does_next(self, status: int) -> None:
        net = network(http({"latency": "1s"}, nth=1))
        one = net.connect()
        answer = answers(b"", status=status, length=status == 200)
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answer)
        one.send(CLIENT, asks("/2"))
        one.fin(CLIENT)
        assert (one.client.data, one.server.data) == (b"", asks("/1"))
        net.wait(SECOND)
        assert (one.client.data, one.server.data) == (answer, asks("/1") + asks("/2"))
        one.send(SERVER, answers())
        assert (one.client.data, one.client.fin_at) == (answer + answers(), net.now)
        net.end_all()

    @pytest.mark.parametrize("is_pipelined", [True, False])
    def test_a_second_answer_behind_a_delayed_one_reaches_nobody(self, is_pipelined: bool) -> None:
        net = network(http({"latency": "1s"}))
        one = net.connect()
        one.send(CLIENT, asks("/1") + asks("/2") * is_pipelined)
        one.send(SERVER, answers(), answers(b"evil")[:20])
        net.wait(SECOND)
        assert (one.client.data, one.client.fin_at, one.server.fin_at) == (answers(), net.now, net.now)
        assert one.server.data == asks("/1")

    def test_a_truncated_end_of_it_does_not_make_the_clients_connection_look_truncated(self) -> None:
        net = network()
        one = self.used(net)
        net.happen(one, lambda now: one.session.ended(SERVER, now, is_truncated=True))
        one.send(CLIENT, asks("/2", "Connection: close"))
        one.send(SERVER, answers())
        assert one.actions(End)[-2:] == [End(CLIENT, notify=True), End(SERVER, notify=True)]

    def test_it_stays_silent_where_a_hang_begins_in_a_half_open(self) -> None:
        net = network()
        one = self.used(net)
        net.add(live_rule("half_open", {"hits": "new"}, id="silence"))
        net.add(live_rule("hang", {}, id="hang", when={"request": "http"}))
        one.send(CLIENT, asks("/2"))
        assert one.server.fin_at is None
        net.heal("silence")
        assert one.server.fin_at == START
        net.end_all()

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    def test_its_end_while_a_hung_request_is_half_open_stays_secret(self, end: Any) -> None:
        net = network()
        one = self.used(net)
        net.add(live_rule("half_open", {"hits": "new"}, id="silence"))
        net.add(live_rule("hang", {}, id="hang", when={"request": "http"}))
        one.send(CLIENT, asks("/2"))
        end(one, SERVER)
        net.heal("silence")
        assert (one.client.data, one.client.reset_at, one.is_over) == (answers(), None, False)
        net.end_all()


class TestEnds:
    def test_a_clients_half_close_reaches_the_upstream_and_the_response_the_client(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.fin(CLIENT)
        assert one.server.fin_at == START
        one.send(SERVER, answers())
        assert one.client.data == answers()
        one.fin(SERVER)
        assert one.is_over

    def test_it_waits_for_pipelined_requests(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1") + asks("/2"))
        one.fin(CLIENT)
        assert one.server.fin_at is None
        one.send(SERVER, answers())
        assert one.server.fin_at == START
        one.send(SERVER, answers())
        assert one.client.data == answers() * 2
        assert one.client.fin_at == START

    def test_an_upload_cut_short_is_cut_short_at_the_upstream_too(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 9", method="POST") + b"abc")
        one.fin(CLIENT)
        assert (one.server.fin_at, one.server.reset_at) == (START, None)
        one.send(SERVER, answers(status=400))
        assert status_of(one.client) == 400

    def test_a_client_that_resets_resets_the_upstream(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/stream"))
        one.send(SERVER, answers(length=False))
        one.rst(CLIENT)
        assert one.server.reset_at == START
        assert one.is_over

    def test_a_client_that_leaves_between_requests_takes_the_upstream_with_it(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        one.fin(CLIENT)
        assert one.server.fin_at == START
        one.fin(SERVER)
        assert one.is_over
        assert net.events(Closed) == [Closed("client", "fin", None)]

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    def test_an_upstream_that_ends_before_its_answer_gives_502(self, end: Any) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        end(one, SERVER)
        assert status_of(one.client) == 502
        assert one.client.fin_at == START

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    def test_on_a_kept_leg_its_end_is_passed_on_for_it_may_have_crossed_the_request(self, end: Any) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        one.send(CLIENT, asks("/2"))
        end(one, SERVER)
        assert one.client.data == answers()
        assert (one.client.fin_at, one.client.reset_at) == ((START, None) if end is Connection.fin else (None, START))

    def test_a_kept_leg_that_ends_within_its_answers_head_gives_502(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        one.send(CLIENT, asks("/2"))
        one.send(SERVER, b"HTTP/1.1 2")
        one.fin(SERVER)
        assert one.client.data.startswith(answers() + b"HTTP/1.1 502 ")

    def test_an_upstream_that_can_not_be_reached_gives_502_at_once(self) -> None:
        net = Network(profile(), accepts_dials=False)
        one = net.connect()
        one.send(CLIENT, asks())
        one.dial_answered("refused")
        assert status_of(one.client) == 502
        one.fin(CLIENT)
        assert one.is_over

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    def test_a_response_cut_short_is_cut_short_in_the_same_way(self, end: Any) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(b"", "Content-Length: 9", length=False) + b"abc")
        end(one, SERVER)
        assert one.client.data.endswith(b"abc")
        assert (one.client.fin_at is None) == (one.client.reset_at is not None) == (end is Connection.rst)

    def test_an_endless_response_that_is_reset_does_not_look_complete(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(b"abc", length=False))
        one.rst(SERVER)
        assert (one.client.fin_at, one.client.reset_at) == (None, START)

    def test_after_an_early_answer_the_upload_goes_on_and_then_the_next_request(self) -> None:
        net = network()
        one = net.connect()
        head = asks("/", "Content-Length: 6", method="POST")
        one.send(CLIENT, head + b"abc")
        one.send(SERVER, answers(status=413))
        assert one.client.data == answers(status=413)
        one.send(CLIENT, b"def" + asks("/next"))
        assert one.server.data == head + b"abcdef" + asks("/next")

    def test_an_early_answer_that_closes_ends_both_and_the_rest_is_discarded(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 6", method="POST") + b"abc")
        answer = answers(b"no", "Connection: close", status=413)
        one.send(SERVER, answer)
        one.send(CLIENT, b"def")
        assert one.client.data == answer
        assert one.server.data.endswith(b"abc")
        assert (one.client.fin_at, one.client.reset_at) == (START, None)
        net.wait(REPLY_TIME)
        assert one.is_over

    def test_an_upstream_that_gives_up_an_upload_behind_its_answer_ends_the_client_by_fin(self) -> None:
        for end in (Connection.fin, Connection.rst):
            net = network()
            one = net.connect()
            one.send(CLIENT, asks("/", "Content-Length: 6", method="POST") + b"abc")
            one.send(SERVER, answers(status=413))
            end(one, SERVER)
            assert one.client.data == answers(status=413)
            assert (one.client.fin_at, one.client.reset_at) == (START, None)

    def test_what_an_upstream_says_unasked_reaches_nobody(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        one.send(SERVER, answers(b"poison"))
        assert one.client.data == answers()
        assert one.server.reset_at == START
        one.send(CLIENT, asks("/2"))
        one.send(SERVER, answers(b"good"))
        assert one.client.data == answers() + answers(b"good")

    def test_a_second_answer_glued_to_the_first_reaches_nobody(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1") + asks("/2"))
        one.send(SERVER, answers() + answers(b"poison"))
        assert one.client.data == answers()
        assert one.client.fin_at == START
        assert b"/2" not in one.server.data

    def test_a_drain_lets_the_answer_come_to_its_end(self) -> None:
        net = network()
        one, idle = net.connect(), net.connect()
        for each in (one, idle):
            each.send(CLIENT, asks())
        idle.send(SERVER, answers())
        net.drain()
        assert (idle.client.fin_at, one.client.fin_at) == (START, None)
        net.wait(SECOND)
        one.send(SERVER, answers())
        assert (one.client.data, one.client.fin_at) == (answers(), START + SECOND)

    @pytest.mark.parametrize("length", [True, False])
    def test_a_drain_waits_a_while_only_and_what_it_cuts_does_not_look_complete(self, length: bool) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(b"", *(["Content-Length: 9"] if length else []), length=False) + b"abc")
        net.drain()
        net.wait(REPLY_TIME)
        cut = START + REPLY_TIME
        assert (one.client.fin_at, one.client.reset_at) == ((cut, None) if length else (None, cut))


class TestByHand:
    """Whatever the exchange has come to, it ends, and what is begun and can be finished in time is."""

    @pytest.mark.parametrize("what", ["drain", "close", "reset"])
    @pytest.mark.parametrize(
        "state", ["idle", "head", "waiting", "dialling", "asked", "held", "begun", "early", "hung", "silent"]
    )
    def test_it_ends_in_every_state(self, what: str, state: str) -> None:
        net = network(http({"latency": "2s"}, path="/held"), http("hang", path="/hung"))
        net.accepts_dials = state != "dialling"
        one = net.connect()
        if state != "dialling":
            one.send(CLIENT, asks("/1"))
            one.send(SERVER, answers())
        match state:
            case "head":
                one.send(CLIENT, b"GET /x")
            case "waiting":
                net.add(live_rule("half_open", {"hits": "new"}))
                one.send(CLIENT, request())
            case "dialling" | "asked":
                one.send(CLIENT, asks("/2"))
            case "held":
                one.send(CLIENT, asks("/held"))
                one.send(SERVER, answers(b"held"))
            case "begun":
                one.send(CLIENT, asks("/2"))
                one.send(SERVER, answers(b"", "Content-Length: 4", length=False))
            case "early":
                one.send(CLIENT, asks("/2", "Content-Length: 4", method="POST"))
                one.send(SERVER, answers())
            case "hung":
                one.send(CLIENT, asks("/hung"))
            case "silent":
                one.send(CLIENT, asks("/2"))
                net.add(live_rule("half_open"))
        if what == "drain":
            net.drain()
        else:
            session = one.session
            now = net.now
            net.perform(
                one,
                session.close(Leg.BOTH, 1000, "", now) if what == "close" else session.reset(Leg.BOTH, now, "proxy"),
            )
        net.wait(2 * REPLY_TIME)
        assert one.is_over
        assert one.client.data.endswith(answers(b"held")) == (state == "held" and what != "reset")


class TestStrictness:
    def test_a_101_to_a_plain_request_is_502_and_no_tunnel(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/ws"))
        one.send(SERVER, switching())
        one.send(CLIENT, b"GET /admin HTTP/1.1\r\n\r\n")
        assert status_of(one.client) == 502
        assert one.server.data == asks("/ws")
        assert one.server.reset_at == START
        assert net.events(Opened) == []

    def test_a_bad_head_behind_a_good_request_is_answered_400_in_its_turn(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1") + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert one.client.data == b""
        one.send(SERVER, answers())
        assert one.client.data.startswith(answers() + b"HTTP/1.1 400 ")
        assert one.server.data == asks("/1")

    def test_a_bad_chunk_gets_400_and_does_not_reach_the_upstream(self) -> None:
        net = network()
        one = net.connect()
        head = asks("/", CHUNKED, method="POST")
        one.send(CLIENT, head + b"1\r\na\r\n", b"x")
        one.send(CLIENT, b"yz\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        assert one.server.data == head + b"1\r\na\r\n"
        assert one.server.reset_at == START
        assert status_of(one.client) == 400

    def test_a_bad_chunk_together_with_its_head_is_never_dialled(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", CHUNKED, method="POST") + b"xyz\r\n")
        assert status_of(one.client) == 400
        assert one.actions(Dial) == []

    def test_a_bad_chunk_while_the_answer_runs_resets_both(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", CHUNKED, method="POST") + b"1\r\na\r\n")
        one.send(SERVER, answers(b"", "Content-Length: 9", length=False))
        one.send(CLIENT, b"xyz\r\n")
        assert (one.client.reset_at, one.server.reset_at) == (START, START)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/2 200\r\n\r\n",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            answers(b"", "Content-Length: 1", "Content-Length: 1", length=False),
            answers(b"", "Content-Length: 1", CHUNKED, length=False),
            answers(b"", "Content-Length: -1", length=False),
            answers(b"", "A : b"),
            answers(b"", CHUNKED, length=False) + b"zz\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
            b"HTTP/1.1 100 Continue\r\n\r\n" + answers(b"", "Content-Length: 1", CHUNKED, length=False),
        ],
    )
    def test_a_malformed_answer_is_502(self, answer: bytes) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answer)
        assert status_of(one.client) == 502
        assert (one.client.fin_at, one.server.reset_at) == (START, START)

    def test_a_chunk_malformed_in_mid_stream_ends_a_response_that_is_not_complete(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(b"", CHUNKED, length=False) + b"1\r\na\r\n")
        one.send(SERVER, b"zz\r\n")
        assert one.client.data.endswith(b"1\r\na\r\n")
        assert (one.client.fin_at, one.server.reset_at) == (START, START)

    def test_an_own_answer_to_head_has_no_body(self) -> None:
        net = Network(profile(), accepts_dials=False)
        one = net.connect()
        one.send(CLIENT, asks(method="HEAD"))
        one.dial_answered("refused")
        assert status_of(one.client) == 502
        assert one.client.data.endswith(b"\r\n\r\n")

    def test_a_next_head_has_its_ten_seconds_from_its_first_byte(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        net.wait(100 * SECOND)
        one.send(CLIENT, b"GET / HT")
        for _ in range(9):
            net.wait(SECOND)
            one.send(CLIENT, b"x")
        assert one.client.data == answers()
        net.wait(HEAD_TIME - 9 * SECOND)
        assert one.client.data.startswith(answers() + b"HTTP/1.1 408 ")
        assert one.server.data == asks()

    def test_after_a_refused_upgrade_nothing_more_reaches_the_upstream(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        one.send(CLIENT, request() + asks("/smuggled"))
        one.send(SERVER, answers(b"no", status=403))
        one.send(CLIENT, asks("/smuggled"))
        assert one.server.data == asks("/1") + request()
        assert one.client.fin_at == START


class TestBookkeeping:
    def test_plain_requests_have_no_number_start_nothing_and_are_told_without_values(self) -> None:
        net = Network(profile({"name": "first", "until": {"opened": 1}}))
        one = net.connect()
        one.send(CLIENT, asks("/a?token=secret", "Cookie: secret", method="POST"))
        one.send(SERVER, answers(status=201))
        assert net.events(Requested) == [Requested("", "POST", "/a", ("host", "cookie"))]
        assert net.events(Responded) == [Responded(201, "server", "")]
        assert net.events(PhaseEntered, Asked, Answered) == []
        assert "secret" not in repr(net.told)
        totals = net.world.totals
        assert (totals.connections, totals.opened, totals.requests) == (0, 0, {"2xx": 1})
        one.send(CLIENT, request())
        assert [event.connection for event in net.events(Asked)] == [1]
        assert net.phase == "first"

    def test_a_connection_of_plain_requests_neither_opened_nor_failed(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(status=500))
        one.fin(CLIENT)
        one.fin(SERVER)
        assert net.world.totals.outcomes == {}
        assert net.world.totals.closes == {}
        assert net.world.totals.requests == {"5xx": 1}

    def test_a_request_that_got_no_answer_has_failed_once(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        one.send(CLIENT, asks())
        one.rst(CLIENT)
        assert net.world.totals.requests == {"2xx": 1, "failed": 1}

    def test_an_upgrade_refused_behind_a_plain_request_counts_as_any_other(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        one.send(CLIENT, request())
        one.send(SERVER, answers(status=403))
        net.end_all()
        assert net.world.totals.outcomes == {"refused_4xx": 1}

    def test_dials_for_plain_requests_wait_for_the_cap_and_kept_legs_do_not(self) -> None:
        net = Network(profile(), Options(dials_per_second_max=1))
        first, second = net.connect(), net.connect()
        first.send(CLIENT, asks())
        second.send(CLIENT, asks())
        assert (first.is_dialled, second.is_dialled) == (True, False)
        first.send(SERVER, answers())
        first.send(CLIENT, asks("/2"))
        assert first.server.data == asks() + asks("/2")
        net.wait(SECOND)
        assert second.is_dialled


class TestFaults:
    def test_by_default_rules_spare_plain_requests(self) -> None:
        net = network({"reject": 503}, "reset", {"latency": "1s"}, "hang")
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        assert one.client.data == answers()
        assert net.events(Struck) == []

    def test_reject_answers_plain_requests_and_spares_upgrades(self) -> None:
        net = network(http({"reject": {"status": 503, "headers": {"Retry-After": "5"}, "body": "no"}}))
        one = net.connect()
        one.send(CLIENT, asks("/apps/1", method="POST", body=b"hello"))
        assert status_of(one.client) == 503
        assert one.client.data.endswith(b"no")
        assert (one.client.fin_at, one.actions(Dial)) == (START, [])
        assert net.events(Responded) == [Responded(503, "rule", "")]
        assert [event.fault for event in net.events(Struck)] == ["reject"]
        assert net.open().session.state is State.TUNNEL

    def test_any_is_both(self) -> None:
        net = network({"reject": 503, "when": {"request": "any"}})
        for asked in (asks(), request()):
            one = net.connect()
            one.send(CLIENT, asked)
            assert status_of(one.client) == 503

    def test_path_and_header_pick_requests_and_the_kept_leg_is_let_go_of(self) -> None:
        net = network(http({"reject": 503}, path="/apps/*", header={"x-key": "a*"}))
        one = net.connect()
        for asked in (asks("/apps/1"), asks("/auth", "X-Key: abc")):
            one.send(CLIENT, asked)
            one.send(SERVER, answers())
        one.send(CLIENT, asks("/apps/1", "X-Key: abc"))
        assert statuses(net) == [200, 200, 503]
        assert one.server.is_gone

    def test_hang_never_answers_and_never_dials(self) -> None:
        net = Network(profile({"name": "stuck", "lasts": "5s", "rules": [http("hang")]}, starts="launch"))
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 9", method="POST") + b"abc")
        net.wait(600 * SECOND)
        one.send(CLIENT, b"def")
        assert (one.client.data, one.actions(Dial), one.is_over) == (b"", [], False)
        one.fin(CLIENT)
        assert one.is_over
        assert net.world.totals.requests == {"failed": 1}

    def test_a_hung_client_that_has_said_much_is_read_on_so_that_its_end_is_seen(self) -> None:
        net = network(http("hang"))
        one = net.connect()
        one.send(CLIENT, asks() + b"x" * PIPELINED_BYTES_MAX)
        one.fin(CLIENT)
        assert one.client.fin_at == START
        net.end_all()

    def test_what_is_hung_gets_no_delayed_answer_either(self) -> None:
        net = network(http({"latency": "1s"}))
        one = net.connect()
        one.send(CLIENT, asks("/", CHUNKED, method="POST"))
        one.send(SERVER, answers())
        net.add(live_rule("half_open", {"hits": "new"}))
        one.send(CLIENT, b"no chunk\r\n")  # while such a rule holds, what is malformed is not answered
        assert one.session.state is State.HUNG
        net.wait(2 * SECOND)
        assert one.client.data == b""
        net.end_all()

    def test_reset_is_rst_as_the_request_comes(self) -> None:
        net = network(http("reset", path="/2"))
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        one.send(CLIENT, asks("/2"))
        assert one.server.data == asks("/1")
        assert (one.client.reset_at, one.server.reset_at) == (START, START)
        assert one.is_over

    def test_latency_delays_the_head_of_the_response_and_not_the_request(self) -> None:
        net = network(http({"latency": "300ms"}), http({"latency": "200ms"}))
        one = net.connect()
        one.send(CLIENT, asks(method="POST", body=b"hello"))
        assert one.server.data == asks(method="POST", body=b"hello")
        net.wait(1000 * MS)
        one.send(SERVER, b"HTTP/1.1 100 Continue\r\n\r\n", answers(b"a" * 10)[:-4])
        one.send(SERVER, b"aaaa")
        assert one.client.data == b"HTTP/1.1 100 Continue\r\n\r\n"
        net.wait(499 * MS)
        assert one.client.data == b"HTTP/1.1 100 Continue\r\n\r\n"
        net.wait(1 * MS)
        assert one.client.data.endswith(answers(b"a" * 10))
        assert [event.fault for event in net.events(Struck)] == ["latency", "latency"]
        assert (net.world.tally.delays.sum, net.world.tally.delay_errors.sum) == (500 * MS, 0)

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    def test_an_end_behind_a_delayed_response_waits_for_it(self, end: Any) -> None:
        net = network(http({"latency": "300ms"}))
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(b"all", length=False))
        end(one, SERVER)
        assert one.client.data == b""
        net.wait(300 * MS)
        assert one.client.data == answers(b"all", length=False)
        due = START + 300 * MS
        assert (one.client.fin_at, one.client.reset_at) == ((due, None) if end is Connection.fin else (None, due))

    def test_what_waits_behind_a_delay_is_bounded(self) -> None:
        net = network(http({"latency": "10s"}))
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers(b"", "Content-Length: 4000000", length=False), *[b"x" * 100_000] * 40)
        assert not one.server.is_read
        assert len(one.session._late) < EARLY_BYTES_MAX + 100_000
        net.wait(10 * SECOND)
        assert len(one.client.data.partition(b"\r\n\r\n")[2]) == 4_000_000

    def test_jitter_is_of_the_request_and_not_of_the_order_in_which_answers_come(self) -> None:
        def due(order: list[int]) -> dict[int, int]:
            net = network(http({"latency": {"delay": "1s", "jitter": "1s"}}), seed=4)
            several = [net.connect() for _ in order]
            for each in several:
                each.send(CLIENT, asks())
            for index in order:
                several[index].send(SERVER, answers())
            net.wait(3 * SECOND)
            return {index: several[index].client.received[-1][0] for index in order}

        assert due([0, 1, 2, 3]) == due([3, 1, 0, 2])
        assert len(set(due([0, 1, 2, 3]).values())) == 4

    @pytest.mark.parametrize(
        ("when", "expected"), [({"nth": [2, 4]}, [2, 4]), ({"every": 2}, [2, 4]), ({"first": 2}, [1, 2])]
    )
    def test_counting_conditions_count_a_clients_plain_requests_over_its_connections(
        self, when: dict[str, Any], expected: list[int]
    ) -> None:
        net = network(http({"reject": 503}, path="/counted", **when), identify={"header": "x-client"})
        hit = []
        for number in range(1, 6):
            for target, client in (("/counted", "a"), ("/other", "a"), ("/counted", f"b{number}")):
                one = net.connect()
                one.send(CLIENT, asks(target, f"X-Client: {client}"))
                if not one.client.data:
                    one.send(SERVER, answers())
                if (target, client) == ("/counted", "a") and status_of(one.client) == 503:
                    hit.append(number)
        assert hit == expected

    def test_chance_has_no_state_and_another_rule_moves_no_strike(self) -> None:
        def hits(*more: Any, seed: int = 7) -> list[int]:
            net = network(*more, {**http({"reject": 503}, chance="40%"), "id": "it"}, seed=seed)
            for _ in range(40):
                one = net.connect()
                one.send(CLIENT, asks())
                if one.is_dialled:
                    one.send(SERVER, answers())
            struck = [told.session.number for told in net.told if isinstance(told.event, Struck) and told.session]
            return sorted(set(struck))

        assert hits() == hits(http({"latency": "1ms"}, chance="0%")) != hits(seed=8)
        assert 8 <= len(hits()) <= 24

    def test_counting_begins_anew_with_each_phase(self) -> None:
        rule = http({"reject": 503}, first=1)
        phases = [{"name": name, "lasts": "1s", "rules": [rule]} for name in ("one", "two")]
        net = Network(profile(*phases, starts="launch"))
        for _ in range(2):
            for _ in range(2):
                one = net.connect()
                one.send(CLIENT, asks())
                if one.is_dialled:
                    one.send(SERVER, answers())
            net.wait(SECOND)
        assert statuses(net) == [503, 200, 503, 200]


class TestHalfOpen:
    def healing(self, heal: str = "flush", **options: Any) -> Network:
        rule = {"half_open": {"heal": heal, **options}}
        return Network(
            profile({"name": "a", "until": "step"}, {"name": "b", "until": "step", "rules": [rule]}, {"name": "c"})
        )

    def silent(self, net: Network) -> None:
        net.step()
        net.step("b")

    def test_a_live_exchange_freezes_and_goes_on_at_the_heal(self) -> None:
        net = self.healing()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 6", method="POST") + b"abc")
        one.send(SERVER, answers(b"", "Content-Length: 4", length=False) + b"12")
        self.silent(net)
        before = (one.client.data, one.server.data)
        one.send(CLIENT, b"def")
        one.send(SERVER, b"34")
        net.wait(100 * SECOND)
        assert (one.client.data, one.server.data) == before
        assert not one.client.is_read and not one.server.is_read
        net.step("c")
        assert one.server.data == before[1] + b"def"
        assert one.client.data == before[0] + b"34"
        assert len(net.events(Healed)) == 1

    def test_an_idle_connection_freezes_too(self) -> None:
        net = self.healing()
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        self.silent(net)
        one.send(CLIENT, asks("/2"))
        assert one.server.data == asks("/1")
        net.step("c")
        assert one.server.data == asks("/1") + asks("/2")

    def test_a_request_that_comes_is_read_and_not_dialled_until_the_heal(self) -> None:
        net = self.healing()
        self.silent(net)
        one = net.connect()
        one.send(CLIENT, asks(method="POST", body=b"hello"))
        net.wait(100 * SECOND)
        assert (one.actions(Dial), one.client.data) == ([], b"")
        net.step("c")
        one.send(SERVER, answers())
        assert (one.server.data, one.client.data) == (asks(method="POST", body=b"hello"), answers())

    @pytest.mark.parametrize("heal", ["discard", "reset"])
    def test_other_heals_reset(self, heal: str) -> None:
        net = self.healing(heal)
        one = net.connect()
        one.send(CLIENT, asks())
        self.silent(net)
        late = net.connect()
        late.send(CLIENT, asks())
        assert one.client.reset_at is None
        net.step("c")
        assert (one.client.reset_at, one.server.reset_at, late.client.reset_at) == (START, START, START)

    @pytest.mark.parametrize("hits", ["live", "new"])
    def test_hits_says_whom(self, hits: str) -> None:
        net = self.healing(hits=hits)
        live = net.connect()
        live.send(CLIENT, asks())
        self.silent(net)
        new = net.connect()
        new.send(CLIENT, asks())
        assert (live.session.is_silent, new.session.is_silent) == (hits == "live", hits == "new")
        net.end_all()

    def test_one_that_picks_connections_spares_plain_http(self) -> None:
        rule = {"half_open": {}, "when": {"path": "/app/*"}}
        net = network(rule)
        one = net.connect()
        one.send(CLIENT, asks("/app/1"))
        one.send(SERVER, answers())
        assert one.client.data == answers()

    @pytest.mark.parametrize("end", [Connection.fin, Connection.rst])
    @pytest.mark.parametrize("side", [CLIENT, SERVER])
    @pytest.mark.parametrize("is_idle", [True, False])
    def test_an_end_meanwhile_is_performed_at_the_heal(self, end: Any, side: Any, is_idle: bool) -> None:
        net = self.healing()
        one = net.connect()
        one.send(CLIENT, asks())
        if is_idle:
            one.send(SERVER, answers())
        self.silent(net)
        end(one, side)
        net.wait(20 * SECOND)
        quiet = one.actions(End)
        net.step("c")
        assert quiet == []
        if side is CLIENT:
            peer = one.server
            assert (peer.reset_at if end is Connection.rst else peer.fin_at) is not None
        elif not is_idle:
            assert status_of(one.client) == 502
        else:
            assert not one.is_over
        net.end_all()

    def test_what_the_loop_had_read_already_waits_for_the_heal_too(self) -> None:
        net = self.healing(hits="live")
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        self.silent(net)
        one.read_ahead(SERVER, answers(b"unasked"))
        one.read_ahead(CLIENT, asks("/2"))
        assert (one.client.data, one.server.data, one.server.reset_at) == (answers(), asks("/1"), None)
        net.step("c")
        assert (one.past_servers[0].reset_at, one.server.data) == (START, asks("/2"))
        again(net, one)

    def test_a_bad_head_that_the_loop_had_read_already_is_answered_at_the_heal(self) -> None:
        net = self.healing(hits="live")
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        self.silent(net)
        one.read_ahead(CLIENT, b"\0")
        assert one.client.data == answers()
        net.step("c")
        assert one.client.data.startswith(answers() + b"HTTP/1.1 400 ")

    def test_an_upload_cut_short_behind_an_early_answer_ends_both_at_the_heal(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 9", method="POST"))
        net.add(live_rule("half_open", {"from": "client"}))
        one.send(SERVER, answers())
        net.happen(one, lambda now: one.session.ended(CLIENT, now))  # read before the loop could stop reading
        assert (one.client.data, one.client.fin_at, one.server.fin_at) == (answers(), None, None)
        net.heal()
        assert (one.client.fin_at, one.server.fin_at) == (START, START)

    @pytest.mark.parametrize("options", [{"from": "server"}, {}])
    def test_an_upload_to_an_upstream_that_was_lost_meanwhile_goes_nowhere(self, options: dict[str, Any]) -> None:
        net = network()
        one = net.connect()
        begun = asks("/", "Content-Length: 9", method="POST") + b"123"
        one.send(CLIENT, begun)
        net.add(live_rule("half_open", options))
        one.rst(SERVER)
        one.read_ahead(CLIENT, b"456")  # where nothing of the client's is kept back, it is read, and nobody is there
        assert (one.server.data, one.client.data) == (begun, b"")
        net.heal()
        assert one.server.data == begun
        assert one.client.data.startswith(b"HTTP/1.1 502 ")
        net.end_all()

    def test_a_client_that_left_while_its_upgrade_waited_takes_the_kept_leg_with_it(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        net.add(live_rule("half_open", {"hits": "new"}))
        one.send(CLIENT, request())
        one.rst(CLIENT)
        assert one.server.reset_at is None
        net.heal()
        assert (one.server.reset_at, one.is_over) == (START, True)

    @pytest.mark.parametrize("order", ["ab", "ba"])
    def test_one_way_after_the_other_heals(self, order: str) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 6", method="POST") + b"abc")
        net.add(live_rule("half_open", {"from": "client"}, id="a"))
        net.add(live_rule("half_open", {"from": "server"}, id="b"))
        one.send(CLIENT, b"def")
        one.send(SERVER, answers(b"early"))
        found = []
        for each in order:
            net.heal(each)
            found.append((one.server.data.endswith(b"abcdef"), one.client.data == answers(b"early")))
        assert found == [(order == "ab", order == "ba"), (True, True)]
        one.send(CLIENT, asks("/2"))
        one.send(SERVER, answers())
        assert one.client.data == answers(b"early") + answers()
        net.end_all()

    def test_a_delay_that_is_over_while_the_answers_way_is_lost_waits_for_the_heal(self) -> None:
        net = network(http({"latency": "1s"}, nth=1))
        one = net.connect()
        one.send(CLIENT, asks("/1") + asks("/2"))
        one.send(SERVER, answers(b"1"))
        net.add(live_rule("half_open", {"from": "server"}))
        net.wait(2 * SECOND)
        assert (one.client.data, one.server.data) == (b"", asks("/1"))
        net.heal()
        assert (one.client.data, one.server.data) == (answers(b"1"), asks("/1") + asks("/2"))

    def test_an_upstream_that_resets_while_its_way_is_lost_takes_the_upload_until_the_heal(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/", "Content-Length: 6", method="POST") + b"abc")
        net.add(live_rule("half_open", {"from": "server"}))
        one.rst(SERVER)
        one.send(CLIENT, b"def")
        assert (one.client.data, one.is_over) == (b"", False)
        net.heal()
        assert status_of(one.client) == 502

    def test_one_way_that_lasts_into_an_upgrade_heals_there(self) -> None:
        net = network()
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        net.add(live_rule("half_open", {"from": "server", "hits": "live"}))
        one.send(CLIENT, request())
        one.send(SERVER, switching() + text("hello"))
        assert (one.server.data, one.client.data) == (asks("/1") + request(), answers())
        net.heal()
        assert one.client.data == answers() + switching() + text("hello")
        assert len(net.events(Healed)) == 1

    def test_a_delay_that_is_over_meanwhile_waits_for_the_heal(self) -> None:
        rules = [http({"latency": "1s"})]
        net = Network(
            profile(
                {"name": "a", "until": "step"},
                {"name": "b", "until": "step", "rules": ["half_open"]},
                {"name": "c"},
                rules=rules,
            )
        )
        one = net.connect()
        one.send(CLIENT, asks())
        one.send(SERVER, answers())
        self.silent(net)
        net.wait(5 * SECOND)
        assert one.client.data == b""
        net.step("c")
        assert one.client.data == answers()
        one.send(CLIENT, asks("/2"))
        assert one.server.data == asks() + asks("/2")

    def test_a_dial_answered_meanwhile_asks_at_the_heal(self) -> None:
        net = self.healing()
        net.accepts_dials = False
        good, bad = net.connect(), net.connect()
        for each in (good, bad):
            each.send(CLIENT, asks())
        self.silent(net)
        good.dial_answered()
        bad.dial_answered("refused")
        assert (good.server.data, bad.client.data) == (b"", b"")
        net.step("c")
        assert (good.server.data, status_of(bad.client)) == (asks(), 502)

    def test_a_head_begun_before_it_has_its_time_after_it(self) -> None:
        net = self.healing(hits="live")
        one = net.connect()
        one.send(CLIENT, asks("/1"))
        one.send(SERVER, answers())
        one.send(CLIENT, b"GET /2 HT")
        self.silent(net)
        net.wait(100 * SECOND)
        assert one.client.data == answers()
        net.step("c")
        net.wait(HEAD_TIME)
        assert one.client.data.startswith(answers() + b"HTTP/1.1 408 ")


# --- Laws ----------------------------------------------------------------------------------------------------------

bodies = st.binary(max_size=60)


def _request(number: int, body: bytes, is_chunked: bool) -> bytes:
    if is_chunked:
        return asks(f"/{number}", CHUNKED, method="POST") + chunked(*([body] if body else []), trailers=b"T: 1\r\n")
    return asks(f"/{number}", method="PUT", body=body)


def _response(body: bytes, kind: str) -> bytes:
    match kind:
        case "chunked":
            return answers(b"", CHUNKED, length=False) + chunked(*([body] if body else []))
        case "interim":
            return b"HTTP/1.1 102 P\r\n\r\n" + answers(body)
        case "none":
            return answers(b"", status=204, length=False)
        case _:
            return answers(body)


Mutation = tuple[int, bytes, bool]
mutations = st.tuples(
    st.integers(0, 250),
    st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"\t", b"\0", b":", b",", b"h2c", b"0", b"Content-Length: 3\r\n"])
    | st.binary(max_size=3),
    st.booleans(),
)
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
HEADS = [request(), asks(), asks("/", CHUNKED, method="POST") + chunked(b"abc"), asks(method="PUT", body=b"hello")]
ANSWERS = [switching(), answers(), answers(b"", CHUNKED, length=False) + chunked(b"abc"), answers(status=403)]


def mutated(stream: bytes, changes: list[Mutation]) -> bytes:
    """Put bytes in, or over others."""
    for at, piece, replaces in changes:
        stream = stream[:at] + piece + stream[at + (len(piece) if replaces else 0) :]
    return stream


HAPPENINGS = ["client", "server", "fin", "rst", "block", "unblock", "wait", "step"]
HAPPENINGS += ["client", "server", "connect", "ahead", "dial", "add", "heal", "drain", "end"]
SHAPES: list[dict[str, Any]] = [{"leg": leg} for leg in ("client", "server", "both")]
SHAPES += [{"from": "client"}, {"from": "server"}]
LIVE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("half_open", {**shape, "mode": mode, "heal": heal, "hits": hits}, {})
    for shape in SHAPES
    for mode in ("freeze", "blackhole")
    for heal in ("flush", "reset", "discard")
    for hits in ("live", "new", "all")
]
OTHERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("latency", {"delay": "300ms"}, {"request": "any"}),
    ("latency", {"delay": "2s"}, {"request": "http", "first": 1}),
    ("latency", {"delay": "300ms", "at": "request"}, {}),
    ("latency", {"delay": "300ms", "at": "response"}, {}),
    ("hang", {}, {"request": "any"}),
    ("reject", {"status": 503}, {"request": "http", "nth": 2}),
    ("reset", {}, {"request": "http"}),
    ("fin", {"leg": "server", "other": "keep"}, {}),
    ("close", {"code": 3000}, {}),
]
exchanges = st.lists(
    st.tuples(bodies, st.booleans(), bodies, st.sampled_from(["length", "chunked", "interim", "none"])),
    min_size=1,
    max_size=4,
)


class TestLaws:
    @given(exchanges, cuts, cuts, st.booleans())
    def test_any_chopping_gives_the_same_bytes_to_both(
        self, several: list[tuple[bytes, bool, bytes, str]], up: list[int], down: list[int], is_pipelined: bool
    ) -> None:
        asked = [_request(number, body, is_chunked) for number, (body, is_chunked, _, _) in enumerate(several)]
        answered = [_response(body, kind) for _, _, body, kind in several]
        net = network()
        one = net.connect()
        if is_pipelined:
            one.send(CLIENT, *chop(b"".join(asked), up))
        for sent, back in zip(asked, answered, strict=True):
            if not is_pipelined:
                one.send(CLIENT, *chop(sent, up))
            one.send(SERVER, *chop(back, down))
        assert one.server.data == b"".join(asked)
        assert one.client.data == b"".join(answered)
        assert len(one.actions(Dial)) == 1
        assert net.world.totals.requests == {"2xx": len(several)}
        net.end_all()

    @given(st.sampled_from(HEADS), st.lists(mutations, max_size=4), st.sampled_from(ANSWERS), st.lists(mutations), cuts)
    def test_whatever_is_mutated_only_what_was_sent_passes_and_only_an_acceptance_opens(
        self, head: bytes, up: list[Mutation], answer: bytes, down: list[Mutation], sizes: list[int]
    ) -> None:
        sent, answered = mutated(head, up) + SMUGGLED, mutated(answer, down)
        net = network()
        one = net.connect()
        one.send(CLIENT, *chop(sent, sizes))
        before = one.server.data
        if one.is_connected:
            one.send(SERVER, *chop(answered, sizes))
        is_tunnel = one.session.state is State.TUNNEL
        assert not is_tunnel or accept_for(KEY) in answered
        if net.events(Asked) and not is_tunnel:
            one.send(CLIENT, SMUGGLED)
            assert one.server.data == before
        assert bytes(one.sent).startswith(one.server.data)
        if not net.events(Requested, Asked):
            assert one.actions(Dial) == []
        net.end_all()

    @given(
        st.lists(
            st.tuples(st.sampled_from(HAPPENINGS), st.sampled_from([CLIENT, SERVER]), st.integers(0, 11)), max_size=50
        ),
        st.sampled_from(["flush", "reset", "discard"]),
        st.lists(st.sampled_from(LIVE) | st.sampled_from(OTHERS), min_size=1, max_size=5),
        st.booleans(),
    )
    def test_whatever_happens_nothing_is_left(
        self, happenings: list[tuple[str, Any, int]], heal: str, live: list[Any], accepts: bool
    ) -> None:
        from_client = [
            asks("/1"),
            asks("/2", method="POST", body=b"hello"),
            asks("/3", CHUNKED, method="POST"),
            chunked(b"abc"),
            b"3\r\na",
            b"GET /4 HT",
            b"TP/1.1\r\nHost: a\r\n\r\n",
            request(),
            b"\0",
            asks("/5", "Connection: close"),
            asks("/6", method="HEAD"),
            asks("/7") * 3,
        ]
        from_server = [
            answers(),
            answers(b"", CHUNKED, length=False),
            chunked(b"xyz"),
            answers(b"abc", length=False),
            b"more",
            answers(b"", status=304),
            answers(b"no", "Connection: close", status=403),
            switching(),
            b"HTTP/1.1 100 C\r\n\r\n",
            answers(b"", "Content-Length: 9", length=False),
            answers() * 2,
            b"\0",
        ]
        rules = [http({"latency": "50ms"}, every=3), http("hang", nth=7), http({"reject": 503}, nth=5)]
        net = Network(
            profile(
                {"name": "a", "lasts": "1s", "rules": rules},
                {"name": "b", "lasts": "1s", "rules": [{"half_open": {"heal": heal}}, *rules]},
                {"name": "c", "lasts": "1s", "rules": [http("reset", every=4)]},
                repeat="forever",
                starts="launch",
            ),
            accepts_dials=accepts,
        )
        one = net.connect()
        for what, side, number in happenings:
            ids = [rule.id for rule in net.world.live_rules]
            match what:
                case "connect" if len(net.connections) < 3:
                    one = net.connect()
                case "client":
                    one.send(CLIENT, from_client[number])
                case "ahead" if not one.peer(side).has_ended and not one.peer(side).is_gone and one.is_connected:
                    one.read_ahead(side, (from_server if side else from_client)[number])
                case "dial" if one.is_dialled and not one.is_answered and not one.is_over:
                    one.dial_answered("refused" if number > 8 else "")
                case "add":
                    fault, options, when = live[number % len(live)]
                    rule = live_rule(fault, options, id="abc"[number % 3], when=when)
                    net.add(rule, number % 2 * SECOND or None)
                case "heal" if ids:
                    net.heal(ids[number % len(ids)])
                case "drain" if number > 9:
                    net.drain()
                case "end" if number > 7:
                    end = one.session.close if side else one.session.reset
                    args = (Leg.BOTH, 1000, "", net.now) if side else (Leg.BOTH, net.now, "proxy")
                    net.perform(one, end(*args))  # type: ignore[operator]
                    net.run()
                case "server" if one.is_connected:
                    one.send(SERVER, from_server[number])
                case "fin" if side is CLIENT or one.is_connected:
                    one.fin(side)
                case "rst" if number > 8:
                    one.rst(side)
                case "block" | "unblock":
                    one.blocked(side, what == "block")
                case "wait":
                    net.wait(number * 100 * MS)
                case "step":
                    net.step()
        net.end_all()


def test_pauses_and_resumes_alternate_over_redials() -> None:
    net = network()
    one = net.connect()
    for _ in range(3):
        one.send(CLIENT, asks())
        one.blocked(CLIENT, True)
        one.blocked(CLIENT, False)
        one.send(SERVER, answers())
        one.fin(SERVER)
    assert one.actions(Pause, Resume) == [Pause(SERVER), Resume(SERVER)] * 3


@pytest.mark.parametrize(
    ("name", "plain", "upgrade"),
    [("rest-api-down", 503, 101), ("http-slow", 200, 101), ("websockets-blocked", 200, 403)],
)
def test_a_shipped_profile_hurts_one_kind_of_request_only(name: str, plain: int, upgrade: int) -> None:
    net = Network(library.load(name))
    found = []
    for asked, answer in ((asks(), answers()), (request(), switching())):
        one = net.connect()
        one.send(CLIENT, asked)
        if one.is_dialled:
            one.send(SERVER, answer)
        if name == "http-slow" and asked == asks():
            net.wait(1999 * MS)
            assert one.client.data == b""
        net.wait(2001 * MS)
        found.append(status_of(one.client))
    assert found == [plain, upgrade]
