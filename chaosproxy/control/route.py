"""What a row of the table of routes is made of."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from aiohttp import web
from pydantic import BaseModel

Subject = TypeVar("Subject")


class Query(NamedTuple):
    """A parameter behind the question mark; its schema is that of OpenAPI."""

    name: str
    about: str
    schema: Mapping[str, object]
    is_required: bool = False


class Text(NamedTuple):
    """An answer that is no JSON, in one of these types."""

    media_types: tuple[str, ...]


class Route(NamedTuple, Generic[Subject]):
    """One thing that can be asked for or ordered, of a stage (a Room) or of the process (its Rooms).

    `path` stands below the base of its stage, or for itself. `answers` are, by status, types of the module `answers`,
    Text, a tuple of them, or None where the body is empty. `order` is what a body says (Nothing where it has no
    fields), and None where nothing is changed. `refusals` are the statuses of those that not every such route has.
    """

    method: str
    path: str
    handler: Callable[[Subject, web.Request], Awaitable[web.StreamResponse]]
    about: str
    answers: Mapping[int, object]
    order: type[BaseModel] | None = None
    query: tuple[Query, ...] = ()
    refusals: frozenset[int] = frozenset()
    is_open: bool = False  # served without a token
    has_head: bool = True  # HEAD is answered as well
