"""Lines made from events; times are seconds."""

import pytest

from chaosproxy.cli import narrate
from chaosproxy.cli.narrate import (
    CONTAINER_REMEDY,
    DISTRUST_REMEDY,
    PLAINTEXT_REMEDY,
    POLLING_REMEDY,
    TLS_REMEDY,
    Narrator,
)
from chaosproxy.effects import Present
from chaosproxy.events import (
    Accepted,
    Answered,
    Asked,
    Closed,
    CloseReceived,
    Dialled,
    Event,
    Listening,
    Opened,
    PhaseEntered,
    PhasePaused,
    PhaseResumed,
    ProfileChanged,
    Reported,
    Requested,
    Responded,
    Secured,
    Struck,
    Subscribed,
    SubscriptionAsked,
    SubscriptionRefused,
    TimelineReset,
    Tracked,
)
from chaosproxy.lanes import Limits
from chaosproxy.opening import PLAINTEXT
from chaosproxy.reading import Reading
from chaosproxy.session import Session
from chaosproxy.sockets import Address, Upstream
from chaosproxy.tally import Tally
from chaosproxy.units import SECOND
from chaosproxy.wire.frames import Side
from chaosproxy.world import Told

OFFSET_WIDTH = len("    1.500  ")
UPSTREAM = Upstream(Address("localhost", 6001))


def session(attempt: int, connection: int = 0, client: str = "") -> Session:
    made = Session(attempt, Limits(1024, 1024), Reading(None, False, False), Tally(), 0)
    made.connection, made.client = connection, client
    return made


def lines(
    *happened: tuple[Session | None, Event], at: float = 1.5, is_verbose: bool = False, has_message_rules: bool = False
) -> list[str]:
    narrator = Narrator(UPSTREAM, 0, is_verbose, lambda: has_message_rules)
    told = [Told(int(at * SECOND), where, event) for where, event in happened]
    return [str(said)[OFFSET_WIDTH:] for item in told for said in narrator.tell(item)]


