"""What a profile expects: one expectation, and the phase and the client that it is about. Models, as for rules."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, create_model, model_validator
from pydantic_core import PydanticCustomError

from .expectations import EXPECTATIONS, After, Expectation
from .rule import NAME, BareName, Misuse, Model, misuse, shorthand
from .units import NOTHING, expected


class Expected(Model):
    """One expectation, and what it is about."""

    expectation_name: ClassVar[str]

    phase: Annotated[str, Field(pattern=NAME)] | None = None
    """The phase that it is about: the outage, or the phase behind it; without one, every outage, or the whole run."""
    client: str | None = None
    """The client that it is about, by its key (see identify); without one, every client."""
    after: After | None = None
    """From when its time runs: fault, detected or heal."""

    @property
    def expectation(self) -> Expectation:
        expectation: Expectation = getattr(self, self.expectation_name)
        return expectation

    @property
    def starts_after(self) -> After | None:
        """From when its time runs, said or not."""
        return self.after or self.expectation.default_after

    @model_validator(mode="after")
    def _hangs_together(self) -> "Expected":
        if found := list(self._misfits()):
            raise misuse(*found)
        return self

    def _misfits(self) -> Iterator[Misuse]:
        name, default = self.expectation_name, self.expectation.default_after
        if self.after and default is None:
            yield Misuse(f"{name} has no time that runs from somewhere; leave after: out", ("after",))
        elif self.after not in (None, After.FAULT) and default is After.FAULT:
            yield Misuse(f"the time of {name} runs from the fault; leave after: out", ("after",))
        for words in self.expectation.misfits():
            yield Misuse(words, (name,))

    def words(self) -> str:
        """As one would write it in a profile, in one line."""
        dumped = self.expectation.model_dump(mode="json", exclude_defaults=True)
        short = self.expectation.shorthand
        value: Any = dumped
        if not dumped:
            value = True
        elif short and set(dumped) == {short}:
            value = dumped[short]
        return f"{self.expectation_name}: {_in_yaml(value)}"

    def conditions(self) -> str:
        """Where, to whom and from when it holds, in words."""
        words = [f"phase {self.phase}"] if self.phase else []
        words += [f"client {self.client}"] if self.client is not None else []
        words += [f"from the {self.starts_after.moment}"] if self.starts_after else []
        return ", ".join(words)


def _in_yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_in_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return _in_yaml(value[0]) if len(value) == 1 else "[" + ", ".join(map(_in_yaml, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


class _MadeExpected(Expected):
    """Base of the models made below. They have no source in which docstrings could be looked for, which takes long."""

    model_config = ConfigDict(use_attribute_docstrings=False)


def _expected_type(expectation: type[Expectation]) -> type[Expected]:
    body = shorthand(expectation, expectation.shorthand)
    fields: dict[str, Any] = {expectation.name: (body, Field(description=expectation.help()))}
    made: type[Expected] = create_model(f"Expected{expectation.__name__}", __base__=_MadeExpected, **fields)
    made.expectation_name = expectation.name
    made.__doc__ = expectation.help()
    return made


EXPECTED: dict[str, type[Expected]] = {name: _expected_type(each) for name, each in EXPECTATIONS.items()}


def _tag(value: Any) -> str | None:
    if isinstance(value, Expected):
        return value.expectation_name
    named = [key for key in value if key in EXPECTED] if isinstance(value, dict) else []
    return named[0] if len(named) == 1 else None


def _expand(value: Any) -> Any:
    if isinstance(value, str):
        value = {value: NOTHING}
    if isinstance(value, dict):
        names = [key for key in value if key not in Expected.model_fields]
        known = [name for name in names if name in EXPECTED]
        if len(known) > 1:
            message = f"expected one expectation per item, got {' and '.join(known)}; begin a new - for each"
            raise misuse(Misuse(message, (known[1],)))
        if names and not known:
            raise PydanticCustomError("unknown_expectation", "unknown expectation", {"name": str(names[0])})
        if known:
            return value
    elif isinstance(value, Expected):
        return value
    raise expected("an expectation, such as - reconnected_within: 5s")


if TYPE_CHECKING:
    AnyExpected = Expected
else:
    AnyExpected = Annotated[
        Union[tuple(Annotated[made, Tag(name)] for name, made in EXPECTED.items())],  # noqa: UP007
        Discriminator(_tag),
        BeforeValidator(_expand),
        BareName(EXPECTATIONS),
    ]
