"""What is answered: the types of `state`'s words, from which the OpenAPI document has its schemas."""

from typing import Annotated, Literal, NotRequired

from pydantic import JsonValue, WithJsonSchema
from typing_extensions import TypedDict  # pydantic takes that of Python from 3.12 on

from ..expectations import Outcome

Record = dict[str, JsonValue]
"""A record of the journal."""

RuleInForce = Annotated[
    dict[str, JsonValue],
    WithJsonSchema(
        {
            "type": "object",
            "description": "A rule as in a profile: its fault under the fault's name, and when it strikes.",
            "properties": {
                "id": {"type": "string"},
                "when": {"type": "object"},
                "live": {"type": "boolean", "description": "Whether it was added by hand."},
                "connections": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "description": "The attempts on which it acts, where it was added for those alone.",
                },
            },
            "required": ["id", "when", "live"],
        }
    ),
]


class ToldProblem(TypedDict):
    """One thing that is wrong with an order; with its place where that was text."""

    path: str
    message: str
    source: NotRequired[str]
    line: NotRequired[int]
    column: NotRequired[int]


class Refusal(TypedDict):
    """Why a request is not served. It has changed nothing."""

    error: str
    problems: NotRequired[list[ToldProblem]]


class Empty(TypedDict):
    """Nothing is to be said."""


class Health(TypedDict):
    """How the process is."""

    status: str
    journal_lost: NotRequired[int]


class ProfileName(TypedDict):
    """Which profile is played."""

    name: str
    digest: str


class UntilTold(TypedDict):
    """What the phase waits for, and how much of it there is."""

    condition: str
    wanted: JsonValue
    there: JsonValue


class PhaseTold(TypedDict):
    """Where the timeline stands. The name is empty before its start, after its end, and where there are no phases."""

    name: str
    visit: int
    running: bool
    over: bool
    paused: bool
    seconds: float | None
    ends_in_seconds: float | None
    until: UntilTold | None
    failures: list[str]


class PhaseOfProfile(TypedDict):
    """A phase as the profile has it."""

    name: str
    about: str
    lasts_seconds: float | None
    until: dict[str, JsonValue] | None
    rules: int
    current: bool


class PhasesTold(TypedDict):
    """All phases in order, and the one in force."""

    phases: list[PhaseOfProfile]
    current: str | None
    paused: bool
    over: bool
    repeat: int | Literal["forever"]
    rules_of_all: int


class ConnectionTold(TypedDict):
    """A connection of a client."""

    attempt: int
    client: str
    connection: int
    path: str
    state: str
    age_seconds: float
    silent: bool
    rules: list[str]


class ClientTold(TypedDict):
    """What is known of a client; the attempt is that of the connection it has, or had last."""

    client: str
    instance: str
    state: str
    seconds: float
    source: str
    socket_id: str
    attempt: int | None


class CountersTold(TypedDict):
    """What has been counted since the start."""

    attempts: int
    connections: int
    open: int
    opened: int
    dials_delayed: int
    faults: dict[str, int]
    paused_legs: int


class StateTold(TypedDict):
    """Everything a page or a test wants to know at once."""

    profile: ProfileName
    seed: int
    address: str
    upstream: str
    listening: bool
    draining: bool
    judged: bool
    phase: PhaseTold
    rules: list[RuleInForce]
    connections: list[ConnectionTold]
    connections_left_out: int
    clients: list[ClientTold]
    counters: CountersTold


class RowTold(TypedDict):
    """One thing that was judged, with the journal's records that show it, as far as they are kept."""

    name: str
    about: str
    outcome: Outcome
    seen: str
    expected: bool
    evidence: list[Record]


class DigestTold(TypedDict):
    """The same for runs that went the same way."""

    whole: str
    clients: dict[str, str]
    states: dict[str, str]


class VerdictTold(TypedDict):
    """How a judged run stands, or has ended."""

    profile: ProfileName
    seed: int
    passed: bool
    finished: bool
    rows: list[RowTold]
    digest: DigestTold


class RuleAdded(TypedDict):
    """A rule that is in force now, and on how many open connections it can act."""

    id: str
    connections: int
    note: NotRequired[str]


class Healed(TypedDict):
    """The rules that are in force no more."""

    healed: list[str]


class Met(TypedDict):
    """The connection that was met, by its attempt number."""

    attempt: int


class Frozen(Met):
    """And the rule that keeps it silent."""

    rule: str


class Freed(Met):
    """And the rules that end on it."""

    rules: list[str]


class ManyMet(TypedDict):
    """The connections that were met, by their attempt numbers."""

    attempts: list[int]


class ManyFrozen(ManyMet):
    """And the rule that keeps them silent, if there are any."""

    rule: str | None


class ManyFreed(ManyMet):
    """And the rules that end on them."""

    rules: list[str]


class ConnectionsTold(TypedDict):
    """Connections by attempt: those that were asked for, how many more of them there are, and how many in all."""

    connections: list[ConnectionTold]
    left_out: int
    total: int


Come = TypedDict("Come", {"for": str, "there": int, "wanted": int})
"""What was waited for holds."""


class NotCome(TypedDict):
    """What was waited for did not come in time."""

    error: str
    there: int
    wanted: int
    phase: PhaseTold


class PlaceTold(TypedDict):
    """Where clients and tests find a proxy."""

    url: str
    host: str
    port: int
    profile: str
    seed: int
    control: str
    client_script: str
    client_reports: str


class SessionTold(PlaceTold):
    """A session: a port with a profile, clients and a verdict of its own."""

    id: str


class SessionsTold(TypedDict):
    """All sessions."""

    sessions: list[SessionTold]
    at_most: int


class ProxyTold(PlaceTold):
    """A proxy: a port with a profile and clients of its own."""

    name: str
    listen: str
    upstream: str
    judged: bool


class ProxiesTold(TypedDict):
    """All proxies; that of `run` is main."""

    proxies: list[ProxyTold]
    at_most: int


class ProxyEnded(TypedDict):
    """A proxy that is no more, with its verdict where its profile expected something."""

    name: str
    verdict: VerdictTold | None


class RunTold(TypedDict):
    """The run that begins."""

    profile: ProfileName
    seed: int
    phase: PhaseTold
    note: NotRequired[str]


class ProfileOnShelf(TypedDict):
    """A profile that can be played by name."""

    name: str
    about: str
    source: Literal["shipped", "uploaded"]


class ProfilesTold(TypedDict):
    """All profiles that can be played by name."""

    profiles: list[ProfileOnShelf]


class ProfileKnown(TypedDict):
    """What a profile is called, and its digest."""

    name: str
    about: str
    digest: str


class ProfileValid(ProfileKnown):
    """Nothing is wrong with it."""

    valid: Literal[True]


class ProfileInFull(ProfileKnown):
    """A profile with all that it says."""

    source: Literal["shipped", "uploaded"]
    profile: dict[str, JsonValue]


class ProfileRemoved(TypedDict):
    """The name that is free again."""

    removed: str
