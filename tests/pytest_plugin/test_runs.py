"""Suites of users, run by a pytest of their own: what they see when tests pass, fail, and are set up wrongly."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chaosproxy.cli.commands import cli
from chaosproxy.journal import read_journal
from chaosproxy.profile import EMPTY
from chaosproxy.pytest_plugin import ChaosProxy
from chaosproxy.pytest_plugin.setting import KEYS, Setting
from chaosproxy.pytest_plugin.thread import LoopThread
from tests.pytest_plugin import client

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
CLIENT = Path(client.__file__).read_text()
ASYNC_HOOK = """
    import asyncio, inspect, pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):
        if inspect.iscoroutinefunction(pyfuncitem.obj):
            asked = inspect.signature(pyfuncitem.obj).parameters
            asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in asked}))
            return True
"""


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What our own run is told is not for the inner ones."""
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "CHAOSPROXY_UPSTREAM", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(pytester: pytest.Pytester, demo_url: str, monkeypatch: pytest.MonkeyPatch) -> "Run":
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)  # where they are set, pytest's summary tells all of a failure once more
    pytester.makepyfile(client=CLIENT)
    return Run(pytester, demo_url)


class Run:
    """A suite, and how it went; any warning is an error in it."""

    def __init__(self, pytester: pytest.Pytester, upstream: str) -> None:
        self._pytester = pytester
        self._options = ["-W", "error", "--strict-markers", "--chaosproxy-upstream", upstream]
        self.journals = pytester.path / ".pytest_cache" / "d" / "chaosproxy"

    def __call__(self, suite: str, *options: str) -> pytest.RunResult:
        self._pytester.makepyfile(test_suite=suite)
        return self._pytester.runpytest_inprocess(*self._options, *options)


