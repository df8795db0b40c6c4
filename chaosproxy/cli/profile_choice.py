"""Which profile is meant: a shipped name, a file, a text, or options. Problems come back ready to print."""

from collections.abc import Sequence
from pathlib import Path

from .. import library
from ..fault_options import profile_from_faults
from ..problems import BadProfile, escape, render
from ..profile import EMPTY, Profile
from ..profile_yaml import load

PROFILE_BYTES_MAX = 1024 * 1024


class NoProfile(Exception):
    """There is none to use; the message is for the user, one problem after the other."""


def by_name_or_file(name: str) -> Profile:
    """Take a shipped profile by its name, anything else as the path of a file. Raises NoProfile."""
    if name in library.names():
        return library.load(name)
    if not name:
        raise NoProfile("the profile's name is empty; `chaosproxy profiles` lists those that come with chaosproxy")
    path = Path(name)
    if not path.exists() and not _is_path(name):
        raise NoProfile(f"{library.UnknownProfile(name)}; for a file of your own, give its path")
    try:
        with path.open("rb") as file:
            text = file.read(PROFILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NoProfile(f"{escape(name)}: {reason.lower()}") from None
    if len(text) > PROFILE_BYTES_MAX:
        raise NoProfile(f"{escape(name)}: a profile of more than {PROFILE_BYTES_MAX} bytes is not read")
    return from_text(text, name)


def from_text(text: str | bytes, source: str) -> Profile:
    """Read YAML. Raises NoProfile."""
    try:
        return load(text, source)
    except BadProfile as bad:
        readable = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        raise NoProfile("\n".join(render(problem, readable) for problem in bad.problems)) from None


def from_options(faults: Sequence[str]) -> Profile:
    """Read `--fault` options; none of them is no profile. Raises NoProfile."""
    if not faults:
        return EMPTY
    try:
        return profile_from_faults(faults)
    except BadProfile as bad:
        raise NoProfile("\n".join(render(problem, "\n".join(faults)) for problem in bad.problems)) from None


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml", ".json"))
