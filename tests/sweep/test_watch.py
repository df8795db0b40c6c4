"""What a client does about the end of its connection, told in virtual time: the real world, and a client by hand."""

from collections.abc import Callable

import pytest

from chaosproxy.sweep.cases import SETTLE_MS, Case, Stage, Way
from chaosproxy.sweep.watch import CALM, CALM_MAX, LINGER, Answer, Calm, Kind, Reaction, Watch
from chaosproxy.units import SECOND
from tests.virtual import CLIENT, MS, SERVER, START, Connection, Network, close_frame, profile, request, switching, text

MASK = b"mask"
ESTABLISHED = text('{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.1\\"}"}')
KICK = Case(Stage.MID_CONNECTION, Way.CLOSE, 4200)
SPAN = 6 * SECOND
PATIENCE = 15 * SECOND


class Story:
    """A client behind a proxy that plays a case, and the watch that is kept over it."""

    def __init__(self, case: Case = KICK, protocol: str | None = None, firsts: int = 1) -> None:
        self.network = Network(case.profile(protocol, firsts))
        is_pusher = protocol is not None
        self.watch = Watch(case.way.value, firsts, SPAN, START, PATIENCE, needs_established=is_pusher)
        self._heard = 0

    def open(self) -> Connection:
        connection = self.network.open()
        self._hear()
        return connection

    def connect(self, data: bytes = b"") -> Connection:
        connection = self.network.connect()
        connection.send(CLIENT, data)
        self._hear()
        return connection

    def send(self, connection: Connection, *data: bytes, server: bool = False) -> None:
        connection.send(SERVER if server else CLIENT, *data)
        self._hear()

    def end(self, connection: Connection) -> None:
        connection.fin(CLIENT)
        self._hear()

    def reset(self, connection: Connection) -> None:
        connection.rst(CLIENT)
        self._hear()

    def wait(self, ms: int) -> None:
        self.network.wait(ms * MS)
        self._hear()

    def exit(self, code: int) -> None:
        self.watch.exited(code, self.network.now)

    @property
    def is_over(self) -> bool:
        return self.watch.is_over(self.network.now)

    def _hear(self) -> None:
        told, self._heard = self.network.told[self._heard :], len(self.network.told)
        for item in told:
            self.watch.tell(item)


def struck(case: Case = KICK, protocol: str | None = None) -> tuple[Story, Connection]:
    """A client whose connection has just been ended, and has answered nothing yet."""
    story = Story(case, protocol)
    connection = story.open()
    if protocol:
        story.send(connection, ESTABLISHED, server=True)
    story.wait(SETTLE_MS)
    return story, connection


