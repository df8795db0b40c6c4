"""A run as a picture: what each client's connections went through over time, with the phases and faults beside it.

It hears the journal's records, live or from a file, and tells what has changed behind a version, so that who draws it
needs to know no record. All times are the journal's; an item is known by the number of the record that began it.

An attempt has a lane from the moment it is clear that its client wants a connection: it asks for one, or a fault or the
proxy deals with it before that. Plain HTTP requests and probes that go without a word have none. Whose an attempt is,
its request tells; until then it is the only client's, or that of the key "".

What a client says of itself is drawn in its own lane. Where nothing tells connections apart (no `identify`), a client's
name is no connection's key: then it is drawn where the connection is of which the client speaks.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue

from .attempt import SILENCING
from .journal import Record
from .swimlanes import Item, Items, Json, Lane, Lanes

ATTEMPTS_MAX = 100_000  # that are under way
VOICES_MAX = 1000  # names under which clients speak that are no connection's key
RULES_MAX = 100  # of which a lane remembers the last strike
ONE_MARK = 0.25  # seconds; strikes of a rule that are closer to each other than this are one mark

_Fields = Mapping[str, Any]


class _Attempt:
    """An attempt that is under way."""

    def __init__(self, number: int, seq: int, at: float) -> None:
        self.number = number
        self.seq = seq
        self.at = at
        self.lane: Lane | None = None
        self.is_known = False  # whose it is
        self.is_plain = False
        self.is_refused = False
        self.what = "dialling"  # but for faults that silence it
        self.silencers: set[str] = set()
        self.stretch: Item | None = None  # of the wire, now
        self.reasons: dict[str, str] = {}  # that were given with a close, by side


class Picture:
    """All lanes of a run. `header` is the journal's; `run` is another one for each picture made."""

    def __init__(self, header: Record, run: str) -> None:
        self._header: Json = {key: header.get(key) for key in ("started", "profile", "digest", "seed")}
        self.run = run
        self._now = 0.0
        self._lanes = Lanes()
        self._bands, self._spells = Items(), Items()
        self._band: Item | None = None  # the phase that is in force
        self._in_force: dict[str, Item] = {}  # spells by rule
        self._attempts: dict[int, _Attempt] = {}  # that are under way
        played = header.get("profile_in_full")
        self._has_keys = not isinstance(played, dict) or bool(played.get("identify"))
        self._voices: dict[str, Lane] = {}  # where who speaks under a name that is no key

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._lanes.changed_in

    def hear(self, record: Record) -> None:
        """Something happened."""
        fields: _Fields = record
        draw = _DRAWN.get(fields["event"])
        if draw is not None:
            self._lanes.version += 1
            self._now = fields["at"]
            draw(self, fields)

    def since(self, version: int = 0, now: float | None = None) -> Json:
        """What has changed behind a version; everything behind 0, or where there has been no such version."""
        version = version if 0 < version <= self.version else 0
        return {
            "run": self.run,
            "version": self.version,
            "complete": not version,
            "now": self._now if now is None else now,
            **self._header,
            "bands": self._bands.since(version),
            "spells": self._spells.since(version),
            "lanes": self._lanes.since(version),
            "left_out": {"lanes": self._lanes.lanes_left_out, "items": self._lanes.items_left_out},
        }

    # -- the whole proxy --------------------------------------------------------------------------------------------

    def _enter_phase(self, record: _Fields) -> None:
        if self._band:
            self._lanes.put_beside(self._bands, self._band | {"to": record["at"]})
        self._band = None
        if record["phase"]:
            self._band = {
                "seq": record["seq"],
                "phase": record["phase"],
                "visit": record["visit"],
                "from": record["at"],
                "to": None,
                "reason": record["reason"],
            }
            self._lanes.put_beside(self._bands, self._band)

    def _change_rule(self, record: _Fields) -> None:
        if record["change"] == "added":
            self._begin_spell(record, record["rule"], record["fault"])
        else:
            self._end_spell(record, record["rule"], record["change"])

    def _listen(self, record: _Fields) -> None:
        if record["is_open"]:
            self._end_spell(record, "", "healed")
        elif record["reason"].startswith(("phase ", "rule ", "start")):  # not by want of descriptors, nor at the end
            self._begin_spell(record, "", "refuse")

    def _begin_spell(self, record: _Fields, rule: str, fault: str) -> None:
        seq, at = record["seq"], record["at"]
        self._in_force[rule] = {"seq": seq, "rule": rule, "fault": fault, "from": at, "to": None, "end": ""}
        self._lanes.put_beside(self._spells, self._in_force[rule])

    def _end_spell(self, record: _Fields, rule: str, end: str) -> None:
        if spell := self._in_force.pop(rule, None):
            self._lanes.put_beside(self._spells, spell | {"to": record["at"], "end": end})

    def _change_profile(self, record: _Fields) -> None:
        for key in ("profile", "digest", "seed"):
            self._header[key] = record.get(key, self._header[key])
        self._lanes.changed_in = self._lanes.version

    # -- attempts ---------------------------------------------------------------------------------------------------

    def _accept(self, record: _Fields) -> None:
        if len(self._attempts) >= ATTEMPTS_MAX:
            self._lanes.lanes_left_out += 1
            return
        self._attempts[record["attempt"]] = _Attempt(record["attempt"], record["seq"], record["at"])
        self._attempt(record)

    def _attempt(self, record: _Fields) -> _Attempt | None:
        """The attempt that a record is about; in its client's lane, once that is known."""
        attempt = self._attempts.get(record["attempt"])
        if attempt and not attempt.is_known and "connection" in record:
            attempt.is_known, attempt.is_plain = True, False
            if attempt.lane and attempt.lane.client != record["client"]:
                self._end_stretch(attempt, record["at"])  # it turns out to be somebody else's
                self._lanes.free(attempt.lane, record["seq"])
                attempt.lane = None
            if attempt.lane is None:
                self._place(attempt, record["client"])
        return self._attempts.get(record["attempt"])  # none where there was no lane for it

    def _attempt_in_lane(self, record: _Fields) -> tuple[_Attempt, Lane] | None:
        """The same, in a lane: where its client is not known, in that of the only one."""
        attempt = self._attempt(record)
        if attempt is None or attempt.is_plain:
            return None
        if attempt.lane is None:
            self._place(attempt, self._lanes.only_client)
        return (attempt, attempt.lane) if attempt.lane else None

    def _place(self, attempt: _Attempt, client: str) -> None:
        attempt.lane = self._lanes.take(client, attempt.number, attempt.seq)
        if attempt.lane:
            self._begin_stretch(attempt, attempt.seq, attempt.at)
        else:
            del self._attempts[attempt.number]

    def _ask(self, record: _Fields) -> None:
        attempt = self._attempts.get(record["attempt"])
        if attempt and attempt.is_plain:
            attempt.seq, attempt.at = record["seq"], record["at"]  # what came before was not for a connection
        if (found := self._attempt_in_lane(record)) and found[1].path != record["path"]:
            found[1].path = record["path"]
            self._lanes.touch(found[1])

    def _request(self, record: _Fields) -> None:
        attempt = self._attempts.get(record["attempt"])
        if attempt and attempt.lane is None:
            attempt.is_plain = True

    def _secure(self, record: _Fields) -> None:
        if record["error"]:
            self._attempt_in_lane(record)

    def _dial(self, record: _Fields) -> None:
        self._attempt(record)

    def _answer(self, record: _Fields) -> None:
        if record["status"] == 101 or not (found := self._attempt_in_lane(record)):
            return
        attempt, _ = found
        if not attempt.is_refused:
            self._end(attempt, record, "answered", None, record["status"], record["reason"])
            attempt.is_refused = True

    def _open(self, record: _Fields) -> None:
        if found := self._attempt_in_lane(record):
            self._show(found[0], "open", record)

    def _establish(self, record: _Fields) -> None:
        if found := self._attempt_in_lane(record):
            found[1].socket_id = record["socket_id"]
            self._lanes.touch(found[1])
            self._show(found[0], "established", record)

    def _note_reason(self, record: _Fields) -> None:
        if record["reason"] and (attempt := self._attempt(record)):
            attempt.reasons[record["side"]] = record["reason"]

    def _close(self, record: _Fields) -> None:
        attempt = self._attempt(record)
        if attempt and attempt.lane is None and record["by"] != "client":
            self._attempt_in_lane(record)
        self._attempts.pop(record["attempt"], None)
        if attempt and attempt.lane:
            if not attempt.is_refused:
                reason = attempt.reasons.get(record["by"], "")
                self._end(attempt, record, record["how"], record["code"], None, reason)
            self._lanes.free(attempt.lane, record["seq"])

    def _end(
        self, attempt: _Attempt, record: _Fields, how: str, code: int | None, status: int | None, reason: str
    ) -> None:
        assert attempt.lane
        self._end_stretch(attempt, record["at"])
        end = {
            "seq": record["seq"],
            "at": record["at"],
            "attempt": attempt.number,
            "by": record["by"],
            "how": how,
            "code": code,
            "status": status,
            "reason": reason,
        }
        self._lanes.put(attempt.lane, attempt.lane.ends, end)

    # -- the wire ---------------------------------------------------------------------------------------------------

    def _show(self, attempt: _Attempt, what: str, record: _Fields) -> None:
        """How an attempt's wire is from now on, but for faults that silence it."""
        attempt.what = what
        shown = "silent" if attempt.silencers else what
        if attempt.stretch and attempt.stretch["what"] != shown:
            self._end_stretch(attempt, record["at"])
            self._begin_stretch(attempt, record["seq"], record["at"])

    def _begin_stretch(self, attempt: _Attempt, seq: int, at: float) -> None:
        assert attempt.lane
        what = "silent" if attempt.silencers else attempt.what
        attempt.stretch = {"seq": seq, "from": at, "to": None, "what": what, "attempt": attempt.number}
        self._lanes.put(attempt.lane, attempt.lane.wire, attempt.stretch)

    def _end_stretch(self, attempt: _Attempt, at: float) -> None:
        assert attempt.lane
        if attempt.stretch:
            self._lanes.put(attempt.lane, attempt.lane.wire, attempt.stretch | {"to": at})
            attempt.stretch = None

    # -- marks ------------------------------------------------------------------------------------------------------

    def _strike(self, record: _Fields) -> None:
        if not (found := self._attempt_in_lane(record)):
            return
        attempt, lane = found
        rule, at = record["rule"], record["at"]
        last = lane.strikes.get(rule)
        if last and at - last["to"] < ONE_MARK:
            side = last["side"] if last["side"] == record["side"] else None
            mark = last | {"to": at, "count": last["count"] + 1, "side": side}
        else:
            mark = _mark("struck", record, rule=rule, fault=record["fault"], side=record["side"])
            mark["message"] = record["message"]
        if len(lane.strikes) >= RULES_MAX:
            lane.strikes.clear()
        lane.strikes[rule] = mark
        self._lanes.put(lane, lane.marks, mark)
        if record["fault"] in SILENCING:
            attempt.silencers.add(rule)
            self._show(attempt, attempt.what, record)

    def _heal(self, record: _Fields) -> None:
        if found := self._attempt_in_lane(record):
            attempt, lane = found
            self._lanes.put(lane, lane.marks, _mark("healed", record, rule=record["rule"], fault=record["fault"]))
            attempt.silencers.discard(record["rule"])
            self._show(attempt, attempt.what, record)

    def _suppress(self, record: _Fields) -> None:
        if found := self._attempt_in_lane(record):
            told = {"rule": record["rule"], "fault": record["fault"], "detail": record["reason"]}
            self._lanes.put(found[1], found[1].marks, _mark("suppressed", record, **told))

    def _limit(self, record: _Fields) -> None:
        if found := self._attempt_in_lane(record):
            detail = f"{record['held']} bytes held"
            self._lanes.put(found[1], found[1].marks, _mark("limited", record, side=record["side"], detail=detail))

    # -- what clients say -------------------------------------------------------------------------------------------

    def _report(self, record: _Fields) -> None:
        self._enter_state(record, record["state"], "reported")

    def _change_state(self, record: _Fields) -> None:
        if not record["is_late"]:
            self._enter_state(record, record["state"], record["source"])

    def _lane_of(self, record: _Fields) -> Lane | None:
        """Where a client speaks."""
        client = record["client"]
        if self._has_keys or not client or record.get("source") == "inferred":
            return self._lanes.first_of(client)
        attempt = self._attempts.get(record.get("attempt") or 0)
        before = self._voices.get(client)
        before = before if self._lanes.has(before) else None
        lane = (attempt.lane if attempt else None) or before
        if lane is None:
            nobodys = self._lanes.first_of("")  # theirs who speak first, until it is known which connection they have
            lane = nobodys if nobodys and not nobodys.voice else self._lanes.first_of(client)
        if lane and lane is not before and (client in self._voices or len(self._voices) < VOICES_MAX):
            if before:
                self._end_state(before, record["at"])
            lane.voice = client
            self._voices[client] = lane
        return lane

    def _end_state(self, lane: Lane, at: float) -> None:
        if lane.state:
            self._lanes.put(lane, lane.states, lane.state | {"to": at})
        lane.state = None

    def _enter_state(self, record: _Fields, state: str, source: str) -> None:
        lane = self._lane_of(record)
        if lane is None or (lane.state and (lane.state["state"], lane.state["source"]) == (state, source)):
            return
        at = record["at"]
        self._end_state(lane, at)
        if state:
            lane.state = {"seq": record["seq"], "from": at, "to": None, "state": state, "source": source}
            self._lanes.put(lane, lane.states, lane.state)

    def _say(self, record: _Fields) -> None:
        what, code = record["what"], record["code"]
        if what == "gone":
            self._enter_state(record, "", "reported")
        elif what in ("mark", "error") and (lane := self._lane_of(record)):
            words = [record["detail"], "" if code is None else str(code)]
            detail = record["detail"] if what == "mark" else " ".join(word for word in ("error", *words) if word)
            self._lanes.put(lane, lane.marks, _mark("said", record, detail=detail))


def _mark(kind: str, record: _Fields, **told: JsonValue) -> Item:
    at = record["at"]
    mark: Item = {"seq": record["seq"], "at": at, "to": at, "count": 1, "kind": kind, "fault": "", "rule": ""}
    return mark | {"side": None, "message": None, "detail": ""} | told


_DRAWN: dict[str, Callable[[Picture, _Fields], None]] = {
    "accepted": Picture._accept,
    "secured": Picture._secure,
    "asked": Picture._ask,
    "requested": Picture._request,
    "dialled": Picture._dial,
    "answered": Picture._answer,
    "opened": Picture._open,
    "established": Picture._establish,
    "struck": Picture._strike,
    "healed": Picture._heal,
    "suppressed": Picture._suppress,
    "limited": Picture._limit,
    "close_received": Picture._note_reason,
    "ended": Picture._note_reason,
    "closed": Picture._close,
    "phase_entered": Picture._enter_phase,
    "rule_changed": Picture._change_rule,
    "listening": Picture._listen,
    "profile_changed": Picture._change_profile,
    "reported": Picture._report,
    "client_state": Picture._change_state,
    "client_said": Picture._say,
}
"""What is drawn of each kind of record. Of the others nothing is."""
