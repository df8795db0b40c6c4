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
    if not added:
        return profile
    try:
        fields = {name: getattr(profile, name) for name in Profile.model_fields}
        return Profile(**{**fields, "expect": (*profile.expect, *added)})
    except ValidationError as error:
        raise BadProfile(_misfits(error, len(profile.expect))) from None


def _misfits(error: ValidationError, known: int) -> list[Problem]:
    """What does not fit the profile, in the option that says so."""
    found = [each for details in error.errors() for each in details.get("ctx", {}).get("found", ())]
    return [Problem(SOURCE, each.at[1] - known + 1, 1, show_path(each.at[2:]), each.message) for each in found]
