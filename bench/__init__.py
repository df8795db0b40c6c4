"""What a proxy costs between a WebSocket client and an echo server: several proxies side by side, in one run.

`python -m bench` starts everything (`contenders`, `processes`), lets `load` drive each contender through each of the
`workloads`, and prints what came out (`figures`, `tables`). README.md says what is measured and how.
"""
