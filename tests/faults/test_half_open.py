"""Half-open, and heartbeats that are lost."""

from typing import Any

import pytest
from pydantic import ValidationError

from chaosproxy.effects import Heal, Leg, Mode, Silence
from chaosproxy.faults import Delivery, Dice, Fault, Hits
from chaosproxy.faults.half_open import HalfOpen, SwallowPing, SwallowPong
from chaosproxy.profile_yaml import load
from chaosproxy.rule import RULES
from chaosproxy.wire.frames import Side


def test_half_open_silences_both_legs_of_all_connections_and_flushes_at_the_end() -> None:
    fault = HalfOpen()

    assert fault.effect() == Silence(Leg.BOTH, Mode.BLACKHOLE, Heal.FLUSH)
    assert fault.strikes is Hits.ALL


@pytest.mark.parametrize("side", Side)
def test_from_names_the_one_side_whose_sending_is_lost(side: Side) -> None:
    text = f"version: 1\nrules:\n  - half_open: {{from: {side.label}}}\n"
    (rule,) = load(text, "x").every_rule()

    effect = rule.fault.effect()

    assert isinstance(effect, Silence)
    assert effect.sides == (side,)
    assert [effect.blocks(each) for each in Side] == [each is side for each in Side]


def test_a_leg_blocks_both_ways() -> None:
    effect = HalfOpen(leg=Leg.CLIENT).effect()

    assert isinstance(effect, Silence)
    assert effect.sides == (Side.CLIENT,)
    assert all(effect.blocks(side) for side in Side)


def test_a_leg_and_a_direction_are_not_both_given() -> None:
    with pytest.raises(ValidationError, match="not both"):
        HalfOpen.model_validate({"leg": "client", "from": "client"})


@pytest.mark.parametrize(("fault", "frame"), [(SwallowPong, "pong"), (SwallowPing, "ping")])
def test_a_swallowed_control_frame_is_delivered_nowhere(fault: type[Fault], frame: str) -> None:
    made = fault()

    assert list(made.apply(Delivery(0, None), Dice(0, ("rule",)))) == []
    assert made.conditions() == {"opcode": (frame,)}
    assert not made.is_loss


@pytest.mark.parametrize("name", ["swallow_pong", "swallow_ping"])
@pytest.mark.parametrize("key", [{"opcode": "text"}, {"event": "pusher:pong"}, {"channel": "x"}])
def test_what_names_other_messages_is_refused_with_the_remedy(name: str, key: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="drop takes any message"):
        RULES[name].model_validate({name: {}, "when": key})
