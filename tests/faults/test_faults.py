"""What holds for every fault: it explains itself, shows itself, and is data."""

import pytest
from pydantic import ValidationError

from chaosproxy.faults import FAULTS, Dice, Fault, Moment
from chaosproxy.profile_yaml import example, load

EVERY = pytest.mark.parametrize("fault", FAULTS.values(), ids=str)


@EVERY
def test_a_fault_explains_itself_in_one_line(fault: type[Fault]) -> None:
    assert fault.help().endswith(".")
    assert len(fault.help()) <= 120
    assert fault.heals
    assert fault.family
    assert all(field.description for field in fault.model_fields.values())


@EVERY
def test_a_faults_example_shows_it(fault: type[Fault]) -> None:
    profile = load(example(fault), fault.name)

    assert fault.name in {rule.fault_name for rule in profile.every_rule()}


@EVERY
def test_a_fault_has_a_moment_to_act_in_and_something_to_do_there(fault: type[Fault]) -> None:
    made = next(rule.fault for rule in load(example(fault), "x").every_rule() if rule.fault_name == fault.name)

    assert made.acts_at and made.acts_at <= fault.moments
    acts_on_all = made.acts_at & {Moment.ASK, Moment.ANSWER, Moment.PHASE, Moment.OPEN} or made.needs_tls
    if acts_on_all:
        assert made.effect() is not None
    else:
        assert made.effect() is None


@EVERY
def test_a_short_form_stands_for_one_of_the_options(fault: type[Fault]) -> None:
    assert fault.shorthand is None or fault.shorthand in fault.model_fields


@EVERY
def test_an_unknown_option_is_refused(fault: type[Fault]) -> None:
    with pytest.raises(ValidationError):
        fault.model_validate({"surely_not": 1})


def test_dice_fall_the_same_in_the_same_place() -> None:
    def throws(seed: int, *place: str | int) -> list[float]:
        dice = Dice(seed, place)
        thrown = []
        for _ in range(3):
            dice.turn()
            thrown += [dice.throw(), dice.throw()]
        return thrown

    assert throws(7, "rule", 1, "client") == throws(7, "rule", 1, "client")
    assert len({*throws(7, "rule", 1), *throws(8, "rule", 1), *throws(7, "rule", 2), *throws(7, "rule1")}) == 24
    assert all(0 <= throw < 1 for throw in throws(0))


def test_a_throw_does_not_depend_on_throws_before_its_turn() -> None:
    often, seldom = Dice(7, ("rule",)), Dice(7, ("rule",))
    often.turn()
    often.throw()
    for dice in (often, seldom):
        dice.turn()
    seldom.turn()
    often.turn()
    seldom.ordinal = often.ordinal

    assert often.throw() == seldom.throw()
