"""The shipped profiles."""

import re

import pytest

from chaosproxy import library
from chaosproxy.units import SECOND


def test_every_shipped_profile_bears_its_files_name_and_says_what_it_reproduces() -> None:
    for name in library.names():
        profile = library.load(name)
        assert profile.name == name
        assert profile.about.endswith(".")
        assert library.text(name).startswith(f"version: 1\nname: {name}\nabout: ")


def test_the_library_has_what_the_readme_promises() -> None:
    promised = (
        "brief-interruption byte-limit close-1001-rolling-deploy close-4200 close-no-status close-then-reset "
        "close-without-reply connection-age-limit extended-outage extended-outage-fast fin-1006 flapping "
        "ghost-connection half-close half-open half-open-client-leg half-open-one-way half-open-server-leg hang "
        "http-slow lossy-link lost-pings lost-pongs message-limit refused rest-api-down slow-close slow-link "
        "staggered-resets tls-expired-certificate tls-handshake-stall tls-self-signed tls-wrong-name unavailable-503 "
        "websockets-blocked"
    )

    assert set(promised.split()) <= set(library.names())


def test_abouts_are_one_paragraph_each() -> None:
    assert list(library.abouts()) == library.names()
    assert not any("\n" in about for about in library.abouts().values())


def test_an_unknown_name_gets_the_three_nearest() -> None:
    with pytest.raises(library.UnknownProfile) as caught:
        library.load("extended-outtage")

    assert re.fullmatch(r"unknown profile extended-outtage; nearest: extended-outage, .+, .+", str(caught.value))
    assert len(caught.value.nearest) == 3


@pytest.mark.parametrize("name", ["", "../library", "/etc/passwd", "hang.yaml", "hang\0", "x" * 10_000, "\x1b[2J"])
def test_no_name_leads_out_of_the_library(name: str) -> None:
    with pytest.raises(library.UnknownProfile) as caught:
        library.text(name)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "acts_after"),
    [
        ("brief-interruption", (1, 10, 16)),
        ("refused", (1, 11, 16, 46)),
        ("hang", (1, 11, 16, 46)),
        ("tls-handshake-stall", (1, 11, 16, 46)),
        ("tls-expired-certificate", (1, 16, 46)),
        ("unavailable-503", (1, 11, 16, 46)),
        # With 3000/2000/4000 ms: the silence noticed after 2 to 5 s, unavailable 4 s later, dials 15 and 45 s later.
        ("extended-outage-fast", (2, 5, 6, 9, 17, 20, 47, 50)),
        ("flapping", (1,)),
    ],
)
def test_phases_end_at_least_a_fifth_away_from_what_pusher_js_does(name: str, acts_after: tuple[int, ...]) -> None:
    phases = library.load(name).phases
    begin = next(index for index, phase in enumerate(phases) if phase.rules)
    edge = 0.0
    for phase in phases[begin:]:
        edge += (phase.lasts or 0) / SECOND
        assert all(abs(edge - act) >= act / 5 for act in acts_after), (phase.name, edge)
