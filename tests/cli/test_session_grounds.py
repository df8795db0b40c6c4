"""Sessions stand before the server of `run`, or before another that is the user's own as well."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chaosproxy.addresses import parse_upstream
from chaosproxy.cli.premises import Fence, Settings
from chaosproxy.cli.run import _remind
from chaosproxy.cli.secure import TlsOptions, host_header
from chaosproxy.cli.session_grounds import SessionGrounds
from chaosproxy.cli.show import Show
from chaosproxy.cli.voice import Plain
from chaosproxy.control.orders import Refused
from chaosproxy.control.room import Kind
from chaosproxy.control.room_order import read_session
from chaosproxy.control.rooms import Terms
from chaosproxy.control.shelf import Shelf
from chaosproxy.profile import EMPTY, RULES
from chaosproxy.security import PLAIN
from chaosproxy.sockets import LOOPBACK
from chaosproxy.world import DIALS_PER_SECOND_MAX, Options

LOCAL, PRIVATE, PUBLIC = "ws://127.0.0.1:6001", "ws://10.1.2.3:6001", "ws://8.8.8.8:1"
HARMFUL = RULES["close"].model_validate({"close": {"code": "4200", "to": "server"}})


def settings_before(upstream: str, *, owns_server: bool = False, **options: Any) -> Settings:
    """`run` before this server."""
    behind = parse_upstream(upstream)
    return Settings(
        upstream=behind,
        listen=LOOPBACK,
        profile=EMPTY,
        options=Options(**{"host": host_header(None, behind), **options}),
        tls=TlsOptions(),
        control=LOOPBACK,
        control_hosts=(),
        token=None,
        client_token=None,
        journal=None,
        grace_s=1,
        checks_upstream=False,
        owns_server=owns_server,
        is_verbose=False,
    )


def grounds(upstream: str, *, owns_server: bool = False, **options: Any) -> Callable[[str | None], Terms]:
    """What sessions of `run` before this server get."""
    settings = settings_before(upstream, owns_server=owns_server, **options)

    async def terms(named: str | None) -> Terms:
        fence = await Fence.around(settings.upstream.address, owns_server)
        return await SessionGrounds(settings, fence, PLAIN)(named)

    return lambda named: asyncio.run(terms(named))


@pytest.mark.parametrize("upstream", [LOCAL, PRIVATE, PUBLIC])
def test_without_a_name_it_is_the_server_of_run(upstream: str) -> None:
    terms = grounds(upstream)(None)
    assert (terms.upstream, terms.security) == (parse_upstream(upstream), PLAIN)
    assert terms == grounds(upstream)(upstream)._replace(fence=terms.fence)


@pytest.mark.parametrize("named", [PRIVATE, "ws://localhost:7", "tcp://127.0.0.1:7"])
def test_another_of_ones_own_may_be_named(named: str) -> None:
    terms = grounds(LOCAL)(named)
    assert terms.upstream == parse_upstream(named)
    assert terms.fence(HARMFUL) is None


@pytest.mark.parametrize("named", [PUBLIC, "ws://nobody.invalid:1", "ws://169.254.169.254:80"])
def test_a_strangers_server_may_not_unless_one_says_that_it_is_ones_own(named: str) -> None:
    with pytest.raises(Refused, match="start with --i-own-this-server if it is yours") as refused:
        grounds(LOCAL)(named)
    assert refused.value.status == 403
    assert grounds(LOCAL, owns_server=True)(named).fence(HARMFUL) is None


def test_before_a_strangers_server_the_fence_of_run_holds_and_sessions_share_its_cap_on_dials() -> None:
    terms = grounds(PUBLIC)(None)
    assert "can harm the server" in (terms.fence(HARMFUL) or "")
    assert terms.options.dials_per_second_max == 2
    assert grounds(LOCAL, dials_per_second_max=0)(None).options.dials_per_second_max == 0
    assert grounds(PUBLIC, owns_server=True)(None).options.dials_per_second_max == DIALS_PER_SECOND_MAX


def test_the_host_header_is_that_of_the_sessions_server() -> None:
    assert grounds(LOCAL)(PRIVATE).options.host == "10.1.2.3:6001"
    assert grounds(PRIVATE)(LOCAL).options.host == ""
    assert grounds(LOCAL, host="example.com")(PRIVATE).options.host == "example.com"


def test_toward_a_server_that_speaks_tls_it_speaks_tls() -> None:
    assert grounds(LOCAL)("wss://127.0.0.1:6001").security.upstream is not None
    assert grounds(LOCAL)(PRIVATE).security.upstream is None


@pytest.mark.parametrize("text", ["", "localhost", "http://localhost:1", "ws://localhost", "ws://localhost:1/path"])
def test_what_is_no_server_is_told_in_the_words_of_the_command_line(text: str) -> None:
    with pytest.raises(ValueError):
        grounds(LOCAL)(text)


def test_nobody_is_reminded_of_clients_that_come_to_sessions() -> None:
    async def story() -> list[str]:
        said: list[str] = []
        settings = settings_before(LOCAL)
        fence = await Fence.around(settings.upstream.address, owns_server=False)
        voice = Plain()
        voice.print = said.append
        show = Show(settings, fence, PLAIN, voice)
        await show.start()
        try:
            del said[:]
            _remind(show, said.append)
            assert show._control
            await show._control.rooms.open(Kind.SESSION, read_session(b"{}", Shelf()))
            _remind(show, said.append)
        finally:
            await show.stop()
        return said

    (reminder,) = asyncio.run(story())
    assert "no client has connected" in reminder
