"""The demo on the terminal: live lanes where there is a screen, plain lines where there is a pipe, and a summary."""

import asyncio
import sys
from io import TextIOWrapper
from time import monotonic_ns

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chaosproxy import drawing
from chaosproxy.demo.play import Play
from chaosproxy.demo.story import CLIENTS, GOOD, NAIVE, PROXY, Look, Mark, Story, Tone
from chaosproxy.units import SECOND

FRAMES_PER_SECOND = 10
LINES_MIN = 3
SUMMARY_HEIGHT = 15  # with the prompt below it, so that lanes and summary end up on one screen
WIDTH_MAX = 110
LABEL_WIDTH = 7
NEXT = (
    "chaosproxy run ws://localhost:6001 --profile extended-outage-fast",
    "chaosproxy verify flapping --upstream ws://localhost:6001 -- node client.js",
)

_LOOKS: dict[Look, tuple[str, str]] = {
    Look.OFF: (" ", ""),
    Look.PASSING: ("━", "green"),
    Look.BROKEN: ("▓", "red"),
    Look.HEARING: ("━", "bold green"),
    Look.DEAF: ("╍", "yellow"),
    Look.CONNECTING: ("·", "cyan"),
    Look.UNAVAILABLE: ("░", "magenta"),
}
_TONES = {Tone.PLAIN: "", Tone.WELL: "green", Tone.FAULT: "bold red", Tone.TROUBLE: "yellow"}
_BAND = " half-open + refused "


def demo(seconds: float) -> None:
    """Play the demo on stdout."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the lanes on a terminal that knows only ASCII
    console = Console(highlight=False)
    is_live = console.is_terminal and not console.is_dumb_terminal
    story = asyncio.run(_live(console, seconds) if is_live else _plain(console, seconds))
    with console.capture() as captured:
        console.print(summary(story))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


async def _plain(console: Console, seconds: float) -> Story:
    """Play in lines. Raise OSError, at once, where nobody reads them any more."""
    troubles: list[OSError] = []

    def show(mark: Mark) -> None:
        try:
            print(plain_line(mark), flush=True)
        except OSError as trouble:
            troubles.append(trouble)
            play.ended.set()

    play = Play(seconds, show)
    await play.run()
    if troubles:
        raise troubles[0]
    return play.story


async def _live(console: Console, seconds: float) -> Story:
    play = Play(seconds, lambda mark: None)

    def frame(height: int) -> RenderableType:
        now = (monotonic_ns() - play.started_ns) / SECOND
        return picture(play.story, now, play.planned_s, min(console.width, WIDTH_MAX), height)

    with Live(frame(console.height), console=console, auto_refresh=False) as live:
        playing = asyncio.create_task(play.run())
        while not playing.done():
            await asyncio.wait({playing}, timeout=1 / FRAMES_PER_SECOND)
            room = console.height - (SUMMARY_HEIGHT if playing.done() else 0)
            live.update(frame(room), refresh=True)
    await playing
    return play.story


def plain_line(mark: Mark) -> str:
    return f"{mark.at:7.2f}  {mark.actor:<5}  {mark.text}"


def picture(story: Story, now: float, planned: float, width: int, height: int) -> RenderableType:
    """The whole screen at one instant."""
    total = now if story.is_over else max(planned, now)
    cells = width - LABEL_WIDTH - 1
    lanes = [lane(story, actor, now, total, cells) for actor in (PROXY, GOOD, NAIVE)]
    room = max(LINES_MIN, height - len(lanes) - 6)
    lines = [_line(mark) for mark in story.marks[-room:]]
    head = Text.assemble(("chaosproxy demo", "bold"), (f"   one server, one proxy, two clients   {now:4.1f} s", "dim"))
    whole = [head, Text(), *lanes, axis(total, cells), legend(), Text(), *lines]
    for line in whole:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*whole)


def lane(story: Story, actor: str, now: float, total: float, cells: int) -> Text:
    """A lane as a bar: what it looked like in each stretch of time, with the signs of what happened."""
    bar = Text(f"{actor:<{LABEL_WIDTH}}", style="bold")
    looks = story.lane(actor)
    signs: dict[int, Mark] = {}
    for mark in story.marks:
        if mark.actor == actor and mark.sign:
            signs.setdefault(int(mark.at / total * cells), mark)
    band = _band(story, total, cells) if actor == PROXY else {}
    for cell in range(cells):
        begin, end = cell * total / cells, (cell + 1) * total / cells
        if begin > now:
            bar.append("╶" if actor == PROXY else " ", style="dim")
            continue
        look = next((look for at, look in reversed(looks) if at <= min(end, now)), Look.OFF)
        character, style = _LOOKS[look]
        if look is Look.BROKEN and cell in band:
            bar.append(band[cell], style="bold white on red")
        elif cell in signs:
            bar.append(signs[cell].sign, style="bold " + (_TONES[signs[cell].tone] or "white"))
        else:
            bar.append(character, style=style)
    return bar


def _band(story: Story, total: float, cells: int) -> dict[int, str]:
    """The words on the fault's band, by cell."""
    first = int((story.fault_at or 0.0) / total * cells) + 2
    return {first + index: character for index, character in enumerate(_BAND)}


def axis(total: float, cells: int) -> Text:
    """Seconds below the lanes."""
    return drawing.axis(0, total, cells, LABEL_WIDTH, max(2, int(total / 8)))


def legend() -> Text:
    text = Text(" " * LABEL_WIDTH)
    for look in (Look.HEARING, Look.DEAF, Look.CONNECTING, Look.UNAVAILABLE):
        character, style = _LOOKS[look]
        text.append(character * 2, style=style)
        text.append(f" {look.value}   ", style="dim")
    text.rstrip()
    return text


def _line(mark: Mark) -> Text:
    return Text.assemble(
        (f"{mark.at:7.2f}  ", "dim"), (f"{mark.actor:<{LABEL_WIDTH}}", "bold"), (mark.text, _TONES[mark.tone])
    )


def summary(story: Story) -> RenderableType:
    """Who stood it, who did not and why, and what to type next."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column()
    for client in CLIENTS:
        table.add_column(f"{client} client")
    rows = [story.row(client) for client in CLIENTS]
    table.add_row("noticed the outage", *(row.noticed for row in rows))
    table.add_row("back", *(row.back for row in rows))
    table.add_row("subscribed again", *(row.subscribed for row in rows))
    table.add_row("messages heard", *(row.heard for row in rows))
    styles = ["dim" if not row.is_decided else "bold red" if row.failures else "bold green" for row in rows]
    table.add_row("since it was back", *(row.heard_since_back for row in rows))
    table.add_row("verdict", *(Text(row.verdict, style) for row, style in zip(rows, styles, strict=True)))
    commands = [Text(f"  {command}", "bold cyan") for command in NEXT]
    return Group(Text(), table, Text(), Text("next, with your own server and app:"), *commands)
