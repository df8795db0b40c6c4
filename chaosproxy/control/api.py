"""The routes: what is going on, and steering. An order is checked whole before anything is done.

No GET changes anything. Orders return once they are in force on live connections.
"""

from collections.abc import Callable
from time import monotonic_ns

from aiohttp import web

from ..effects import Leg
from ..journal import Journal
from ..metrics import Metrics
from ..observe import Clients
from ..opaque import rule_misfits
from ..problems import show_path
from ..profile import protocol_misfits
from ..proxy import Proxy
from ..rule import BoundRule, Rule, bind
from ..session import Session
from ..world import Step, World, can_act
from .orders import Close, Fence, Jump, NewRule, Nothing, Refused, Report, read_order
from .state import Json, sessions_under, tell_phase, tell_state
from .stream import Streams

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
"""Served without a token: they tell nothing that steers or identifies."""


class Api:
    """Answer for one proxy."""

    def __init__(self, proxy: Proxy, journal: Journal, metrics: Metrics, fence: Fence, clients: Clients) -> None:
        self._proxy = proxy
        self._journal = journal
        self._metrics = metrics
        self._fence = fence
        self._clients = clients
        self.streams = Streams(journal)

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/livez", self._livez),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._show_metrics),
            web.get("/api/state", self._state),
            web.get("/api/journal", self._show_journal, allow_head=False),
            web.post("/api/phase/next", self._next_phase),
            web.post("/api/phase", self._jump),
            web.post("/api/rules", self._add_rule),
            web.delete("/api/rules", self._heal_all),
            web.delete("/api/rules/{id}", self._heal),
            web.post("/api/connections/{attempt}/close", self._close),
            web.post("/api/connections/{attempt}/reset", self._reset),
            web.post("/api/reports", self._report),
        ]

    # -- what is going on -------------------------------------------------------------------------------------------

    async def _livez(self, request: web.Request) -> web.Response:
        return _json({"status": "live"})

    async def _readyz(self, request: web.Request) -> web.Response:
        """Whether clients can be served. It never asks the upstream, which may be down on purpose, as the door may."""
        if not self._proxy.port:
            return _json({"status": "not listening yet"}, 503)
        if self._proxy.world.is_draining:
            return _json({"status": "draining"}, 503)
        return _json({"status": "ready", "journal_lost": self._journal.lost})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        page, content_type = self._metrics.expose(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=page, headers={"Content-Type": content_type})

    async def _state(self, request: web.Request) -> web.Response:
        return _json(tell_state(self._proxy, self._clients, monotonic_ns()))

    async def _show_journal(self, request: web.Request) -> web.StreamResponse:
        match request.query.get("format", "events"):
            case "jsonl":
                return self.streams.file()
            case "events":
                return await self.streams.follow(request)
            case _:
                raise Refused(400, "expected format=events or format=jsonl")

    # -- phases -----------------------------------------------------------------------------------------------------

    async def _next_phase(self, request: web.Request) -> web.Response:
        read_order(Nothing, await request.read())
        world = self._proxy.world
        if not world.profile.phases:
            raise Refused(409, "the profile has no phases; POST /api/rules adds a rule by itself")
        if world.timeline.is_over:
            raise Refused(409, "the last phase is over; to go back to one, name it in POST /api/phase")
        return self._step(None)

    async def _jump(self, request: web.Request) -> web.Response:
        phase = read_order(Jump, await request.read()).phase
        names = [phase.name for phase in self._proxy.world.profile.phases]
        if phase not in names:
            raise Refused(404, f"there is no phase of this name; there are: {', '.join(names) or 'none'}")
        return self._step(phase)

    def _step(self, phase: str | None) -> web.Response:
        self._proxy.steer(lambda world, now: world.step(now, phase))
        return _json(tell_phase(self._proxy.world, monotonic_ns()))

    # -- rules ------------------------------------------------------------------------------------------------------

    async def _add_rule(self, request: web.Request) -> web.Response:
        order = read_order(NewRule, await request.read())
        self._check_rule(order.rule)
        rule = bind([("live", order.rule)])[0]
        self._proxy.steer(lambda world, now: world.add_rule(rule, order.lasts, now))
        return _json(self._tell_added(rule), 201)

    def _check_rule(self, rule: Rule) -> None:
        profile = self._proxy.world.profile
        misfits = list(rule_misfits(rule)) if self._proxy.world.options.is_opaque else []
        if not misfits and not profile.protocol:
            misfits = list(protocol_misfits(rule, "at the top of the profile"))
        if misfits:
            problems = [{"path": show_path(("rule", *misfit.at)), "message": misfit.message} for misfit in misfits]
            raise Refused(422, "the order is not valid", problems)
        if lack := self._proxy.security.lacks(rule.fault):
            raise Refused(422, "the order is not valid", [{"path": f"rule.{rule.fault_name}", "message": lack}])
        if rule.id and rule.id in {other.id for other in profile.every_rule()}:
            raise Refused(409, f"the profile has a rule {rule.id} of its own; choose another id")
        if forbidden := self._fence(rule):
            raise Refused(403, forbidden)

    def _tell_added(self, rule: BoundRule) -> Json:
        sessions = sessions_under(self._proxy.world, rule.id)
        unreadable = sum(1 for session in sessions if not can_act(rule, session))
        answer: Json = {"id": rule.id, "connections": len(sessions) - unreadable}
        if unreadable:
            answer["note"] = (
                f"new connections only: {unreadable} (messages of so many open connections can't be read or changed, "
                "since their compressed streams were not followed from the first byte)"
            )
        return answer

    async def _heal(self, request: web.Request) -> web.Response:
        read_order(Nothing, await request.read())
        rule_id = request.match_info["id"]
        if not self._proxy.steer(lambda world, now: world.heal(rule_id, now)):
            if any(rule.id == rule_id for rule in self._proxy.world.active_rules):
                raise Refused(409, "this rule is the profile's; it ends with its phase")
            raise Refused(404, "there is no live rule of this id; GET /api/state lists them")
        return _json({"healed": [rule_id]})

    async def _heal_all(self, request: web.Request) -> web.Response:
        read_order(Nothing, await request.read())
        healed = [rule.id for rule in self._proxy.world.live_rules]
        self._proxy.steer(lambda world, now: world.heal(None, now))
        return _json({"healed": list(healed)})

    # -- connections ------------------------------------------------------------------------------------------------

    async def _close(self, request: web.Request) -> web.Response:
        close = read_order(Close, await request.read())
        if self._proxy.world.options.is_opaque:
            raise Refused(409, "tcp:// carries no frames, so no close can be sent; POST …/reset ends a connection")
        code = None if close.code == "none" else close.code
        session = self._session(request)
        self._act(session, lambda now: (session, session.close(Leg.CLIENT, code, close.reason, now)))
        return _json({"attempt": session.number})

    async def _reset(self, request: web.Request) -> web.Response:
        read_order(Nothing, await request.read())
        session = self._session(request)
        self._act(session, lambda now: (session, session.reset(Leg.BOTH, now, "proxy")))
        return _json({"attempt": session.number})

    def _session(self, request: web.Request) -> Session:
        number = request.match_info["attempt"]
        session = None
        if number.isascii() and number.isdigit() and len(number) < 20:
            session = self._proxy.world.sessions.get(int(number))
        if session is None or session.is_over:
            raise Refused(404, "there is no connection of this attempt number; GET /api/state lists them")
        return session

    def _act(self, session: Session, act: Callable[[int], Step]) -> None:
        self._proxy.steer(lambda world, now: [act(now)])

    async def _report(self, request: web.Request) -> web.Response:
        report = read_order(Report, await request.read())

        def tell(world: World, now: int) -> list[Step]:
            world.report(report.client, report.state, report.detail, now)
            return []

        self._proxy.steer(tell)
        return _json({})


def _json(value: Json, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)