class TestComingBack:
    @pytest.mark.parametrize(("pause", "kind"), [(12, Kind.AT_ONCE), (399, Kind.AT_ONCE), (400, Kind.PAUSES)])
    def test_how_long_it_pauses_is_measured_from_the_end(self, pause: int, kind: Kind) -> None:
        story, old = struck()
        story.send(old, close_frame(4200, mask=MASK))
        story.end(old)
        story.wait(pause)
        assert not story.is_over
        story.open()

        assert story.is_over
        assert story.watch.reaction == Reaction(kind, (pause * MS,), True, Answer.CODE, 4200)

    def test_its_answer_on_the_old_connection_is_waited_for_but_not_for_long(self) -> None:
        story, old = struck()
        story.open()
        assert not story.is_over
        story.wait(100)
        story.send(old, close_frame(1002, mask=MASK))
        story.end(old)
        assert story.is_over and story.watch.reaction.code == 1002

        story, _ = struck()
        story.open()
        story.wait(LINGER // MS - 1)
        assert not story.is_over
        story.wait(1)
        assert story.is_over and story.watch.reaction.answer is Answer.NONE

    @pytest.mark.parametrize(
        ("reply", "answer", "code"),
        [
            (lambda story, old: story.send(old, close_frame(4200, mask=MASK)), Answer.CODE, 4200),
            (lambda story, old: story.send(old, close_frame(None, mask=MASK)), Answer.NO_STATUS, None),
            (lambda story, old: None, Answer.FIN, None),
        ],
    )
    def test_a_close_frame_is_told_from_a_bare_fin(
        self, reply: Callable[[Story, Connection], None], answer: Answer, code: int | None
    ) -> None:
        story, old = struck()
        reply(story, old)
        story.end(old)
        assert story.watch.reaction[3:5] == (answer, code)

    def test_a_reset_is_an_answer_too(self) -> None:
        story, old = struck()
        story.reset(old)
        assert story.watch.reaction.answer is Answer.RST

    def test_open_is_not_back_where_pusher_must_be_established(self) -> None:
        story, old = struck(protocol="pusher")
        story.reset(old)
        new = story.open()
        assert not story.is_over
        assert story.watch.reaction[1:3] == ((0,), False) and story.watch.reaction.detail == "open, and not established"
        story.send(new, ESTABLISHED, server=True)
        assert story.is_over and story.watch.reaction.is_back and story.watch.reaction.detail == ""


class TestNotComingBack:
    def test_no_attempt_in_the_whole_time_is_giving_up(self) -> None:
        story, old = struck()
        story.reset(old)
        story.wait(SPAN // MS - 1)
        assert not story.is_over
        story.wait(1)
        assert story.is_over
        assert story.watch.reaction == Reaction(Kind.GIVES_UP, answer=Answer.RST)

    def test_an_exit_says_how(self) -> None:
        story, old = struck()
        story.reset(old)
        story.exit(1)
        assert story.is_over
        assert story.watch.reaction == Reaction(Kind.EXITS, answer=Answer.RST, exit_code=1)

    def test_attempts_that_fail_say_why(self) -> None:
        story, _ = struck()
        refused = story.connect(request())
        story.send(refused, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", server=True)
        assert story.watch.reaction.detail == "the server answered 403"
        story.wait(100)
        story.connect(b"\x16\x03\x01")
        story.wait(SPAN // MS)

        assert story.is_over
        assert story.watch.reaction.attempts == (0, 100 * MS)
        assert not story.watch.reaction.is_back
        assert story.watch.reaction.detail == "a TLS hello came to a plaintext port"

    @pytest.mark.parametrize(
        ("pauses", "kind"),
        [
            ((500, 1000, 2000), Kind.BACKS_OFF),
            ((1000, 1250), Kind.BACKS_OFF),
            ((1000, 1240), Kind.PAUSES),
            ((1000, 2000, 1000), Kind.PAUSES),
            ((5, 5, 5), Kind.AT_ONCE),
        ],
    )
    def test_pauses_that_grow_are_a_back_off(self, pauses: tuple[int, ...], kind: Kind) -> None:
        story, _ = struck()
        story.network.accepts_dials = False
        for pause in pauses:
            story.wait(pause)
            story.connect(request()).dial_answered("refused")
        assert story.watch.reaction.kind is kind
        assert len(story.watch.reaction.attempts) == len(pauses)


class TestWhatIsNoReaction:
    def test_a_tcp_connection_that_asks_for_nothing(self) -> None:
        story, _ = struck()
        story.connect()
        assert story.watch.reaction.kind is Kind.GIVES_UP

    def test_a_connection_that_was_under_way_at_the_end(self) -> None:
        story = Story()
        story.open()
        story.wait(SETTLE_MS - 1)
        other = story.connect()
        story.wait(1)
        story.send(other, request())
        story.send(other, switching(), server=True)
        assert story.watch.reaction.kind is Kind.GIVES_UP

    def test_connections_that_the_client_opens_side_by_side(self) -> None:
        case = Case(Stage.HANDSHAKE, Way.CLOSE, 4200)
        story = Story(case, firsts=2)
        assert [story.open().client.close_code for _ in range(2)] == [4200, 4200]
        assert story.watch.reaction.kind is Kind.GIVES_UP
        story.wait(1000)
        story.open()
        assert story.watch.reaction[:3] == (Kind.PAUSES, (1000 * MS,), True)

    def test_the_end_of_another_fault(self) -> None:
        """FIN in the handshake: the rule that holds the request back strikes first."""
        story = Story(Case(Stage.HANDSHAKE, Way.FIN))
        story.connect(request())
        story.wait(20)
        assert story.watch.deadline == START + PATIENCE
        story.wait(30)
        assert story.watch.deadline == START + 50 * MS + SPAN


class TestNever:
    def test_nobody_came(self) -> None:
        story = Story()
        story.wait(PATIENCE // MS - 1)
        assert not story.is_over
        story.wait(1)
        assert story.is_over
        assert story.watch.reaction == Reaction(Kind.NEVER, detail="it made no attempt")

    def test_it_was_refused(self) -> None:
        story = Story()
        refused = story.connect(request())
        story.send(refused, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", server=True)
        assert story.watch.reaction.detail == "the server answered 404"
        story.exit(2)
        assert story.is_over
        detail = "it exited with 2; its last attempt: the server answered 404"
        assert story.watch.reaction == Reaction(Kind.NEVER, exit_code=2, detail=detail)

    def test_fewer_connections_than_it_had_undisturbed(self) -> None:
        story = Story(firsts=2)
        story.open()
        story.wait(PATIENCE // MS)
        assert story.is_over and story.watch.reaction.detail == "only 1 of its 2 connections came"

    def test_it_was_gone_before_anything_was_done_to_it(self) -> None:
        story = Story()
        story.open()
        story.exit(0)
        assert story.is_over and story.watch.reaction.detail == "it exited with 0"


class Quiet:
    """A client to whom nothing is done."""

    def __init__(self) -> None:
        self.network = Network(profile())
        self.calm = Calm(START, PATIENCE, needs_established=False)
        self._heard = 0

    def hear(self) -> None:
        told, self._heard = self.network.told[self._heard :], len(self.network.told)
        for item in told:
            self.calm.tell(item)

    def open(self) -> Connection:
        connection = self.network.open()
        self.hear()
        return connection

    def wait(self, duration: int) -> None:
        self.network.wait(duration)
        self.hear()

    @property
    def is_over(self) -> bool:
        return self.calm.is_over(self.network.now)


class TestCalm:
    def test_it_is_over_when_no_more_connections_come(self) -> None:
        quiet = Quiet()
        quiet.wait(2 * SECOND)
        assert not quiet.is_over
        quiet.open()
        quiet.wait(CALM - 1)
        quiet.open()
        quiet.wait(CALM - 1)
        assert not quiet.is_over
        quiet.wait(1)
        assert quiet.is_over and quiet.calm.trouble == ""
        assert (quiet.calm.live, quiet.calm.side_by_side) == (2, 1)

    def test_those_that_ask_before_the_first_is_open_are_side_by_side(self) -> None:
        quiet = Quiet()
        first, second = quiet.network.connect(), quiet.network.connect()
        for connection in (first, second):
            connection.send(CLIENT, request())
        for connection in (first, second):
            connection.send(SERVER, switching())
        quiet.hear()
        assert (quiet.calm.live, quiet.calm.side_by_side) == (2, 2)

    def test_one_that_failed_before_is_not_beside_it(self) -> None:
        quiet = Quiet()
        failed = quiet.network.connect()
        failed.send(CLIENT, request())
        failed.rst(SERVER)
        failed.fin(CLIENT)
        quiet.open()
        assert (quiet.calm.live, quiet.calm.side_by_side) == (1, 1)

    def test_a_client_that_never_rests_is_taken_as_it_is(self) -> None:
        quiet = Quiet()
        quiet.open()
        for _ in range(CALM_MAX // (CALM // 2)):
            assert not quiet.is_over
            quiet.wait(CALM // 2)
            quiet.open()
        quiet.wait(CALM // 2)
        assert quiet.is_over

    def test_who_does_not_stay_is_of_no_use(self) -> None:
        quiet = Quiet()
        quiet.open().fin(CLIENT)
        quiet.hear()
        quiet.wait(PATIENCE)
        assert quiet.is_over and quiet.calm.live == 0 and quiet.calm.trouble == "it ended its connection by itself"

        quiet = Quiet()
        quiet.open()
        quiet.calm.exited(0, quiet.network.now)
        assert quiet.is_over
        assert quiet.calm.trouble == "it exited with 0 by itself, before anything was done to it"

    def test_who_does_not_come_is_waited_for(self) -> None:
        quiet = Quiet()
        quiet.wait(PATIENCE - 1)
        assert not quiet.is_over
        quiet.wait(1)
        assert quiet.is_over and quiet.calm.trouble == "it made no attempt"

        quiet = Quiet()
        quiet.calm.exited(127, quiet.network.now)
        assert quiet.is_over and quiet.calm.trouble == "it exited with 127 and made no attempt"
