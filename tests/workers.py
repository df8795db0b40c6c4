"""How workers share the tests: one by one, but for modules whose tests have in common what takes long to make.

pytest-xdist has marks for such groups, but version 3.8 does not see them with pytest 9.2.
"""

from xdist.scheduler import LoadScopeScheduling

TOGETHER = {"tests/interop/test_page.py", "tests/interop/test_runtimes.py"}


def unit_of(test: str) -> str:
    """What goes to one worker as a whole: the test, or its module."""
    module = test.partition("::")[0]
    return module if module in TOGETHER else test


class Sharing(LoadScopeScheduling):
    """The largest unit first, then the others in their order: who has done its tests gets the next."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
