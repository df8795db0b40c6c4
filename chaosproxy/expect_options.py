"""Expectations on the command line: `--expect 'reconnected_within: 5s'`, added to those of a profile."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from .expected import EXPECTED, AnyExpected, Expected
from .problems import BadProfile, Problem, show_path
from .profile import Profile
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
    made = profile.model_copy(update={"expect": (*profile.expect, *added)})
    known = len(profile.expect)
    if misfits := [each for each in made.misfits() if each.at[:1] == ("expect",)]:
        raise BadProfile(
            [Problem(SOURCE, int(at[1]) - known + 1, 1, show_path(at[2:]), message) for message, at in misfits]
        )
    return made
