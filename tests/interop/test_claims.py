"""Each claim of the handbook holds, with a real pusher-js; what takes long is behind `slow`."""

from pathlib import Path

import pytest

from tests.interop.claims import CLAIMS
from tests.interop.handbook import DOCUMENT, RUNTIMES, SERVERS, Result, run_all, servers


def _failures(results: list[Result]) -> str:
    failed = [result for result in results if result.error]
    return "\n".join(f"{each.claim.name} / {each.runtime} / {each.server}\n{each.error}" for each in failed)


@pytest.mark.timeout(400)
def test_each_claim_holds_in_node_before_the_demo_server(tmp_path: Path) -> None:
    with servers(["demo"], tmp_path) as ports:
        claims = [claim for claim in CLAIMS if not claim.is_long]
        results = run_all(claims, ["node"], ports, tmp_path, jobs=16)
    assert len(results) > 30
    assert not _failures(results), _failures(results)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_each_claim_holds_in_each_runtime_before_each_server(tmp_path: Path) -> None:
    with servers(SERVERS, tmp_path) as ports:
        results = run_all(CLAIMS, list(RUNTIMES), ports, tmp_path)
    assert not _failures(results), _failures(results)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_twenty_runs_in_a_row_give_the_same_sequences(tmp_path: Path) -> None:
    claims = [claim for claim in CLAIMS if not claim.is_long]
    with servers(["soketi"], tmp_path) as ports:
        for number in range(20):
            results = run_all(claims, ["node"], ports, tmp_path / str(number))
            assert not _failures(results), _failures(results)


def test_the_document_has_each_claim_and_what_is_true() -> None:
    text = DOCUMENT.read_text()
    for claim in CLAIMS:
        assert f"## {claim.name}\n" in text
        assert f"- **True is:** {claim.truth}\n" in text
        assert f"- Profile: `{claim.profile}`\n" in text
