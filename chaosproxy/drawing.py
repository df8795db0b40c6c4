"""A picture in text, for terminals and CI logs: a row of signs for each lane's wire, one for its client's states.

Lines do not move the cursor, and are no wider than they are told to be; what peers have said is escaped.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import ceil, floor, log10
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from .problems import escape

LANES_SHOWN = 40
LABEL_MAX = 24  # cells
RULES_SHOWN = 12
SPELL_ROWS_MAX = 4
TICKS_MAX, CELLS_OF_A_TICK, UNIT = 8, 8, " s"
_HOW = {"reset": "RST", "fin": "FIN", "close": "no code"}
_STATES = {"connected": "green", "connecting": "yellow", "unavailable": "yellow"}  # the others are red
_WORDS = {"silent": "silenced", "end": "ended", "strike": "a fault struck", "said": "said by the client"}

Json = dict[str, Any]
Cell = tuple[str, str]  # a sign and its style
EMPTY: Cell = (" ", "")


class Signs(NamedTuple):
    """What is drawn with."""

    dialling: str
    open: str
    established: str
    silent: str
    end: str
    strike: str
    said: str
    edge: str
    line: str
    more: str


UNICODE = Signs("·", "─", "━", "╍", "×", "▼", "◆", "│", "─", "…")
ASCII = Signs(".", "-", "=", "~", "x", "!", "*", "|", "-", "...")
_STYLES = {
    "dialling": "cyan",
    "open": "green",
    "established": "bold green",
    "silent": "yellow",
    "end": "bold red",
    "strike": "bold red",
    "said": "bold magenta",
}


def signs_for(encoding: str | None) -> Signs:
    """The signs that an output can show."""
    try:
        "".join(UNICODE).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def draw(picture: Json, width: int, signs: Signs = UNICODE, lanes_shown: int = LANES_SHOWN) -> list[Text]:
    """A whole picture, as lines."""
    return [*_Drawing(picture, width, signs).lines(lanes_shown)]


class _Drawing:
    def __init__(self, picture: Json, width: int, signs: Signs) -> None:
        self._picture = picture
        self._signs = signs
        came: dict[str, int] = {}
        for lane in picture["lanes"]:
            came.setdefault(lane["client"], lane["id"])
        self._lanes: list[Json] = sorted(picture["lanes"], key=lambda lane: (came[lane["client"]], lane["row"]))
        labels = [self._label(lane) for lane in self._lanes] + ["phases"]
        self._indent = min(LABEL_MAX, max(map(len, labels)), max(1, width // 3)) + 1
        self._cells = max(10, width - self._indent)
        times = [item[key] for item in self._items() for key in ("from", "to", "at") if item.get(key) is not None]
        times += [picture["now"]] if any(lane["live"] for lane in self._lanes) else []
        times += [] if self._lanes else [0.0, picture["now"]]  # nothing ends what is drawn
        self._begin: float = min(times)
        self._end: float = max([self._begin + 0.001, *times])
        self._used: dict[str, None] = {}  # kinds of signs, for the legend

    def lines(self, lanes_shown: int) -> Iterator[Text]:
        if not self._lanes:
            yield Text("no client has asked for a connection", style="dim")
        if self._picture["bands"]:
            yield self._line("phases", self._band((each, each["phase"], "cyan") for each in self._picture["bands"]))
        yield from self._spells()
        for lane in self._lanes[:lanes_shown]:
            yield self._line(self._label(lane), self._wire(lane), "bold")
            if any(state["source"] == "reported" for state in lane["states"]):
                states = ((each, each["state"], _STATES.get(each["state"], "red")) for each in lane["states"])
                yield self._line("  says", self._band(states))
        if more := self._lanes[lanes_shown:]:
            yield Text(f"{self._signs.more} and {len(more)} more: {_standing(more)}", style="dim")
        yield axis(self._begin, self._end, self._cells, self._indent)
        yield from self._legend()
        yield from self._strikes()
        if any(left_out := self._picture["left_out"].values()):
            lanes, items = left_out
            yield Text(f"left out, as there was too much: {lanes} lanes, {items} items", style="yellow")

    # -- rows -------------------------------------------------------------------------------------------------------

    def _wire(self, lane: Json) -> list[Cell]:
        """How the wire was, with what befell it; behind an end the code or status, where there is room."""
        cells = [EMPTY] * self._cells
        for stretch in lane["wire"]:
            for cell in self._range(stretch):
                cells[cell] = self._sign(stretch["what"])
        for mark in lane["marks"]:
            if mark["kind"] in ("struck", "said"):
                cells[self._cell(mark["at"])] = self._sign("strike" if mark["kind"] == "struck" else "said")
        for end in lane["ends"]:
            cells[self._cell(end["at"])] = self._sign("end")
        for end in lane["ends"]:
            first = self._cell(end["at"]) + 1
            words = str(end["code"] or end["status"] or _HOW.get(end["how"], ""))
            if all(cell == EMPTY for cell in cells[first : first + len(words) + 1]):
                cells[first : first + len(words)] = [(sign, "red") for sign in words][: self._cells - first]
        return cells

    def _band(self, items: Iterable[tuple[Json, str, str]]) -> list[Cell]:
        """Spells of time, one behind the other, each with its name as far as there is room."""
        cells = [EMPTY] * self._cells
        for item, name, style in items:
            place = self._range(item)
            words = (self._signs.edge + self._plain(name))[: len(place)]
            for cell, sign in zip(place, words.ljust(len(place), self._signs.line), strict=True):
                cells[cell] = sign, style
        return cells

    def _spells(self) -> Iterator[Text]:
        """Rules by hand and the closed listener; those of the same time in rows below each other."""
        rows: list[list[Json]] = []
        left_out = 0
        for spell in self._picture["spells"]:
            row = next((row for row in rows if self._range(row[-1])[-1] < self._cell(spell["from"])), None)
            if row is not None:
                row.append(spell)
            elif len(rows) < SPELL_ROWS_MAX:
                rows.append([spell])
            else:
                left_out += 1
        for row in rows:
            named = [(spell, spell["fault"], "red") for spell in row]
            yield self._line("rules", self._band(named))
        if left_out:
            yield Text(f"{self._signs.more} and {left_out} more rules", style="dim")

    def _line(self, label: str, cells: list[Cell], style: str = "dim") -> Text:
        label = label if len(label) < self._indent else label[: self._indent - 2] + self._signs.more[0]
        line = Text(f"{label:<{self._indent}}", style=style)
        for sign, sign_style in cells:
            line.append(sign, style=sign_style or None)
        line.rstrip()
        return line

    # -- below the rows ---------------------------------------------------------------------------------------------

    def _legend(self) -> Iterator[Text]:
        line = Text(" " * self._indent)
        for kind in self._used:
            words = f" {_WORDS.get(kind, kind)}"
            if len(line) + len(words) + 3 > self._indent + self._cells and line.plain.strip():
                yield line
                line = Text(" " * self._indent)
            line.append("  " if line.plain.strip() else "")
            line.append(getattr(self._signs, kind), style=_STYLES[kind])
            line.append(words, style="dim")
        if self._used:
            yield line

    def _strikes(self) -> Iterator[Text]:
        """What struck how often, by rule."""
        rules: dict[str, list[tuple[Json, int]]] = {}
        for lane in self._lanes:
            for mark in lane["marks"]:
                if mark["kind"] == "struck":
                    rules.setdefault(mark["rule"], []).append((mark, lane["id"]))
        for rule, marks in [*rules.items()][:RULES_SHOWN]:
            count, lanes = sum(mark["count"] for mark, _ in marks), len({lane for _, lane in marks})
            first, last = min(mark["at"] for mark, _ in marks), max(mark["to"] for mark, _ in marks)
            times = "once" if count == 1 else f"{count} times"
            when = f"at {first:.3f} s" if first == last else f"from {first:.3f} s to {last:.3f} s"
            where = f" in {lanes} lanes" if lanes > 1 else ""
            fault = self._plain(marks[0][0]["fault"])
            yield Text.assemble(
                (self._signs.strike, _STYLES["strike"]),
                (f" {fault} ({self._plain(rule)}) struck {times}{where}, {when}", ""),
            )
        if len(rules) > RULES_SHOWN:
            yield Text(f"{self._signs.more} and {len(rules) - RULES_SHOWN} more rules", style="dim")

    # -- places and words -------------------------------------------------------------------------------------------

    def _items(self) -> Iterator[Json]:
        yield from self._picture["bands"]
        yield from self._picture["spells"]
        for lane in self._lanes:
            for key in ("wire", "ends", "states", "marks"):
                yield from lane[key]

    def _sign(self, kind: str) -> Cell:
        self._used[kind] = None
        return getattr(self._signs, kind), _STYLES[kind]

    def _cell(self, at: float) -> int:
        return min(self._cells - 1, int((at - self._begin) / (self._end - self._begin) * self._cells))

    def _range(self, item: Json) -> range:
        """The cells of a spell of time: at least one."""
        last = self._cell(self._end if item["to"] is None else item["to"])
        first = self._cell(item["from"])
        return range(first, max(first, last) + 1)

    def _label(self, lane: Json) -> str:
        row = f" ({lane['row'] + 1})" if lane["row"] else ""
        return self._plain(lane["client"] or "client")[: LABEL_MAX - len(row)] + row

    def _plain(self, text: str) -> str:
        """Text of which each character takes one cell and can be shown."""
        shown = "".join(sign if cell_len(sign) == 1 else "?" for sign in escape(text))
        return shown if self._signs is UNICODE else shown.encode("ascii", "replace").decode()


def axis(begin: float, end: float, cells: int, indent: int, step: float | None = None) -> Text:
    """Seconds below lanes of so many cells, a label at each multiple of `step`."""
    step = step or _step((end - begin) / max(1, min(TICKS_MAX, cells // CELLS_OF_A_TICK)))
    line = ""
    for tick in range(ceil(begin / step - 1e-9), floor(end / step + 1e-9) + 1):
        place, label = indent + int((tick * step - begin) / (end - begin) * cells), f"{tick * step:g}"
        if (place > len(line) or not line) and place + len(label) <= indent + cells - len(UNIT):
            line = f"{line:<{place}}{label}"
    return Text(line + UNIT, style="dim")


def _step(least: float) -> float:
    """The first of 1, 2, 5, 10, … that is no smaller; of their tenths and so on too."""
    decade: float = 10.0 ** floor(log10(least))
    return next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= least * 0.999)


def _standing(lanes: list[Json]) -> str:
    """How many lanes are how."""
    counts = Counter(lane["wire"][-1]["what"] if lane["live"] and lane["wire"] else "over" for lane in lanes)
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())
