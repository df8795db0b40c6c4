"""The table and the JSON of a sweep, from findings made by hand."""

from typing import Any

import pytest

from chaosproxy.sweep.cases import Case, Stage, Way
from chaosproxy.sweep.report import Finding, as_json, lines
from chaosproxy.sweep.watch import Answer, Kind, Reaction
from chaosproxy.units import MILLISECOND, SECOND

HANDSHAKE, MID = Stage.HANDSHAKE, Stage.MID_CONNECTION
SPAN = 6 * SECOND
GIVES_UP = Reaction(Kind.GIVES_UP, answer=Answer.NONE)


def back(*after_ms: float, kind: Kind = Kind.PAUSES, **more: Any) -> Reaction:
    return Reaction(kind, tuple(round(ms * MILLISECOND) for ms in after_ms), **{"is_back": True, **more})


def closes(reaction: Reaction, *codes: int | None) -> list[Finding]:
    """Findings of close frames in mid-connection, answered by the same code."""
    return [
        Finding(Case(MID, Way.CLOSE, code), reaction._replace(answer=Answer.CODE, code=code or 1000)) for code in codes
    ]


def rows(findings: list[Finding]) -> list[str]:
    return [" ".join(line.split()) for line in list(lines(findings, SPAN))[3:]]


def test_the_whole_table() -> None:
    findings = [
        Finding(Case(HANDSHAKE, Way.FIN), back(15_000, answer=Answer.FIN)),
        Finding(Case(HANDSHAKE, Way.RST), GIVES_UP),
        Finding(Case(HANDSHAKE, Way.ERROR, 4200), back(12, kind=Kind.AT_ONCE, answer=Answer.CODE, code=1000)),
        *closes(back(1003), None, 1000, 1001, 1002),
        *closes(GIVES_UP, 4001, 4004, 4009, 4099, 4300, 4999),
        *closes(back(3, kind=Kind.AT_ONCE), 4200),
        *closes(back(11, kind=Kind.AT_ONCE), 4299),
    ]

    assert list(lines(findings, SPAN)) == [
        "",
        "In the handshake: FIN and RST in place of the 101, close frames right behind it",
        "  ENDING                    ANSWER     REACTION",
        "  FIN                       FIN        after 15.0 s",
        "  RST                       -          gives up (no attempt in 6 s)",
        "",
        "In the handshake, by pusher:error before connection_established",
        "  ENDING                    ANSWER     REACTION",
        "  4200                      1000       at once (12 ms)",
        "",
        "In mid-connection, 0.3 s after it was there",
        "  ENDING                    ANSWER     REACTION",
        "  no status                 1000       after 1.0 s",
        "  1000–1002                 same code  after 1.0 s",
        "  4001, 4004, 4009, 4099,   same code  gives up (no attempt in 6 s)",
        "  4300, 4999",
        "  4200, 4299                same code  at once (3–11 ms)",
    ]


class TestNeighbours:
    def test_pauses_that_are_much_alike_share_a_line(self) -> None:
        assert rows([*closes(back(1000), 1000), *closes(back(1400), 1001), *closes(back(1600), 1002)]) == [
            "1000, 1001 same code after 1.0–1.4 s",
            "1002 same code after 1.6 s",
        ]

    @pytest.mark.parametrize(
        "other",
        [
            back(1000, is_back=False, detail="the server answered 403"),
            back(1000, 2000),
            back(1000, kind=Kind.BACKS_OFF),
            GIVES_UP,
        ],
    )
    def test_whatever_else_differs_has_a_line_of_its_own(self, other: Reaction) -> None:
        assert len(rows([*closes(back(1000), 1000), *closes(other, 1001), *closes(back(1000), 1002)])) == 3

    def test_another_answer_too(self) -> None:
        strict = Finding(Case(MID, Way.CLOSE, 1004), back(1000, answer=Answer.CODE, code=1002))
        assert rows([*closes(back(1000), 1003), strict]) == ["1003 same code after 1.0 s", "1004 1002 after 1.0 s"]

    def test_only_codes_that_follow_each_other_are_a_range(self) -> None:
        assert rows(closes(GIVES_UP, 999, 1000, 1002, 1003, 1004, 1006)) == [
            "999, 1000, 1002–1004, same code gives up (no attempt in 6 s)",
            "1006",
        ]


@pytest.mark.parametrize(
    ("reaction", "words"),
    [
        (back(12.4, kind=Kind.AT_ONCE), "at once (12 ms)"),
        (back(0.2, kind=Kind.AT_ONCE), "at once (0 ms)"),
        (back(12, 30, 50, kind=Kind.AT_ONCE), "at once (12 ms), 3 attempts"),
        (back(500, 1500, 3500, kind=Kind.BACKS_OFF), "backs off: after 0.5 s, 1.5 s, 3.5 s"),
        (back(1000, is_back=False, detail="no answer yet"), "after 1.0 s, not back: no answer yet"),
        (
            back(1000, is_back=False, detail="no answer yet", exit_code=1),
            "after 1.0 s, not back: no answer yet; exits with 1",
        ),
        (GIVES_UP, "gives up (no attempt in 6 s)"),
        (Reaction(Kind.EXITS, exit_code=143), "exits with 143, without another attempt"),
        (Reaction(Kind.NEVER, detail="it made no attempt"), "never connected: it made no attempt"),
    ],
)
def test_each_reaction_has_its_words(reaction: Reaction, words: str) -> None:
    [row] = as_json([Finding(Case(MID, Way.FIN), reaction)], SPAN)
    assert row["words"] == words


@pytest.mark.parametrize(
    ("way", "answer", "word"),
    [
        (Way.FIN, Answer.FIN, "FIN"),
        (Way.FIN, Answer.RST, "RST"),
        (Way.FIN, Answer.NONE, "nothing"),
        (Way.RST, Answer.NONE, "-"),
        (Way.CLOSE, Answer.NO_STATUS, "no status"),
    ],
)
def test_each_answer_has_its_word(way: Way, answer: Answer, word: str) -> None:
    finding = Finding(Case(MID, way, 4200 if way is Way.CLOSE else None), back(1000, answer=answer))
    [row] = list(lines([finding], SPAN))[3:]
    assert row[28:39].strip() == word


def test_json_has_every_case_by_itself() -> None:
    finding = Finding(Case(HANDSHAKE, Way.ERROR, 4100), back(1003.26, kind=Kind.PAUSES, answer=Answer.CODE, code=1000))

    assert as_json([finding], SPAN) == [
        {
            "stage": "handshake",
            "ending": "pusher_error",
            "code": 4100,
            "reaction": "pauses",
            "attempts_ms": [1003.3],
            "is_back": True,
            "answer": "code",
            "answer_code": 1000,
            "exit_code": None,
            "words": "after 1.0 s",
        }
    ]
