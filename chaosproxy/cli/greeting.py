"""What `run` says first: where to point clients, and the settings to paste for the two most used of them."""

from pathlib import Path

from ..profile import Profile
from ..sockets import Address, Upstream
from .addresses import reachable
from .secure import TlsOptions


def greeting(
    upstream: Upstream, listen: Address, control: str, profile: Profile, seed: int, tls: TlsOptions
) -> list[str]:
    """The lines to print once the ports are bound."""
    client = reachable(listen)
    host = str(client).rpartition(":")[0]
    everywhere = f" (listening on {listen})" if client != listen else ""
    if tls.is_listening:
        scheme, pusher, transports = "wss", "wssPort", 'forceTLS: true, enabledTransports: ["ws", "wss"]'
    else:
        scheme, pusher, transports = "ws", "wsPort", 'forceTLS: false, enabledTransports: ["ws"]'
    lines = [
        f"point your client at {scheme}://{client} (was :{upstream.address.port}){everywhere}",
        f'  pusher-js  new Pusher(key, {{wsHost: "{host}", {pusher}: {client.port},',
        f'               {transports}, cluster: "none"}})',
        f'  socket.io  io("{"https" if tls.is_listening else "http"}://{client}", {{transports: ["websocket"]}})',
        f"upstream  {upstream}",
        f"control   {control}",
        f"profile   {profile.name or 'unnamed'} ({profile.digest}), seed {seed}",
    ]
    if profile.about:
        lines.append(f"          {' '.join(profile.about.split())}")
    return lines


def trust(ca: Path) -> list[str]:
    """How to make clients trust the development CA."""
    return [
        f"CA        {ca} (development only: whoever has its key can be any server to you)",
        f"  Node      NODE_EXTRA_CA_CERTS={ca}",
        "  browsers  import it among the authorities, to identify websites (settings: certificates)",
    ]


def no_client_yet(upstream: Address, listen: Address, seconds: int, *, is_tls: bool = False) -> str:
    """The first of the usual mistakes: the client still talks to the server itself."""
    if is_tls:
        settings = f"wssPort: {listen.port}, forceTLS: true and enabledTransports: ['ws', 'wss']"
    else:
        settings = f"wsPort: {listen.port}, forceTLS: false and enabledTransports: ['ws']"
    words = f"warning: no client has connected for {seconds} s. Does the app still use :{upstream.port}? Set {settings}"
    if reachable(listen) == listen:
        words += f"; if it runs in a container or on another machine, listen with --listen 0.0.0.0:{listen.port}"
    return words
