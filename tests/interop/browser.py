"""A real Chromium: where it is on this machine, and any page in it, driven by node/browser_page.mjs."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.interop.driver import Driver, Event
from tests.interop.processes import NODE_FOLDER

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
REMEDY = (
    "these tests need a Chromium: run `make interop` as root (on Debian it installs the package chromium), or install "
    f"one by hand into PATH as {', '.join(NAMES[:-1])} or {NAMES[-1]}, or give its path as CHROMIUM=/path/to/it"
)
VIEWPORT = {"width": 300, "height": 190}


def find_chromium() -> str:
    """Return the browser's path; fail, with what to do, where there is none."""
    candidates = (os.environ.get("CHROMIUM", ""), *NAMES)
    found = next((path for name in candidates if name and (path := shutil.which(name))), None)
    assert found is not None, REMEDY
    return found


def chromium_settings() -> dict[str, object]:
    return {"chromium": find_chromium()}


class BrowserPage(Driver):
    """A page that is opened when the `with` block is entered; the events are listed in node/browser_page.mjs.

    `watch` names what is looked at, by CSS selectors: each change of colour or text is an event of the kind `seen`.
    """

    def __init__(self, url: str, watch: Mapping[str, str]) -> None:
        settings = {"url": url, "watch": dict(watch), "viewport": VIEWPORT, **chromium_settings()}
        super().__init__(("node", NODE_FOLDER / "browser_page.mjs"), settings)

    def click(self, selector: str) -> None:
        self._command("click", selector=selector)

    def screenshot(self, path: Path) -> Path:
        """Save what the page looks like now as a PNG; return its path when it is there."""
        self._command("screenshot", path=str(path))
        self.wait_for("screenshot", path=str(path))
        return path

    def leave(self) -> None:
        """Go to another page in the same tab, as someone does who follows a link."""
        self._command("leave")

    def close(self) -> None:
        """Close the tab."""
        self._command("close")

    def wait_seen(self, name: str, *, after: Event | None = None, timeout_s: float = 10, **what: object) -> Event:
        """Wait until what is watched under this name has exactly these `colours` or `texts`."""
        return self.wait_for("seen", after=after, timeout_s=timeout_s, name=name, **what)
