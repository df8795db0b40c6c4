"""Nothing is a fault that can't be looked up, tried by a shipped profile, and seen on the wire by a real client."""

import re
from pathlib import Path

import pytest

from chaosproxy import library
from chaosproxy.faults import FAULTS

TESTS = Path(__file__).parent


def _words(folder: str, pattern: str) -> set[str]:
    sources = (path.read_text() for path in (TESTS / folder).glob(pattern))
    return {word for source in sources for word in re.findall(r"\w+", source)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_shipped_profile_shows_the_fault(name: str) -> None:
    profiles = [library.load(each) for each in library.names()]

    assert any(rule.fault_name == name for profile in profiles for rule in profile.every_rule())


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_tried_in_virtual_time_and_through_real_sockets(name: str) -> None:
    assert name in _words("faults", "test_*.py") | _words(".", "test_*.py")
    assert name in _words("sockets", "test_*.py")
