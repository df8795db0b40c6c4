"""What a browser shows: the live page's files, and reports, which hold the same files in one.

Plain scripts that share one scope, in the order in which they stand here; nothing is built, and nothing is loaded from
elsewhere. What peers said reaches a document as data only, and is put in as text (dom.js).
"""

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from pydantic import JsonValue

from .. import __version__

Json = dict[str, JsonValue]

LANES = (
    "dom.js",
    "words.js",
    "model.js",
    "scale.js",
    "drawing.js",
    "density.js",
    "frame.js",
    "rows.js",
    "pointing.js",
    "lanes.js",
    "tables.js",
)
"""The drawing of a picture, for page and report."""
PAGE = ("api.js", "plots.js", "acting.js", "telling.js", "page.js")
"""What the live page has on top."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Asset(NamedTuple):
    """A file of the live page."""

    content_type: str
    text: str


def text_of(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def page_assets() -> dict[str, Asset]:
    """All that the live page consists of, by its path at the control address."""
    scripts = {f"/page/{name}": Asset("text/javascript", text_of(name)) for name in (*LANES, *PAGE)}
    page = Asset("text/html", text_of("index.html"))
    return {"/": page, "/page/style.css": Asset("text/css", text_of("style.css")), **scripts}


def report_html(runs: Sequence[Json]) -> str:
    """Finished runs as one file that needs nothing else.

    Each run is {"picture": …, "verdict": … or null, "records": {"14": …}}: a whole picture, the run as
    `report.as_json` tells it, and the journal's records by their numbers.
    """
    script = "".join(text_of(name) for name in (*LANES, "report.js"))
    style = text_of("style.css")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "version": __version__, "style": style, "script": script, "runs": _embedded(runs)}
    # All at once, so that nothing is looked for in what has been put in.
    return re.sub(r"\{(\w+)\}", lambda place: parts[place[1]], text_of("report.html"))


def _embedded(runs: Sequence[Json]) -> str:
    """JSON that can't end the element in which it stands."""
    return json.dumps(runs, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
