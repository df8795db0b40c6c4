"""What one can see of a stage, and do to it. Each row is served below each of the BASES of `routes`."""

from . import connections, picturing, runs, seeing, steering
from .answers import (
    Come,
    ConnectionsTold,
    Empty,
    Freed,
    Frozen,
    Healed,
    ManyFreed,
    ManyFrozen,
    ManyMet,
    Met,
    NotCome,
    PhasesTold,
    PhaseTold,
    RuleAdded,
    RunTold,
    StateTold,
    VerdictTold,
)
from .connection_orders import CloseMany, Freeze, FreezeMany, Listing, Many
from .orders import Close, Jump, Mark, NewRule, Nothing, Report
from .picture_answers import PictureTold
from .profile_order import Play
from .room import Room
from .route import Query, Route, Text

NOT_NOW = frozenset({409})
"""It can't be done as things stand."""
FULL = frozenset({503})
"""So many others do it already, or the proxy is ending."""

PAGE = Text(("text/plain", "application/openmetrics-text"))
JAVASCRIPT = Text(("text/javascript",))

WAIT = (
    Query(
        "for",
        "opened, closed, established, subscribed, verdict, phase:NAME, struck:FAULT or RULE, state:NAME, mark:NAME",
        {"type": "string", "pattern": "^(opened|closed|established|subscribed|verdict|(phase|struck|state|mark):.+)$"},
        is_required=True,
    ),
    Query("count", "How many of it.", {"type": "integer", "minimum": 1, "maximum": seeing.COUNT_MAX, "default": 1}),
    Query("timeout", "How long to wait, at most 4m.", seeing.TIMEOUT_SCHEMA),
)

PICTURE = (
    Query("since", "The version that is known; 0 for everything.", picturing.VERSION_SCHEMA),
    Query("run", "The run of which it is known.", {"type": "string"}),
    Query("wait", "How long to wait for a newer one, at most 30s.", seeing.TIMEOUT_SCHEMA),
)

LISTING = tuple(
    Query(name, schema.get("description", ""), {key: value for key, value in schema.items() if key != "description"})
    for name, schema in Listing.model_json_schema()["properties"].items()
)

CLOSES = "Send the client a close frame; where it is silent, RST, as nothing else gets through."
RESETS = "End it by RST, on both legs."
FREEZES = "Let it fall silent, as behind a dead link, until it is healed."
HEALS = "End what was added by hand, and whatever else keeps it from carrying anything."
ONE = (
    ("close", connections.close, CLOSES, Met, Close),
    ("reset", connections.reset, RESETS, Met, Nothing),
    ("freeze", connections.freeze, FREEZES, Frozen, Freeze),
    ("heal", connections.heal, HEALS, Freed, Nothing),
)
MANY = (
    ("close", connections.close_many, CLOSES, ManyMet, CloseMany),
    ("reset", connections.reset_many, RESETS, ManyMet, Many),
    ("freeze", connections.freeze_many, FREEZES, ManyFrozen, FreezeMany),
    ("heal", connections.heal_many, HEALS, ManyFreed, Many),
)

STAGE: tuple[Route[Room], ...] = (
    Route("GET", "/state", seeing.show_state, "Everything at once.", {200: StateTold}),
    Route("GET", "/metrics", seeing.show_metrics, "Its metrics, for Prometheus.", {200: PAGE}),
    Route(
        "GET",
        "/journal",
        seeing.show_journal,
        "What happens, as server-sent events (behind Last-Event-ID) or, with format=jsonl, what there is of it.",
        {200: Text(("text/event-stream", "application/jsonl"))},
        query=(Query("format", "In which form.", {"enum": ["events", "jsonl"], "default": "events"}),),
        refusals=frozenset({400}) | FULL,
        has_head=False,
    ),
    Route("GET", "/verdict", seeing.show_verdict, "How the run stands.", {200: VerdictTold}, refusals=NOT_NOW),
    Route(
        "GET",
        "/picture",
        seeing.show_picture,
        "What has changed in the picture, once it is newer than a version.",
        {200: PictureTold},
        query=PICTURE,
        refusals=frozenset({410, 422}) | FULL,
        has_head=False,
    ),
    Route(
        "GET",
        "/report",
        seeing.show_report,
        "The run up to now as one HTML file, that opens without us.",
        {200: Text(("text/html",))},
        has_head=False,
    ),
    Route(
        "GET",
        "/wait",
        seeing.wait,
        "Answer once something holds.",
        {200: Come, 504: NotCome},
        query=WAIT,
        refusals=frozenset({410, 422}) | NOT_NOW | FULL,
        has_head=False,
    ),
    Route("GET", "/phases", seeing.show_phases, "All phases, and the one in force.", {200: PhasesTold}),
    Route(
        "GET",
        "/connections",
        connections.show_connections,
        "Connections by attempt: those for which all holds that is asked for.",
        {200: ConnectionsTold},
        query=LISTING,
        refusals=frozenset({422}),
    ),
    Route(
        "POST",
        "/phase/next",
        steering.next_phase,
        "Go on to the next phase.",
        {200: PhaseTold},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route(
        "POST",
        "/phase",
        steering.jump,
        "Go to a phase, forth or back.",
        {200: PhaseTold},
        Jump,
        refusals=frozenset({404}),
    ),
    Route(
        "POST",
        "/phase/pause",
        steering.pause,
        "Let the phase go on until it is resumed; its rules act on.",
        {200: PhaseTold},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route(
        "POST",
        "/phase/resume",
        steering.resume,
        "Let the timeline go on where it was paused.",
        {200: PhaseTold},
        Nothing,
        refusals=NOT_NOW,
    ),
    Route(
        "POST",
        "/reset",
        runs.reset,
        "Heal what was added, and take the profile back to its start.",
        {200: RunTold},
        Nothing,
        refusals=FULL,
    ),
    Route(
        "POST",
        "/profile",
        runs.play,
        "Play another profile in place of this one; connections live on.",
        {200: RunTold},
        Play,
        refusals=FULL,
    ),
    Route(
        "POST",
        "/rules",
        steering.add_rule,
        "Put a rule in force; one of the same id is replaced.",
        {201: RuleAdded},
        NewRule,
        refusals=NOT_NOW | frozenset({404}),
    ),
    Route("DELETE", "/rules", steering.heal_all, "Heal all rules that were added.", {200: Healed}, Nothing),
    Route(
        "DELETE",
        "/rules/{id}",
        steering.heal,
        "Heal a rule that was added.",
        {200: Healed},
        Nothing,
        refusals=NOT_NOW,
    ),
    *(
        Route(
            "POST",
            f"/connections/{verb}",
            handler,
            f"{about} That is done to those that match, or to all.",
            {200: answer},
            order,
            refusals=NOT_NOW,
        )
        for verb, handler, about, answer, order in MANY
    ),
    *(
        Route(
            "POST",
            f"/connections/{{attempt}}/{verb}",
            handler,
            f"{about} That is done to one connection.",
            {200: answer},
            order,
            refusals=NOT_NOW,
        )
        for verb, handler, about, answer, order in ONE
    ),
    Route("POST", "/reports", steering.report, "Say in which state a client is.", {200: Empty}, Report),
    Route("POST", "/marks", steering.mark, "Set a mark in the journal.", {200: Empty}, Mark),
)
"""What one can see of a stage, and do to it."""
