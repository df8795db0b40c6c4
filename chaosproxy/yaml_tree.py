"""Read YAML into a tree that knows where everything stands, and that takes nothing for what it isn't.

Every scalar stays the text it was written as, marked where that was quoted: no booleans, no sexagesimal numbers, no
octal ones. What makes YAML dangerous or surprising is refused with its place: aliases, anchors, merge keys, tags,
duplicate keys, more than one document, depth and size. The tree is built from PyYAML's events: its composer would
expand aliases and recurse freely.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from .problems import Path, Place, Problem, place_of, show, show_kind, show_path
from .units import NOTHING, Nothing, Quoted

TEXT_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 64
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = frozenset({"yes", "no", "true", "false", "on", "off"})  # YAML 1.1's, in any case


class Entry(NamedTuple):
    """A value and where its key stands."""

    key: Place
    node: "Node"


class Node(NamedTuple):
    """A value and where it stands."""

    place: Place
    value: "str | Nothing | list[Node] | dict[str, Entry]"

    def data(self) -> Any:
        """The plain data, each time anew."""
        if isinstance(self.value, dict):
            return {key: entry.node.data() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.data() for node in self.value]
        return self.value

    def find(self, path: Path) -> tuple[Path, Entry]:
        """Follow a path as far as it goes, passing over parts that the tree doesn't have."""
        found: list[str | int] = []
        entry = Entry(self.place, self)
        for part in path:
            value = entry.node.value
            if isinstance(value, dict) and part in value:
                entry = value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                entry = Entry(value[part].place, value[part])
            else:
                continue
            found.append(part)
        return tuple(found), entry


def read(text: str | bytes, source: str) -> tuple[Node | None, list[Problem]]:
    """Read one document. The tree is None where there is none to speak of; the problems are then not empty."""
    try:
        clean = _checked(text)
        reader = _Reader(clean, source)
    except _Unreadable as unreadable:
        return None, [Problem(source, *unreadable.place, "", unreadable.message, unreadable.hint)]
    try:
        return reader.document(), reader.problems
    except _Unreadable as unreadable:
        reader.complain(unreadable.place, (), unreadable.message, unreadable.hint)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML lets chr() and int() complain for themselves
        reader.complain(*_explain(error, clean, reader.loader))
    return None, reader.problems


