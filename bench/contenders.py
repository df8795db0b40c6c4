"""Who competes: the one list. Adding a proxy is one entry, with the function that writes its command line."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where a contender runs: its ports on 127.0.0.1, and a folder of its own."""

    listen_port: int
    upstream_port: int
    control_port: int
    folder: Path


Command = Callable[[Place], list[str]]


def program_path(program: str) -> str | None:
    """Find a program where root's shell would find it too."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))


class Contender(NamedTuple):
    """A proxy, or none at all if there is no command. The cheapest reference is what ratios are taken against."""

    name: str
    command: Command | None
    program: str = sys.executable
    is_reference: bool = False

    def missing(self) -> str | None:
        """Say what to install, if anything."""
        if program_path(self.program):
            return None
        package = {"nginx": "nginx-light"}.get(self.program, self.program)
        return f"{self.program} is not installed (Debian, Ubuntu: apt-get install {package})"


def naive(loop: str) -> Command:
    return lambda place: [
        *(sys.executable, "-m", "bench.naive", loop),
        *(str(place.listen_port), str(place.upstream_port)),
    ]


def chaosproxy(loop: str, scheme: str = "ws") -> Command:
    return lambda place: [
        *(sys.executable, "-m", "chaosproxy", "run"),
        *("--upstream", f"{scheme}://127.0.0.1:{place.upstream_port}"),
        *("--listen", f"127.0.0.1:{place.listen_port}"),
        *("--control", f"127.0.0.1:{place.control_port}"),
        *("--loop", loop),
    ]


def haproxy(mode: str) -> Command:
    def command(place: Place) -> list[str]:
        file = place.folder / "haproxy.cfg"
        file.write_text(f"""\
global
    nbthread 1
    maxconn 1024
defaults
    mode {mode}
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    timeout tunnel 1h
listen bench
    bind 127.0.0.1:{place.listen_port}
    server echo 127.0.0.1:{place.upstream_port}
""")
        return [program_path("haproxy") or "haproxy", "-db", "-f", str(file)]

    return command


def nginx(place: Place) -> list[str]:
    temporary = "\n    ".join(
        f"{kind}_temp_path {place.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = place.folder / "nginx.conf"
    file.write_text(f"""\
daemon off;
worker_processes 1;
pid {place.folder}/nginx.pid;
error_log /dev/null crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{place.listen_port};
        location / {{
            proxy_pass http://127.0.0.1:{place.upstream_port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }}
    }}
}}
""")
    return [program_path("nginx") or "nginx", "-e", "stderr", "-p", str(place.folder), "-c", str(file)]


CONTENDERS = (
    Contender("direct", None),
    Contender("chaosproxy-uvloop", chaosproxy("uvloop")),
    Contender("chaosproxy-pure", lambda place: ["/usr/bin/env", "CHAOSPROXY_PURE=1", *chaosproxy("uvloop")(place)]),
    Contender("chaosproxy-asyncio", chaosproxy("asyncio")),
    Contender("chaosproxy-tcp", chaosproxy("uvloop", "tcp")),
    Contender("haproxy-http", haproxy("http"), program="haproxy", is_reference=True),
    Contender("haproxy-tcp", haproxy("tcp"), program="haproxy"),
    Contender("nginx", nginx, program="nginx", is_reference=True),
    Contender("naive-uvloop", naive("uvloop")),
    Contender("naive-asyncio", naive("asyncio")),
)
