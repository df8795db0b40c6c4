"""Judge S10: what a web page in the user's browser, or a name that points at us, must not get."""

import asyncio
import json
from typing import NamedTuple

import pytest

from chaosproxy.control.client_door import TOKEN_IN_PATH
from chaosproxy.control.guard import Facts, Guard, read_client_token
from chaosproxy.control.routes import served
from chaosproxy.proxy import Address
from tests.control.conftest import Run
from tests.control.stage import Stage, staged

TOKEN = "0123456789abcdef"
RULE = b'{"rule": "reset"}'
NAMES = {"{name}": "x", "{profile}": "x", "{session}": "x", "{id}": "x", "{attempt}": "1"}
QUERIES = {"wait": "?for=opened&timeout=1ms", "journal": "?format=jsonl"}


def concrete(path: str) -> str:
    """A path of the table as one can ask for it."""
    for name, said in NAMES.items():
        path = path.replace(name, said)
    return path + QUERIES.get(path.rpartition("/")[2], "")


EVERY = [(path, row) for path, row in served() if TOKEN_IN_PATH not in path]
OPEN = ["/livez", "/readyz", "/metrics"]
STEERING = [(row.method, concrete(path)) for path, row in EVERY if row.method != "GET"]
SEEING = [concrete(path) for path, row in EVERY if row.method == "GET" and path not in OPEN]

