"""What reached a client: nothing twice, nothing left out, by a field that tells messages apart."""

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator

from ..history import TrackedMessage
from ..units import Integer, expected
from ..wire.pointer import parse_pointer
from .base import Expectation, Finding, Scene, counted, failed, holds, label_of, together, wait

SHOWN_MAX = 5


def _check_pointer(text: str) -> str:
    if not text or parse_pointer(text) is None:
        raise expected("a JSON Pointer, such as /data/id")
    return text


class Carrying(Expectation):
    """Base of those that follow the server's messages by a field."""

    shorthand = "field"

    field: Annotated[str, AfterValidator(_check_pointer)]
    """A JSON Pointer; it also leads into strings that are JSON, such as Pusher's data."""

    def judge(self, scene: Scene) -> Finding:
        findings: list[tuple[str, Finding]] = []
        for client in scene.clients:
            every = scene.history.tracked.get((client, self.field), [])
            messages = [each for each in every if scene.is_about(each.spot)]
            if messages:
                findings.append((label_of(client), self.judge_messages(scene, messages)))
        return together(findings) if findings else wait(scene, f"no message had {self.field}")

    def judge_messages(self, scene: Scene, messages: list[TrackedMessage]) -> Finding:
        raise NotImplementedError


class NoDuplicatesOnTheWire(Carrying):
    """No message is delivered to a client twice, also not over several connections."""

    name = "no_duplicates_on_the_wire"
    example = "no_duplicates_on_the_wire: /data/id"

    def judge_messages(self, scene: Scene, messages: list[TrackedMessage]) -> Finding:
        first: dict[str, TrackedMessage] = {}
        for each in messages:
            if not each.has_left:
                continue
            if each.value in first:
                return failed(f"{each.value} came twice", first[each.value].spot, each.spot)
            first[each.value] = each
        return holds(scene, False, f"{counted(len(first), 'message')}, each once", messages[-1].spot)


class NoGapOnTheWire(Carrying):
    """Of whole numbers that count up, none is missing between the first and the last that reached a client."""

    name = "no_gap_on_the_wire"
    example = "no_gap_on_the_wire: /data/number"

    def judge_messages(self, scene: Scene, messages: list[TrackedMessage]) -> Finding:
        came = {int(each.value): each.spot for each in messages if each.has_left and _is_whole(each.value)}
        if not came:
            return wait(scene, f"no message had a whole number at {self.field}")
        first, last = min(came), max(came)
        missing = last - first + 1 - len(came)
        if not missing:
            return holds(scene, False, f"{first} to {last}", came[first], came[last])
        shown: list[str] = []
        evidence = []
        ordered = sorted(came)
        for one, next_one in pairwise(ordered):
            if next_one - one > 1 and len(shown) < SHOWN_MAX:
                shown.append(f"{one + 1}" if next_one - one == 2 else f"{one + 1} to {next_one - 1}")
                evidence += [came[one], came[next_one]]
        # What is missing may still be asked for again, as long as the run goes on.
        failing = failed(f"{missing} missing of {first} to {last}: {', '.join(shown)}", *evidence)
        return failing if scene.is_over else holds(scene, False, failing.seen, *evidence)


class Missed(Carrying):
    """Of the messages that the server sent, at most so many were kept from a client for good."""

    name = "missed"
    shorthand = "field"
    example = "missed: {field: /data/id, at_most: 3}"

    at_most: Integer = 0
    """How many."""

    def judge_messages(self, scene: Scene, messages: list[TrackedMessage]) -> Finding:
        came = {each.value for each in messages if each.has_left}
        withheld = {each.value: each.spot for each in messages if not each.has_left and each.value not in came}
        shown = ", ".join(list(withheld)[:SHOWN_MAX])
        seen = f"{len(withheld)} of {len(came) + len(withheld)}{f': {shown}' if shown else ''}"
        evidence = list(withheld.values())[:SHOWN_MAX]
        if len(withheld) > self.at_most and scene.is_over:
            return failed(seen, *evidence)
        return holds(scene, False, seen, *evidence)


def _is_whole(value: str) -> bool:
    return value.removeprefix("-").isdigit() and len(value) < 16
