"""Play a profile in virtual time, against modelled clients and servers: what would happen, in no time."""

from .story import AT_MOST, ClientEnd, Line, Story, simulate

__all__ = ["AT_MOST", "ClientEnd", "Line", "Story", "simulate"]
