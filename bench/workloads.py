"""What is sent: the one list of workloads."""

from typing import NamedTuple


class Workload(NamedTuple):
    """Equal connections, each keeping `in_flight` messages of `payload_bytes` on their way."""

    name: str
    about: str
    connections: int
    in_flight: int
    payload_bytes: int


WORKLOADS = (
    Workload("single", "1 connection, ping-pong of 64 B", connections=1, in_flight=1, payload_bytes=64),
    Workload("many", "64 connections, ping-pong of 64 B", connections=64, in_flight=1, payload_bytes=64),
    Workload("pipelined", "8 connections, 256 of 64 B in flight", connections=8, in_flight=256, payload_bytes=64),
    Workload("large", "4 connections, ping-pong of 64 KiB", connections=4, in_flight=1, payload_bytes=65536),
)
