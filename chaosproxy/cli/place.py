"""Where a command finds the proxy: the variables that say so, ours and those that the user makes of them."""

import os
import re
from collections.abc import Callable, Sequence
from string import Formatter
from typing import Any, NamedTuple

from ..addresses import reachable
from ..problems import show
from ..sockets import Address
from .options import Reader, option
from .trouble import ExitCode, Trouble

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FIELDS = ("host", "port", "url", "control")


class Place(NamedTuple):
    """Where a command finds the proxy."""

    host: str
    port: int
    url: str
    control: str = ""  # http://…, or nothing where there is no control API

    @classmethod
    def of(cls, address: Address, scheme: str = "ws", control: str = "") -> "Place":
        """Say how to reach what listens there: `scheme` is what clients speak, ws, wss or tcp."""
        where = reachable(address)
        return cls(where.host, where.port, f"{scheme}://{where}", control)


class Variable(NamedTuple):
    """An environment variable made of where the proxy is: `--env NAME={port}`."""

    name: str
    template: str

    def fill(self, place: Place) -> str:
        """Put the place in. Raise Trouble where the proxy has no such thing."""
        if not place.control and "control" in _fields(self.template):
            raise Trouble(f"--env {self.name}: there is no control API here, so no {{control}}", ExitCode.USAGE)
        return self.template.format_map(place._asdict())


def parse_variable(text: str) -> Variable:
    """Read NAME=TEXT, of which {host}, {port}, {url} and {control} are places to fill."""
    name, has_text, template = text.partition("=")
    if not has_text or not _NAME.fullmatch(name):
        raise ValueError(f"expected NAME=TEXT, such as WS_PORT={{port}}, got {show(text)}")
    known = ", ".join(f"{{{field}}}" for field in _FIELDS)
    try:
        unknown = [field for field in _fields(template) if field not in _FIELDS]
    except ValueError:
        raise ValueError(f"a brace of {show(text)} has no partner; write {{{{ or }}}} for a brace itself") from None
    if unknown:
        raise ValueError(
            f"{show(text)} has {{{unknown[0]}}}, and only {known} can be filled in; "
            "write {{ and }} for braces that shall stay"
        )
    return Variable(name, template)


def _fields(template: str) -> list[str]:
    """What stands between braces, with all that Python would make of it, since none of that is meant."""
    return [
        field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        for _, field, spec, conversion in Formatter().parse(template)
        if field is not None
    ]


class _Variables(Reader):
    envvar_list_splitter = "\n"  # one a line, where an environment variable holds them


def env_option(*, has_control: bool) -> Callable[[Any], Any]:
    """The option `--env`: variables of the command's."""
    places = "{host}, {port}, {url} and {control}" if has_control else "{host}, {port} and {url}"
    return option(
        "--env",
        "variables",
        type=_Variables("NAME=TEXT", parse_variable),
        multiple=True,
        metavar="NAME=TEXT",
        help=f"A variable of the command's, with {places} of the proxy in it.",
    )


def environment(place: Place, variables: Sequence[Variable] = ()) -> dict[str, str]:
    """Our own environment, with where the proxy is in it. Raise Trouble where a variable can't be filled."""
    ours = {
        "CHAOSPROXY_URL": place.url,
        "CHAOSPROXY_CONTROL": place.control,
        "CHAOSPROXY_HOST": place.host,
        "CHAOSPROXY_PORT": str(place.port),
    }
    merged = {**os.environ, **ours, **{each.name: each.fill(place) for each in variables}}
    if not merged["CHAOSPROXY_CONTROL"]:
        del merged["CHAOSPROXY_CONTROL"]
    return merged
