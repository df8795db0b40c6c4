"""Steering by the fixture: pausing, another run, and connections one by one."""

import pytest
from websockets.exceptions import ConnectionClosed

from chaosproxy.pytest_plugin import ChaosProxy, NotSeen
from chaosproxy.pytest_plugin.thread import Complaint
from tests.pytest_plugin.client import ask, hear, joined
from tests.pytest_plugin.test_handle import STEPS


class TestPhases:
    @pytest.mark.chaos(profile={"starts": "launch", "phases": [{"name": "short", "lasts": "50ms"}, {"name": "end"}]})
    def test_a_paused_phase_lasts_until_it_goes_on(self, chaosproxy: ChaosProxy) -> None:
        chaosproxy.pause()
        chaosproxy.step("short")
        paused = chaosproxy.wait_for("phase_paused")
        with pytest.raises(NotSeen):
            chaosproxy.wait_for("phase_entered", phase="end", after=paused, timeout=0.2)
        assert chaosproxy.phase == "short"
        chaosproxy.resume()
        chaosproxy.wait_for("phase_entered", phase="end", after=chaosproxy.wait_for("phase_resumed"))

    @pytest.mark.chaos(profile=STEPS)
    def test_a_reset_plays_it_anew(self, chaosproxy: ChaosProxy) -> None:
        chaosproxy.step("down")
        chaosproxy.fault("hang")
        chaosproxy.reset()
        assert chaosproxy.phase == "calm"
        with joined(chaosproxy.url):
            pass
        assert [each["event"] for each in chaosproxy.journal].count("timeline_reset") == 1

    def test_another_profile_is_played(self, chaosproxy: ChaosProxy) -> None:
        assert chaosproxy.play({"version": 1, **STEPS}, seed=3) == "calm"
        with pytest.raises(Complaint, match="no-such"):
            chaosproxy.play("no-such")
        with pytest.raises(Complaint, match="tls_stall needs TLS"):
            chaosproxy.play({"version": 1, "rules": ["tls_stall"]})
        assert chaosproxy.phase == "calm"


class TestConnections:
    def test_one_is_frozen_and_healed_and_the_other_is_not(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url) as first, joined(chaosproxy.url) as second:
            one, _ = chaosproxy.connections(state="tunnel", silent=False)
            with chaosproxy.freeze(one):
                assert [each.attempt for each in chaosproxy.connections(silent=True)] == [one.attempt]
                ask(first)
                ask(second)
                hear(second, "pusher:pong")
            hear(first, "pusher:pong")
            chaosproxy.freeze(one)
            one.heal()
            ask(first)
            hear(first, "pusher:pong")

    def test_one_is_closed_and_one_reset(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url) as first, joined(chaosproxy.url) as second:
            one, other = chaosproxy.connections()
            one.close(4200, "come back")
            with pytest.raises(ConnectionClosed) as closed:
                first.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4200
            other.reset()
            with pytest.raises(ConnectionClosed):
                second.recv(timeout=10)
            chaosproxy.wait_for("closed", count=2)
            with pytest.raises(Complaint, match="is over"):
                other.heal()

    def test_a_fault_acts_on_those_that_are_named(self, chaosproxy: ChaosProxy) -> None:
        with joined(chaosproxy.url) as first, joined(chaosproxy.url) as second:
            one, _ = chaosproxy.connections()
            with chaosproxy.fault("drop", when={"from": "client"}, connections=[one]):
                ask(first)
                chaosproxy.wait_for("struck", fault="drop")
                ask(second)
                hear(second, "pusher:pong")

    def test_what_makes_no_sense_is_a_complaint(self, chaosproxy: ChaosProxy) -> None:
        with pytest.raises(Complaint, match="state"):
            chaosproxy.connections(state="open")
        with pytest.raises(Complaint, match="connections"):
            chaosproxy.freeze()
        with joined(chaosproxy.url):
            (one,) = chaosproxy.connections()
            with pytest.raises(Complaint, match="code"):
                one.close(70000)
            with pytest.raises(Complaint, match="acts on new connections"):
                chaosproxy.fault("reject", status=503, connections=[one])
        chaosproxy.wait_for("closed")
        with pytest.raises(Complaint, match=f"no connection of attempt {one.attempt}"):
            chaosproxy.freeze(one)