class TestFailures:
    def test_a_failed_expectation_fails_the_test_with_its_evidence(self, run: Run) -> None:
        ran = run(
            """
            import pytest
            from client import joined

            @pytest.mark.chaos("brief-interruption", seed=3)
            def test_never_comes_back(chaosproxy):
                with joined(chaosproxy.url, "news"):
                    chaosproxy.wait_for_phase("cut")
            """
        )
        ran.assert_outcomes(failed=1)
        ran.stdout.re_match_lines(
            [
                r"FAILED: brief-interruption, .* seed 3, digest [0-9a-f]+",
                r"  ok    reset struck \(phase cut\) +once",
                r"  FAIL  reconnected_within: 5s \(from the fault\) +not before the run ended.*no attempt",
                r" +#\d+ .* struck attempt=1 .*fault=reset",
                r"-+ chaosproxy -+",
                r"profile brief-interruption, seed 3, digest \w+, before ws://127\.0\.0\.1:\d+",
                r"all records:",
                r"  #1 .* accepted attempt=1 .*",
                r"  #\d+ .* struck attempt=1 .*",
                r"journal: .pytest_cache/d/chaosproxy/test_suite-py-test_never_comes_back-\w+\.jsonl",
                r"strike anew: chaosproxy replay .pytest_cache/\S+\.jsonl --upstream ws://127\.0\.0\.1:\d+",
            ],
            consecutive=False,
        )
        text = ran.stdout.str()
        assert "Traceback" not in text
        assert text.count("FAIL  reconnected_within") == 1

    def test_a_test_that_fails_by_itself_tells_the_verdict_as_it_stands(self, run: Run) -> None:
        ran = run(
            """
            import pytest
            from client import joined

            @pytest.mark.chaos("brief-interruption")
            def test_fails(chaosproxy):
                with joined(chaosproxy.url):
                    assert 1 + 1 == 3
            """
        )
        ran.assert_outcomes(failed=1)
        ran.stdout.re_match_lines(
            [
                r"E +assert \(1 \+ 1\) == 3",
                r"-+ chaosproxy -+",
                r"  ok    a client came .*",
                r"  open  reset struck .*",
                r"  open  reconnected_within: 5s .*",
                r"strike anew: .*",
            ]
        )

    def test_the_journal_of_a_failure_is_kept_and_no_other(self, run: Run) -> None:
        ran = run(
            """
            import pytest
            from client import joined

            @pytest.mark.parametrize("number", [1, 2])
            def test_number(chaosproxy, number):
                with joined(chaosproxy.url):
                    assert number != 2

            @pytest.mark.xfail
            def test_expected_to_fail(chaosproxy):
                assert False
            """
        )
        ran.assert_outcomes(passed=1, failed=1, xfailed=1)
        (kept,) = run.journals.iterdir()
        assert re.fullmatch(r"test_suite-py-test_number-2-[0-9a-f]{8}\.jsonl", kept.name)
        header, records = read_journal(kept.read_text().splitlines())
        assert header["seed"] == 0
        assert [record["event"] for record in records][:1] == ["accepted"]
        assert [record["event"] for record in records][-1:] == ["closed"]
        assert kept.stat().st_mode & 0o077 == 0

    def test_without_a_cache_it_is_kept_with_the_temporary_files(self, run: Run) -> None:
        ran = run("def test_fails(chaosproxy): assert False", "-p", "no:cacheprovider")
        (path,) = re.findall(r"journal: (\S+)", ran.stdout.str())
        assert read_journal(Path(path).read_text().splitlines())

    def test_the_command_that_is_shown_is_one(self, run: Run) -> None:
        ran = run("def test_fails(chaosproxy): assert False")
        (command,) = re.findall(r"strike anew: chaosproxy (.*)", ran.stdout.str())
        verb, journal, *_ = shlex.split(command)
        helped = CliRunner().invoke(cli, [verb, "--help"])
        assert helped.exit_code == 0
        assert "--upstream" in helped.output
        assert "JOURNAL" in helped.output
        assert Path(journal).exists()

    def test_a_failure_elsewhere_is_told_too(self, run: Run) -> None:
        ran = run(
            """
            import pytest

            @pytest.fixture
            def broken_before(chaosproxy):
                raise LookupError

            @pytest.fixture
            def broken_after(chaosproxy):
                yield
                raise LookupError

            def test_setup(broken_before): pass
            def test_teardown(broken_after): pass
            """
        )
        ran.assert_outcomes(passed=1, errors=2)
        assert ran.stdout.str().count("strike anew: ") == 2
        assert len(list(run.journals.iterdir())) == 2

    def test_a_failure_of_our_own_does_not_pass_for_success(self, run: Run) -> None:
        ran = run(
            """
            import asyncio

            def test_passes(chaosproxy, _chaosproxy_thread):
                def fail():
                    raise LookupError("oh no")

                _chaosproxy_thread.call(lambda: asyncio.get_running_loop().call_soon(fail) and None)
            """
        )
        ran.assert_outcomes(passed=1, errors=1)
        ran.stdout.fnmatch_lines(["E*RuntimeError: chaosproxy itself has failed:", "E*LookupError: oh no"])

    def test_a_wait_in_vain_shows_the_tests_line_and_none_of_ours(self, run: Run) -> None:
        ran = run(
            """
            def test_waits(chaosproxy):
                chaosproxy.fault("hang")
                chaosproxy.wait_for("opened", timeout=0.01)
            """
        )
        ran.assert_outcomes(failed=1)
        ran.stdout.fnmatch_lines(
            ["E*NotSeen: not seen within 0.01 s: opened. What happened last:", "test_suite.py:3: NotSeen"]
        )
        assert "futures" not in ran.stdout.str()
        ran.stdout.fnmatch_lines(["strike anew: * (without the faults that the test added by hand)"])


