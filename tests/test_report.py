"""What a verdict looks like."""

import json
import xml.etree.ElementTree as ET

from chaosproxy.expectations import Outcome
from chaosproxy.report import Judged, annotations, as_json, junit, lines, markdown, record_line
from chaosproxy.units import SECOND
from chaosproxy.verdict import Row

RECORD = json.dumps({"seq": 7, "at": 1.25, "event": "closed", "attempt": 2, "by": "rule", "how": "reset", "code": None})
GOOD = Row("a client came", "", Outcome.PASSED, "1 attempt", (3,))
BAD = Row("resubscribed: 5s", "phase | cut", Outcome.FAILED, "not to <news>\x1b[2J", (7, 9), is_expected=True)
JUDGED = Judged("outage", 4, 1500 * SECOND // 1000, "abcd", (GOOD, BAD), {7: RECORD}, [])


def test_a_record_is_its_number_its_time_what_happened_and_what_it_says() -> None:
    assert record_line(7, RECORD) == "#7 1.250 s closed attempt=2 by=rule how=reset"


def test_a_number_says_something_also_where_it_is_0() -> None:
    record = '{"seq": 7, "at": 1.25, "event": "closed", "code": 0, "reason": "", "late": false}'
    assert record_line(7, record) == "#7 1.250 s closed code=0"


def test_a_record_that_is_no_more_says_so() -> None:
    assert record_line(9, None).startswith("#9 (the journal's tail does not go back so far")


def test_the_table_shows_the_evidence_of_what_failed_and_no_control_character() -> None:
    shown = list(lines(JUDGED))
    assert shown[:3] == [
        "FAILED: outage, 1.5 s, seed 4, digest abcd",
        "  ok    a client came                   1 attempt",
        "  FAIL  resubscribed: 5s (phase | cut)  not to <news>\\x1b[2J",
    ]
    assert shown[3] == "          #7 1.250 s closed attempt=2 by=rule how=reset"
    assert len(shown) == 5


def test_junit_has_a_case_for_each_row() -> None:
    suite = ET.fromstring(junit([JUDGED]))[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("outage", "2", "1")
    good, bad = suite.findall("testcase")
    assert (good.get("classname"), good.get("name"), good.find("failure")) == ("chaosproxy.outage", GOOD.title, None)
    failure = bad.find("failure")
    assert failure is not None and failure.text
    assert failure.get("message") == "not to <news>\\x1b[2J"
    assert "#7 1.250 s closed" in failure.text


def test_markdown_escapes_what_would_break_its_table() -> None:
    text = markdown([JUDGED])
    assert "| ❌ | resubscribed: 5s (phase \\| cut) | not to &lt;news>\\x1b[2J |" in text
    assert "#7 1.250 s closed attempt=2" in text


def test_json_has_the_records_themselves() -> None:
    told = as_json([JUDGED])
    assert told["passed"] is False
    assert told["runs"][0]["rows"][1]["evidence"] == [json.loads(RECORD)]
    json.dumps(told)


def test_github_gets_a_command_for_each_failure() -> None:
    row = BAD._replace(name="a,b: c", about="", seen="50%\nand more")
    assert list(annotations([JUDGED._replace(rows=(GOOD, row))])) == [
        "::error title=outage%3A a%2Cb%3A c::50%25\\nand more"
    ]
