"""The control side: an HTTP API to see and steer a running proxy, its metrics, and its journal as a stream.

`server` listens, `guard` decides who may ask, `api` answers, `orders` checks what is asked for, `state` tells what is
going on, `stream` sends the journal. `client_door` serves `chaosproxy.js` to pages and hears what it reports.
"""

from .server import ControlServer

__all__ = ["ControlServer"]
