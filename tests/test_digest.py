import random
from collections.abc import Iterable

import pytest

from chaosproxy.digest import RunDigest, run_digest
from chaosproxy.journal import Record


def on(connection: int, event: str, client: str = "", **fields: object) -> Record:
    return {"event": event, "attempt": 9, "client": client, "connection": connection, **fields}


def of_proxy(event: str, **fields: object) -> Record:
    return {"event": event, **fields}


def opening(connection: int, client: str = "") -> list[Record]:
    return [
        on(connection, "asked", client, path="/app/key", headers=["host"]),
        on(connection, "dialled", client, error=""),
        on(connection, "answered", client, status=101, by="server", reason=""),
        on(connection, "opened", client, extension=""),
    ]


def failing(connection: int) -> list[Record]:
    return [
        on(connection, "asked", path="/app/key", headers=[]),
        on(connection, "dialled", error="127.0.0.1:5: connection refused"),
        on(connection, "answered", status=502, by="proxy", reason="…"),
        on(connection, "closed", by="proxy", how="answered 502", code=None),
    ]


def message(side: str, event: str, opcode: str = "text", size: int = 10) -> Record:
    return on(1, "framed", side=side, opcode=opcode, size=size, protocol_event=event)


def struck(turn: int | None, side: str | None, rule: str = "r1") -> Record:
    return on(1, "struck", rule=rule, fault="drop", side=side, message=turn and turn + 5, turn=turn)


PHASE = of_proxy("phase_entered", phase="outage", visit=1, reason="time")
LATER = of_proxy("phase_entered", phase="later", visit=2, reason="time")
CLOSED = on(1, "closed", by="client", how="close", code=1000)
ESTABLISHED = on(1, "established", socket_id="1.2")


def subscribed(channel: str) -> Record:
    return on(1, "subscribed", channel=channel)


def whole(*records: Record | Iterable[Record]) -> str:
    return run_digest(flat(*records)).whole


def flat(*records: Record | Iterable[Record]) -> list[Record]:
    return [one for item in records for one in ([item] if isinstance(item, dict) else item)]


SAME = {
    "times and numbers in the journal": (
        [{**record, "at": 1.0, "seq": 1} for record in opening(1)],
        [{**record, "at": 2.0, "seq": 5, "attempt": 3} for record in opening(1)],
    ),
    "socket ids": ([ESTABLISHED], [on(1, "established", socket_id="7.8")]),
    "control frames": ([message("client", "", "ping"), message("client", "a")], [message("client", "a")]),
    "sizes of messages": ([message("client", "a", size=1)], [message("client", "a", size=2)]),
    "how the two sides interleave": (
        [message("client", "a"), struck(1, "server"), message("server", "b")],
        [struck(1, "server"), message("server", "b"), message("client", "a")],
    ),
    "how often the protocol pings, and when": (
        [message("client", "pusher:ping"), message("client", "a"), message("client", "pusher:ping")],
        [message("client", "a"), message("client", "pusher:ping")],
    ),
    "how often a connection was tried in vain": (
        [opening(1), CLOSED, failing(2), failing(3), failing(4), opening(5)],
        [opening(1), CLOSED, failing(2), opening(3)],
    ),
    "in which phase connections were tried in vain, behind the first": (
        [PHASE, failing(1), failing(2), LATER, opening(3)],
        [PHASE, failing(1), LATER, failing(2), opening(3)],
    ),
    "which connection was tried in vain as a phase ended": (
        [PHASE, failing(1), *failing(2)[:3], LATER, on(2, "healed", rule="r", fault="hang"), failing(2)[3], opening(3)],
        [PHASE, failing(1), failing(2), LATER, opening(3)],
    ),
    "how often an attempt was struck": (
        [of_proxy("struck", attempt=number, rule="r", fault="reset") for number in (1, 2, 3)],
        [of_proxy("struck", attempt=7, rule="r", fault="reset")],
    ),
    "the order of subscriptions": (
        [ESTABLISHED, subscribed("a"), subscribed("b"), CLOSED],
        [ESTABLISHED, subscribed("b"), subscribed("a"), CLOSED],
    ),
    "who was seen to end first": (
        [on(1, "ended", side="client", how="fin", code=1000, reason=""), CLOSED],
        [CLOSED, on(1, "ended", side="server", how="fin", code=1000, reason="")],
    ),
    "when one connection's end was over, beside the next one's beginning": (
        [opening(1), CLOSED, opening(2)],
        [opening(1), opening(2), CLOSED],
    ),
    "amounts held, discarded and unjudged": (
        [on(1, "discarded", side="client", size=4), on(1, "limited", side="client", held=5), CLOSED],
        [CLOSED],
    ),
    "a dial that waited for the cap": ([on(1, "dial_delayed"), *opening(1)], opening(1)),
    "probes": ([of_proxy("accepted", attempt=1), of_proxy("closed", attempt=1, by="client"), CLOSED], [CLOSED]),
    "how a half-open client reports": ([of_proxy("reported", client="", state="x"), CLOSED], [CLOSED]),
}

