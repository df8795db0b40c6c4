"""Half-open."""

from chaosproxy.events import Heal, Leg, Mode, Silence
from chaosproxy.faults import Hits
from chaosproxy.faults.half_open import HalfOpen


def test_half_open_silences_both_legs_of_all_connections_and_flushes_at_the_end() -> None:
    fault = HalfOpen()

    assert fault.effect() == Silence(Leg.BOTH, Mode.BLACKHOLE, Heal.FLUSH)
    assert fault.strikes is Hits.ALL
