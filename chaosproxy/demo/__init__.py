"""A small Pusher-protocol server and two clients, one good and one naive, so that the first command needs nothing else.

The demo talks to the proxy over sockets only, as anybody's programs do. Of the rest of the package it takes words:
units, and the events that its show tells of.
"""
