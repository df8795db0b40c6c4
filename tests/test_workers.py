from pathlib import Path

from tests.workers import TOGETHER, unit_of

ROOT = Path(__file__).parent.parent


def test_modules_that_stay_together_are_there() -> None:
    assert all((ROOT / each).exists() for each in TOGETHER)


def test_their_tests_are_one_unit_and_every_other_test_is_one_by_itself() -> None:
    for module in TOGETHER:
        assert unit_of(f"{module}::test_a[b::c]") == unit_of(f"{module}::Test::test_d") == module
    assert unit_of("tests/test_engine.py::test_a[b]") == "tests/test_engine.py::test_a[b]"
