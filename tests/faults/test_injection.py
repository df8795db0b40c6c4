"""Fragment, inject and violate."""

import pytest
from pydantic import ValidationError

from chaosproxy.effects import Insert, Leg
from chaosproxy.faults import Delivery, Dice
from chaosproxy.faults.injection import Fragment, Inject, Violate, Violation
from chaosproxy.wire.frames import Shape


def test_fragment_names_the_size_and_leaves_the_content() -> None:
    (delivery,) = Fragment.model_validate({"size": "3B"}).apply(Delivery(0, None, b"content"), Dice(0, ("rule",)))

    assert (delivery.fragment_bytes, delivery.body) == (3, b"content")
    with pytest.raises(ValidationError):
        Fragment.model_validate({"size": "0B"})


def test_inject_is_one_frame_or_raw_bytes() -> None:
    assert Inject(text="a").effect() == Insert(Leg.CLIENT, (Shape(0x81, b"a"),))
    assert Inject.model_validate({"raw": "de ad", "to": "both"}).effect() == Insert(Leg.BOTH, (), b"\xde\xad")


@pytest.mark.parametrize(
    ("options", "harms"),
    [
        ({"text": "a", "to": "server"}, False),
        ({"ping": "", "to": "server"}, False),
        ({"raw": "00", "to": "server"}, True),
        ({"raw": "00", "to": "both"}, True),
        ({"raw": "00"}, False),
        ({"close": 4000, "to": "server"}, True),
    ],
)
def test_only_what_a_client_would_not_send_harms_a_server(options: dict[str, object], harms: bool) -> None:
    assert Inject.model_validate(options).harms_server is harms


@pytest.mark.parametrize("kind", Violation)
def test_every_violation_has_its_frames_and_harms_a_server_that_gets_them(kind: Violation) -> None:
    effect = Violate(kind=kind).effect()

    assert isinstance(effect, Insert)
    assert effect.shapes
    assert not Violate(kind=kind).harms_server
    assert Violate(kind=kind, to=Leg.SERVER).harms_server
