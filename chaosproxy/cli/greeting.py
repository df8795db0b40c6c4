"""What `run` says first: where to point clients, and the settings to paste for the two most used of them."""

from ..profile import Profile
from ..proxy import Address, Upstream
from .addresses import reachable


def greeting(upstream: Upstream, listen: Address, control: str, profile: Profile, seed: int) -> list[str]:
    """The lines to print once the ports are bound."""
    client = reachable(listen)
    everywhere = f" (listening on {listen})" if client != listen else ""
    where = client if upstream.is_opaque else f"ws://{client}"
    lines = [
        f"point your client at {where} (was :{upstream.address.port}){everywhere}",
        *([] if upstream.is_opaque else _to_paste(client)),
        f"upstream  {upstream}",
        f"control   {control}",
        f"profile   {profile.name or 'unnamed'} ({profile.digest}), seed {seed}",
    ]
    if profile.about:
        lines.append(f"          {' '.join(profile.about.split())}")
    return lines


def _to_paste(client: Address) -> list[str]:
    return [
        f'  pusher-js  new Pusher(key, {{wsHost: "{str(client).rpartition(":")[0]}", wsPort: {client.port},',
        '               forceTLS: false, enabledTransports: ["ws"], cluster: "none"})',
        f'  socket.io  io("http://{client}", {{transports: ["websocket"]}})',
    ]


def no_client_yet(upstream: Address, listen: Address, seconds: int, *, is_opaque: bool = False) -> str:
    """The first of the usual mistakes: the client still talks to the server itself."""
    remedy = f"Set wsPort: {listen.port}, forceTLS: false and enabledTransports: ['ws']"
    if is_opaque:
        remedy = f"Point it at {reachable(listen)}"
    words = f"warning: no client has connected for {seconds} s. Does the app still use :{upstream.port}? {remedy}"
    if reachable(listen) == listen:
        words += f"; if it runs in a container or on another machine, listen with --listen 0.0.0.0:{listen.port}"
    return words
