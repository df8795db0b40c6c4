import os
import socket
from pathlib import Path

from chaosproxy.port_holder import holder_of


def test_a_listening_process_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert holder_of(listening.getsockname()[1]).endswith(f"(pid {os.getpid()})")


def test_nobody_is_named_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert holder_of(bound.getsockname()[1]) == ""


def test_nobody_is_named_where_there_is_no_proc(tmp_path: Path) -> None:
    assert holder_of(7001, tmp_path) == ""
