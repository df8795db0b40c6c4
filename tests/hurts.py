"""Rules that hurt, by fault: the tables from which tests that must hold for every fault take theirs.

A fault that is new gets a line in one of them. What is not in FAULTS is left out.
"""

from typing import Any

from chaosproxy.faults import FAULTS

Rule = dict[str, Any]

MADE = "made up by a rule"  # what a rule puts in, or in a message's place

OF_MESSAGES: dict[str, list[Any]] = {  # they lose, change or add messages; `when:` says which
    "drop": [{}],
    "duplicate": [{}],
    "reorder": [{}],
    "replace": [{"text": MADE}],
    "inject": [{"text": MADE}],
}
OF_TIMING: dict[str, list[Any]] = {  # they only delay, and keep every byte
    "latency": ["20ms", {"delay": "30ms", "jitter": "20ms"}],
    "bandwidth": [{"rate": "10MB"}],
    "slice": [{}],
    "stall": [{}],
}
OF_SILENCE: dict[str, list[Any]] = {
    "half_open": [
        {"leg": leg, "mode": mode, "heal": heal}
        for leg in ("client", "server", "both")
        for mode in ("freeze", "blackhole")
        for heal in ("flush", "discard", "reset")
    ],
}
OF_ENDING: dict[str, list[Any]] = {  # with no RST in it
    "close": [{"code": 4200}, {"code": 1012, "to": "both"}, {"code": 1001, "to": "server"}],
    "fin": [{}, {"leg": "client"}, {"leg": "server"}],
    "half_close": [{}],
    "slow_close": [{}],
}
OF_RESET: dict[str, list[Any]] = {
    "reset": [{}, {"leg": "client", "other": "reset"}],
}


def rules(*tables: dict[str, list[Any]]) -> list[Rule]:
    """Each as a rule of a profile."""
    return [{name: options} for table in tables for name in table if name in FAULTS for options in table[name]]


def words(rule: Rule) -> str:
    """A name for a test's parameter."""
    (fault,) = (name for name in rule if name in FAULTS)
    options = rule[fault]
    given = "-".join(str(value) for value in (options.values() if isinstance(options, dict) else [options]))
    return f"{fault}-{given}".rstrip("-").replace(" ", "_")