HOSTILE = {
    "another host": "Host: evil.example",
    "a name that begins like ours": "Host: 127.0.0.1.evil.example",
    "a name that begins like ours, with our port": "Host: 127.0.0.1.evil.example:{port}",
    "a name that ends like ours": "Host: evil-localhost:{port}",
    "a subdomain of localhost": "Host: evil.localhost:{port}",
    "loopback of the other family": "Host: [::1]:{port}",
    "the address that stands for all": "Host: 0.0.0.0:{port}",
    "another port": "Host: 127.0.0.1:1",
    "user information before the host": "Host: 127.0.0.1:{port}@evil.example",
    "our host behind user information": "Host: evil.example@127.0.0.1:{port}",
    "a number for an address": "Host: 2130706433:{port}",
    "an address with leading zeros": "Host: 127.0.0.01:{port}",
    "a mapped address": "Host: [::ffff:127.0.0.1]:{port}",
    "no host": "X-Nothing: 1",
    "an empty host": "Host:",
    "two hosts": "Host: 127.0.0.1:{port}\r\nHost: evil.example",
    "a page of no origin": "{host}\r\nOrigin: null",
    "a page from elsewhere": "{host}\r\nOrigin: http://evil.example",
    "a page of another port": "{host}\r\nOrigin: http://localhost:1",
    "a page of our port under another name": "{host}\r\nOrigin: http://localhost:{port}",
    "a page of a name that begins like ours": "{host}\r\nOrigin: http://127.0.0.1:{port}.evil.example",
    "a page of another scheme": "{host}\r\nOrigin: ftp://127.0.0.1:{port}",
    "an empty origin": "{host}\r\nOrigin: ",
    "two origins": "{host}\r\nOrigin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example",
    "a browser that says cross-site": "{host}\r\nSec-Fetch-Site: cross-site",
    "a browser that says same-site": "{host}\r\nSec-Fetch-Site: same-site",
}
BAD_BODIES = {
    "plain text": "Content-Type: text/plain",
    "a form": "Content-Type: application/x-www-form-urlencoded",
    "a multipart form": "Content-Type: multipart/form-data; boundary=x",
    "no type": "X-Chaosproxy: 1",
    "plain text that mentions JSON": "Content-Type: text/plain; application/json",
}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def speak(stage: Stage, method: str, path: str, *headers: str, body: bytes = b"") -> Reply:
    """Send exactly these headers; `{port}` stands for our port and `{host}` for the right Host."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.control.port)
    port = str(stage.control.port)
    said = "\r\n".join(headers).replace("{host}", "Host: 127.0.0.1:{port}").replace("{port}", port)
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    writer.write(f"{method} {path} HTTP/1.1\r\n{said}\r\n{length}Connection: close\r\n\r\n".encode("latin-1") + body)
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), {name.lower(): value for name, value in pairs}, rest)


def test_only_what_tells_nothing_is_served_without_a_token() -> None:
    assert [path for path, row in EVERY if row.is_open] == OPEN
    assert [concrete(path) for path in ("/a/{id}", "/b/{attempt}/reset", "/wait")] == [
        "/a/x",
        "/b/1/reset",
        "/wait?for=opened&timeout=1ms",
    ]
    assert "{" not in str([*STEERING, *SEEING])


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_request_is_refused_and_changes_nothing(run: Run, what: str) -> None:
    async def story() -> None:
        async with staged() as stage, stage.client() as client:
            last = stage.journal.last
            for path in [*SEEING, "/api/journal", "/api/proxies/main/journal"]:  # streams, too
                assert (await speak(stage, "GET", path, HOSTILE[what])).status in (400, 403)
            for method, path in STEERING:
                reply = await speak(stage, method, path, HOSTILE[what], "Content-Type: application/json", body=RULE)
                assert reply.status in (400, 403), (method, path, reply)
            assert stage.journal.last == last
            assert list(stage.control.rooms) == []
            await client.send("untouched")
            assert await client.recv() == "untouched"

    run(story())


@pytest.mark.parametrize("what", BAD_BODIES)
def test_what_a_page_can_send_anywhere_is_not_json_and_is_refused(run: Run, what: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            for method, path in STEERING:
                assert (await speak(stage, method, path, "{host}", BAD_BODIES[what], body=RULE)).status == 415
            assert stage.journal.last == 0

    run(story())


def test_an_empty_order_must_be_marked(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            for method, path in STEERING:
                assert (await speak(stage, method, path, "{host}")).status == 415
            for mark in ("X-Chaosproxy: 1", "Content-Type: application/json"):
                assert (await speak(stage, "DELETE", "/api/rules", "{host}", mark)).status == 200

    run(story())


def test_no_get_changes_anything(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            headers = ("{host}", "Content-Type: application/json")
            for _, path in STEERING:
                for method in ("GET", "HEAD", "OPTIONS"):
                    reply = await speak(stage, method, path, *headers)
                    no_such_profile = path == "/api/profiles/validate" and method != "OPTIONS" and reply.status == 404
                    assert reply.status == 405 or (path in SEEING and method != "OPTIONS") or no_such_profile
            for path in SEEING:
                await speak(stage, "GET", path, *headers)
            assert stage.journal.last == 0
            assert list(stage.control.rooms) == []

    run(story())


def test_no_answer_invites_other_origins(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            asking = ("{host}", "Content-Type: application/json", "Access-Control-Request-Method: POST")
            for headers in (asking, (*asking, "Origin: http://127.0.0.1:{port}"), (*asking, "Origin: http://evil")):
                for method in ("OPTIONS", "GET"):
                    reply = await speak(stage, method, "/api/state", *headers)
                    assert not any(name.startswith("access-control") for name in reply.headers)

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        "{host}",
        "Host: localhost:{port}",
        "Host: LOCALHOST:{port}",
        "Host: 127.0.0.1",
        "Host: localhost",
        "Host: 127.0.0.2:{port}",
        "{host}\r\nOrigin: http://127.0.0.1:{port}",
        "Host: localhost:{port}\r\nOrigin: http://localhost:{port}",
        "{host}\r\nSec-Fetch-Site: same-origin",
        "{host}\r\nSec-Fetch-Site: none",
        "{host}\r\nUser-Agent: Mozilla/5.0",
    ],
)
def test_who_is_here_may_ask(run: Run, headers: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            assert (await speak(stage, "GET", "/api/state", headers)).status == 200
            assert (await speak(stage, "DELETE", "/api/rules", headers, "X-Chaosproxy: 1")).status == 200

    run(story())


def test_a_refused_host_is_told_which_variable_to_set(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            reply = await speak(stage, "GET", "/api/state", "Host: chaos:8474")
            assert json.loads(reply.body) == {
                "error": "the Host header (chaos:8474) is not one of ours; "
                "to allow a name or name:port, list it in CHAOSPROXY_CONTROL_HOSTS"
            }

    run(story())


def test_configured_hosts_are_taken_whole(run: Run) -> None:
    async def story() -> None:
        async with staged(hosts=("chaos", "localhost:9000")) as stage:
            for host, status in {
                "chaos": 200,
                "Chaos:1234": 200,
                "chaos.evil.example": 403,
                "notchaos": 403,
                "localhost:9000": 200,
                "localhost:9001": 403,
                "localhost:{port}": 200,
            }.items():
                assert (await speak(stage, "GET", "/api/state", f"Host: {host}")).status == status, host

    run(story())


def test_every_answer_keeps_browsers_careful(run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            for path, host in (("/api/state", "{host}"), ("/nothing", "{host}"), ("/api/state", "Host: evil")):
                headers = (await speak(stage, "GET", path, host)).headers
                assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["cache-control"] == "no-store"
                assert headers["server"] == "chaosproxy"

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        "{host}\r\nAuthorization: Bearer \xff",
        "{host}\r\nOrigin: http://\xff",
        "Host: \xff",
        "{host}\r\nContent-Type: \xff/\xff; charset=\xff",
        "{host}\r\nContent-Type: application/json; charset=nothing",
        "{host}\r\nLast-Event-ID: \xff",
        "{host}\r\nAccept: \xff",
    ],
)
def test_no_bytes_in_a_header_are_an_error_of_ours(run: Run, headers: str) -> None:
    async def story() -> None:
        async with staged(token=TOKEN) as stage:
            for path in ("/api/state", "/api/rules/%ff", "/%ff", "/metrics?\xff", "/api/connections/%00/reset"):
                for method in ("GET", "DELETE", "POST"):
                    reply = await speak(stage, method, path, f"Authorization: Bearer {TOKEN}", headers, body=b"\xff")
                    assert reply.status < 500, (method, path, reply)

    run(story())


class TestClientDoor:
    """What pages of other origins may do: fetch the script and write reports, with the token in the path."""

    PAGE = "{host}\r\nOrigin: http://app.example\r\nSec-Fetch-Site: cross-site"
    BODY = json.dumps({"instance": "i", "reports": [{"n": 1, "ms": 1, "what": "state", "state": "connected"}]}).encode()

    def test_a_page_of_another_origin_may_fetch_and_write_without_the_control_token(self, run: Run) -> None:
        async def story() -> None:
            async with staged(client_token="client-token", token=TOKEN) as stage:
                for name in ("chaosproxy.js", "chaosproxy.mjs"):
                    assert (await speak(stage, "GET", f"/client/client-token/{name}", self.PAGE)).status == 200
                reply = await speak(
                    stage, "POST", "/client/client-token/reports", self.PAGE, "Content-Type: text/plain", body=self.BODY
                )
                assert (reply.status, reply.body) == (204, b"")
                assert not any(name.startswith("access-control") for name in reply.headers)
                assert stage.journal.last == 1

        run(story())

    @pytest.mark.parametrize("token", ["client-tokem", "client-toke", "client-token-", "%ff", "..", "", TOKEN])
    def test_without_its_token_there_is_nothing(self, run: Run, token: str) -> None:
        async def story() -> None:
            async with staged(client_token="client-token") as stage:
                for method, name in (("GET", "chaosproxy.js"), ("GET", "chaosproxy.mjs"), ("POST", "reports")):
                    for host in ("{host}", self.PAGE):
                        reply = await speak(stage, method, f"/client/{token}/{name}", host, body=self.BODY)
                        assert reply.status in (403, 404, 415), reply
                        assert b"client-token" not in reply.body
                assert stage.journal.last == 0

        run(story())

    def test_its_token_opens_nothing_else(self, run: Run) -> None:
        async def story() -> None:
            async with staged(client_token="client-token", token=TOKEN) as stage:
                bearer = "Authorization: Bearer client-token"
                for path in SEEING:
                    assert (await speak(stage, "GET", path, "{host}", bearer)).status == 401
                paths = [f"/client/client-token{path}" for path in (*SEEING, "/../../api/state", "%2f..%2fapi/state")]
                for path in [*paths, "/client/client-token/reports", "/client/client-token/"]:
                    assert (await speak(stage, "GET", path, self.PAGE)).status in (403, 404, 405), path
                for method in ("PUT", "DELETE", "OPTIONS"):
                    for name in ("chaosproxy.js", "reports"):
                        reply = await speak(stage, method, f"/client/client-token/{name}", self.PAGE)
                        assert reply.status in (403, 405)
                        assert not any(name.startswith("access-control") for name in reply.headers)
                assert stage.journal.last == 0

        run(story())

    def test_a_name_that_points_at_us_is_refused_here_too(self, run: Run) -> None:
        async def story() -> None:
            async with staged(client_token="client-token") as stage:
                hosts = [hostile for hostile in HOSTILE.values() if "{host}" not in hostile]
                assert len(hosts) > 10
                for hostile in hosts:
                    for method, name in (("GET", "chaosproxy.js"), ("POST", "reports")):
                        reply = await speak(stage, method, f"/client/client-token/{name}", hostile, body=self.BODY)
                        assert reply.status in (400, 403)
                assert stage.journal.last == 0

        run(story())

    def test_each_run_has_a_token_of_its_own_that_can_not_be_guessed(self, run: Run) -> None:
        async def story() -> None:
            async with staged() as one, staged() as other:
                assert one.control.client_path != other.control.client_path
                assert len(one.control.client_path) - len("/client/") >= 22  # 128 bits in base64

        run(story())

    @pytest.mark.parametrize("text", ["", "short", "x" * 65, "with/slash", "with space", "with.dot.", "ünïcödé-token"])
    def test_a_token_of_ones_own_must_fit_into_a_path_and_is_not_quoted(self, text: str) -> None:
        with pytest.raises(ValueError, match=f"expected 8 to 64 letters, digits, - and _, got {len(text)} characters"):
            read_client_token(text)
        assert read_client_token("a-token_1") == "a-token_1"


class TestToken:
    def test_without_the_token_nothing_is_told_and_nothing_changes(self, run: Run) -> None:
        async def story() -> None:
            async with staged(token=TOKEN) as stage:
                for given in (
                    "X-Nothing: 1",
                    "Authorization: Bearer 0123456789abcdeX",
                    "Authorization: Bearer ",
                    "Authorization: Bearer 0123456789abcde\u00ff",
                    f"Authorization: Basic {TOKEN}",
                    f"Authorization: {TOKEN}",
                    f"X-Token: {TOKEN}",
                ):
                    for path in SEEING:
                        reply = await speak(stage, "GET", path, "{host}", given)
                        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
                    for method, path in STEERING:
                        headers = ("{host}", given, "Content-Type: application/json")
                        assert (await speak(stage, method, path, *headers, body=RULE)).status == 401
                assert (await speak(stage, "GET", f"/api/state?token={TOKEN}", "{host}")).status == 401
                assert stage.journal.last == 0

        run(story())

    def test_with_the_token_one_is_served(self, run: Run) -> None:
        async def story() -> None:
            async with staged(token=TOKEN) as stage:
                for scheme in ("Bearer", "bearer"):
                    reply = await speak(stage, "GET", "/api/state", "{host}", f"Authorization: {scheme} {TOKEN}")
                    assert reply.status == 200

        run(story())

    def test_the_token_does_not_open_the_door_to_other_pages(self, run: Run) -> None:
        async def story() -> None:
            async with staged(token=TOKEN) as stage:
                for hostile in HOSTILE.values():
                    reply = await speak(stage, "GET", "/api/state", hostile, f"Authorization: Bearer {TOKEN}")
                    assert reply.status in (400, 403)

        run(story())

    def test_probes_and_metrics_need_none(self, run: Run) -> None:
        async def story() -> None:
            async with staged(token=TOKEN) as stage:
                for path in OPEN:
                    assert (await speak(stage, "GET", path, "{host}")).status == 200

        run(story())

    def test_beyond_loopback_probes_may_come_by_address_and_orders_may_not(self, run: Run) -> None:
        async def story() -> None:
            async with staged(address=Address("0.0.0.0", 0), token=TOKEN) as stage:
                given = f"Authorization: Bearer {TOKEN}"
                for path in OPEN:
                    assert (await speak(stage, "GET", path, "Host: 10.1.2.3:8474")).status == 200
                    assert (await speak(stage, "GET", path, "Host: evil.example")).status == 403
                assert (await speak(stage, "GET", "/api/state", "Host: 10.1.2.3:8474", given)).status == 403
                assert (await speak(stage, "GET", "/api/state", "{host}", given)).status == 200

        run(story())


def test_loopback_of_version_6_is_addressed_as_such() -> None:
    def status(guard: Guard, host: str) -> int:
        facts = Facts("GET", (host,), (), (), "", False, False, "", False)
        refusal = guard.check(facts, 80)
        return refusal.status if refusal else 200

    assert status(Guard("::1"), "[::1]:80") == 200
    assert status(Guard("::1"), "127.0.0.1:80") == 403
    assert status(Guard("localhost"), "[::1]:80") == 200
    assert status(Guard("localhost"), "127.0.0.1:80") == 200


def test_the_whole_table_holds_on_uvloop(run_on_uvloop: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            for hostile in HOSTILE.values():
                reply = await speak(stage, "POST", "/api/rules", hostile, "Content-Type: application/json", body=RULE)
                assert reply.status in (400, 403)
            assert stage.journal.last == 0
            assert (await speak(stage, "GET", "/api/state", "{host}")).status == 200

    run_on_uvloop(story())
