"""Each way in which a connection can end, tried on a client, and what the client did then. Pure.

cases: which endings there are, and the profile that deals one; watch: what a client did, from the proxy's own events;
report: all of it as a table and as JSON. The verb (cli.sweep) runs a proxy and a command for each case.
"""
