"""The profiles that can be played by name: those that are shipped, and those that were uploaded to this process.

An uploaded one lives in memory and ends with the process. No name becomes part of a path.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from .. import library
from ..profile import EMPTY, Profile
from ..profile_yaml import load

UPLOADS_MAX = 100
UPLOAD_BYTES_MAX = 256 * 1024
_TEXT_OF_EMPTY = f"version: 1\nname: {EMPTY.name}\nabout: {EMPTY.about!r}\n"
_NAME = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,64}")


class Full(Exception):
    """There is no room for another profile."""


class Uploaded(NamedTuple):
    """A profile, and the text that it was read from."""

    profile: Profile
    text: str


class Shelf:
    """Profiles by name."""

    def __init__(self) -> None:
        self._uploaded: dict[str, Uploaded] = {}

    @staticmethod
    def is_name(name: str) -> bool:
        """Whether a profile can have this name."""
        return _NAME.fullmatch(name) is not None

    @staticmethod
    def is_shipped(name: str) -> bool:
        return name == EMPTY.name or name in library.names()

    def __iter__(self) -> Iterator[tuple[str, Profile, bool]]:
        """Each name with its profile, and whether it is shipped; by name."""
        names = sorted([EMPTY.name, *library.names(), *self._uploaded])
        return ((name, self.load(name), self.is_shipped(name)) for name in names)

    def __contains__(self, name: str) -> bool:
        return name in self._uploaded or self.is_shipped(name)

    def load(self, name: str) -> Profile:
        """The profile of this name. Raise UnknownProfile."""
        if name == EMPTY.name:
            return EMPTY
        return self._uploaded[name].profile if name in self._uploaded else library.load(name)

    def text(self, name: str) -> str:
        """Its YAML. Raise UnknownProfile."""
        if name == EMPTY.name:
            return _TEXT_OF_EMPTY
        return self._uploaded[name].text if name in self._uploaded else library.text(name)

    def put(self, name: str, text: str) -> tuple[Profile, bool]:
        """Keep a profile under a name that is free or was uploaded before; whether that was free.

        Raise BadProfile, or Full. An uploaded profile is called by the name under which it is kept.
        """
        if len(text.encode()) > UPLOAD_BYTES_MAX:
            raise Full(f"a profile of more than {UPLOAD_BYTES_MAX // 1024} KiB is not kept")
        is_new = name not in self._uploaded
        profile = load(text, name).model_copy(update={"name": name})
        if is_new and len(self._uploaded) >= UPLOADS_MAX:
            raise Full(f"{UPLOADS_MAX} profiles are kept already; DELETE /api/profiles/NAME removes one")
        self._uploaded[name] = Uploaded(profile, text)
        return profile, is_new

    def remove(self, name: str) -> bool:
        """Forget an uploaded profile; whether there was one. Where it is played, it goes on."""
        return self._uploaded.pop(name, None) is not None
