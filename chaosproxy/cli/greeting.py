"""What `run` says first: where to point clients, and the settings to paste for the two most used of them."""

from pathlib import Path

from ..addresses import reachable
from ..profile import Profile
from ..sockets import Address, Upstream
from .secure import TlsOptions


def greeting(
    upstream: Upstream,
    listen: Address,
    control: str,
    profile: Profile,
    seed: int,
    tls: TlsOptions,
    script: str = "",
    page: str = "",
) -> list[str]:
    """The lines to print once the ports are bound. `page` is where people watch and steer, and `script` where pages get
    the script that tells their states.
    """
    client = reachable(listen)
    everywhere = f" (listening on {listen})" if client != listen else ""
    where = client if upstream.is_opaque else f"{'wss' if tls.is_listening else 'ws'}://{client}"
    lines = [
        f"point your client at {where} (was :{upstream.address.port}){everywhere}",
        *([] if upstream.is_opaque else _to_paste(client, is_tls=tls.is_listening)),
        f"upstream  {upstream}",
        f"control   {control}",
        *([f"page      {page}"] if page else []),
        *([f"script    {script}"] if script and not upstream.is_opaque else []),
        f"profile   {profile.name or 'unnamed'} ({profile.digest}), seed {seed}",
    ]
    if profile.about:
        lines.append(f"          {' '.join(profile.about.split())}")
    return lines


def _to_paste(client: Address, *, is_tls: bool) -> list[str]:
    host = str(client).rpartition(":")[0]
    port, force = ("wssPort", "true") if is_tls else ("wsPort", "false")
    transports = '["ws", "wss"]' if is_tls else '["ws"]'
    return [
        f'  pusher-js  new Pusher(key, {{wsHost: "{host}", {port}: {client.port},',
        f'               forceTLS: {force}, enabledTransports: {transports}, cluster: "none"}})',
        f'  socket.io  io("{"https" if is_tls else "http"}://{client}", {{transports: ["websocket"]}})',
    ]


def trust(ca: Path) -> list[str]:
    """How to make clients trust the development CA."""
    return [
        f"CA        {ca} (development only: whoever has its key can be any server to you)",
        f"  Node      NODE_EXTRA_CA_CERTS={ca}",
        "  browsers  import it among the authorities, to identify websites (settings: certificates)",
    ]


def no_client_yet(
    upstream: Address, listen: Address, seconds: int, *, is_opaque: bool = False, is_tls: bool = False
) -> str:
    """The first of the usual mistakes: the client still talks to the server itself."""
    if is_opaque:
        remedy = f"Point it at {reachable(listen)}"
    elif is_tls:
        remedy = f"Set wssPort: {listen.port}, forceTLS: true and enabledTransports: ['ws', 'wss']"
    else:
        remedy = f"Set wsPort: {listen.port}, forceTLS: false and enabledTransports: ['ws']"
    words = f"warning: no client has connected for {seconds} s. Does the app still use :{upstream.port}? {remedy}"
    if reachable(listen) == listen:
        words += f"; if it runs in a container or on another machine, listen with --listen 0.0.0.0:{listen.port}"
    return words
