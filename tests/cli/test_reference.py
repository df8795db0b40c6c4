from pathlib import Path

import pytest

from chaosproxy.cli import reference
from chaosproxy.expectations import EXPECTATIONS
from chaosproxy.faults import FAULTS

README = Path(__file__).parent.parent.parent / "README.md"


def test_the_readme_has_the_faults_as_they_are() -> None:
    text = README.read_text()
    assert text == reference.with_tables(text), "run: make docs"


def test_the_overview_has_every_fault() -> None:
    lines = reference.overview().splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_described_in_full(name: str) -> None:
    fault = FAULTS[name]
    text = reference.describe(fault)
    said = " ".join(text.split())
    assert fault.help() in said
    assert fault.heals in said
    for field in fault.model_fields.values():
        assert " ".join((field.description or "").split()) in said


def test_options_are_told_in_users_terms() -> None:
    text = reference.describe(FAULTS["latency"])
    assert "delay         duration; required" in text
    assert "jitter        duration; default 0ms" in text
    assert "`latency: VALUE` is `latency: {delay: VALUE}`" in text
    assert "mode  freeze | blackhole; default blackhole" in reference.describe(FAULTS["half_open"])


def test_what_also_acts_on_tcp_upstreams_says_so() -> None:
    assert "  tcp     also on tcp:// upstreams\n" in reference.describe(FAULTS["latency"])
    assert "tcp://" not in reference.describe(FAULTS["drop"])


def test_a_readme_without_markers_is_not_overwritten() -> None:
    with pytest.raises(AssertionError, match="needs"):
        reference.with_tables("# chaosproxy\n")


def test_the_overview_of_expectations_has_every_one() -> None:
    assert [line.split()[0] for line in reference.expectations_overview().splitlines()] == list(EXPECTATIONS)


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_an_expectation_is_described_in_full(name: str) -> None:
    kind = EXPECTATIONS[name]
    said = " ".join(reference.describe_expectation(kind).split())
    assert kind.help() in said
    assert kind.example in said
    for field in kind.model_fields.values():
        assert " ".join((field.description or "").split()) in said
