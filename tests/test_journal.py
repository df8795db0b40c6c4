import asyncio
import errno
import io
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosproxy.events import Accepted, Asked, Closed, Event, Framed, Listening, PhaseEntered, Reported, Struck
from chaosproxy.journal import Journal, JournalError, Sink, open_journal, read_journal
from chaosproxy.lanes import Limits
from chaosproxy.profile import EMPTY, Profile
from chaosproxy.reading import Reading
from chaosproxy.session import Session
from chaosproxy.tally import Tally
from chaosproxy.wire.frames import Side
from chaosproxy.world import Told

START = 5_000_000_000


class Disk:
    """A file on a disk with so much room; a write that finds none fails as the kernel's does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""

    def write(self, data: bytes, /) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = data[: self.room]
        self.room -= len(taken)
        self.data += taken
        return len(taken)

    def lines(self) -> list[str]:
        return self.data.decode().splitlines(keepends=True)


def journal_into(file: Sink | None, troubles: list[str] | None = None, profile: Profile = EMPTY) -> Journal:
    return Journal(profile, 7, file, clock=lambda: START, on_trouble=(troubles if troubles is not None else []).append)


def session_of(client: str = "", connection: int = 0, number: int = 1) -> Session:
    session = Session(number, Limits(1024, 1024), Reading(), Tally(), START)
    if connection:
        session.admit(client, connection, b"", b"mask", START)
    return session


def tell(journal: Journal, event: Event, session: Session | None = None, at: int = START) -> None:
    journal.tell(Told(at, session, event))


def listen(journal: Journal, times: int) -> None:
    for _ in range(times):
        tell(journal, Listening(True, "start"))


def written(event: Event, session: Session | None = None, at: int = START) -> dict[str, object]:
    file = io.BytesIO()
    journal = journal_into(file)
    tell(journal, event, session, at)
    record: dict[str, object] = json.loads(file.getvalue().splitlines()[1])
    return record


class TestRecords:
    def test_the_header_says_which_run_it_is(self) -> None:
        file = io.BytesIO()
        profile = Profile(version=1, name="outage")
        journal_into(file, profile=profile)
        header = json.loads(file.getvalue())
        started = header.pop("started")
        assert header == {
            "journal": 1,
            "version": "0.1.0",
            "profile": "outage",
            "digest": profile.digest,
            "seed": 7,
            "profile_in_full": {"version": 1, "name": "outage"},
            "options": {
                "seed": 7,
                "dials_per_second_max": 200,
                "frames_journalled": False,
                "is_opaque": False,
                "host": "",
                "reads_messages": False,
            },
        }
        assert started.endswith("+00:00")

    def test_an_event_of_an_attempt_has_no_client_yet(self) -> None:
        record = written(Accepted("127.0.0.1:5"), session_of(number=3))
        assert record == {"seq": 1, "at": 0.0, "event": "accepted", "attempt": 3, "peer": "127.0.0.1:5"}

    def test_an_event_of_a_connection_says_whose_and_the_how_manieth(self) -> None:
        record = written(Closed("client", "close", 1000), session_of("anna", 2))
        assert record == {
            "seq": 1,
            "at": 0.0,
            "event": "closed",
            "attempt": 1,
            "client": "anna",
            "connection": 2,
            "by": "client",
            "how": "close",
            "code": 1000,
        }

    def test_an_event_of_the_whole_proxy_has_no_connection(self) -> None:
        record = written(PhaseEntered("outage", 2, "time"))
        assert record == {
            "seq": 1,
            "at": 0.0,
            "event": "phase_entered",
            "phase": "outage",
            "visit": 2,
            "reason": "time",
        }

    def test_times_are_offsets_to_the_microsecond(self) -> None:
        assert written(Listening(True, ""), at=START + 1_234_567_890)["at"] == 1.234567

    def test_a_side_is_written_as_a_word(self) -> None:
        record = written(Struck("r1", "drop", Side.SERVER, 4, 3), session_of("", 1))
        assert (record["side"], record["message"]) == ("server", 4)

    def test_the_event_name_of_a_message_does_not_hide_the_kind_of_the_record(self) -> None:
        record = written(Framed(Side.CLIENT, "text", 12, "pusher:subscribe"), session_of("", 1))
        assert (record["event"], record["protocol_event"]) == ("framed", "pusher:subscribe")

    def test_header_names_are_a_list(self) -> None:
        record = written(Asked("", 1, "/app/key", ("host", "cookie")), session_of("", 1))
        assert record["headers"] == ["host", "cookie"]

    @given(st.text())
    def test_whatever_peers_say_an_event_is_one_line_of_printable_ascii(self, text: str) -> None:
        file = io.BytesIO()
        tell(journal_into(file), Reported(text, text, text))
        _, line, rest = file.getvalue().split(b"\n")
        assert rest == b""
        assert all(0x20 <= byte < 0x7F for byte in line)
        assert json.loads(line)["state"] == text


class TestTrouble:
    def test_a_full_disk_is_counted_and_said_once(self) -> None:
        disk, troubles = Disk(room=4096), list[str]()
        journal = journal_into(disk, troubles)
        disk.room = 0
        listen(journal, 3)
        assert journal.lost == 3
        assert troubles == [
            "the journal can't be written: [Errno 28] No space left on device; "
            "the proxy goes on and counts what is lost"
        ]

    def test_it_goes_on_when_space_is_back_and_says_how_many_are_missing(self) -> None:
        disk = Disk(room=4096)
        journal = journal_into(disk)
        disk.room = 0
        listen(journal, 3)
        disk.room = 4096
        listen(journal, 2)
        _, records = read_journal(disk.lines())
        assert [(record["event"], record.get("seq"), record.get("records")) for record in records] == [
            ("journal_lost", None, 3),
            ("listening", 4, None),
            ("listening", 5, None),
        ]
        assert journal.lost == 3

    @given(st.lists(st.integers(0, 120), max_size=30))
    def test_however_little_is_taken_no_line_is_torn(self, rooms: list[int]) -> None:
        disk = Disk(room=4096)
        journal = journal_into(disk)
        for room in rooms:
            disk.room = room
            listen(journal, 1)
        disk.room = 1 << 20
        listen(journal, 1)
        _, records = read_journal(disk.lines())
        missing = sum(int(str(record["records"])) for record in records if record["event"] == "journal_lost")
        kept = [record["seq"] for record in records if record["event"] == "listening"]
        assert missing == journal.lost
        assert len(kept) + missing == len(rooms) + 1
        assert kept == sorted(kept)

    def test_a_device_without_room_loses_everything_but_the_tail(self) -> None:
        with open("/dev/full", "wb", buffering=0) as full:
            journal = journal_into(full)
            listen(journal, 2)
        assert journal.lost == 3  # the header too
        assert len(journal.after(0)) == 2

    def test_a_pipe_whose_reader_is_gone_is_no_matter(self) -> None:
        reading, writing = os.pipe()
        with open(writing, "wb", buffering=0) as pipe:
            journal = journal_into(pipe)
            os.close(reading)
            listen(journal, 2)
        assert journal.lost == 2

    def test_a_pipe_that_would_block_loses_records_and_holds_nothing_up(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with open(writing, "wb", buffering=0) as pipe, open(reading, "rb") as other:
            journal = journal_into(pipe)
            while not journal.lost:
                listen(journal, 1)
            lost_at = journal.last
            os.set_blocking(reading, False)
            first = other.read()
            listen(journal, 1)
            rest = other.read()
        _, records = read_journal((first + rest).decode().splitlines())
        assert [record.get("seq") for record in records] == [*range(1, lost_at), None, lost_at + 1]

    def test_a_closed_file_is_no_matter(self) -> None:
        file = io.BytesIO()
        journal = journal_into(file)
        file.close()
        listen(journal, 1)
        assert journal.lost == 1


class TestTail:
    def test_it_gives_what_is_behind_a_number(self) -> None:
        journal = journal_into(None)
        listen(journal, 5)
        assert [line.seq for line in journal.after(3)] == [4, 5]
        assert journal.after(5) == []
        assert [line.seq for line in journal.after(0, most=2)] == [1, 2]

    def test_it_is_bounded_in_records_and_says_what_is_missing(self) -> None:
        journal = Journal(EMPTY, 0, tail_records_max=10)
        listen(journal, 25)
        assert [line.seq for line in journal.after(0)] == list(range(16, 26))
        assert (journal.missed(0), journal.missed(15), journal.missed(20)) == (15, 0, 0)

    def test_it_is_bounded_in_bytes(self) -> None:
        journal = Journal(EMPTY, 0, tail_bytes_max=10_000)
        for _ in range(50):
            tell(journal, Reported("", "x" * 1000, ""))
        assert sum(len(line.text) for line in journal.after(0)) <= 10_000

    def test_a_follower_wakes_up_when_there_is_more(self) -> None:
        async def story() -> None:
            journal = journal_into(None)
            waiting = [asyncio.create_task(journal.wait(0)) for _ in range(3)]
            await asyncio.sleep(0)
            listen(journal, 1)
            await asyncio.gather(*waiting)
            await journal.wait(0)

        asyncio.run(story())

    def test_a_follower_that_gives_up_is_forgotten(self) -> None:
        async def story() -> None:
            journal = journal_into(None)
            waiting = asyncio.create_task(journal.wait(0))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            listen(journal, 1)
            assert [line.seq for line in journal.after(0)] == [1]

        asyncio.run(story())


class TestReading:
    def lines(self, records: int) -> list[str]:
        file = io.BytesIO()
        listen(journal_into(file), records)
        return file.getvalue().decode().splitlines(keepends=True)

    def test_a_journal_reads_back(self) -> None:
        header, records = read_journal(self.lines(2))
        assert header["seed"] == 7
        assert [record["seq"] for record in records] == [1, 2]

    def test_wherever_a_crash_cut_it_whole_lines_are_read(self) -> None:
        text = "".join(self.lines(2))
        header = text.index("\n") + 1
        for size in range(header, len(text)):
            _, records = read_journal(text[:size].splitlines())
            assert len(records) in (text[header:size].count("\n"), text[header:size].count("\n") + 1)

    def test_a_broken_line_before_the_last_is_an_error_that_names_it(self) -> None:
        lines = self.lines(2)
        lines[1] = lines[1][:10] + "\n"
        with pytest.raises(JournalError, match="line 2: expected a JSON object"):
            read_journal(lines)

    @pytest.mark.parametrize("lines", [[], [""], ["[]"], ['{"journal":2}'], ['{"event":"accepted"}']])
    def test_what_has_no_header_is_no_journal(self, lines: list[str]) -> None:
        with pytest.raises(JournalError, match="line 1"):
            read_journal(lines)

    def test_a_file_is_for_its_owner_and_begins_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "run.jsonl"
        path.write_text("what was there\n")
        path.chmod(0o600)
        for name in ("run.jsonl", "new.jsonl"):
            file = open_journal(str(tmp_path / name))
            listen(journal_into(file), 1)
            file.close()
            with open(tmp_path / name) as lines:
                _, records = read_journal(lines)
            assert len(records) == 1
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
