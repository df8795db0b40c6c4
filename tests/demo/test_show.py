"""Pictures of a story, on a terminal of 80 columns."""

from rich.console import Console

from chaosproxy.demo.show import NEXT, picture, plain_line, summary
from chaosproxy.demo.story import GOOD, PROXY, Mark
from tests.demo.test_story import Teller, played


def drawn(teller: Teller, now: float, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(picture(teller.story, now, 12.5, width, height))
    return console.export_text().splitlines()


def test_lanes_stand_below_each_other_on_one_scale() -> None:
    lines = drawn(played(), 10.0)
    proxy, good, naive = lines[2:5]
    assert proxy.startswith("proxy  ━━━━━━━━━━━▓▓ half-open + refused ▓▓")
    assert good.startswith("good   ━━━━━━━━━━━╍╍╍╍╍╍╍╍╍!")
    assert naive.startswith("naive   ━━━━━━━━━━╍╍╍╍╍╍╍╍╍╍")
    assert "✓━━" in good
    assert naive.rstrip().endswith("╍")


def test_a_picture_fits_its_terminal() -> None:
    for width, height in ((80, 24), (60, 20), (110, 50)):
        for now in (0.0, 0.05, 5.0, 12.5, 30.0):
            lines = drawn(played(), now, width, height)
            assert len(lines) <= height - 1
            assert max(map(len, lines)) <= width


def test_a_plain_line_has_its_time_and_actor() -> None:
    assert plain_line(Mark(1.5, PROXY, "FAULT")) == "   1.50  proxy  FAULT"
    assert plain_line(Mark(12.345, GOOD, "connected")) == "  12.35  good   connected"


def test_the_summary_says_what_to_type_next() -> None:
    teller = played()
    teller.phase(12, "")
    console = Console(width=80, record=True, quiet=False)
    with console.capture() as captured:
        console.print(summary(teller.story))
    text = captured.get()
    assert "PASS" in text and "FAIL: never noticed" in text
    assert all(f"  {command}\n" in text for command in NEXT)
