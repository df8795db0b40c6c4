"""The endings that a sweep tries: each in the handshake and in mid-connection, by a profile of its own."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from ..problems import show
from ..profile import Profile

REGISTERED = (*range(1000, 1016), 3000, 3003, 3008)  # IANA's registry, with those that no frame should carry
SAMPLES = (*(4000, 4001, 4004, 4009, 4099, 4100, 4199, 4200, 4299, 4300, 4301), *(4400, 4401, 4403, 4500, 4999))
IMPOSSIBLE = (0, 999, 1016, 2999, 5000, 65535)  # neither registered nor for applications (RFC 6455, section 7.4.2)
SETTLE_MS = 300  # between the opening and the blow: mid-connection is when nothing is under way any more
_HOLD_MS = 50  # between the request and what comes in the answer's place
_PARALLEL_MS = 500  # how long connections that a client opens side by side may be apart
_CODE_MAX = 65535
_CODES = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


class Stage(StrEnum):
    """When a connection ends."""

    HANDSHAKE = "handshake"
    MID_CONNECTION = "mid-connection"


class Way(StrEnum):
    """How it ends: the fault that does it."""

    FIN = "fin"
    RST = "reset"
    CLOSE = "close"
    ERROR = "pusher_error"


class Case(NamedTuple):
    """One ending at one stage."""

    stage: Stage
    way: Way
    code: int | None = None

    @property
    def label(self) -> str:
        match self.way:
            case Way.FIN | Way.RST:
                return self.way.name
            case Way.CLOSE if self.code is None:
                return "no status"
            case _:
                return str(self.code)

    def profile(self, protocol: str | None, connections: int) -> Profile:
        """What deals this ending to the first connections, so many, and lets all later ones through."""
        firsts = {"connection": f"1-{connections}"}
        options: dict[str, Any] = {}
        if self.way not in (Way.FIN, Way.RST):
            options = {"code": "none" if self.code is None else str(self.code)}
        top = {"version": 1, "protocol": protocol}
        match self.stage, self.way:
            case Stage.HANDSHAKE, Way.FIN | Way.RST:
                hold = _HOLD_MS if connections == 1 else _PARALLEL_MS
                asked = {"name": "asked", "lasts": f"{hold}ms", "rules": [{"hang": {}, "when": firsts}]}
                return Profile.model_validate(
                    {**top, "phases": [asked, {"name": "ended", "rules": [{self.way: options}]}]}
                )
            case Stage.HANDSHAKE, _:
                rule = {self.way: {**options, "hits": "new"}, "when": firsts}
                return Profile.model_validate({**top, "rules": [rule]})
            case _:
                opened = {"established" if protocol else "opened": str(connections)}
                return Profile.model_validate(
                    {
                        **top,
                        "phases": [
                            {"name": "waiting", "until": opened},
                            {"name": "settled", "lasts": f"{SETTLE_MS}ms"},
                            {"name": "ended", "rules": [{self.way: options}]},
                        ],
                    }
                )


class Choice(NamedTuple):
    """One item of --only: a stage, a way, or codes."""

    stage: Stage | None = None
    way: Way | None = None
    codes: range | None = None  # empty for no status


_WORDS = {
    "handshake": Choice(Stage.HANDSHAKE),
    "mid-connection": Choice(Stage.MID_CONNECTION),
    "mid": Choice(Stage.MID_CONNECTION),
    "fin": Choice(way=Way.FIN),
    "rst": Choice(way=Way.RST),
    "reset": Choice(way=Way.RST),
    "none": Choice(codes=range(0)),
    "pusher:error": Choice(way=Way.ERROR),
}


def parse_only(text: str) -> tuple[Choice, ...]:
    """Read what to try: fin, rst, none, codes and ranges of codes; handshake or mid narrows it to one of the two."""
    return tuple(_parse_choice(item.strip()) for item in text.split(","))


def _parse_choice(item: str) -> Choice:
    if item.lower() in _WORDS:
        return _WORDS[item.lower()]
    match = _CODES.fullmatch(item)
    if not match:
        raise ValueError(f"expected fin, rst, none, 4200, 4000-4999, handshake or mid, got {show(item)}")
    codes = range(int(match[1]), int(match[2] or match[1]) + 1)
    if not codes or codes[-1] > _CODE_MAX:
        raise ValueError(f"expected codes from 0 to {_CODE_MAX}, the smaller one first, got {show(item)}")
    return Choice(codes=codes)


def cases(protocol: str | None, only: Sequence[Choice] = ()) -> list[Case]:
    """All cases, or those chosen. A code that is named by itself is tried even if it is none of ours."""
    named = {each.codes[0] for each in only if each.codes is not None and len(each.codes) == 1}
    codes = sorted({*REGISTERED, *SAMPLES, *IMPOSSIBLE, *named})
    ends = [(Way.FIN, None), (Way.RST, None), (Way.CLOSE, None), *((Way.CLOSE, code) for code in codes)]
    found = [Case(Stage.HANDSHAKE, *end) for end in ends]
    if protocol == "pusher":
        found += [Case(Stage.HANDSHAKE, Way.ERROR, code) for code in codes if code >= 4000]
    found += [Case(Stage.MID_CONNECTION, *end) for end in ends]
    stages = {each.stage for each in only if each.stage}
    kinds = [each for each in only if not each.stage]
    return [case for case in found if case.stage in (stages or Stage) and (not kinds or _is_chosen(case, kinds))]


def _is_chosen(case: Case, kinds: Iterable[Choice]) -> bool:
    for kind in kinds:
        if kind.way is case.way:
            return True
        if kind.codes is not None and case.way in (Way.CLOSE, Way.ERROR):
            if case.code in kind.codes or (case.code is None and not kind.codes):
                return True
    return False
