"""Clients in virtual time: what they report, and what the wire shows of those that report nothing."""

from typing import Any

from chaosproxy.events import ClientSaid, ClientState, Established
from chaosproxy.observe import CLIENTS_MAX, ORDINALS_REMEMBERED, SOCKETS_MAX, STATES, Clients, Statement
from chaosproxy.profile import Profile
from chaosproxy.session import Session
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import Side, build_close
from chaosproxy.wire.http import accept_for
from chaosproxy.world import Options, Told, World

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\1\2\3\4"
ESTABLISHED = b'{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"%s\\"}"}'


class Stage:
    """A world driven by hand, and what is observed of its clients."""

    def __init__(self, **fields: Any) -> None:
        profile = Profile.model_validate({"version": 1, "identify": {"query": "user"}, **fields})
        self.world = World(profile, Options(dials_per_second_max=0))
        self.clients = Clients(has_protocol=profile.protocol is not None)
        self.told: list[Told] = []
        self.now = SECOND
        self.world.launch(self.now)

    def settle(self, session: Session | None = None) -> None:
        if session:
            self.world.settle(session, self.now)
        told, self.world.told = self.world.told, []
        for item in told:
            self.told += self.clients.tell(item)

    def ask(self, user: str = "anna") -> Session:
        session = self.world.accept("127.0.0.1:5", self.now)
        head = (
            f"GET /?user={user} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n\r\n"
        )
        session.receive(Side.CLIENT, head.encode(), self.now)
        self.settle(session)
        return session

    def answer(self, session: Session) -> None:
        session.dialled(self.now)
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        session.receive(Side.SERVER, head + b"Sec-WebSocket-Accept: " + accept_for(KEY) + b"\r\n\r\n", self.now)
        self.settle(session)

    def establish(self, session: Session, socket_id: bytes) -> None:
        text = ESTABLISHED % socket_id
        session.receive(Side.SERVER, b"\x81" + bytes([len(text)]) + text, self.now)
        self.settle(session)

    def open(self, user: str = "anna") -> Session:
        session = self.ask(user)
        self.answer(session)
        return session

    def reset(self, session: Session) -> None:
        session.lost(Side.CLIENT, self.now, "reset")
        self.settle(session)
        assert session.is_over

    def report(self, ordinal: int, state: str, previous: str = "", **fields: Any) -> list[Told]:
        return self.say(ordinal, "state", state=state, previous=previous, **fields)

    def say(self, ordinal: int, what: str, **fields: Any) -> list[Told]:
        place = {"client": "anna", "instance": "i", "client_ms": float(ordinal), "socket_id": ""} | fields
        told = self.clients.hear(Statement(ordinal=ordinal, what=what, **place), self.now)
        self.told += told
        return told

    def states(self) -> list[tuple[str, str, str]]:
        return [(e.client, e.state, e.source) for e in (told.event for told in self.told) if isinstance(e, ClientState)]

    def seen(self) -> list[tuple[str, str, str, int]]:
        return [(seen.client, seen.state, seen.source.value, seen.since) for seen in self.clients.seen()]

    def spent(self) -> dict[tuple[str, str], float]:
        return {key: time / SECOND for key, time in self.clients.spent(self.now).items()}


def inferred(*states: str, client: str = "anna") -> list[tuple[str, str, str]]:
    return [(client, state, "inferred") for state in states]