DIFFERENT = {
    "the path": (opening(1), [{**opening(1)[0], "path": "/other"}, *opening(1)[1:]]),
    "who closed": ([CLOSED], [{**CLOSED, "by": "server"}]),
    "the phase of the first connection that was tried in vain": (
        [PHASE, failing(1), LATER, failing(2)],
        [PHASE, LATER, failing(1)],
    ),
    "another fate of a connection that was tried in vain": (
        [failing(1), failing(2)],
        [failing(1), *failing(2)[:3], on(2, "closed", by="client", how="reset", code=None)],
    ),
    "whether one opened between those that were tried in vain": (
        [failing(1), opening(2), failing(3)],
        [failing(1), opening(2)],
    ),
    "the close code": ([CLOSED], [{**CLOSED, "code": 1006}]),
    "the phase in which a connection closed": ([PHASE, CLOSED], [CLOSED, PHASE]),
    "a fault": ([struck(None, None)], []),
    "which message a fault struck": ([struck(1, "client")], [struck(2, "client")]),
    "which rule struck": ([struck(1, "client", "r1")], [struck(1, "client", "r2")]),
    "the order of one side's messages": (
        [message("client", "a"), message("client", "b")],
        [message("client", "b"), message("client", "a")],
    ),
    "whether a connection was tried in vain": ([opening(1), failing(2), opening(3)], [opening(1), opening(2)]),
    "how often a connection opened and was lost": (
        [opening(1), CLOSED, opening(2)],
        [opening(1), CLOSED],
    ),
    "a subscription": ([ESTABLISHED, subscribed("a")], [ESTABLISHED, subscribed("b")]),
    "on which side of an event a subscription came": (
        [ESTABLISHED, subscribed("a"), struck(None, None), subscribed("b")],
        [ESTABLISHED, subscribed("b"), struck(None, None), subscribed("a")],
    ),
    "the client": (opening(1, "anna"), opening(1, "bert")),
    "a rule added by hand": ([of_proxy("rule_changed", rule="r", fault="drop", change="added")], []),
}


@pytest.mark.parametrize("what", SAME)
def test_a_digest_does_not_depend_on(what: str) -> None:
    one, other = SAME[what]
    assert whole(*one) == whole(*other)


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_digest_depends_on(what: str) -> None:
    one, other = DIFFERENT[what]
    assert whole(*one) != whole(*other)


def test_clients_have_digests_of_their_own_whatever_the_others_do() -> None:
    alone = run_digest(opening(1, "anna"))
    together = run_digest(flat(opening(1, "bert"), opening(1, "anna"), on(1, "closed", "bert", by="client", code=1000)))
    assert together.clients["anna"] == alone.clients["anna"]
    assert set(together.clients) == {"anna", "bert"}
    assert together.whole != alone.whole


def test_any_interleaving_of_two_clients_gives_the_same_digests() -> None:
    dice = random.Random(7)
    expected = run_digest(flat(opening(1, "anna"), opening(1, "bert")))
    for _ in range(20):
        left, right = opening(1, "anna"), opening(1, "bert")
        mixed = []
        while left or right:
            mixed.append((left if left and (not right or dice.random() < 0.5) else right).pop(0))
        assert run_digest(mixed) == expected


def test_states_are_digested_separately_without_repeats_and_details() -> None:
    def reporting(*states: str) -> RunDigest:
        return run_digest(
            of_proxy("reported", client="anna", state=state, detail=str(index)) for index, state in enumerate(states)
        )

    assert reporting("connecting", "connecting", "connected") == reporting("connecting", "connected")
    assert reporting("connecting").states != reporting("connected").states
    assert reporting("connecting").whole == reporting("connected").whole


@pytest.mark.parametrize("kind", ["timeline_reset", "profile_changed"])
def test_another_run_has_a_digest_of_its_own(kind: str) -> None:
    before = [PHASE, opening(1), struck(1, "client"), of_proxy("phase_entered", phase="", visit=1, reason="reset")]
    beginning = of_proxy(kind, profile="mine", digest="12ab", seed=1)
    assert whole(*before, beginning, LATER, opening(2)) == whole(LATER, opening(2))
    assert whole(*before, beginning, LATER, opening(2)) != whole(*before)


def test_a_pause_is_part_of_the_story() -> None:
    paused = [of_proxy("phase_paused", phase="outage"), of_proxy("phase_resumed", phase="outage")]
    assert whole(PHASE, *paused, LATER) != whole(PHASE, LATER)
