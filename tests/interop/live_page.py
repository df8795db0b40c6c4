"""The proxy's own page, or a report, in a real Chromium, used as people use it: node/live_page.mjs does it."""

from pathlib import Path
from typing import Any

from tests.interop.browser import chromium_settings
from tests.interop.driver import Driver, Event
from tests.interop.processes import NODE_FOLDER

PATIENCE_S = 15
REFUSED = "Failed to load resource: the server responded with a status of 4"
SERIOUS = ("serious", "critical")


class LivePage(Driver):
    """A browser for the `with` block; `open` begins with a page in a fresh context."""

    def __init__(self) -> None:
        super().__init__(("node", NODE_FOLDER / "live_page.mjs"), chromium_settings())
        self._asked = 0
        self._opened: Event | None = None

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        offline: bool = False,
        motion: str = "no-preference",
        touch: bool = False,
    ) -> None:
        self._opened = self.latest()
        looks = {"width": width, "height": height, "scheme": scheme, "motion": motion}
        self._ask("open", url=url, offline=offline, touch=touch, **looks)

    def click(self, selector: str) -> None:
        self._ask("click", selector=selector)

    def tap(self, selector: str) -> None:
        self._ask("tap", selector=selector)

    def hover(self, selector: str) -> None:
        self._ask("hover", selector=selector)

    def fill(self, selector: str, text: str) -> None:
        self._ask("fill", selector=selector, text=text)

    def press(self, key: str, selector: str = "") -> None:
        """Press a key where the focus is, or on an element."""
        self._ask("press", key=key, selector=selector)

    def see(self, expression: str, timeout_s: float = PATIENCE_S) -> Any:
        """Wait until an expression of JavaScript is true in the page; return its value."""
        return self._ask("see", expression=expression, timeout_ms=timeout_s * 1000)

    def see_text(self, selector: str, text: str) -> None:
        """Wait until some element has exactly this text."""
        self.see(f"[...document.querySelectorAll({selector!r})].some((each) => each.textContent.trim() === {text!r})")

    def evaluate(self, expression: str) -> Any:
        return self._ask("evaluate", expression=expression)

    def download(self, selector: str, path: Path) -> str:
        """Click on what downloads something, save that, and return the name which it was offered under."""
        name: str = self._ask("download", selector=selector, path=str(path))
        return name

    def screenshot(self, path: Path) -> None:
        self._ask("screenshot", path=str(path))

    def serious_barriers(self) -> list[Any]:
        """What axe-core finds that keeps people out."""
        found = self._ask("axe")
        assert found["passes"] > 10, found
        return [each for each in found["violations"] if each["impact"] in SERIOUS]

    def complaints(self) -> list[Event]:
        """What the browser complained about since the page was opened: errors, and what the policy forbade; but not
        that an answer was a refusal, as a run that is not judged has no verdict.
        """
        return [
            each
            for each in self._since_opened()
            if each["kind"] == "uncaught"
            or (each["kind"] == "console" and each["level"] in ("error", "warning") and REFUSED not in each["text"])
        ]

    def requests(self) -> list[str]:
        """Whatever it has asked anybody for since the page was opened."""
        return [each["url"] for each in self._since_opened() if each["kind"] == "request"]

    def _since_opened(self) -> list[Event]:
        assert self._opened is not None
        return self.events[self._position_after(self._opened) :]

    def _ask(self, do: str, **arguments: object) -> Any:
        self._asked += 1
        number = self._asked
        self._command(do, id=number, **arguments)
        is_answer = lambda event: event.get("id") == number  # noqa: E731
        answer = self.wait_for(is_answer, timeout_s=PATIENCE_S * 3)
        assert answer["kind"] == "done", f"{do} {arguments}: {answer['error']}\n{self.story()[-6000:]}"
        return answer["value"]
