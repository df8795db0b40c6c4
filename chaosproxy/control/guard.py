"""Who may ask. A control port on loopback is open to every web page that the user's browser shows: this is the fence.

A page can't choose the Host and Origin headers, nor Sec-Fetch-Site, and it can't send JSON or a header of its own to
another origin without a preflight, which is never answered. A name that an attacker's DNS points at us (rebinding) is
caught by its Host. Whoever listens beyond loopback needs a token on top.

One door is open to pages of other origins, for they are where clients live: the script that tells us their states, and
the address to which it tells them. Who knows the token in its path may fetch the one and write to the other, and no
more; what is written there can steer nothing, and nothing can be read.

Pages elsewhere may also link to our own page: its bare files tell nothing and do nothing by themselves, so a visit in a
tab of its own is let in from anywhere, though never into a frame.

Nothing here knows of sockets: a request's facts in, a refusal or None out.
"""

import hmac
import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple

HOSTS_VARIABLE = "CHAOSPROXY_CONTROL_HOSTS"
TOKEN_VARIABLE = "CHAOSPROXY_CONTROL_TOKEN"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_CLIENT_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,64}")
_SAFE = frozenset({"GET", "HEAD"})


def read_client_token(text: str) -> str:
    """Read what shall stand in the script's address. Errors do not quote it."""
    if not _CLIENT_TOKEN.fullmatch(text):
        raise ValueError(f"expected 8 to 64 letters, digits, - and _, got {len(text)} characters")
    return text


class Refusal(NamedTuple):
    """Why a request is not served; nothing has been changed by it."""

    status: int
    error: str


class Facts(NamedTuple):
    """What the guard looks at. Headers that may come several times are given as often as they came."""

    method: str
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    fetch_sites: tuple[str, ...]
    content_type: str
    has_body: bool
    has_own_header: bool  # X-Chaosproxy: a page can't send it to another origin
    authorization: str
    is_open: bool  # a probe or the metrics: served without a token
    client_token: str | None = None  # where the path is one for clients: the token in it
    is_file: bool = False  # of the live page: served without a token
    is_home: bool = False  # the one of them that is a document
    fetch_modes: tuple[str, ...] = ()
    fetch_destinations: tuple[str, ...] = ()

    @property
    def is_visit(self) -> bool:
        """Whether somebody goes to our page in a tab: by a link, a bookmark, the address bar."""
        goes = self.fetch_modes == ("navigate",) and self.fetch_destinations == ("document",)
        return self.is_home and goes and self.method in _SAFE


class Guard:
    """The rules of one control address.

    `hosts` are names by which it may be addressed beside loopback ones: `name` with any port (port mappings change
    it), or `name:port` with that one only. Loopback names need our own port or none. `client_tokens` are those of now.
    """

    def __init__(
        self, host: str, hosts: Collection[str] = (), token: str | None = None, client_tokens: Collection[str] = ()
    ) -> None:
        self._is_loopback = host == "localhost" or _is_loopback(host)
        if not self._is_loopback and not token:
            raise ValueError(
                f"the control address {host or '*'} can be reached from other machines: "
                f"set {TOKEN_VARIABLE}, or listen on 127.0.0.1"
            )
        self._family = None if host == "localhost" or not self._is_loopback else ipaddress.ip_address(host).version
        self._hosts = frozenset(name.lower() for name in hosts)
        self._token = token.encode() if token else None
        self._client_tokens = client_tokens

    def check(self, facts: Facts, port: int) -> Refusal | None:
        """Why a request to our port must not be served, if so."""
        if facts.client_token is not None:
            return self._check_host(facts, port) or self._check_client_token(facts.client_token)
        return self._check_host(facts, port) or _check_origin(facts) or self._check_token(facts) or _check_body(facts)

    def _check_host(self, facts: Facts, port: int) -> Refusal | None:
        if len(facts.hosts) == 1:
            match = _HOST.fullmatch(facts.hosts[0].lower())
            if match and self._takes_host(match[1], match[2], facts, port):
                return None
        said = ", ".join(facts.hosts)[:100] or "none"
        return Refusal(
            403,
            f"the Host header ({said}) is not one of ours; to allow a name or name:port, list it in {HOSTS_VARIABLE}",
        )

    def _takes_host(self, name: str, said_port: str | None, facts: Facts, port: int) -> bool:
        if name in self._hosts or (said_port and f"{name}:{said_port}" in self._hosts):
            return True
        literal = name.strip("[]")
        if facts.is_open and not self._is_loopback and _version(literal):
            # Kubelets and Prometheus address pods by IP. Rebinding needs a name, and these pages hold no secrets.
            return True
        is_ours = name == "localhost" or (_is_loopback(literal) and self._family in (None, _version(literal)))
        return is_ours and said_port in (None, str(port))

    def _check_token(self, facts: Facts) -> Refusal | None:
        if self._token is None or facts.is_open or facts.is_file:
            return None
        scheme, _, given = facts.authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(errors="surrogateescape"), self._token
        ):
            return None
        return Refusal(401, f"expected Authorization: Bearer with the token of {TOKEN_VARIABLE}")

    def _check_client_token(self, given: str) -> Refusal | None:
        said = given.encode(errors="surrogateescape")
        same = [hmac.compare_digest(said, token.encode()) for token in self._client_tokens]
        if any(same):
            return None
        return Refusal(404, "the script's address is another; the proxy says it as it starts")


def _check_origin(facts: Facts) -> Refusal | None:
    """A page of another origin is refused, whatever it wants."""
    for origin in facts.origins:
        scheme, _, rest = origin.lower().partition("://")
        if scheme not in ("http", "https") or rest != facts.hosts[0].lower():
            return Refusal(403, f"the Origin header ({origin[:100]}) is not this address; pages elsewhere may not ask")
    for site in facts.fetch_sites:
        if site not in ("same-origin", "none") and not facts.is_visit:
            return Refusal(403, f"Sec-Fetch-Site: {site[:20]}: pages elsewhere may not ask")
    return None


def _check_body(facts: Facts) -> Refusal | None:
    """What changes something is JSON, or empty and marked as no page of another origin can mark it."""
    if facts.method in _SAFE or facts.content_type == "application/json":
        return None
    if not facts.has_body and facts.has_own_header:
        return None
    return Refusal(415, "expected Content-Type: application/json (with an empty body, a header X-Chaosproxy will do)")


def _version(literal: str) -> int | None:
    try:
        return ipaddress.ip_address(literal).version
    except ValueError:
        return None


def _is_loopback(literal: str) -> bool:
    return _version(literal) is not None and ipaddress.ip_address(literal).is_loopback
