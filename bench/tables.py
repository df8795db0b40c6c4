"""The figures as people read them: plain text, Markdown."""

from collections.abc import Sequence

from bench.figures import Figures
from bench.workloads import WORKLOADS, Workload

LINE = "{:<20} {:>12} {:>9} {:>9} {:>15} {:>10} {:>18}"
HEADS = ("", "messages/s", "p50 us", "p99 us", "CPU us/message", "CPU ratio", "(least to most)")


def number(value: float | None, unit: str = "") -> str:
    """Write about three significant digits; a dash for what is unknown."""
    if value is None:
        return "-"
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}{unit}"


def text(figures: Sequence[Figures]) -> str:
    """Return one block per workload, one line per contender."""
    blocks = []
    for workload in _measured(figures):
        lines = [f"{workload.name}: {workload.about}", LINE.format(*HEADS).rstrip()]
        lines += [_line(row) for row in figures if row.workload == workload.name]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def markdown(figures: Sequence[Figures]) -> str:
    """Return a table with a line per contender and a column per workload."""
    workloads = _measured(figures)
    rows = {(row.contender, row.workload): row for row in figures}
    lines = [["", *(workload.about for workload in workloads)], ["---"] * (1 + len(workloads))]
    lines += [
        [contender, *(_cell(rows.get((contender, workload.name))) for workload in workloads)]
        for contender in dict.fromkeys(row.contender for row in figures)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def legend(references: Sequence[str]) -> str:
    """Say what the ratios are against."""
    if not references:
        return "CPU ratio: none, for want of a proxy to compare with."
    the_cheaper = "the cheaper of " if len(references) > 1 else ""
    return f"CPU ratio: against {the_cheaper}{' and '.join(references)}, round by round."


def _measured(figures: Sequence[Figures]) -> list[Workload]:
    names = {row.workload for row in figures}
    return [workload for workload in WORKLOADS if workload.name in names]


def _line(row: Figures) -> str:
    span = f"{number(row.cpu_ratio_least)} to {number(row.cpu_ratio_most)}" if row.cpu_ratio is not None else ""
    latencies = number(row.p50_us), number(row.p99_us)
    costs = number(row.cpu_us), number(row.cpu_ratio, "x"), span
    return LINE.format(row.contender, number(row.messages_per_second), *latencies, *costs).rstrip()


def _cell(row: Figures | None) -> str:
    if row is None:
        return "-"
    times = f" ({number(row.cpu_ratio)}×)" if row.cpu_ratio is not None else ""
    return f"{number(row.cpu_us)}{times}; {number(row.p50_us)} / {number(row.p99_us)}"