def test_a_line_has_its_time_in_seconds() -> None:
    (line,) = Narrator(UPSTREAM, SECOND).tell(Told(3 * SECOND // 2, None, PhaseEntered("outage", 2, "time")))
    assert str(line) == "    0.500  phase outage (time)"


def test_a_connection_tells_its_story_in_plain_words() -> None:
    one = session(3, 1, "anna")
    assert lines(
        (one, Accepted("127.0.0.1:5000")),
        (one, Asked("anna", 1, "/app/key", ("host",))),
        (one, Dialled("")),
        (one, Answered(101, "server", "")),
        (one, Opened("permessage-deflate")),
        (one, Subscribed("news")),
        (one, Struck("drop-1", "drop", Side.CLIENT, 7, 2)),
        (one, Closed("rule", "close", 4200)),
    ) == [
        "connection 1 of anna open (permessage-deflate)",
        "connection 1 of anna subscribed to news",
        "drop struck connection 1 of anna, message 7 from the client",
        "connection 1 of anna over: close 4200 by the rule",
    ]


def test_details_are_for_the_verbose() -> None:
    assert lines((session(3), Accepted("127.0.0.1:5000")), is_verbose=True) == ["attempt 3 from 127.0.0.1:5000"]


def test_each_detail_is_told_in_words() -> None:
    one = session(3, 1)
    assert lines(
        (one, CloseReceived(Side.CLIENT, 1000, "bye")),
        (one, CloseReceived(Side.SERVER, None, "")),
        (one, SubscriptionAsked("private-a", "f00d")),
        (one, Tracked(Side.SERVER, "/seq", "7", False)),
        (one, Tracked(Side.SERVER, "/seq", "7", True)),
        is_verbose=True,
    ) == [
        "connection 1: close 1000 from the client: bye",
        "connection 1: close without a code from the server",
        "connection 1 asks for private-a",
        "connection 1: /seq 7 from the server came",
        "connection 1: /seq 7 from the server has left",
    ]
    assert lines((one, SubscriptionRefused("private-a"))) == ["connection 1 may not subscribe to private-a"]


def test_what_peers_say_can_not_write_on_the_terminal() -> None:
    one = session(1, 1, "\x1b[31mred")
    (line,) = lines((one, Subscribed("a\r\n\x1b]0;title\x07" + "x" * 500)))
    assert line.isprintable()
    assert len(line) < 200
    (said,) = lines((None, Reported("app", "ready\n", "\u202e")))
    assert said == r"client app says ready\n: \u202e"


def test_a_tls_hello_gets_its_remedy_once_per_source() -> None:
    hello = Answered(400, "proxy", "a TLS hello came to a plaintext port: …")
    told = [
        (session(number), event)
        for number, peer in enumerate(["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"])
        for event in (Accepted(peer), hello)
    ]
    assert [line for line in lines(*told) if "warning" in line] == [f"warning: {TLS_REMEDY}"] * 2


def test_plaintext_on_a_tls_port_gets_its_remedy_once_per_source() -> None:
    told = [
        (session(number), event)
        for number in (1, 2)
        for event in (Accepted("10.0.0.1:1"), Answered(400, "proxy", PLAINTEXT))
    ]
    assert [line for line in lines(*told) if "warning" in line] == [f"warning: {PLAINTEXT_REMEDY}"]
    assert "--tls dev" in TLS_REMEDY and "wss://" in PLAINTEXT_REMEDY


def test_tls_is_told_as_it_is_set_up_and_as_it_fails() -> None:
    one = session(3)
    assert lines((one, Secured(Side.CLIENT, "TLSv1.3", "")), is_verbose=True) == ["attempt 3: TLSv1.3 with the client"]
    assert lines((one, Secured(Side.CLIENT, "TLSv1.3", ""))) == []
    assert lines((one, Secured(Side.CLIENT, "", "bad\x1b record"))) == [
        r"attempt 3: TLS with the client failed: bad\x1b record"
    ]


def test_a_client_that_does_not_trust_us_gets_its_remedy_unless_a_rule_is_why() -> None:
    failed = Secured(Side.CLIENT, "", "the peer says unknown ca")
    assert lines((session(1), failed))[-1] == f"warning: {DISTRUST_REMEDY}"
    struck = session(2)
    struck._at_handshake["rule"] = Present("unknown_ca")
    assert not any("warning" in line for line in lines((struck, failed)))


def test_an_upstream_whose_tls_fails_is_told_with_its_own_remedy() -> None:
    failed = Dialled("localhost:443: TLS failed: its certificate has expired; renew it, or --upstream-insecure")
    assert [line for line in lines((session(1, 1), failed)) if "warning" in line] == [
        f"warning: clients get 502: {failed.error}"
    ]


POLLS = ("/pusher/app/key/123/a1b2/xhr_streaming", "/socket.io/", "/echo/000/xyz/eventsource")


@pytest.mark.parametrize("path", POLLS)
def test_polling_beside_rules_on_messages_gets_its_remedy_once_per_source(path: str) -> None:
    told = [
        (session(number), event)
        for number, peer in enumerate(["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"])
        for event in (Accepted(peer), Requested("", "POST", path, ("host",)))
    ]
    warnings = [line for line in lines(*told, has_message_rules=True) if "warning" in line]
    assert warnings == [f"warning: {POLLING_REMEDY}"] * 2
    assert "enabledTransports: ['ws']" in POLLING_REMEDY
    assert lines(*told) == []


@pytest.mark.parametrize("path", ["/apps/1/events", "/auth", "/socket.io/socket.io.js", "/xhr/list"])
def test_other_plain_http_is_no_mistake(path: str) -> None:
    assert lines((session(1), Requested("", "POST", path, ())), has_message_rules=True) == []


def test_plain_requests_are_details_unless_we_answer_them() -> None:
    one = session(1)
    told = [(one, Requested("", "GET", "/a\x1b", ())), (one, Responded(200, "server", ""))]
    assert lines(*told) == []
    assert lines(*told, is_verbose=True) == ["attempt 1 requests GET /a\\x1b", "attempt 1 responded 200"]
    assert lines((one, Responded(503, "rule", ""))) == ["attempt 1 responded 503 by the rule"]


def test_an_upstream_that_is_down_is_warned_of_once() -> None:
    failed = Dialled("localhost:6001: connection refused")
    told = lines((session(1, 1), failed), (session(2, 2), failed))
    assert [line for line in told if "warning" in line] == [
        f"warning: clients get 502 until {UPSTREAM.address} is there; {CONTAINER_REMEDY}"
    ]
    assert "localhost is the container" in CONTAINER_REMEDY


def test_clients_of_a_tcp_upstream_that_is_down_are_reset() -> None:
    redis = Upstream(Address("redis", 6379), "tcp")
    told = Told(SECOND, session(1, 1), Dialled("redis:6379: connection refused"))
    (_, warning) = Narrator(redis, 0).tell(told)
    assert "warning: clients are reset until redis:6379 is there" in warning.text


def test_a_flood_is_cut_and_counted() -> None:
    narrator = Narrator(UPSTREAM, 0)
    flood = [line for _ in range(500) for line in narrator.tell(Told(0, session(1, 1), Opened("")))]
    after = narrator.tell(Told(SECOND, None, Listening(True, "time")))
    assert len(flood) == narrate.LINES_PER_SECOND_MAX
    assert str(after[0]).endswith(f"… {500 - narrate.LINES_PER_SECOND_MAX} more lines (the journal has them all)")
    assert str(after[1]).endswith("listening again (time)")


def test_what_is_done_to_the_timeline_by_hand_is_told() -> None:
    assert lines(
        (None, PhasePaused("outage")),
        (None, PhaseResumed("outage")),
        (None, PhasePaused("")),
        (None, PhaseResumed("")),
        (None, PhaseEntered("", 2, "reset")),
        (None, TimelineReset("mine")),
        (None, ProfileChanged("", "12ab", 7, {"version": 1})),
        is_verbose=True,
    ) == [
        "phase outage is paused",
        "phase outage goes on",
        "the timeline is paused",
        "the timeline goes on",
        "the phase is left (reset)",
        "reset: profile mine is played anew",
        "profile without a name is played from here on (seed 7)",
    ]