class TestJudging:
    GOOD = """
        import pytest
        from client import joined

        @pytest.mark.chaos("brief-interruption"{more})
        def test_comes_back(chaosproxy):
            with joined(chaosproxy.url, "news"):
                chaosproxy.wait_for_phase("cut")
            with joined(chaosproxy.url{again}):
                pass
    """

    def test_a_client_that_does_well_passes(self, run: Run) -> None:
        run(self.GOOD.format(more="", again=", 'news'")).assert_outcomes(passed=1)
        assert list(run.journals.iterdir()) == []

    def test_one_that_does_not_fails(self, run: Run) -> None:
        run(self.GOOD.format(more="", again="")).assert_outcomes(failed=1)

    def test_it_may_be_left_to_the_test(self, run: Run) -> None:
        run(self.GOOD.format(more=", judge=False", again="")).assert_outcomes(passed=1)

    def test_expectations_are_added_to_those_of_the_profile(self, run: Run) -> None:
        ran = run(self.GOOD.format(more=", expect=['{close_code: 4200}']", again=", 'news'"))
        ran.assert_outcomes(failed=1)
        ran.stdout.re_match_lines([r"  ok    one_connection.*", r"  FAIL  close_code: 4200.*"])

    def test_a_client_that_goes_at_the_end_is_heard_out(self, run: Run) -> None:
        """The last thing that it does before the test ends is judged."""
        ran = run(
            """
            import pytest
            from client import joined

            @pytest.mark.chaos(expect=["closes_cleanly"])
            @pytest.mark.parametrize("number", range(20))
            def test_closes(chaosproxy, number):
                with joined(chaosproxy.url):
                    pass
            """
        )
        ran.assert_outcomes(passed=20)

    def test_a_test_that_is_expected_to_fail_may_fail_by_it(self, run: Run) -> None:
        ran = run(
            """
            import pytest

            @pytest.mark.xfail(strict=True)
            @pytest.mark.chaos(expect=["closes_cleanly"])
            def test_no_client_comes(chaosproxy): pass

            @pytest.mark.chaos(expect=["closes_cleanly"])
            def test_is_skipped(chaosproxy): pytest.skip()
            """
        )
        ran.assert_outcomes(xfailed=1, skipped=1)

    def test_what_was_never_started_has_not_passed(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.chaos("brief-interruption")
            def test_forgets(chaosproxy): pass
            """
        )
        ran = pytester.runpytest_inprocess("-W", "error")
        ran.assert_outcomes(failed=1)
        ran.stdout.fnmatch_lines(["the proxy has no server to stand before: override the fixture *"])


class TestBadSettings:
    def test_a_bad_profile_is_told_by_its_place_before_the_test_runs(self, run: Run, pytester: pytest.Pytester) -> None:
        folder = pytester.mkdir("profiles")
        (folder / "bad.yaml").write_text("version: 1\nphases:\n  - name: outage\n    last: 5s\n")
        ran = run(
            '''
            import pytest

            @pytest.mark.chaos("profiles/bad.yaml")
            def test_file(chaosproxy): raise AssertionError("it ran")

            @pytest.mark.chaos("""
                version: 1
                rules:
                  - latensy: 5s
            """)
            def test_text(chaosproxy): raise AssertionError("it ran")

            @pytest.mark.chaos({"rules": [{"latency": "5"}]})
            def test_mapping(chaosproxy): raise AssertionError("it ran")

            @pytest.mark.chaos("brief-interuption")
            def test_name(chaosproxy): raise AssertionError("it ran")

            @pytest.mark.chaos("brief-interruption", expect=["one_connection", "reconected_within: 5s"])
            def test_expect(chaosproxy): raise AssertionError("it ran")
            '''
        )
        ran.assert_outcomes(errors=5)
        ran.stdout.re_match_lines_random(
            [
                r"profiles/bad\.yaml:4:5: phases\[0\]\.last: .*did you mean lasts\?",
                r"    +last: 5s",
                r"    +\^",
                r"test_suite\.py::test_text:4:5: rules\[0\]\.latensy: expected a fault, .*did you mean latency\?",
                r"test_suite\.py::test_mapping:\d+:\d+: rules\[0\]\.latency.*: expected a duration.*",
                r"unknown profile brief-interuption; nearest: brief-interruption.*",
                r"test_suite\.py::test_expect expect:2:1: .*did you mean reconnected_within .*",
            ]
        )
        text = ran.stdout.str()
        assert "it ran" not in text
        assert "Traceback" not in text
        assert "chaosproxy/pytest_plugin" not in text
        assert "During handling" not in text

    def test_a_bad_marker_is_told_in_the_same_way(self, run: Run) -> None:
        ran = run(
            """
            import pytest

            @pytest.mark.chaos(profil="brief-interruption")
            def test_key(chaosproxy): pass

            @pytest.mark.chaos("brief-interruption", 7)
            def test_positions(chaosproxy): pass

            @pytest.mark.chaos(seed="7")
            def test_seed(chaosproxy): pass

            @pytest.mark.chaos(judge="no")
            def test_judge(chaosproxy): pass

            @pytest.mark.chaos(expect=7)
            def test_expect(chaosproxy): pass

            @pytest.mark.chaos(7)
            def test_profile(chaosproxy): pass

            @pytest.mark.chaos({"seed": b"7"})
            def test_mapping(chaosproxy): pass

            @pytest.mark.chaos(upstream="http://127.0.0.1:1")
            def test_upstream(chaosproxy): pass

            @pytest.mark.chaos("brief-interruption")
            def test_without_the_fixture(): pass
            """
        )
        ran.assert_outcomes(errors=9)
        ran.stdout.fnmatch_lines_random(
            [
                "@pytest.mark.chaos knows no profil=; did you mean profile?",
                "@pytest.mark.chaos takes one profile, and the rest by name: seed, expect, upstream, *",
                "@pytest.mark.chaos: expected a whole number as seed=, got *7*",
                "@pytest.mark.chaos: expected judge=True or judge=False, got *no*",
                "@pytest.mark.chaos: expected a list such as * as expect=, got 7",
                "@pytest.mark.chaos: expected a profile's name, its path, a mapping or its YAML as profile=, got 7",
                "@pytest.mark.chaos: profile= can't be read: *",
                "upstream: expected ws://HOST:PORT, *; did you mean ws://127.0.0.1:1?",
                "@pytest.mark.chaos needs a test that takes the fixture chaosproxy",
            ]
        )


class TestSettings:
    def test_the_nearest_marker_has_its_way_and_the_others_add_to_it(self, run: Run) -> None:
        run(
            """
            import pytest

            pytestmark = pytest.mark.chaos(seed=1, profile={"name": "of-the-module", "seed": 5})

            def test_module(chaosproxy, seed_and_name):
                assert seed_and_name() == (1, "of-the-module")

            @pytest.mark.chaos({"name": "of-the-class"})
            class TestClass:
                def test_class(self, chaosproxy, seed_and_name):
                    assert seed_and_name() == (1, "of-the-class")

                @pytest.mark.chaos(seed=None)
                def test_own(self, chaosproxy, seed_and_name):
                    assert seed_and_name() == (0, "of-the-class")

            def test_without_the_fixture(): pass

            @pytest.fixture
            def seed_and_name(request, chaosproxy):
                def read():
                    story = "\\n".join(chaosproxy.story())
                    name, seed = story.split(",")[:2]
                    return int(seed.split()[1]), name.split()[1]
                return read
            """
        ).assert_outcomes(passed=4)

    def test_a_profiles_path_is_looked_for_beside_the_test(self, run: Run, pytester: pytest.Pytester) -> None:
        for folder, name in (("beside", "beside"), (".", "root")):
            path = pytester.path / folder
            path.mkdir(exist_ok=True)
            (path / "mine.yaml").write_text(f"version: 1\nname: {name}\n")
        suite = """
            import pytest

            @pytest.mark.chaos("mine.yaml")
            def test_it(chaosproxy):
                assert "profile {name}," in chaosproxy.story()[0]
        """
        (pytester.path / "beside" / "test_beside.py").write_text(
            "\n".join(line[12:] for line in suite.format(name="beside").splitlines())
        )
        run(suite.format(name="root")).assert_outcomes(passed=2)

    def test_the_server_is_the_nearest_that_is_named(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a marker, a fixture, the command line, the environment, and the ini file."""
        pytester.makepyfile(
            """
            import pytest

            def test_given(chaosproxy, pytestconfig):
                expected = pytestconfig.getoption("--chaosproxy-upstream") or "ws://127.0.0.1:{port}"
                assert expected in chaosproxy.story()[0]

            @pytest.mark.chaos(upstream="ws://127.0.0.1:15")
            def test_marked(chaosproxy):
                assert "ws://127.0.0.1:15" in chaosproxy.story()[0]

            class TestFixture:
                @pytest.fixture
                def chaosproxy_upstream(self):
                    return "ws://127.0.0.1:14"

                def test_fixture(self, chaosproxy):
                    assert "ws://127.0.0.1:14" in chaosproxy.story()[0]
            """.replace("{port}", "12")
        )
        pytester.makeini("[pytest]\nchaosproxy_upstream = ws://127.0.0.1:12\n")
        pytester.runpytest_inprocess("-W", "error").assert_outcomes(passed=3)
        monkeypatch.setenv("CHAOSPROXY_UPSTREAM", "ws://127.0.0.1:13")
        ran = pytester.runpytest_inprocess("-W", "error")
        ran.assert_outcomes(passed=2, failed=1)
        assert "before ws://127.0.0.1:13" in ran.stdout.str()
        pytester.runpytest_inprocess("--chaosproxy-upstream", "ws://127.0.0.1:11").assert_outcomes(passed=3)


class TestCoroutines:
    SUITE = """
        import asyncio, pytest
        from websockets.asyncio.client import connect
        from websockets.asyncio.server import serve
        from websockets.exceptions import ConnectionClosed

        @pytest.fixture
        def chaosproxy_upstream():
            return None  # the test has a server of its own, in its own loop

        async def wait(connection):
            await connection.wait_closed()

        async def test_outage(chaosproxy):
            async with serve(wait, "127.0.0.1", 0) as server:
                await chaosproxy.aio.start(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
                async with connect(chaosproxy.url, proxy=None) as connection:
                    with chaosproxy.fault("close", code=4200):
                        with pytest.raises(ConnectionClosed):
                            await connection.recv()
                        closed = await chaosproxy.aio.wait_for("closed")
                    assert closed["code"] == 4200

        async def test_forgets_to_await(chaosproxy):
            async with serve(wait, "127.0.0.1", 0) as server:
                await chaosproxy.aio.start(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
                chaosproxy.wait_for("opened")
    """

    def test_they_need_no_plugin_of_a_certain_kind(self, run: Run, pytester: pytest.Pytester) -> None:
        pytester.makeconftest(ASYNC_HOOK)
        ran = run(self.SUITE)
        ran.assert_outcomes(passed=1, failed=1)
        ran.stdout.fnmatch_lines(["*wait_for would keep this event loop from running: await chaosproxy.aio.wait_for(*"])


class TestWorkers:
    def test_eight_contradicting_profiles_in_two_workers(self, run: Run, pytester: pytest.Pytester) -> None:
        """Each test sees its own close code, however many others are beside it; the one that fails tells its story."""
        pytester.makepyfile(
            test_suite="""
            import pytest
            from websockets.exceptions import ConnectionClosed
            from client import joined

            CODES = [4000, 4001, 4002, 4003, 4100, 4200, 4299]

            def cut(code):
                return pytest.param(code, marks=pytest.mark.chaos(
                    {"starts": "launch", "rules": [{"close": {"code": code, "hits": "new"}}]}, seed=code))

            @pytest.mark.parametrize("code", list(map(cut, CODES)))
            def test_code(chaosproxy, code, worker_id):
                assert worker_id in ("gw0", "gw1")
                for _ in range(5):
                    with pytest.raises(ConnectionClosed) as closed, joined(chaosproxy.url) as client:
                        client.recv(timeout=10)
                    assert closed.value.rcvd.code == code
                chaosproxy.wait_for("closed", 5)
                chaosproxy.check()

            @pytest.mark.chaos({"rules": [{"reject": 503}]}, seed=8)
            def test_rejected(chaosproxy):
                with joined(chaosproxy.url):
                    pass
            """
        )
        ran = pytester.runpytest_subprocess(*run._options, "-n", "2")
        ran.assert_outcomes(passed=7, failed=1)
        ran.stdout.re_match_lines(
            [
                r"-+ chaosproxy -+",
                r"profile \S.*, seed 8, digest \w+, before .*",
                r".* struck .* fault=reject.*",
                r"strike anew: .*",
            ]
        )


class TestOthers:
    def test_a_suite_that_does_not_use_it_loads_nothing_of_it(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile(
            """
            import sys, threading

            def test_nothing_is_there():
                ours = {name for name in sys.modules if name.partition(".")[0] == "chaosproxy"}
                assert ours == {"chaosproxy", "chaosproxy.pytest_plugin"}
                assert not {"aiohttp", "pydantic", "websockets", "yaml", "click", "asyncio"} & set(sys.modules)
                assert threading.active_count() == 1
            """
        )
        others = ("xdist", "timeout", "hypothesispytest", "anyio", "schemathesis")
        options = [option for name in others for option in ("-p", f"no:{name}")]
        ran = pytester.run(sys.executable, "-m", "pytest", "-W", "error", *options)
        ran.assert_outcomes(passed=1)

    def test_what_can_be_asked_for_is_told(self, run: Run) -> None:
        ran = run("", "--markers")
        ran.stdout.fnmatch_lines(
            ["@pytest.mark.chaos(profile, seed=, expect=[[]...], upstream=, judge=True, *): what *"]
        )
        ran = run("", "--fixtures")
        ran.stdout.re_match_lines_random(
            [
                r"chaosproxy -- .*",
                r"    A proxy before this test's server: steer it, wait for what it sees, .*",
                r"chaosproxy_upstream \[session scope\] -- .*",
            ]
        )

    def test_the_page_on_it_tells_of_everything(self) -> None:
        page = (ROOT / "docs" / "pytest.md").read_text()
        handle = ChaosProxy(LoopThread(), Setting(EMPTY, None, True, False, False), Path("none"))
        known = {name for name in dir(handle) if not name.startswith("_")} - {"begin", "conclude", "story", "notes"}
        assert {name for name in known if not re.search(rf"`[^`\n]*\b{name}\b", page)} == set()
        assert {key for key in KEYS if f"- `{key}`: " not in page} == set()
        handle._thread.close()

    def test_the_example_runs(self, pytester: pytest.Pytester) -> None:
        example = (ROOT / "examples" / "pytest" / "test_reconnect.py").read_text()
        pytester.makepyfile(test_reconnect=example)
        pytester.runpytest_inprocess("-W", "error", "--strict-markers").assert_outcomes(passed=2)
