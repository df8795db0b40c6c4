"""What the live lines say, in virtual time."""

from typing import Any

import pytest
from rich.cells import cell_len

from chaosproxy.cli.board import Line, Notes, Rates, age, board, bytes_of, size
from chaosproxy.observe import Clients, Statement
from chaosproxy.units import SECOND
from tests.virtual import CLIENT, SERVER, Network, profile, text

MASK = b"\1\2\3\4"
NO_RATES = Rates()


class Foot:
    """A network, and the lines at the foot of a terminal before it."""

    def __init__(self, *phases: dict[str, Any], **top: Any) -> None:
        self.network = Network(profile(*phases, **top))
        self.clients = Clients()
        self.notes = Notes(set(), {})

    def lines(self, columns: int = 80, most: int = 12, rates: Rates = NO_RATES) -> list[Line]:
        network = self.network
        return board(network.world, self.clients, self.notes, rates, network.now, columns, most)

    def texts(self, columns: int = 80, most: int = 12) -> list[str]:
        return [line.text for line in self.lines(columns, most)]


def test_before_anybody_comes_there_is_the_last_line_alone() -> None:
    assert Foot({"name": "calm"}).texts() == [
        "waiting for a client | 0 open | 0 attempts | 0 strikes | up 0B/s | down 0B/s"
    ]


def test_each_connection_has_a_line() -> None:
    foot = Foot({"name": "outage", "lasts": "90s", "rules": [{"latency": "1ms"}]}, identify={"query": "client"})
    foot.network.open("/app?client=anna")
    foot.network.wait(65 * SECOND)
    bert = foot.network.open("/app?client=bert")
    foot.notes.established.add(bert.session.number)
    bert.send(CLIENT, text("hello", MASK))
    bert.send(SERVER, text("x" * 2000), text("y"))
    assert foot.texts() == [
        "#  CLIENT   AGE  WIRE            UP    DOWN  RULES",
        "1  anna    1:05  open          0/0B    0/0B  latency",
        "2  bert      0s  established  1/11B  2/2.0K  latency",
        "phase outage, 25s left | 2 open | 2 attempts | 3 strikes | up 0B/s | down 0B/s",
    ]


def test_a_silent_one_says_since_when_and_a_client_that_reports_what_it_says() -> None:
    rules = [{"half_open": {"hits": "live"}}]
    foot = Foot({"name": "calm", "lasts": "1s"}, {"name": "outage", "until": "step", "rules": rules})
    silent = foot.network.open("/one").session
    foot.network.wait(1 * SECOND)
    foot.notes.silent_since[silent.number] = foot.network.now
    foot.network.wait(7 * SECOND)
    titles, line, foot_line = foot.lines()
    assert line.text.split() == ["1", "/one", "8s", "silent", "7s", "0/0B", "0/0B", "half_open"]
    assert line.tone == "red"
    assert "SAYS" not in titles.text
    assert foot_line.text.startswith("phase outage, until step | 1 open")
    foot.clients.hear(Statement("", "i", 1, 1.0, "", "state", "unavailable"), foot.network.now)
    assert "SAYS" not in foot.lines()[0].text, "nobody knows whose report it is"


def test_what_a_client_says_stands_at_its_connection() -> None:
    foot = Foot(protocol="pusher")
    connection = foot.network.open()
    heard = len(foot.network.told)
    connection.send(SERVER, text('{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.1\\"}"}'))
    for told in foot.network.told[heard:]:
        foot.clients.tell(told)
    foot.clients.hear(Statement("", "i", 1, 1.0, "1.1", "state", "un\x1b[2Javailable"), foot.network.now)
    titles, line, _ = foot.texts()
    assert titles.split() == ["#", "CLIENT", "AGE", "WIRE", "SAYS", "UP", "DOWN"]
    assert "un\\x1b[2Java" in line
    assert "\x1b" not in line


@pytest.mark.parametrize(("columns", "most"), [(80, 12), (120, 20), (40, 5), (20, 3), (10, 2), (1, 1)])
def test_however_small_it_is_it_fits(columns: int, most: int) -> None:
    rules = [{"latency": "1ms"}, {"drop": {}}]
    foot = Foot({"name": "a-phase-with-a-long-name", "rules": rules}, identify={"query": "client"})
    for number in range(30):
        foot.network.open(f"/?client=日本語の名前{number}")
        foot.network.wait(SECOND)
    lines = foot.lines(columns, most)
    assert 1 <= len(lines) <= most
    assert all(cell_len(line.text) <= max(1, columns - 1) for line in lines)
    if most > 3:
        shown = len(lines) - 3
        assert lines[-2].text == f"… and {30 - shown} more"
        assert lines[-3].text.split()[0] == "30", "the newest is there"


def test_the_silent_are_shown_where_not_all_fit() -> None:
    rules = [{"half_open": {"hits": "live"}, "when": {"connection": 1}}]
    foot = Foot({"name": "calm", "lasts": "1s"}, {"name": "outage", "rules": rules})
    for _ in range(10):
        foot.network.open()
    foot.network.wait(2 * SECOND)
    foot.notes.silent_since[1] = foot.network.now
    numbers = [line.split()[0] for line in foot.texts(most=5)[1:-2]]
    assert numbers == ["1", "10"]


def test_the_last_line_tells_of_the_timeline() -> None:
    foot = Foot(
        {"name": "calm", "lasts": "10s"},
        {"name": "wait", "until": {"opened": 5, "within": "1m"}},
        {"name": "last", "lasts": "1s"},
    )

    def phase() -> str:
        return foot.texts()[-1].partition(" |")[0]

    foot.network.open()
    assert phase() == "phase calm, 10s left"
    foot.network.world.pause(foot.network.now)
    assert phase() == "phase calm, paused"
    foot.network.world.resume(foot.network.now)
    foot.network.step()
    assert phase() == "phase wait, until opened, 1:00 left"
    foot.network.step()
    foot.network.wait(2 * SECOND)
    assert phase() == "timeline over"
    foot.network.drain()
    assert phase() == "ending"


def test_a_closed_listener_is_said() -> None:
    foot = Foot({"name": "calm", "until": {"opened": 1}}, {"name": "outage", "rules": ["refuse"]})
    foot.network.open()
    assert foot.texts()[-1].startswith("phase outage | refusing | 1 open | 1 attempts | 1 strikes")


def test_rates_are_of_all_bytes() -> None:
    foot = Foot()
    connection = foot.network.open()
    connection.send(CLIENT, text("hello", MASK))
    assert bytes_of(foot.network.world) == (11, 0)
    connection.rst(CLIENT)
    assert foot.network.world.sessions == {}
    assert bytes_of(foot.network.world) == (11, 0)
    assert foot.lines(rates=Rates(1536, 5))[-1].text.endswith("up 1.5K/s | down 5B/s")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0K"),
        (1024, "1.0K"),
        (10 * 1024, "10K"),
        (999 * 1024, "999K"),
        (1 << 20, "1.0M"),
    ],
)
def test_sizes_are_short(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(("seconds", "words"), [(0, "0s"), (59.9, "59s"), (60, "1:00"), (3605, "1:00:05")])
def test_ages_are_in_whole_seconds(seconds: float, words: str) -> None:
    assert age(int(seconds * SECOND)) == words
