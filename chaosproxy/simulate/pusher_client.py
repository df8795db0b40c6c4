"""A modelled client that does as pusher-js 8 was seen to do, with its numbers."""

import json

from ..recovery import Heartbeat, Reaction, Silence, reaction_to
from ..units import SECOND
from ..wire.frames import Opcode
from .clients import ABNORMAL, LEAVING_TIME, WebClient, seconds
from .servers import Talk, read_object


class PusherClient(WebClient):
    """As pusher-js 8 with `enabledTransports: ['ws']` and its default timeouts.

    Attempts are made 15, 30, 60, 60 … s apart, and one that fails before the 101 is waited out. What follows a close is
    by its code; a silent link is asked after the activity timeout, and given up after another 30 s. Once a connection
    younger than 240 s has ended without a close frame, later ones are asked sooner: after half its age, 10 s at least.
    """

    UNAVAILABLE_TIME = 10 * SECOND
    ATTEMPT_TIME, ATTEMPT_TIME_MAX = 15 * SECOND, 60 * SECOND
    PAUSE = 1 * SECOND
    ACTIVITY_TIMEOUT_S, PONG_TIMEOUT_S, PING_DELAY_MIN_S = 120.0, 30.0, 10.0

    _ping_delay_s = ACTIVITY_TIMEOUT_S  # learnt from connections that broke

    def begin(self) -> None:
        self._connect()

    def _connect(self) -> None:
        if self.attempts:
            self._enter("connecting")
        self._attempt_time = self.ATTEMPT_TIME
        self._set_timer("unavailable", self.UNAVAILABLE_TIME, self._give_up_hope)
        self._try()

    def _try(self) -> None:
        time, self._attempt_time = self._attempt_time, min(2 * self._attempt_time, self.ATTEMPT_TIME_MAX)
        self._set_timer("attempt", time, self._try_again)
        self._slot_ends_at = self.network.now + time
        self._dial()

    def _try_again(self) -> None:
        if self._socket is not None:
            self._say("attempts", f"attempt {self.attempts}: no answer, given up")
            self._hang_up()
        self._try()

    def _failed(self, reason: str) -> None:
        left = self._slot_ends_at - self.network.now
        self._say("attempts", f"attempt {self.attempts}: {reason}; the next is due in {seconds(left)}")

    def _opened(self) -> None:
        self._is_established = False
        self._opened_at_s = self._seconds

    def _learn(self, opened_at_s: float) -> None:
        """A connection has ended uncleanly."""
        age_s = self._seconds - opened_at_s
        if age_s < 2 * self.ACTIVITY_TIMEOUT_S:
            self._ping_delay_s = max(age_s / 2, self.PING_DELAY_MIN_S)

    def _closed(self, code: int, how: str) -> None:
        self._stop_timer("heartbeat")
        if code == ABNORMAL:
            self._learn(self._opened_at_s)
        if not self._is_established:
            self._refused(code, f"attempt {self.attempts}: closed before it was established ({code}, {how})")
            return
        self._lost(f"loses its connection: {code} ({how})")
        self._recover(code)

    def _lost(self, words: str) -> None:
        self._talk.stop()
        self.losses += 1
        self.subscribed.clear()
        self._say("losses", words)

    def _refused(self, code: int | None, words: str) -> None:
        """The server has refused behind the 101: this ends the attempt, and the code tells what follows."""
        self._stop_timer("attempt")
        self._say("attempts", words)
        self._recover(code)

    def _recover(self, code: int | None) -> None:
        match reaction_to(code):
            case Reaction.AT_ONCE:
                self._set_timer("retry", 0, self._connect)
            case Reaction.AFTER_PAUSE:
                self._set_timer("retry", self.PAUSE, self._connect)
            case Reaction.GIVE_UP:
                self._stop_timer("unavailable")
                self._enter("disconnected")

    def _heard(self, opcode: int, payload: bytes) -> None:
        message = read_object(payload)
        event = message.get("event")
        if opcode == Opcode.PONG:
            return
        if not self._is_established:
            self._greet(event, message)
            return
        if not message:
            self._say("broken messages", "hears what is no JSON object")
            return
        self._heartbeat.heard(self._seconds)
        self._set_heartbeat()
        match event:
            case "pusher:ping":
                self._send("pusher:pong", {})
            case "pusher_internal:subscription_succeeded":
                self._note_subscription(str(message.get("channel")))
            case "pusher:subscription_error":
                status = read_object(message.get("data")).get("status")
                self._say("refused channels", f"is refused {message.get('channel')} ({status})")
            case "pusher:error":
                self._say("errors", f"hears an error: {read_object(message.get('data')).get('code')}")
            case "pusher:pong":
                pass
            case _:
                self.heard += 1

    def _greet(self, event: object, message: dict[str, object]) -> None:
        data = read_object(message.get("data"))
        timeout = data.get("activity_timeout")
        if event == "pusher:error":
            code = data.get("code")
            code = code if isinstance(code, int) else None
            self._hang_up()
            self._refused(code, f"attempt {self.attempts}: refused by an error, {code}")
        elif event == "pusher:connection_established" and isinstance(timeout, int | float) and timeout > 0:
            self._establish(str(data.get("socket_id")), float(timeout))
        else:
            # pusher-js is stuck here for good, and `connect()` does not help it.
            self._stop_timer("attempt")
            self._say("attempts", f"attempt {self.attempts}: the first message is broken; it never tries again")

    def _establish(self, socket_id: str, activity_timeout_s: float) -> None:
        self._is_established = True
        for timer in ("attempt", "unavailable"):
            self._stop_timer(timer)
        self._enter("connected", f"attempt {self.attempts}: established as {socket_id}")
        activity_timeout_s = min(activity_timeout_s, self._ping_delay_s)
        self._heartbeat = Heartbeat(activity_timeout_s, self.PONG_TIMEOUT_S, self._seconds)
        self._set_heartbeat()
        self._talk = Talk(self.network, self._talk_to_others)
        for channel in self.channels:
            auth = "" if channel.partition("-")[0] not in ("private", "presence") else "key:signature"
            self._send("pusher:subscribe", {"auth": auth, "channel": channel})

    def _note_subscription(self, channel: str) -> None:
        self.subscribed.append(channel)
        if set(self.subscribed) == set(self.channels):
            again = " again" if self.losses else ""
            self._say("subscriptions", f"is subscribed{again}: {', '.join(self.channels)}")

    # -- heartbeat ----------------------------------------------------------------------------------------------------

    @property
    def _seconds(self) -> float:
        return self.network.now / SECOND

    def _set_heartbeat(self) -> None:
        delay = round(self._heartbeat.deadline_s * SECOND) - self.network.now
        self._set_timer("heartbeat", delay, self._feel_pulse)

    def _feel_pulse(self) -> None:
        if self._heartbeat.expire(self._seconds) is Silence.ASK:
            self._send("pusher:ping", {})
            self._set_heartbeat()
            return
        self._hang_up()
        opened_at_s = self._opened_at_s
        self.network.after(
            LEAVING_TIME, lambda: self._learn(opened_at_s)
        )  # no reply to the close frame: it was not clean
        self._lost(f"notices the silence: no pong within {self.PONG_TIMEOUT_S:g}s")
        self._connect()

    # -- saying -------------------------------------------------------------------------------------------------------

    def _talk_to_others(self, number: int) -> None:
        if "private-room" in self.subscribed:
            self._send("client-note", {"number": number}, "private-room")

    def _send(self, event: str, data: object, channel: str | None = None) -> None:
        place = {} if channel is None else {"channel": channel}
        self._mouth.text(json.dumps({"event": event, "data": data, **place}))

    def _enter(self, state: str, words: str = "") -> None:
        if state != self.state or words:
            self.state = state
            self._say(f"times {state}", f"{words + ', ' if words else 'is '}{state}")

    def _give_up_hope(self) -> None:
        if self.state == "connecting":
            self._enter("unavailable")
