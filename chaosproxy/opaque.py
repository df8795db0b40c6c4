"""What of a profile makes no sense with an opaque upstream (tcp://), where there are bytes and nothing else.

Which faults act there, and what to use in place of the others, the faults themselves say (`Fault.misfit_on_bytes`).
"""

from collections.abc import Iterator, Sequence

from .match import Match
from .problems import show_path
from .profile import Profile
from .rule import Misuse, Path, Rule

# How a read chops the stream is chance, so nothing that counts or picks among what was read can be repeated.
_CONDITIONS = ("sender", "connection", "age", "chance")
_USABLE = "(from:, connection:, age: and chance: can)"
_OF_REQUESTS = ("request", "path", "header")


def rule_misfits(rule: Rule) -> Iterator[Misuse]:
    """All that hinders a rule from acting on bytes."""
    if misfit := rule.fault.misfit_on_bytes():
        yield Misuse(misfit, (rule.fault_name,))
    for key in rule.when.given(*(field for field in Match.model_fields if field not in _CONDITIONS)):
        what = "an upgrade request" if key in _OF_REQUESTS else "messages"
        yield Misuse(f"{key}: needs {what}, and tcp:// carries none; it can't be used {_USABLE}", ("when", key))


def profile_misfits(profile: Profile) -> Iterator[Misuse]:
    """All of a profile that can't be done on bytes."""
    if profile.protocol is not None:
        yield Misuse("it is read from messages, and tcp:// carries none; leave it out", ("protocol",))
    if profile.identify is not None:
        yield Misuse(
            "it looks at the upgrade request, and tcp:// has none, so all connections count as one client's; "
            "leave it out",
            ("identify",),
        )
    if profile.compression != "pass":
        yield Misuse("it is agreed on in the upgrade request, and tcp:// has none; leave it out", ("compression",))
    for index, phase in enumerate(profile.phases):
        condition = phase.until.condition if phase.until else ""
        if condition in ("established", "subscribed"):
            message = f"{condition} is read from messages, and tcp:// carries none; use opened: or lasts:"
            yield Misuse(message, ("phases", index, "until", condition))
    stages: list[tuple[Path, Sequence[Rule]]] = [(("rules",), profile.rules)]
    stages += [(("phases", number, "rules"), phase.rules) for number, phase in enumerate(profile.phases)]
    for at, rules in stages:
        for index, rule in enumerate(rules):
            for misfit in rule_misfits(rule):
                yield misfit._replace(at=(*at, index, *misfit.at))


def words_of(misfits: Iterator[Misuse]) -> list[str]:
    """One line for each, with its place."""
    return [f"{show_path(misfit.at)}: {misfit.message}" for misfit in misfits]


def check_opaque(profile: Profile) -> None:
    """Raise ValueError with every misfit of a profile, one a line."""
    if lines := words_of(profile_misfits(profile)):
        raise ValueError("\n".join(lines))
