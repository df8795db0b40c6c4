"""Run the comparison: `python -m bench`, from the root of the repository."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import cpu, tables
from bench.contenders import CONTENDERS, Contender, Place, program_path
from bench.environment import describe
from bench.figures import Sample, compare
from bench.processes import REPOSITORY, NotStarted, free_ports, server
from bench.workloads import WORKLOADS, Workload


class Entrant(NamedTuple):
    """A contender that runs, where to reach it, and whose CPU time to count."""

    name: str
    port: int
    pid: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 1 if a contender that had started failed later."""
    options = _parser().parse_args(arguments)
    contenders = [each for each in CONTENDERS if each.name in options.contenders]
    workloads = [each for each in WORKLOADS if each.name in options.workloads]
    with ExitStack() as stack:
        if not options.all_cores:
            share_one_core(stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        entrants = start(contenders, folder, stack)
        samples, problems = run(entrants, workloads, options.rounds, options.seconds)

    present = {entrant.name for entrant in entrants}
    references = [each.name for each in contenders if each.is_reference and each.name in present]
    figures = compare(samples, references)
    programs = {path for each in contenders if each.program != sys.executable and (path := program_path(each.program))}
    notes = [
        tables.legend(references),
        f"Medians of {options.rounds} x {options.seconds:g} s, {'all cores' if options.all_cores else 'on one core'}; "
        f"CPU time from {cpu.SOURCE}.",
        describe(sorted(programs)) + ".",
    ]
    if options.markdown:
        cells = "Each cell: CPU µs per message (ratio); round trip p50 / p99 in µs."
        print(tables.markdown(figures), "", " ".join([cells, *notes]), sep="\n")
    else:
        print(tables.text(figures), "", *notes, sep="\n")
    if options.json:
        report = {
            "notes": notes,
            "figures": [row._asdict() for row in figures],
            "samples": [
                {"workload": workload, "contender": name, "round": turn, **sample._asdict()}
                for (workload, name), rounds in samples.items()
                for turn, sample in rounds.items()
            ],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if problems else 0


def share_one_core(stack: ExitStack) -> None:
    """Keep this process, and all it starts, on one core until the stack closes.

    A message that wakes an idle core costs more than any proxy does, most of all in a virtual machine, and hides it.
    """
    cores = os.sched_getaffinity(0)
    stack.callback(os.sched_setaffinity, 0, cores)
    os.sched_setaffinity(0, {max(cores)})


def start(contenders: Sequence[Contender], folder: Path, stack: ExitStack) -> list[Entrant]:
    """Start the echo server and all contenders; say which ones cannot start, and why."""
    echo_port, *ports = free_ports(1 + 2 * len(contenders))
    stack.enter_context(server([sys.executable, "-m", "bench.echo", str(echo_port)], echo_port, folder / "echo.log"))
    entrants = []
    for contender in contenders:
        if contender.command is None:
            entrants.append(Entrant(contender.name, echo_port, None))
            continue
        if hint := contender.missing():
            _say(f"without {contender.name}: {hint}")
            continue
        place = Place(ports.pop(), echo_port, ports.pop(), folder / contender.name)
        place.folder.mkdir()
        try:
            pid = stack.enter_context(server(contender.command(place), place.listen_port, place.folder / "log"))
        except NotStarted as problem:
            _say(f"without {contender.name}: {problem}")
        else:
            entrants.append(Entrant(contender.name, place.listen_port, pid))
    return entrants


def run(
    entrants: Sequence[Entrant], workloads: Sequence[Workload], rounds: int, seconds: float
) -> tuple[dict[tuple[str, str], dict[int, Sample]], list[str]]:
    """Take turns, so that what else the machine does hits all alike; return the samples and what went wrong."""
    samples: dict[tuple[str, str], dict[int, Sample]] = {}
    problems = []
    for turn in range(1, rounds + 1):
        for workload in workloads:
            _say(f"round {turn} of {rounds}: {workload.about}")
            for entrant in entrants:
                try:
                    sample = measure(entrant, workload, seconds)
                except subprocess.SubprocessError as problem:
                    problems.append(f"{entrant.name}, {workload.name}: {problem}")
                    _say(problems[-1])
                else:
                    samples.setdefault((workload.name, entrant.name), {})[turn] = sample
    return samples, problems


def measure(entrant: Entrant, workload: Workload, seconds: float) -> Sample:
    """Let the load, a process of its own, drive one workload through one contender."""
    command = [sys.executable, "-m", "bench.load", f"--workload={workload.name}", f"--port={entrant.port}"]
    command += [f"--seconds={seconds}"] + ([f"--watch={entrant.pid}"] if entrant.pid else [])
    answer = subprocess.run(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        timeout=30 + 10 * seconds,
        check=True,
        start_new_session=True,  # Ctrl-C is for us alone; we end it
    )
    return Sample(**json.loads(answer.stdout))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare what idle proxies cost.")
    contenders = [each.name for each in CONTENDERS]
    workloads = [each.name for each in WORKLOADS]
    parser.add_argument("--contenders", nargs="+", choices=contenders, default=contenders, metavar="NAME")
    parser.add_argument("--workloads", nargs="+", choices=workloads, default=workloads, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long one run takes (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median is taken (default: 3)")
    parser.add_argument("--all-cores", action="store_true", help="do not keep everything on one core")
    parser.add_argument("--markdown", action="store_true", help="print the table for a README")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and samples, for trends")
    return parser


def _leave(number: int, _frame: object) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # nothing interrupts the clean-up that follows
    sys.exit(128 + number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    sys.exit(main())
