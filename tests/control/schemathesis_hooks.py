"""What schemathesis loads: it keeps the calls short and on this machine, and can judge that a token guards everything.

It runs in a process of its own (see test_schemathesis.py).
"""

import os

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from chaosproxy.control.seeing import WAIT_MAX
from chaosproxy.units import parse_duration

OPEN = ("/livez", "/readyz", "/metrics")
HERE = {
    "/api/sessions": {"listen": "127.0.0.1", "upstream": "ws://127.0.0.1:9"},
    "/api/proxies": {"listen": "127.0.0.1:0", "upstream": "ws://127.0.0.1:9"},
}


def _is_long(timeout: object) -> bool:
    """Whether it would be waited for so long, and not refused."""
    try:
        return 0 < parse_duration(timeout) <= WAIT_MAX
    except ValueError:
        return False


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, object]) -> None:
    query = dict(case.query or {})
    if case.path.endswith("/journal") and query.get("format", "events") == "events":
        case.query = query | {"format": "jsonl"}  # a stream has no end
    if case.path.endswith("/wait") and _is_long(query.get("timeout", "10s")):
        case.query = query | {"timeout": "1ms"}
    if isinstance(case.body, dict):
        # Any name would be looked up, and any address listened on.
        for name, value in HERE.get(case.path, {}).items():
            if name in case.body and isinstance(case.body[name], str) and len(case.body[name]) <= 1024:
                case.body[name] = value


if os.environ.get("SCHEMATHESIS_HAS_NO_TOKEN"):

    @schemathesis.check
    def nobody_without_the_token_gets_in(context: CheckContext, response: Response, case: Case) -> None:
        is_open = case.path in OPEN or case.path.startswith("/client/")
        assert is_open or response.status_code == 401, response.status_code
