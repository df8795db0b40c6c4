"""Stories of bytes that leave slowly: bandwidth, slice and stall, alone and with others, and how they heal."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosproxy.events import Limited, Pause, Struck
from chaosproxy.units import SECOND
from tests.virtual import (
    CLIENT,
    MS,
    SERVER,
    START,
    Connection,
    Network,
    close_frame,
    frame,
    live_rule,
    payloads,
    profile,
    text,
)

M = b"mask"


def opened(*rules: Any, **top: Any) -> Connection:
    return Network(profile(rules=list(rules), **top)).open()


def sizes(c: Connection, since: int = 0) -> list[tuple[int, int]]:
    """When bytes reached the client behind the head: milliseconds since START, and how many by then."""
    found: list[tuple[int, int]] = []
    total = -len(c.client.data.partition(b"\r\n\r\n")[0]) - 4
    for at, data in c.client.received:
        total += len(data)
        if total > 0:
            found.append(((at - START) // MS, total))
    return found


def wait_lately(network: Network, duration: int, late: int) -> None:
    """Let time pass, and look at the clock so much behind each deadline."""
    end = network.now + duration
    while network.deadline is not None and network.deadline + late <= end:
        network.now = max(network.now, network.deadline + late)
        network.wait(0)
    network.now = end


class TestBandwidth:
    def test_so_many_bytes_take_exactly_their_time(self) -> None:
        c = opened({"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 498))  # 502 bytes with its head of 4
        c.network.wait(502 * MS - 1)
        assert len(c.client.stream) < 502
        c.network.wait(1)
        assert c.client.stream == text("x" * 498)

    def test_they_leave_evenly_and_not_at_the_end_all_at_once(self) -> None:
        c = opened({"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 996))
        c.network.wait(2 * SECOND)
        assert [at for at, _ in sizes(c)] == list(range(20, 1001, 20))
        assert [size for _, size in sizes(c)] == list(range(20, 1001, 20))

    def test_each_direction_has_the_rate_to_itself(self) -> None:
        c = opened({"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 96))
        c.send(CLIENT, text("y" * 94, M))
        c.network.wait(100 * MS)
        assert c.client.stream == text("x" * 96)
        assert c.server.stream == text("y" * 94, M)

    def test_one_direction_may_be_named(self) -> None:
        c = opened({"bandwidth": "1000B/s", "when": {"from": "server"}})
        c.send(CLIENT, text("y" * 94, M))
        assert c.server.stream == text("y" * 94, M)

    def test_a_burst_saved_up_while_nothing_passed_goes_at_once(self) -> None:
        c = opened({"bandwidth": {"rate": "1000B/s", "burst": "300B"}})
        c.network.wait(10 * SECOND)
        c.send(SERVER, text("x" * 496))
        assert len(c.client.stream) == 300
        c.network.wait(200 * MS - 1)
        assert len(c.client.stream) < 500
        c.network.wait(1)
        assert len(c.client.stream) == 500

    def test_all_connections_may_share_it_in_the_order_in_which_they_ask(self) -> None:
        network = Network(profile(rules=[{"bandwidth": {"rate": "1000B/s", "share": "all"}}]))
        first, second = network.open(), network.open()
        first.send(SERVER, text("x" * 98))
        second.send(SERVER, text("y" * 98))
        network.wait(100 * MS)
        assert len(first.client.stream) == len(second.client.stream) + 20 == 60
        network.wait(100 * MS - 1)
        assert len(second.client.stream) < 100
        network.wait(1)
        assert (first.client.stream, second.client.stream) == (text("x" * 98), text("y" * 98))

    def test_a_trace_goes_through_its_rates_over_and_over(self) -> None:
        trace = [{"rate": "1000B/s", "lasts": "100ms"}, {"rate": "0B/s", "lasts": "900ms"}]
        c = opened({"bandwidth": {"trace": trace}})
        c.send(SERVER, text("x" * 246))
        c.network.wait(SECOND)
        assert len(c.client.stream) == 100
        c.network.wait(SECOND)
        assert len(c.client.stream) == 200
        c.network.wait(50 * MS)
        assert c.client.stream == text("x" * 246)

    def test_a_latency_comes_on_top(self) -> None:
        c = opened({"latency": "100ms"}, {"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 98))
        c.network.wait(200 * MS)
        assert sizes(c)[0] == (120, 20)
        assert sizes(c)[-1] == (200, 100)

    def test_a_slower_second_one_rules(self) -> None:
        c = opened({"bandwidth": "1000B/s"}, {"bandwidth": "100B/s"})
        c.send(SERVER, text("x" * 96))
        c.network.wait(980 * MS)
        assert sizes(c)[-1] == (980, 98)

    def test_when_it_ends_what_has_not_left_leaves_at_once(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("bandwidth", "1000B/s"))
        c.send(SERVER, text("x" * 996))
        network.wait(500 * MS)
        assert len(c.client.stream) == 500
        network.heal()
        assert c.client.stream == text("x" * 996)

    def test_another_rate_counts_for_what_has_not_left(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("bandwidth", "1000B/s"))
        c.send(SERVER, text("x" * 996))
        network.wait(500 * MS)
        network.add(live_rule("bandwidth", "5000B/s"))
        network.wait(100 * MS)
        assert c.client.stream == text("x" * 996)

    def test_an_unrelated_rule_changes_nothing_for_it(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("bandwidth", "1000B/s"))
        c.send(SERVER, text("x" * 996))
        network.wait(250 * MS)
        network.add(live_rule("drop", id="other", when={"from": "client"}))
        network.wait(250 * MS)
        network.heal("other")
        assert len(c.client.stream) == 500
        network.wait(500 * MS - 1)
        assert len(c.client.stream) < 1000
        network.wait(1)
        assert c.client.stream == text("x" * 996)

    def test_the_sender_stops_where_too_much_is_held(self) -> None:
        c = opened({"bandwidth": "1000B/s"}, held_bytes_max="1KiB")
        c.send(SERVER, text("x" * 5000))
        assert c.actions(Pause) == [Pause(SERVER)]
        assert len(c.network.events(Limited)) == 1
        c.network.wait(10 * SECOND)
        assert c.server.is_read
        assert payloads(c.client.stream) == [b"x" * 5000]

    def test_fin_goes_behind_what_is_held(self) -> None:
        c = opened({"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 98))
        c.fin(SERVER)
        c.network.wait(99 * MS)
        assert c.client.fin_at is None
        c.network.wait(MS)
        assert c.client.fin_at == START + 100 * MS

    def test_a_close_waits_for_the_end_of_the_frame_that_has_begun_to_leave_and_for_no_more(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("bandwidth", "1000B/s", when={"from": "server"}))
        c.send(SERVER, text("x" * 96), text("y" * 96))
        network.wait(40 * MS)
        network.add(live_rule("close", "4200", id="end"))
        assert c.client.stream == text("x" * 96) + close_frame(4200)

    def test_it_is_struck_once_a_side_and_only_where_it_slowed_something(self) -> None:
        network = Network(profile(rules=[{"bandwidth": {"rate": "1000B/s", "burst": "1KiB"}}]))
        c = network.open()
        network.wait(10 * SECOND)
        c.send(SERVER, text("x" * 100))
        assert network.events(Struck) == []
        c.send(SERVER, text("x" * 2000), text("y" * 2000))
        network.wait(10 * SECOND)
        assert [struck.side for struck in network.events(Struck)] == [SERVER]

    def test_chance_is_thrown_for_connections(self) -> None:
        network = Network(profile(rules=[{"bandwidth": "1000B/s", "when": {"chance": "50%"}}], seed=3))
        slow = []
        for _ in range(40):
            c = network.open()
            c.send(SERVER, text("x" * 50))
            slow.append(c.client.stream != text("x" * 50))
        assert 10 < sum(slow) < 30

    @settings(max_examples=60)
    @given(
        st.integers(200, 100_000),
        st.integers(0, 2000),
        st.lists(st.integers(0, 3000), min_size=1, max_size=8),
        st.integers(0, 500),
    )
    def test_no_stretch_of_time_lets_more_pass_than_the_rate_and_the_burst(
        self, rate: int, burst: int, messages: list[int], pause: int
    ) -> None:
        c = opened({"bandwidth": {"rate": f"{rate}B/s", "burst": f"{burst}B"}})
        for size in messages:
            c.send(SERVER, text(b"x" * size))
            c.network.wait(pause * MS)
        c.network.wait(1000 * SECOND)
        assert c.client.stream == b"".join(text(b"x" * size) for size in messages)
        left = [(at, len(data)) for at, data in c.client.received[1:]]
        for first in range(len(left)):
            passed = 0
            for at, size in left[first:]:
                passed += size
                # The first piece's own time lies before it left.
                allowed = burst + (at - left[first][0]) * rate / SECOND + left[first][1]
                assert passed <= allowed + 1

    def test_a_clock_that_is_looked_at_late_takes_nothing_from_the_rate(self) -> None:
        c = opened({"bandwidth": "40kB/s"})
        c.send(SERVER, text("x" * 399_996))
        began = c.network.now
        wait_lately(c.network, 11 * SECOND, late=7 * MS)
        assert c.client.stream == text("x" * 399_996)
        assert c.client.received[-1][0] - began in (10 * SECOND, 10 * SECOND + 7 * MS)

    def test_a_long_time_away_is_made_up_for_no_further_than_a_second_back(self) -> None:
        c = opened({"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 3996))
        began = c.network.now
        c.network.now += 3020 * MS  # the first piece is late by three seconds
        c.network.wait(0)
        assert len(c.client.stream) == 20 + 1000
        c.network.wait(10 * SECOND)
        assert c.client.received[-1][0] - began == (4000 + 2000) * MS

    @pytest.mark.parametrize("fault", ["stall", "half_open"])
    def test_time_for_which_another_rule_kept_it_is_not_made_up_for(self, fault: str) -> None:
        network = Network(profile(rules=[{"bandwidth": "1000B/s"}]))
        c = network.open()
        c.send(SERVER, text("x" * 98))
        network.wait(30 * MS)
        network.add(live_rule(fault))
        c.send(SERVER, text("y" * 996))
        network.wait(500 * MS)
        before = len(c.client.stream)
        network.heal()
        assert len(c.client.stream) <= before + 20
        network.wait(100 * MS)
        assert before + 80 <= len(c.client.stream) <= before + 120

    def test_what_comes_while_a_piece_is_late_begins_then(self) -> None:
        c = opened({"bandwidth": "1000B/s"})
        c.send(SERVER, text("x" * 18))
        c.network.now += 70 * MS  # it was due at 20
        c.send(SERVER, text("y" * 18))
        assert c.client.stream == text("x" * 18)
        c.network.wait(SECOND)
        assert [at for at, _ in sizes(c)] == [70, 90]


class TestSlice:
    def test_segments_have_the_size_and_the_gap(self) -> None:
        c = opened({"slice": {"size": "10B", "gap": "5ms"}})
        c.send(SERVER, text("x" * 33))
        c.network.wait(SECOND)
        assert [(at - START) // MS for at, _ in c.client.received[1:]] == [0, 5, 10, 15]
        assert [len(data) for _, data in c.client.received[1:]] == [10, 10, 10, 5]
        assert c.client.stream == text("x" * 33)

    def test_a_variation_is_within_its_bounds_and_the_same_with_the_same_seed(self) -> None:
        def run(seed: int) -> list[int]:
            c = opened({"slice": {"size": "10B", "variation": "5B", "gap": "1ms"}}, seed=seed)
            c.send(SERVER, text("x" * 996))
            c.network.wait(SECOND)
            return [len(data) for _, data in c.client.received[1:]]

        assert run(1) == run(1) != run(2)
        assert set(run(1)[:-1]) == set(range(5, 16))

    def test_when_it_ends_the_rest_leaves_whole(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("slice", {"size": "10B", "gap": "1s"}))
        c.send(SERVER, text("x" * 33))
        network.wait(SECOND)
        network.heal()
        assert [len(data) for _, data in c.client.received[1:]] == [10, 10, 15]

    def test_a_gap_is_behind_every_segment_however_late_the_clock_is_looked_at(self) -> None:
        c = opened({"slice": {"size": "1B", "gap": "10ms"}})
        c.send(SERVER, text("abc"))
        c.network.wait(SECOND)
        times = [at for at, _ in c.client.received[1:]]
        assert all(later - earlier == 10 * MS for earlier, later in pairwise(times))


class TestStall:
    def test_everything_is_kept_until_it_heals(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("stall"))
        c.send(SERVER, text("a"), frame(b"ping", 9), text("b"))
        c.send(CLIENT, text("c", M))
        network.wait(1000 * SECOND)
        assert (c.client.stream, c.server.stream) == (b"", b"")
        network.heal()
        assert c.client.stream == text("a") + frame(b"ping", 9) + text("b")
        assert c.server.stream == text("c", M)

    def test_one_direction_may_be_named(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("stall", when={"from": "server"}))
        c.send(SERVER, text("a"))
        c.send(CLIENT, text("c", M))
        assert (c.client.stream, c.server.stream) == (b"", text("c", M))

    def test_one_message_that_is_kept_keeps_all_behind_it(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("stall", when={"size": "3B"}))
        c.send(SERVER, text("a"), text("abc"), text("b"))
        assert payloads(c.client.stream) == [b"a"]
        network.heal()
        assert payloads(c.client.stream) == [b"a", b"abc", b"b"]

    def test_another_rule_that_changes_does_not_let_go(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("stall"))
        c.send(SERVER, text("a"))
        network.add(live_rule("latency", "1s", id="other"))
        network.heal("other")
        network.wait(10 * SECOND)
        assert c.client.stream == b""

    def test_what_two_stalls_keep_waits_for_both(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("stall", id="one"))
        network.add(live_rule("stall", id="two"))
        c.send(SERVER, text("a"))
        network.heal("one")
        assert c.client.stream == b""
        network.heal("two")
        assert c.client.stream == text("a")

    def test_a_latency_is_not_shortened_by_the_heal(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("latency", "1s", id="late"))
        network.add(live_rule("stall"))
        c.send(SERVER, text("a"))
        network.heal("live")
        assert c.client.stream == b""
        network.wait(SECOND)
        assert c.client.stream == text("a")

    def test_fin_waits_behind_it_and_a_reset_does_not(self) -> None:
        network = Network(profile())
        ended, reset = network.open(), network.open()
        network.add(live_rule("stall"))
        for c in (ended, reset):
            c.send(SERVER, text("a"))
        ended.fin(SERVER)
        reset.rst(SERVER)
        assert ended.client.fin_at is None
        assert reset.client.reset_at == network.now
        network.heal()
        assert ended.client.stream == text("a")
        assert ended.client.fin_at is not None

    def test_the_sender_stops_where_too_much_is_held_and_goes_on_at_heal(self) -> None:
        network = Network(profile(held_bytes_max="1KiB"))
        c = network.open()
        network.add(live_rule("stall"))
        c.send(SERVER, *[text("x" * 400)] * 10)
        assert not c.server.is_read
        network.heal()
        assert c.server.is_read
        assert payloads(c.client.stream) == [b"x" * 400] * 10

    def test_it_acts_on_new_connections_too(self) -> None:
        c = opened({"stall": {}})
        c.send(SERVER, text("a"))
        assert c.client.stream == b""

    def test_everything_ends_even_while_it_holds(self) -> None:
        network = Network(profile())
        c = network.open()
        network.add(live_rule("stall"))
        c.send(SERVER, text("a"))
        network.end_all()


@pytest.mark.parametrize("fault", ["bandwidth", "slice"])
@pytest.mark.parametrize("condition", [{"nth": 1}, {"event": "x"}, {"size": "1B"}, {"age": "1s"}, {"opcode": "text"}])
def test_a_pacer_names_no_messages(fault: str, condition: dict[str, Any]) -> None:
    options = {"bandwidth": "1kB/s", "slice": "1B"}[fault]
    with pytest.raises(ValueError, match="acts on all bytes of a connection"):
        profile(rules=[{fault: options, "when": condition}], protocol="pusher")
