"""Rules that hurt, by fault: the tables from which tests that must hold for every fault take theirs.

A fault that is new gets a line in one of them. What is not in FAULTS is left out.
"""

from typing import Any

from chaosproxy.faults import FAULTS

Rule = dict[str, Any]

MADE = "made up by a rule"  # what a rule puts in, or in a message's place

OF_MESSAGES: dict[str, list[Any]] = {  # they lose, change or add messages; `when:` says which
    "drop": [{}],
    "duplicate": [{}, {"copies": 2, "gap": "5ms"}],
    "reorder": [{}, {"window": 3, "within": "200ms"}],
    "fragment": ["3B"],
    "inject": [{"text": MADE}, {"text": MADE, "to": "both"}],
    "replace": [{"text": MADE}],
}
OF_TIMING: dict[str, list[Any]] = {  # they only delay, for less than a second, and keep every byte
    "latency": ["20ms", {"delay": "30ms", "jitter": "20ms"}],
}
OF_PACING: dict[str, list[Any]] = {  # the same, and not by messages
    "bandwidth": ["10MB/s"],
    "slice": [{"size": "256B", "gap": "1ms"}],
}
OF_KEEPING: dict[str, list[Any]] = {  # they keep messages until they heal
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
    "half_close": [{"leg": "client"}, {"leg": "server"}],
}
OF_RESET: dict[str, list[Any]] = {
    "reset": [{}, {"leg": "client", "other": "reset"}],
}
OF_OTHERS: dict[str, list[Any]] = {  # what is in none of these tables
    "slow_close": ["50ms"],
    "cut_after": [{"messages": 1}, {"bytes": "1KiB", "by": "fin"}, {"age": "10ms"}],
    "violate": ["reserved_bit", {"kind": "length", "to": "both"}],
    "swallow_ping": [{}],
    "swallow_pong": [{}],
}


def rules(*tables: dict[str, list[Any]]) -> list[Rule]:
    """Each as a rule of a profile."""
    return [{name: options} for table in tables for name in table if name in FAULTS for options in table[name]]


def on_messages(rule: Rule, when: dict[str, Any]) -> Rule:
    """A rule that acts on messages, whatever else it could act on."""
    return {**rule, "when": {"opcode": ["text", "binary"], **when} if "inject" in rule else when}


def words(rule: Rule) -> str:
    """A name for a test's parameter."""
    (fault,) = (name for name in rule if name in FAULTS)
    options = rule[fault]
    given = "-".join(str(value) for value in (options.values() if isinstance(options, dict) else [options]))
    return f"{fault}-{given}".rstrip("-").replace(" ", "_")
