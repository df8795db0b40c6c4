"""Which endings there are, and that each is dealt once, at its stage, in virtual time."""

import pytest

from chaosproxy.events import Answered
from chaosproxy.sweep.cases import SETTLE_MS, Case, Stage, Way, cases, parse_only
from tests.virtual import CLIENT, MS, SERVER, START, Network, request, switching, text

HANDSHAKE, MID = Stage.HANDSHAKE, Stage.MID_CONNECTION
ESTABLISHED = text('{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.1\\"}"}')


def labels(only: str, protocol: str | None = None) -> list[str]:
    return [case.label for case in cases(protocol, parse_only(only)) if case.stage is MID or case.way is Way.ERROR]


class TestChoice:
    def test_every_registered_code_is_tried_at_both_stages(self) -> None:
        codes = [case.code for case in cases(None) if case.way is Way.CLOSE and case.stage is MID]

        assert codes[0] is None
        assert {*range(1000, 1016), 3000, 3003, 3008, 0, 999, 1016, 2999, 5000, 65535} <= set(codes)
        assert {code // 100 for code in codes if code and 4000 <= code < 5000} >= {40, 41, 42, 43, 49}
        assert [case[1:] for case in cases(None) if case.stage is MID] == [
            case[1:] for case in cases(None) if case.stage is HANDSHAKE
        ]

    def test_pusher_has_its_own_way_to_refuse_from_4000_on(self) -> None:
        errors = [case for case in cases("pusher") if case not in cases(None)]

        assert {case.way for case in errors} == {Way.ERROR} and {case.stage for case in errors} == {HANDSHAKE}
        assert [case.code for case in errors] == [
            case.code for case in cases(None, parse_only("mid")) if case.code and case.code >= 4000
        ]

    @pytest.mark.parametrize(
        ("only", "wanted"),
        [
            ("fin", ["FIN"]),
            ("RST, none", ["RST", "no status"]),
            ("1000-1003,4200", ["1000", "1001", "1002", "1003", "4200"]),
            ("4242", ["4242"]),  # none of ours
            ("4240-4250", []),
            ("handshake", []),
            ("handshake,fin", []),
            ("mid,fin", ["FIN"]),
        ],
    )
    def test_only_narrows_it(self, only: str, wanted: list[str]) -> None:
        assert labels(only) == wanted

    def test_a_code_is_also_chosen_where_it_is_said_by_pusher_error(self) -> None:
        assert labels("4200", "pusher") == ["4200", "4200"]
        assert labels("pusher:error", "pusher") == [str(code) for code in _error_codes()]

    @pytest.mark.parametrize(
        ("only", "problem"),
        [
            ("fim", "expected fin, rst, none, 4200, 4000-4999, handshake or mid, got fim"),
            ("", 'got ""'),
            ("4200-", "got 4200-$"),
            ("1-2-3", "got 1-2-3$"),
            ("70000", "expected codes from 0 to 65535"),
            ("4200-4100", "the smaller one first, got 4200-4100$"),
        ],
    )
    def test_what_can_not_be_chosen_is_met_with_what_can(self, only: str, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            parse_only(only)


def _error_codes() -> list[int | None]:
    return [case.code for case in cases("pusher") if case.way is Way.ERROR]


def is_let_through(network: Network) -> bool:
    """A connection that comes now, and carries a message each way."""
    connection = network.open()
    connection.send(SERVER, text("from the server"))
    connection.send(CLIENT, text("from the client", mask=b"mask"))
    network.wait(60_000 * MS)
    return not connection.is_over and connection.client.stream == text("from the server")


class TestHandshake:
    @pytest.mark.parametrize("case", cases("pusher", parse_only("handshake,fin,rst")), ids=str)
    def test_fin_and_rst_come_in_the_answers_place(self, case: Case) -> None:
        network = Network(case.profile("pusher", 1))
        connection = network.connect()
        connection.send(CLIENT, b"GET /app/key HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
        network.wait(1000 * MS)
        assert connection.client.fin_at is None and not connection.client.is_gone  # it has not asked yet
        connection.send(CLIENT, b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==\r\n\r\n")
        network.wait(100 * MS)

        assert connection.client.data == b"" and not connection.is_dialled
        ended_at = connection.client.fin_at if case.way is Way.FIN else connection.client.reset_at
        assert ended_at is not None and ended_at > START + 1000 * MS
        assert is_let_through(network)

    @pytest.mark.parametrize(
        "case", [case for case in cases("pusher") if case.code and case.stage is HANDSHAKE], ids=str
    )
    def test_codes_come_before_the_servers_first_message(self, case: Case) -> None:
        network = Network(case.profile("pusher", 1))
        connection = network.connect()
        connection.send(CLIENT, request())
        if case.way is Way.CLOSE:
            connection.send(SERVER, switching() + ESTABLISHED)

        messages = [seen.payload for seen in connection.client.frames if seen.opcode == 1]
        assert connection.client.close_code == case.code
        assert connection.client.data.startswith(b"HTTP/1.1 101 ")
        if case.way is Way.CLOSE:
            assert messages == []
        else:
            assert f'"code":{case.code},'.encode() in messages[0] and b"pusher:error" in messages[0]
            assert network.events(Answered) == [Answered(101, "rule", "")]
        assert is_let_through(network)

    def test_of_connections_side_by_side_all_are_struck_and_no_other(self) -> None:
        network = Network(Case(HANDSHAKE, Way.CLOSE, 4200).profile(None, 2))

        assert [network.open().client.close_code for _ in range(2)] == [4200, 4200]
        assert is_let_through(network)

        network = Network(Case(HANDSHAKE, Way.FIN).profile(None, 2))
        first, second = network.connect(), network.connect()
        first.send(CLIENT, request())
        network.wait(200 * MS)
        second.send(CLIENT, request())
        network.wait(400 * MS)
        assert first.client.fin_at == second.client.fin_at is not None
        assert is_let_through(network)


class TestMidConnection:
    @pytest.mark.parametrize("case", cases(None, parse_only("mid")), ids=str)
    def test_it_is_dealt_once_things_have_settled(self, case: Case) -> None:
        network = Network(case.profile(None, 1))
        connection = network.open()
        network.wait((SETTLE_MS - 1) * MS)
        assert connection.client.stream == b""
        network.wait(1 * MS)

        match case.way:
            case Way.FIN:
                assert connection.client.fin_at == network.now and connection.client.stream == b""
            case Way.RST:
                assert connection.client.reset_at == network.now and connection.client.stream == b""
            case _:
                [close] = connection.client.frames
                assert close.payload == (b"" if case.code is None else case.code.to_bytes(2, "big"))
        assert is_let_through(network)

    def test_where_pusher_is_spoken_it_waits_until_all_are_established(self) -> None:
        network = Network(Case(MID, Way.RST).profile("pusher", 2))
        first, second = network.open(), network.open()
        first.send(SERVER, ESTABLISHED)
        network.wait(10_000 * MS)
        assert not first.is_over
        second.send(SERVER, ESTABLISHED)
        network.wait(SETTLE_MS * MS)

        assert first.client.reset_at == second.client.reset_at == network.now
