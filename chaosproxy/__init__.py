"""A man-in-the-middle proxy for WebSockets, for resilience testing: invisible until a fault profile says otherwise."""

__version__ = "0.1.0"
