"""The compiled part and its reference in Python: the same, whatever comes."""

import gc
import os
import shutil
import subprocess
import sys
import sysconfig
import weakref
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaosproxy.wire.fast import IS_COMPILED, PURE_VARIABLE, Lane
from chaosproxy.wire.frames import Splitter

from .streams import chop, cuts, encode, firsts, long_frames, masks, short_frames, streams

ROOT = Path(__file__).parent.parent.parent
needs_both = pytest.mark.skipif(not IS_COMPILED, reason="only the reference is here")
can_compile = shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()

lengths = st.sampled_from([1 << n for n in (16, 31, 32, 61, 62, 63)]) | st.integers(0, (1 << 64) - 1)
lies = st.builds(
    lambda first, payload, mask, length, less: encode(
        first, payload, mask, length_bytes=8, length=max(0, length - less)
    ),
    firsts,
    st.binary(max_size=20),
    masks,
    lengths,
    st.integers(0, 15),
)
closes = st.builds(encode, st.sampled_from((0x88, 0x08, 0xF8)), st.binary(max_size=200), masks, length_bytes=st.just(2))
anything = st.lists(short_frames | long_frames | closes | st.binary(max_size=4), max_size=12).map(b"".join)
endings = st.binary(max_size=20) | lies.flatmap(lambda lie: st.integers(0, len(lie)).map(lambda size: lie[:size]))


class Followed:
    """A splitter, what it has told, and what it knows."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.splitter = Splitter(lambda: self.told.append(self.splitter.has_closed))

    @property
    def state(self) -> dict[str, object]:
        names = ("bytes", "frames", "first", "need", "head", "gone", "open", "closing", "_close_lacks")
        return {name: getattr(self.splitter, name) for name in names} | {"told": self.told}


@needs_both
class TestScanning:
    @given(streams | st.binary(max_size=200) | st.builds(bytes.__add__, anything, endings), cuts | st.just([1] * 400))
    @example(encode(0x82, b"", length_bytes=8, length=(1 << 62) - 1) + b"x" * 50, [10, 20])
    @example(encode(0x82, b"", length_bytes=8, length=1 << 62) + b"x" * 50, [10, 20])
    @example(encode(0x88, b"", bytes(4), length_bytes=8, length=(1 << 64) - 1) + b"x" * 50, [3, 20])
    def test_any_bytes_however_chopped_leave_the_state_of_the_reference(self, stream: bytes, sizes: list[int]) -> None:
        compiled, reference = Followed(), Followed()
        for chunk in [*chop(stream, sizes), b""]:
            compiled.splitter.scan(chunk)
            reference.splitter.follow(chunk)
            assert compiled.state == reference.state

    @pytest.mark.parametrize("name", ["frames", "need", "head", "closing"])
    def test_a_state_that_is_broken_is_an_error_and_no_crash(self, name: str) -> None:
        splitter = Splitter()
        delattr(splitter, name)
        with pytest.raises(AttributeError):
            splitter.scan(b"\x88\x01")

    def test_counts_that_are_none_are_an_error(self) -> None:
        splitter = Splitter()
        splitter.frames = [-1] * 16
        with pytest.raises(TypeError, match="16 counts"):
            splitter.scan(b"\x81\x00")


class Leg(Lane):
    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.scan = None
        self.write = self.written

    def scanned(self, data: bytes) -> None:
        self.taken.append(("scanned", data))

    def written(self, data: bytes) -> None:
        self.taken.append(("written", data))

    def receive(self, data: bytes) -> None:
        self.taken.append(("received", data))


class TestALane:
    def test_what_it_does_not_scan_is_received(self) -> None:
        leg = Leg()
        leg.data_received(b"a")
        assert leg.taken == [("received", b"a")]

    def test_what_it_scans_is_written_and_not_received(self) -> None:
        leg = Leg()
        leg.scan = leg.scanned
        leg.data_received(b"a")
        leg.scan = None
        leg.data_received(b"b")
        assert leg.taken == [("scanned", b"a"), ("written", b"a"), ("received", b"b")]

    def test_what_can_not_be_scanned_is_not_written(self) -> None:
        leg = Leg()
        leg.scan = lambda data: 1 / 0
        with pytest.raises(ZeroDivisionError):
            leg.data_received(b"a")
        assert leg.taken == []

    def test_where_it_is_written_may_change_while_it_is_scanned(self) -> None:
        leg = Leg()

        def scan(data: bytes) -> None:
            leg.scan = None
            leg.write = lambda data: leg.taken.append(("elsewhere", data))

        leg.scan = scan
        leg.data_received(b"a")
        assert leg.taken == [("elsewhere", b"a")]

    def test_one_that_refers_to_itself_is_let_go_of(self) -> None:
        leg = Leg()
        leg.scan = leg.scanned
        gone = weakref.ref(leg)
        del leg
        gc.collect()
        assert gone() is None


def test_a_splitter_that_its_owner_listens_to_is_let_go_of() -> None:
    followed = Followed()
    gone = weakref.ref(followed)
    del followed
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not can_compile or PURE_VARIABLE in os.environ, reason="there is no compiler, or it is not wanted")
def test_where_there_is_a_compiler_its_work_is_used() -> None:
    assert IS_COMPILED


@needs_both
def test_the_reference_passes_the_same_tests() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "tests/wire/test_frames.py",
            __file__,
        ],
        cwd=ROOT,
        env={**os.environ, PURE_VARIABLE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
