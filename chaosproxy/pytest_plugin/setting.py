"""What a test asks for: the marker `chaos`, read into a profile and the rest. Problems come back ready to print."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

from ..addresses import parse_upstream
from ..cli.profile_choice import NoProfile, by_name_or_file, from_text
from ..expect_options import with_expectations
from ..library import names
from ..problems import BadProfile, nearest, one_of, render, show
from ..profile import EMPTY, Profile
from ..sockets import Upstream
from .thread import Complaint

KEYS = ("profile", "seed", "expect", "upstream", "judge", "frames", "owns_server")


class Setting(NamedTuple):
    """What runs before the test's server."""

    profile: Profile
    seed: int | None  # the profile's own where there is none
    is_judged: bool  # at the end of the test
    journals_frames: bool
    owns_server: bool


def marked(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test, its class and its module say together; the nearest one has its way."""
    given: dict[str, Any] = {}
    for marker in item.iter_markers("chaos"):
        said = dict(marker.kwargs)
        if len(marker.args) > 1:
            raise Complaint(f"@pytest.mark.chaos takes one profile, and the rest by name: {', '.join(KEYS[1:])}")
        if marker.args:
            said["profile"] = marker.args[0]
        for key in said:
            if key not in KEYS:
                hint = nearest(key, KEYS)
                remedy = f"did you mean {one_of(hint)}?" if hint else f"it knows {', '.join(KEYS)}"
                raise Complaint(f"@pytest.mark.chaos knows no {key}=; {remedy}")
        given = {**said, **given}
    return given


def read_setting(given: Mapping[str, Any], item: pytest.Item) -> Setting:
    """Read what the markers say. Raise Complaint with the places of all problems."""
    seed = given.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise Complaint(f"@pytest.mark.chaos: expected a whole number as seed=, got {show(repr(seed))}")
    for key in ("judge", "frames", "owns_server"):
        if not isinstance(given.get(key, True), bool):
            raise Complaint(f"@pytest.mark.chaos: expected {key}=True or {key}=False, got {show(repr(given[key]))}")
    profile = _profile(given.get("profile"), item)
    profile = _with_expectations(profile, given.get("expect", ()), item.nodeid)
    return Setting(
        profile,
        seed,
        is_judged=given.get("judge", True),
        journals_frames=given.get("frames", False),
        owns_server=given.get("owns_server", False),
    )


def read_upstream(url: object) -> Upstream:
    """Read where the server is. Raise Complaint."""
    if not isinstance(url, str):
        raise Complaint(f"expected the server's URL as upstream, such as ws://127.0.0.1:6001, got {show(repr(url))}")
    try:
        return parse_upstream(url)
    except ValueError as problem:
        raise Complaint(f"upstream: {problem}") from None


def _profile(given: object, item: pytest.Item) -> Profile:
    try:
        match given:
            case None:
                return EMPTY
            case Mapping():
                return from_text(_as_json({"version": 1, **given}, "profile"), item.nodeid)
            case str() if "\n" in given:
                return from_text(dedent(given), item.nodeid)
            case str() if given in names():
                return by_name_or_file(given)
            case str() | Path():
                return by_name_or_file(_found(given, item))
            case _:
                expected = "a profile's name, its path, a mapping or its YAML"
                raise Complaint(f"@pytest.mark.chaos: expected {expected} as profile=, got {show(repr(given))}")
    except NoProfile as problem:
        raise Complaint(str(problem)) from None


def _found(given: str | Path, item: pytest.Item) -> str:
    """The path of a profile: as it is, or beside the test's file, or in pytest's root folder."""
    for folder in (item.path.parent, item.config.rootpath):
        path = folder / given
        if path.is_file():
            start = item.config.invocation_params.dir
            return str(path.relative_to(start) if path.is_relative_to(start) and start == Path.cwd() else path)
    return str(given)


def _with_expectations(profile: Profile, given: object, source: str) -> Profile:
    every: Iterable[object] = [given] if isinstance(given, str | Mapping) else given  # type: ignore[assignment]
    if not isinstance(every, Sequence) or not all(isinstance(each, str | Mapping) for each in every):
        expected = 'a list such as ["reconnected_within: 5s"]'
        raise Complaint(f"@pytest.mark.chaos: expected {expected} as expect=, got {show(repr(given))}")
    texts = [each if isinstance(each, str) else _as_json(each, "expect", indent=None) for each in every]
    try:
        return with_expectations(profile, texts)
    except BadProfile as bad:
        named = [problem._replace(source=f"{source} expect") for problem in bad.problems]
        raise Complaint("\n".join(render(problem, "\n".join(texts)) for problem in named)) from None


def _as_json(value: object, key: str, indent: int | None = 2) -> str:
    try:
        return json.dumps(value, indent=indent)
    except (TypeError, ValueError) as problem:
        raise Complaint(f"@pytest.mark.chaos: {key}= can't be read: {problem}") from None