class _Unreadable(Exception):
    """Reading can't go on."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        self.place, self.message, self.hint = place, message, hint


def _checked(text: str | bytes) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > TEXT_BYTES_MAX:
        raise _Unreadable(Place(1, 1), f"expected at most 1 MiB of text, got {size} bytes")
    text = (_decoded(text) if isinstance(text, bytes) else text).removeprefix("\ufeff")
    if strange := yaml.reader.Reader.NON_PRINTABLE.search(text):
        message = f"expected text, got the character U+{ord(strange[0]):04X}"
        raise _Unreadable(place_of(text, strange.start()), message, "YAML forbids it as it is; write it as an escape")
    return text


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        message = f"expected UTF-8, got the byte 0x{data[error.start]:02x}"
        raise _Unreadable(place_of(before, len(before)), message) from None


class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self.loader = yaml.SafeLoader(text)
        self.source = source
        self.problems: list[Problem] = []

    def complain(self, place: Place, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.source, *place, show_path(path), message, hint))

    def document(self) -> Node | None:
        events = self._events()
        node: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and node:
                self.complain(_place(event.start_mark), (), "expected one document, got a second", "one file each")
                break
            if isinstance(event, NodeEvent):
                node = self._node(event, events, ())
        if node is None or node.value is NOTHING:
            self.complain(Place(1, 1), (), "expected a profile, got nothing", "begin with version: 1")
            return None
        return node

    def _events(self) -> Iterator[yaml.Event]:
        while self.loader.check_event() and not self.loader.check_event(StreamEndEvent):
            yield self.loader.get_event()  # type: ignore[no-untyped-call]

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Node:
        place = _place(event.start_mark)
        if len(path) >= DEPTH_MAX:
            raise _Unreadable(place, f"expected at most {DEPTH_MAX} levels, got one more")
        if isinstance(event, AliasEvent):
            alias = f"*{event.anchor}"
            hint = f"write the value out, or quote it if it is text: {_quoted(alias)}"
            self.complain(place, path, f"expected a value, got the alias {show(alias)}", hint)
            return Node(place, alias)
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent)
        if event.anchor is not None:
            self.complain(place, path, f"expected no anchor, got {show('&' + event.anchor)}", "write the value out")
        if event.tag is not None:
            self.complain(place, path, f"expected no tag, got {show(event.tag)}", "values are judged as written")
        if isinstance(event, SequenceStartEvent):
            return Node(place, self._sequence(events, path))
        if isinstance(event, MappingStartEvent):
            return Node(place, self._mapping(events, path))
        if event.implicit[0] and not event.style and event.value in _NULLS:
            return Node(place, NOTHING)
        text = self._text(event.value, place, path)
        return Node(place, Quoted(text) if event.style else text)

    def _text(self, value: str, place: Place, path: Path) -> str:
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")  # joins pairs written as JSON escapes
        except UnicodeDecodeError:
            self.complain(place, path, "expected text, got half of a surrogate pair", "write the character itself")
            return value.encode("utf-8", "replace").decode()

    def _sequence(self, events: Iterator[yaml.Event], path: Path) -> list[Node]:
        nodes: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            nodes.append(self._node(event, events, (*path, len(nodes))))
        return nodes

    def _mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            told = len(self.problems)
            key = self._node(event, events, (*path, "key"))
            is_plain = isinstance(event, ScalarEvent) and not event.style
            name = key.value if isinstance(key.value, str) else ""
            node = self._node(next(events), events, (*path, name))
            if len(self.problems) > told and name == "<<":
                del self.problems[told:]  # the alias is part of the merge
            if name == "<<" and is_plain:
                self.complain(key.place, path, "expected a key, got the merge key <<", "write the options out")
            elif isinstance(event, AliasEvent):
                pass
            elif not isinstance(key.value, str):
                self.complain(key.place, path, f"expected a key, got {show_kind(key.value)}")
            elif is_plain and name.lower() in _BOOLEANS:
                hint = f"quote it if it is a name: {_quoted(name)}"
                self.complain(
                    key.place, path, f"expected a key, got {name}, which YAML 1.1 reads as a true or false", hint
                )
            elif name in entries:
                first = f"the first is at {entries[name].key.line}:{entries[name].key.column}"
                self.complain(key.place, (*path, name), "expected each key once, got a second", first)
            else:
                entries[name] = Entry(key.place, node)
        return entries


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _quoted(text: str) -> str:
    return text if (shown := show(text)) == text and shown.startswith('"') else f'"{text}"' if shown == text else shown


# --- Syntax errors: PyYAML's words, said for people who write profiles ---------------------------------------------

_BEHIND_THE_SIGN = re.compile(r"[^\r\n,}\]#]*")
_AT_CONTEXT = re.compile(
    r"scanning an alias|scanning a block scalar|quoted scalar: found unexpected|scanning a simple key"
)
_SYNTAX: tuple[tuple[str, str, str], ...] = (
    (r"scanning an alias|scanning a block scalar|cannot start any token", "a value, got {token}", "quote it: {quoted}"),
    (
        r"mapping values are not allowed",
        "one key on the line, got another colon",
        "quote the text, or check the indent",
    ),
    (r"(sequence entries|mapping keys) are not allowed", "one value here, got {sign}", "begin a new line, or quote it"),
    (r"quoted scalar: found unexpected", "a closing quote, got none", ""),
    (r"unknown escape|hexadecimal", "an escape that YAML knows, got another", "single quotes take \\ as it is"),
    (r"scanning a simple key", "a colon behind the key, got none", ""),
    (r"flow mapping", "a comma or }} in the {{ from line {line}, got {sign}", ""),
    (r"flow sequence", "a comma or ] in the [ from line {line}, got {sign}", ""),
    (r"expected <block end>", "the indent of the lines above, got {sign}", "check the indent of this line"),
    (r"node content", "a value, got {sign}", "quote it if it is text"),
    (r"document start", "the end of the profile, got {sign}", "check the indent of this line"),
)


def _explain(error: Exception, text: str, loader: yaml.SafeLoader) -> tuple[Place, Path, str, str]:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return _place(loader.get_mark()), (), "expected YAML, got a number out of range", ""
    mark, told = error.problem_mark, f"{error.context or ''}: {error.problem or ''}"
    if error.context_mark is not None and _AT_CONTEXT.search(told):
        mark = error.context_mark
    behind = _BEHIND_THE_SIGN.match(text, mark.index)
    token = behind[0].strip() if behind else ""
    sign = text[mark.index : mark.index + 1]
    words = {
        "token": show(token or sign),
        "quoted": _quoted(token or sign),
        "sign": show(token or sign) if sign.strip() else "the end" if not sign else "a line break",
        "line": error.context_mark.line + 1 if error.context_mark else mark.line + 1,
    }
    if sign == "\t":
        return _place(mark), (), "expected spaces, got a tab", "indent with spaces"
    for pattern, expected, hint in _SYNTAX:
        if re.search(pattern, told):
            return _place(mark), (), "expected " + expected.format(**words), hint.format(**words)
    return _place(mark), (), f"expected YAML, got something else: {show(error.problem or 'unreadable')}", ""
