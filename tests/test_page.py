"""What the page and a report consist of. How they look and act is seen in a browser (tests/interop/test_page.py)."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import chaosproxy.page
from chaosproxy.page import LANES, PAGE, page_assets, report_html

FOLDER = Path(chaosproxy.page.__file__).parent
HOSTILE = "</script><script>{script}</SCRIPT><!--<script>{runs}\\u2028\ud800"


def parts_of(html: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, re.DOTALL)


def test_each_script_is_in_use() -> None:
    assert {path.name for path in FOLDER.glob("*.js")} == {*LANES, *PAGE, "report.js"}
    assert {path.removeprefix("/page/") for path in page_assets() if path.endswith(".js")} == {*LANES, *PAGE}


def test_data_can_neither_end_its_element_nor_stand_for_a_part() -> None:
    html = report_html([{"picture": {"profile": HOSTILE}, "verdict": None, "records": {}}])
    data, script = parts_of(html, "script")
    assert json.loads(data) == [{"picture": {"profile": HOSTILE}, "verdict": None, "records": {}}]
    assert "<" not in data
    assert script == "".join((FOLDER / name).read_text() for name in (*LANES, "report.js"))


def test_a_report_allows_its_own_script_and_style_and_nothing_else() -> None:
    html = report_html([])
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert found
    policy = dict(each.split(" ", 1) for each in found[1].split("; "))
    (style,), (_, script) = parts_of(html, "style"), parts_of(html, "script")
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'",
        "style-src": f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert html.index("Content-Security-Policy") < html.index("<style")
    assert not re.search(r"<(link|img|iframe|object|embed)\b|\ssrc=|\shref=|url\(['\"]?\w+:", html.split("<script")[0])


def test_no_script_makes_markup_or_code_of_text() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|alert\("
    )
    for path in FOLDER.glob("*.js"):
        assert not forbidden.search(path.read_text()), path.name


def test_scripts_stay_small() -> None:
    assert {path.name: count for path in FOLDER.glob("*.js") if (count := path.read_text().count("\n")) > 300} == {}
