"""A small Pusher-protocol server and two clients, one good and one naive, so that the first command needs nothing else.

Imports nothing from the rest of the package: the demo talks to the proxy over sockets only, as anybody's programs do.
"""
