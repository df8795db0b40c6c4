"""The profiles that come with chaosproxy, by name."""

from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from .problems import show
from .profile import Profile
from .profile_yaml import load as load_yaml


class UnknownProfile(LookupError):
    """No shipped profile has this name; the message names the nearest."""

    def __init__(self, name: str) -> None:
        self.nearest = get_close_matches(name.lower(), names(), n=3, cutoff=0)
        super().__init__(f"unknown profile {show(name)}; nearest: {', '.join(self.nearest)}")


@cache
def _texts() -> MappingProxyType[str, str]:
    # Names are looked up here and never become part of a path.
    shipped = files(__package__).joinpath("profiles").iterdir()
    texts = {
        file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in shipped if file.name.endswith(".yaml")
    }
    return MappingProxyType(dict(sorted(texts.items())))


def names() -> list[str]:
    return list(_texts())


def text(name: str) -> str:
    """The YAML of a shipped profile. Raises UnknownProfile."""
    if name not in _texts():
        raise UnknownProfile(name)
    return _texts()[name]


@cache
def load(name: str) -> Profile:
    """A shipped profile. Raises UnknownProfile."""
    return load_yaml(text(name), f"{name}.yaml")


def abouts() -> dict[str, str]:
    """What each shipped profile reproduces."""
    return {name: load(name).about for name in names()}
