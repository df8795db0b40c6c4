"""Expectations on the command line: `--expect 'reconnected_within: 5s'`, added to those of a profile."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from .expected import EXPECTED, AnyExpected, Expected
from .problems import BadProfile, Problem, show_path
from .profile import Profile
from .rule import Misuse
from .wording import problems_of
from .yaml_tree import read

SOURCE = "--expect"
_ANY: TypeAdapter[Expected] = TypeAdapter(AnyExpected)


def with_expectations(profile: Profile, texts: Sequence[str]) -> Profile:
    """Add expectations to a profile. Raise BadProfile with the problems of all, each option counting as a line."""
    added: list[Expected] = []
    problems: list[Problem] = []
    for number, text in enumerate(texts, 1):
        tree, found = read(text, SOURCE)
        if tree is not None and not found:
            try:
                added.append(_ANY.validate_python(tree.data(), by_alias=True, by_name=False))
            except ValidationError as error:
                found = problems_of(error, tree, SOURCE, list(EXPECTED.values()))
        problems += [problem._replace(line=number) for problem in found]
    if problems:
        raise BadProfile(problems)
    extended = profile.model_copy(update={"expect": (*profile.expect, *added)})
    if misused := [each for each in extended.misused_expectations() if int(each.at[1]) >= len(profile.expect)]:
        raise BadProfile(_problem(each, len(profile.expect)) for each in misused)
    return extended


def _problem(misuse: Misuse, known: int) -> Problem:
    """What does not fit the profile, in the option that says so."""
    _, number, *path = misuse.at
    return Problem(SOURCE, int(number) - known + 1, 1, show_path(tuple(path)), misuse.message)
