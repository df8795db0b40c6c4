"""Simulated profiles: what is told, and that the modelled clients do as the real ones were measured to do."""

import pytest

from chaosproxy import library
from chaosproxy.opaque import profile_misfits
from chaosproxy.profile import Profile
from chaosproxy.recording import RecordedWorld, header_of
from chaosproxy.replay import Record, replay
from chaosproxy.simulate import Story, simulate
from chaosproxy.units import MILLISECOND, SECOND
from chaosproxy.world import DEFAULTS, Options, World

from .virtual import profile

SLACK_MS = 30  # for the way to the proxy and back, some times over
OPAQUE = Options(is_opaque=True)


def pusher(*phases: dict[str, object], **top: object) -> Profile:
    healthy = {"name": "healthy", "until": {"subscribed": 1}}
    return profile(healthy, {"name": "calm", "lasts": "1s"}, *phases, protocol="pusher", **top)


def told(story: Story, who: str) -> list[str]:
    return [line.text for line in story.lines if line.who == who]


def times(story: Story, words: str) -> list[int]:
    """When something with these words was told, in ms."""
    return [line.at // MILLISECOND for line in story.lines if words in line.text]


def is_after(later: int, earlier: int, seconds: float) -> bool:
    return 0 <= later - earlier - seconds * 1000 <= SLACK_MS


@pytest.mark.parametrize("name", library.names())
def test_a_shipped_profile_is_played_to_its_end_and_the_same_each_time(name: str) -> None:
    played = library.load(name)
    story = simulate(played, DEFAULTS)
    assert story == simulate(played, DEFAULTS)
    begun = [line.text.split()[1] for line in story.lines if line.text.startswith("phase ")]
    assert played.repeat != "forever"
    assert begun == [phase.name for phase in played.phases] * played.repeat
    assert not [note for note in story.notes if "did not end" in note or "does not end" in note]
    assert all(end.attempts for end in story.clients)


@pytest.mark.parametrize("name", sorted({*library.names()} - {"server-restart"}))
def test_what_was_played_replays_to_the_same_actions(name: str) -> None:
    records: list[Record] = []

    def make(played: Profile, options: Options, now: int) -> World:
        return RecordedWorld(played, options, now, records.append)

    played = library.load(name)
    assert simulate(played, DEFAULTS, make_world=make) == simulate(played, DEFAULTS)
    replayed = replay(header_of(played, DEFAULTS, played.seed), records)
    assert replayed.difference is None
    assert replayed.inputs == len(records)


@pytest.mark.parametrize("name", [name for name in library.names() if not list(profile_misfits(library.load(name)))])
def test_those_for_bytes_are_played_on_bytes(name: str) -> None:
    story = simulate(library.load(name), OPAQUE)
    assert story == simulate(library.load(name), OPAQUE)
    assert story.clients[0].heard


class TestPusherClient:
    def test_silence_is_noticed_60_s_after_the_last_message(self) -> None:
        silence = {"name": "silence", "lasts": "90s", "rules": [{"half_open": {"heal": "reset"}}]}
        story = simulate(pusher(silence), DEFAULTS)
        (begun,) = times(story, "phase silence begins")
        (noticed,) = times(story, "notices the silence")
        # It heard the first message of the channel right before.
        assert 59_000 <= noticed - begun <= 60_000 + SLACK_MS

    def test_a_second_silence_is_noticed_sooner(self) -> None:
        phases = [
            {"name": "cut", "lasts": "1s", "rules": ["reset"]},
            {"name": "again", "until": {"subscribed": 1}},
            {"name": "second", "lasts": "70s", "rules": [{"half_open": {"heal": "reset", "hits": "live"}}]},
        ]
        story = simulate(pusher(*phases), DEFAULTS)
        (begun,) = times(story, "phase second begins")
        noticed = times(story, "notices the silence")[-1]
        assert 39_000 <= noticed - begun <= 40_000 + SLACK_MS

    def test_attempts_are_made_after_15_30_60_and_60_s(self) -> None:
        down = {"name": "down", "lasts": "200s", "rules": ["reset", "refuse"]}
        story = simulate(pusher(down), DEFAULTS)
        (lost,) = times(story, "1006 (RST)")
        refused = times(story, "refused; the next")
        assert is_after(refused[0], lost, 1)
        due = [line.text.rpartition(" in ")[2] for line in story.lines if "refused; the next" in line.text]
        assert due == ["15s", "30s", "60s"]
        assert is_after(times(story, "is unavailable")[0], refused[0], 10)
        established = times(story, "established as")
        assert is_after(established[1], refused[0], 15 + 30 + 60 + 60 + 60)

    def test_an_attempt_that_is_never_answered_is_given_up_after_15_s(self) -> None:
        hang = {"name": "stuck", "lasts": "40s", "rules": ["reset", "hang"]}
        story = simulate(pusher(hang), DEFAULTS)
        (connecting,) = times(story, "is connecting")
        assert is_after(times(story, "attempt 2: no answer")[0], connecting, 15)

    @pytest.mark.parametrize(
        ("code", "seconds"), [(1001, 1), (1006, 1), (4100, 1), (4199, 1), (4200, 0), (4299, 0), (3000, 1)]
    )
    def test_what_follows_a_close_is_by_its_code(self, code: int, seconds: int) -> None:
        story = simulate(pusher({"name": "closing", "lasts": "5s", "rules": [{"close": code}]}), DEFAULTS)
        (lost,) = times(story, f"loses its connection: {code} (close frame)")
        assert is_after(times(story, "attempt 2: established")[0], lost, seconds)

    @pytest.mark.parametrize("code", [4001, 4099, 4300])
    def test_some_codes_end_it_for_good(self, code: int) -> None:
        story = simulate(pusher({"name": "closing", "lasts": "60s", "rules": [{"close": code}]}), DEFAULTS)
        assert told(story, "client 1")[-1] == "is disconnected"
        assert (story.clients[0].state, story.clients[0].attempts) == ("disconnected", 1)

    def test_a_storm_is_as_fast_as_the_network(self) -> None:
        story = simulate(library.load("reconnect-storm"), DEFAULTS)
        assert 226 <= story.clients[0].attempts <= 897  # what Chromium and Node were seen to do in 3 s

    def test_a_broken_first_message_leaves_it_stuck(self) -> None:
        rules = [{"corrupt": "json", "when": {"from": "server", "event": "pusher:connection_established"}}]
        story = simulate(profile({"name": "broken", "lasts": "60s", "rules": rules}, protocol="pusher"), DEFAULTS)
        assert (story.clients[0].state, story.clients[0].attempts) == ("unavailable", 1)

    def test_it_subscribes_to_what_the_profile_waits_for(self) -> None:
        story = simulate(profile({"name": "one", "until": {"subscribed": ["news"]}}, protocol="pusher"), DEFAULTS)
        assert "news" in story.clients[0].subscribed
        assert "phase one does not end" not in " ".join(story.notes)


class TestOtherClients:
    def test_a_plain_client_notices_silence_by_its_pings(self) -> None:
        phases = [{"name": "open", "until": {"opened": 1}}, {"name": "silence", "lasts": "60s", "rules": ["half_open"]}]
        story = simulate(profile(*phases), DEFAULTS)
        assert is_after(times(story, "notices the silence: no pong within 20s")[0], times(story, "open")[0], 40)

    def test_a_plain_client_waits_longer_and_longer(self) -> None:
        phases = [
            {"name": "open", "until": {"opened": 1}},
            {"name": "down", "lasts": "1m", "rules": ["refuse", "reset"]},
        ]
        story = simulate(profile(*phases), DEFAULTS)
        waits = [float(text.rpartition(" in ")[2].rstrip("s")) for text in told(story, "client 1") if " in " in text]
        assert waits == sorted(waits, key=lambda wait: (wait != 1, wait))
        assert 0.5 <= waits[1] <= 1 <= waits[2] <= 2 <= waits[3] <= 4

    def test_bad_certificates_are_not_trusted(self) -> None:
        story = simulate(library.load("tls-expired-certificate"), DEFAULTS)
        assert any("the certificate is not trusted (expired)" in text for text in told(story, "client 1"))
        assert not [note for note in story.notes if "never struck" in note]

    def test_plain_requests_are_made_where_rules_name_them(self) -> None:
        story = simulate(library.load("http-slow"), DEFAULTS)
        took = [float(text.rpartition(" after ")[2].rstrip("s")) for text in told(story, "http client")[:3]]
        assert all(2 <= seconds <= 4 + SLACK_MS / 1000 for seconds in took)

    @pytest.mark.parametrize("where", [{"query": "name"}, {"header": "X-Client"}, {"path": True}])
    def test_clients_are_told_apart_where_the_profile_does(self, where: dict[str, object]) -> None:
        rules = [{"drop": {}, "when": {"from": "client", "nth": 1, "connection": 1}}]
        story = simulate(profile(rules=rules, identify=where), DEFAULTS, 3)
        assert [text for text in told(story, "fault") if "drop" in text] == [
            "drop strikes message 1 from the client on connection 1"
        ] * 3


class TestFindings:
    def test_a_phase_that_nothing_ends_is_told_and_left(self) -> None:
        phases = [{"name": "crowd", "until": {"opened": 3}}, {"name": "hand", "until": "step"}, {"name": "last"}]
        story = simulate(profile(*phases), DEFAULTS)
        assert story.notes == [
            "phase crowd does not end by itself: 1 of 3 opened after 10m; the simulation stepped on",
            "phase hand waits for a step by hand; the simulation stepped on",
            "phase last never ends: its rules hold for ever",
        ]
        assert story.ended_at == (4 * MILLISECOND) + 14 * 60 * SECOND
        assert [line.at for line in story.lines if "phase hand" in line.text] == [4 * MILLISECOND + 600 * SECOND]
        assert not [note for note in simulate(profile(*phases), DEFAULTS, 3).notes if "crowd" in note]

    def test_a_within_that_runs_out_is_told(self) -> None:
        phases = [{"name": "crowd", "until": {"opened": 3, "within": "5s"}}, {"name": "last", "lasts": "1s"}]
        assert simulate(profile(*phases), DEFAULTS).notes == ["phase crowd did not end: 1 of 3 opened"]

    def test_what_repeats_for_ever_is_played_twice(self) -> None:
        phases = [{"name": "up", "lasts": "5s"}, {"name": "down", "lasts": "1s", "rules": ["reset"]}]
        story = simulate(profile(*phases, repeat="forever"), DEFAULTS)
        assert story.notes == ["the phases are repeated for ever: 2 rounds were played"]
        assert len(times(story, "phase down begins")) == 2

    def test_rules_that_never_struck_are_told_with_the_reason(self) -> None:
        rules = [{"drop": {}, "when": {"text": "nonesuch"}}, {"slow_close": "1s"}]
        story = simulate(profile({"name": "only", "lasts": "5s", "rules": rules}), DEFAULTS)
        assert story.notes == [
            "drop (phase only) never struck: nothing met its when: (text)",
            "slow_close (phase only) never struck: what it acts on did not come",
        ]
        notes = simulate(library.load("mobile-link"), DEFAULTS).notes
        assert notes[1:] == ["bandwidth never struck: it had nothing to slow down"]

    def test_a_timeline_that_never_starts_is_told(self) -> None:
        story = simulate(profile({"name": "one", "lasts": "5s"}, rules=["hang"]), DEFAULTS, at_most=SECOND)
        assert story.ended_at == SECOND
        assert story.notes == ["stopped after 1s, before the end of the timeline"]

    def test_no_more_is_played_than_asked_for(self) -> None:
        story = simulate(library.load("extended-outage"), DEFAULTS, at_most=30 * SECOND)
        assert story.ended_at == 30 * SECOND
        assert story.notes[:2] == [
            "stopped after 30s, before the end of the timeline",
            "phase refused was never entered",
        ]

    def test_a_story_without_end_is_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("chaosproxy.simulate.story.EVENTS_MAX", 1000)
        story = simulate(library.load("reconnect-storm"), DEFAULTS)
        assert story.notes[0] == "stopped after 1000 events: the story goes on like this"

    def test_few_of_a_kind_are_shown_and_the_rest_counted(self) -> None:
        lossy = {"name": "lossy", "lasts": "10s", "rules": [{"drop": {}, "when": {"from": "client"}}]}
        story = simulate(profile(lossy), DEFAULTS)
        strikes = [text for text in told(story, "fault") if "drop" in text and "ends" not in text]
        assert len(strikes) == 4
        assert strikes[-1] == "… 6 more strikes of drop"

    def test_chance_is_by_the_seed(self) -> None:
        lossy = profile({"name": "lossy", "lasts": "20s", "rules": [{"drop": {}, "when": {"chance": "30%"}}]})
        assert simulate(lossy, Options(seed=1)).lines != simulate(lossy, Options(seed=2)).lines


def test_what_the_profile_expects_is_judged() -> None:
    expect = [{"reconnected_within": "2s", "after": "fault"}, {"attempts_at_least": "3"}, {"gives_up_on": "4001"}]
    profile = Profile.model_validate(
        {
            "version": 1,
            "protocol": "pusher",
            "phases": [
                {"name": "healthy", "until": {"subscribed": 1}},
                {"name": "cut", "lasts": "1s", "rules": ["reset"]},
                {"name": "well", "lasts": "3s"},
                {"name": "refusal", "lasts": "1s", "rules": [{"close": "4001"}]},
            ],
            "expect": expect,
        }
    )
    rows = simulate(profile, DEFAULTS).rows
    assert [(row.name, row.outcome.value) for row in rows] == [
        ("reconnected_within: 2s", "failed"),  # of the second outage it gives up
        ("attempts_at_least: 3", "failed"),
        ("gives_up_on: 4001", "passed"),
    ]
    assert rows[2].seen.startswith("closed with 4001, and no attempt in ")
