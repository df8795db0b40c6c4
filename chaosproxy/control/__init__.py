"""The control side: an HTTP API to see and steer a running proxy, its metrics, and its journal as a stream.

`server` listens, `guard` decides who may ask, `api` has the routes. `seeing` and `steering` answer for one stage, that
of `run` or a session's (`room`, `sessions`); `orders` and `session_order` check what is asked for, `state` tells what
is going on, `stream` sends the journal, `waits` answers once something holds. `client_door` serves `chaosproxy.js` to
pages and hears what it reports; `chaosproxy-control.mjs` is for tests that steer.
"""

from .server import ControlServer

__all__ = ["ControlServer"]
