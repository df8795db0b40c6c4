"""What a client says of itself: its states, and marks that its app or its test has set."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from ..attempt import Spot
from ..units import Span
from .base import Expectation, Finding, Scene, failed, holds, label_of, passed, seconds, together, wait

Words = Annotated[tuple[str, ...], Field(min_length=1)]


class States(Expectation):
    """A client goes through these states, as it reports them itself or else as the wire shows them.

    With a phase, those that it enters while the phase lasts.
    """

    name = "states"
    shorthand = "exactly"
    example = "states: {containing: [connecting, unavailable, connected]}"

    exactly: Words | None = None
    """All of them, in this order."""
    containing: Words | None = None
    """These in this order; others may come between."""

    def misfits(self) -> Iterator[str]:
        if (self.exactly is None) == (self.containing is None):
            yield "expected a list of states, or containing: with one"

    def judge(self, scene: Scene) -> Finding:
        findings: list[tuple[str, Finding]] = []
        for client, states in scene.history.states.items():
            if scene.client not in (None, client):
                continue
            known = [each for each in states if each.is_reported] or states
            for visit in scene.visits:
                seen: list[tuple[Spot, str]] = []
                for each in known:
                    if visit.contains(each.spot) and (not seen or seen[-1][1] != each.state):
                        seen.append((each.spot, each.state))
                findings.append((label_of(client), self._judge_seen(scene, seen, scene.ends(visit))))
        return together(findings) if findings else wait(scene, "the state of no client is known")

    def _judge_seen(self, scene: Scene, seen: Sequence[tuple[Spot, str]], is_over: bool) -> Finding:
        words = [state for _, state in seen]
        spots = [spot for spot, _ in seen]
        shown = ", ".join(words) or "none"
        if self.containing is not None:
            rest = iter(words)
            if all(state in rest for state in self.containing):
                return passed(shown, *spots)
        elif self.exactly is not None:
            wanted = list(self.exactly)
            if words == wanted:
                return holds(scene, is_over, shown, *spots)
            if words != wanted[: len(words)]:
                return failed(shown, *spots)
        return failed(shown, *spots) if is_over else wait(scene, shown, spots)


class Marked(Expectation):
    """A client, or its test, has set this mark, with `mark(name)` of chaosproxy.js or over the API."""

    name = "marked"
    shorthand = "mark"
    example = "marked: banner-shown"

    mark: str
    """The mark's name."""
    within: Span | None = None
    """How long it may take from the beginning of the phase, or of the run."""

    nothing: ClassVar[str] = "no client set it"

    def judge(self, scene: Scene) -> Finding:
        visits = scene.visits
        if not visits:
            return wait(scene, f"phase {scene.phase} was not entered")
        findings = []
        for visit in visits:
            found = [
                spot
                for spot, client, name in scene.history.marks
                if name == self.mark and visit.contains(spot) and scene.client in (None, client)
            ]
            if found:
                took = found[0].at - visit.entered.at
                is_late = self.within is not None and took > self.within
                findings.append(("", (failed if is_late else passed)(f"after {seconds(took)}", found[0])))
            elif scene.ends(visit) or (self.within is not None and scene.now - visit.entered.at > self.within):
                findings.append(("", failed(self.nothing, visit.entered)))
            else:
                findings.append(("", wait(scene, "not set yet")))
        return together(findings)