class TestInferred:
    def test_without_a_protocol_a_client_is_connected_once_its_connection_is_open(self) -> None:
        stage = Stage()
        session = stage.ask()
        assert stage.states() == inferred("connecting")
        stage.answer(session)
        stage.now += SECOND
        stage.reset(session)
        stage.open()
        assert stage.states() == inferred("connecting", "connected", "lost", "connecting", "connected")
        assert stage.clients.transitions == {
            ("connecting", "connected", "inferred"): 2,
            ("connected", "lost", "inferred"): 1,
            ("lost", "connecting", "inferred"): 1,
        }

    def test_with_a_protocol_it_is_connected_once_that_says_so(self) -> None:
        stage = Stage(protocol="pusher")
        session = stage.open()
        assert stage.states() == inferred("connecting")
        stage.establish(session, b"1.1")
        assert stage.states() == inferred("connecting", "connected")
        (*_, last) = stage.told
        assert isinstance(last.event, ClientState)
        assert (last.event.previous, last.event.attempt, last.event.ordinal) == ("connecting", session.number, None)

    def test_a_refused_attempt_is_lost_again(self) -> None:
        stage = Stage(rules=[{"reject": {"status": 503}}])
        session = stage.ask()
        session.ended(Side.CLIENT, stage.now)
        stage.settle(session)
        assert stage.states() == inferred("connecting", "lost")

    def test_that_no_attempt_comes_says_nothing(self) -> None:
        stage = Stage()
        stage.reset(stage.open())
        lost_at, count = stage.now, len(stage.told)
        stage.now += 3600 * SECOND
        stage.world.tick(stage.now)
        stage.settle()
        assert (stage.seen(), len(stage.told)) == ([("anna", "lost", "inferred", lost_at)], count)

    def test_the_clients_own_end_counts_though_the_other_leg_lives_on(self) -> None:
        stage = Stage()
        session = stage.open()
        session.receive(Side.CLIENT, build_close(1000, b"", MASK), stage.now)
        session.ended(Side.CLIENT, stage.now)
        stage.settle(session)
        assert not session.is_over
        assert stage.states() == inferred("connecting", "connected", "lost")

    def test_of_two_connections_the_one_that_is_left_counts(self) -> None:
        stage = Stage()
        first, second = stage.open(), stage.open()
        stage.reset(first)
        assert stage.states() == inferred("connecting", "connected")
        stage.reset(second)
        assert stage.states() == inferred("connecting", "connected", "lost")

    def test_a_client_behind_a_half_open_connection_is_connected_until_it_tries_anew(self) -> None:
        silence = {"half_open": {"hits": "live"}}
        stage = Stage(phases=[{"name": "healthy", "until": "step"}, {"name": "outage", "rules": [silence]}])
        silent = stage.open()
        stage.world.step(stage.now)
        stage.settle(silent)
        assert silent.is_silent
        assert stage.states() == inferred("connecting", "connected")
        stage.open()
        assert stage.states() == inferred("connecting", "connected", "connecting", "connected")

    def test_clients_are_told_apart_as_the_profile_does(self) -> None:
        stage = Stage()
        anna, _ = stage.open("anna"), stage.open("bert")
        stage.reset(anna)
        assert [(client, state) for client, state, *_ in stage.seen()] == [("bert", "connected"), ("anna", "lost")]

    def test_plain_requests_are_no_attempts(self) -> None:
        stage = Stage()
        session = stage.world.accept("127.0.0.1:5", stage.now)
        session.receive(Side.CLIENT, b"GET /?user=anna HTTP/1.1\r\nHost: h\r\n\r\n", stage.now)
        stage.settle(session)
        assert stage.told == []

    def test_nothing_is_kept_of_connections_that_are_over(self) -> None:
        stage = Stage()
        for number in range(CLIENTS_MAX + 50):
            stage.reset(stage.open(f"user-{number}"))
        assert len(stage.clients.seen()) == CLIENTS_MAX
        kept = vars(stage.clients)
        assert (len(kept["_stages"]), len(kept["_counts"]), len(kept["_clients"])) == (0, 0, CLIENTS_MAX)


