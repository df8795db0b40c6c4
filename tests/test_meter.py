"""What has been delayed, and how true that was, as the journal is told at the end."""

from typing import Any

import pytest

from chaosproxy.meter import read_delays
from chaosproxy.profile import Profile
from chaosproxy.sockets import Address
from chaosproxy.sockets import Upstream as Behind
from chaosproxy.stage import Stage
from chaosproxy.tally import Tally
from chaosproxy.units import MICROSECOND, MILLISECOND

from .live import LOOPS, REQUEST, RESPONSE, Peer, Upstream, run
from .virtual import text


def test_how_late_pieces_left_is_told_by_bounds_as_far_as_any_was() -> None:
    tally = Tally()
    for late in (20 * MICROSECOND, 100 * MICROSECOND, 150 * MICROSECOND, 700 * MICROSECOND):
        tally.delays.add(50 * MILLISECOND)
        tally.delay_errors.add(late)
    assert read_delays(tally) == {
        "count": 4,
        "seconds": 0.2,
        "late_seconds": 0.00097,
        "late_within": {"0.0001": 2, "0.0005": 3, "0.001": 4},
    }


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("rules", [[{"latency": "5ms", "when": {"from": "server"}}], []], ids=["delayed", "idle"])
def test_the_journal_ends_with_how_true_the_delays_were_if_there_were_any(loop: str, rules: list[Any]) -> None:
    async def story() -> None:
        upstream = Upstream()
        profile = Profile.model_validate({"version": 1, "rules": rules})
        stage = Stage(Behind(Address("127.0.0.1", upstream.port)), profile=profile)
        await stage.start()
        client = await Peer.connect(stage.proxy.port)
        await client.send(REQUEST)
        server = await upstream.accept()
        await server.exactly(len(REQUEST))
        await server.send(RESPONSE)
        await client.exactly(len(RESPONSE))
        for _ in range(3):
            await server.send(text("hello"))
            await client.exactly(7)
        await stage.stop()
        for each in (client, server, upstream):
            each.close()
        told = [line.text for line in stage.journal.after(0) if '"event":"delays_told"' in line.text]
        assert len(told) == (1 if rules else 0)
        assert all('"count":3,"seconds":0.015,"late_seconds":0.' in line for line in told)

    run(loop, story())
