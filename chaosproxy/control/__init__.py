"""The control side: an HTTP API to see and steer a running proxy, its metrics, and its journal as a stream.

`server` listens, `guard` decides who may ask. `routes` is the table of all that can be asked for; `api` serves it,
`openapi` describes it, with the types of `answers`. `seeing` and `steering` answer for one stage (`room`), `process`
for all (`rooms`): that of `run`, proxies beside it, and sessions. `orders` and `room_order` check what is asked for,
`loops` finds a proxy that would call itself, `state` tells what is going on, `stream` sends the journal, `waits`
answers once something holds. `client_door` serves `chaosproxy.js` to pages and hears what it reports;
`chaosproxy-control.mjs` is for tests that steer.
"""

from .server import ControlServer

__all__ = ["ControlServer"]