class TestReported:
    def test_states_are_told_with_how_the_client_came_to_them(self) -> None:
        stage = Stage()
        stage.report(1, "connecting")
        (told,) = stage.report(2, "connected", "connecting")
        assert told.event == ClientState(
            "anna", "connecting", "connected", "reported", None, "", "i", 2, 2.0, is_late=False
        )
        assert stage.clients.transitions == {("connecting", "connected", "reported"): 1}

    def test_of_a_client_that_reports_under_its_key_nothing_is_inferred(self) -> None:
        stage = Stage()
        stage.report(1, "connecting")
        stage.reset(stage.open())
        stage.open("bert")
        assert stage.states() == [
            ("anna", "connecting", "reported"),
            *inferred("connecting", "connected", client="bert"),
        ]

    def test_a_socket_id_shows_whose_connection_it_is_and_ends_inferring(self) -> None:
        stage = Stage(protocol="pusher")
        session = stage.open("u1")
        stage.establish(session, b"1.1")
        assert [client for client, *_ in stage.seen()] == ["u1"]
        (told,) = stage.report(1, "connected", socket_id="1.1")
        assert isinstance(told.event, ClientState)
        assert told.event.attempt == session.number
        assert stage.seen() == [("anna", "connected", "reported", stage.now)]
        before = len(stage.told)
        stage.reset(session)
        assert len(stage.told) == before
        (told,) = stage.report(2, "connecting", "connected", socket_id="1.1")
        assert isinstance(told.event, ClientState)
        assert told.event.attempt == session.number  # also behind its end

    def test_of_connections_without_a_key_nothing_is_inferred_once_anybody_reports(self) -> None:
        stage = Stage(identify=None)
        stage.open()
        assert stage.states() == inferred("connecting", "connected", client="")
        stage.report(1, "connected")
        stage.reset(stage.open())
        assert stage.states()[2:] == [("anna", "connected", "reported")]
        assert [client for client, *_ in stage.seen()] == ["anna"]

    def test_a_client_without_a_name_has_that_of_its_connection_from_then_on(self) -> None:
        stage = Stage(protocol="pusher")
        stage.report(1, "connecting", client="")
        stage.establish(stage.open("u1"), b"1.1")
        stage.report(2, "connected", "connecting", client="", socket_id="1.1")
        stage.report(3, "unavailable", "connected", client="")
        assert [client for client, _, source in stage.states() if source == "reported"] == ["", "u1", "u1"]
        assert [(client, state) for client, state, *_ in stage.seen()] == [("u1", "unavailable")]

    def test_a_late_report_is_told_as_such_and_changes_no_state(self) -> None:
        stage = Stage()
        stage.report(1, "connecting")
        stage.report(3, "unavailable", "connected")
        (told,) = stage.report(2, "connected", "connecting")
        assert isinstance(told.event, ClientState)
        assert (told.event.is_late, told.event.ordinal) == (True, 2)
        assert [state for _, state, *_ in stage.seen()] == ["unavailable"]
        assert stage.clients.transitions[("connecting", "connected", "reported")] == 1

    def test_a_report_that_comes_again_is_counted_and_not_told(self) -> None:
        stage = Stage()
        for ordinal in (1, 3, 2, 2**53):
            assert len(stage.report(ordinal, "connected")) == 1
        far_behind = 2**53 - ORDINALS_REMEMBERED
        assert len(stage.report(far_behind + 1, "connected")) == 1
        for ordinal in (2**53, 3, 2, 1, far_behind + 1, far_behind):
            assert stage.report(ordinal, "connected") == []
        assert stage.clients.dropped["repeated"] == 6

    def test_each_instance_of_the_script_counts_for_itself(self) -> None:
        stage = Stage()
        stage.report(5, "connected", instance="before the reload")
        stage.say(6, "gone", instance="before the reload")
        (told,) = stage.report(1, "connecting", instance="after it")
        assert isinstance(told.event, ClientState)
        assert not told.event.is_late
        assert [(client, state) for client, state, *_ in stage.seen()] == [("anna", "connecting")]

    def test_errors_retries_and_marks_are_told_and_change_no_state(self) -> None:
        stage = Stage()
        stage.report(1, "connected")
        (told,) = stage.say(2, "error", detail="PusherError", code=1006, path="data.code")
        assert told.event == ClientSaid(
            "anna", "error", "PusherError", 1006, "data.code", None, "", "i", 2, 2.0, is_late=False
        )
        stage.say(3, "connecting_in", detail="1")
        stage.say(4, "mark", detail="banner")
        assert [state for _, state, *_ in stage.seen()] == ["connected"]

    def test_a_program_may_report_as_well(self) -> None:
        stage = Stage()
        stage.open()
        stage.world.report("anna", "connected", "", stage.now)
        stage.world.report("anna", "away", "", stage.now)
        stage.settle()
        stage.reset(stage.open())
        assert stage.states() == inferred("connecting", "connected")  # its records are in the journal as they are
        assert stage.seen() == [("anna", "away", "reported", stage.now)]
        assert stage.clients.transitions[("connected", "other", "reported")] == 1

    def test_socket_ids_and_clients_are_bounded(self) -> None:
        stage = Stage(protocol="pusher")
        session = stage.open()
        for number in range(SOCKETS_MAX + 10):
            stage.clients.tell(Told(stage.now, session, Established(f"{number}")))
            stage.clients.hear(Statement(f"c{number}", "i", 1, 1.0, "", "state", "connected"), stage.now)
        assert {name: len(vars(stage.clients)[name]) for name in ("_owners", "_clients", "_reporting")} == {
            "_owners": SOCKETS_MAX,
            "_clients": CLIENTS_MAX,
            "_reporting": CLIENTS_MAX,
        }


class TestTime:
    def test_time_in_a_state_runs_on_until_the_next_is_told(self) -> None:
        stage = Stage()
        stage.report(1, "connecting")
        stage.now += 2 * SECOND
        stage.report(2, "connected", "connecting")
        stage.now += 3 * SECOND
        assert stage.spent() == {("connecting", "reported"): 2, ("connected", "reported"): 3}
        stage.report(3, "connected")  # told again, as by a page that is back
        stage.now += SECOND
        assert stage.spent() == {("connecting", "reported"): 2, ("connected", "reported"): 4}

    def test_it_ends_when_the_client_is_gone(self) -> None:
        stage = Stage()
        stage.report(1, "connected")
        stage.now += SECOND
        stage.say(2, "gone")
        stage.now += 5 * SECOND
        assert stage.spent() == {("connected", "reported"): 1}
        assert stage.seen() == []

    def test_what_was_inferred_before_the_first_report_stays_counted_as_such(self) -> None:
        stage = Stage()
        stage.open()
        stage.now += SECOND
        stage.report(1, "connected")
        stage.now += 2 * SECOND
        assert stage.spent() == {
            ("connected", "inferred"): 1,
            ("connected", "reported"): 2,
            ("connecting", "inferred"): 0,
        }

    def test_it_never_runs_backwards_whoever_is_let_go(self) -> None:
        stage = Stage()
        last = 0.0
        for number in range(CLIENTS_MAX + 20):
            stage.now += SECOND
            stage.clients.hear(Statement(f"c{number}", "i", 1, 1.0, "", "state", "connected"), stage.now)
            spent = stage.spent()[("connected", "reported")]
            assert spent >= last
            last = spent

    def test_all_labels_are_of_a_closed_set(self) -> None:
        stage = Stage()
        names = ["x" * 60, "Connected", "", "reconnecting", *STATES]
        for number, name in enumerate(names, 1):
            stage.report(number, name or "_", "\n")
            stage.now += SECOND
        assert {state for state, _ in stage.clients.spent(stage.now)} <= STATES | {"other"}
        assert {label for key in stage.clients.transitions for label in key[:2]} <= STATES | {"other"}
