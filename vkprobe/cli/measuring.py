"""Code shared by the measuring verbs: options, records written to file and stdout as they come, table and exit status."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click
import msgspec

from vkprobe.cell import Cell
from vkprobe.cli.devices import complain, gathered, records_of, status_of
from vkprobe.cli.options import DriverChoice, driver_options, limit_option, output_options
from vkprobe.cli.progress import Reporter
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import Gathered
from vkprobe.records import AnyRecord, DeviceRecord, LadderRecord, ResultRecord, RunRecord, encode
from vkprobe.results.provenance import run_record
from vkprobe.results.store import Appender, done, lately
from vkprobe.session.campaign import climb, exit_status, measure
from vkprobe.session.ladder import Climb
from vkprobe.session.policy import Policy

F = TypeVar("F", bound=Callable[..., Any])


def measuring_options(command: F) -> F:
    """Add the drivers' options, the two limits, --rounds, -o, --json and --format."""
    defaults = Policy()
    command = click.option(
        "--rounds",
        type=click.IntRange(1, 1000),
        metavar="N",
        help="Of each cell, at the least; `compare` wants three a side.  [default: 3, and 1 on software devices]",
    )(command)
    command = limit_option("--compile-limit", "pipeline", defaults.compile_limit_s)(output_options(command))
    return driver_options(limit_option("--time-limit", "cell", defaults.time_limit_s)(command))


def compiling_options(default_s: float) -> Callable[[F], F]:
    """Options for verbs that compile but measure no cells: those of `measuring_options`, without --time-limit."""

    def decorate(command: F) -> F:
        return driver_options(limit_option("--compile-limit", "pipeline", default_s)(output_options(command)))

    return decorate


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Every record of a measuring run, and the exit status it calls for.

    Attributes:
        ceilings: earlier copies and peaks of the same file that cells' shares are of.
    """

    gathered: Gathered
    records: list[AnyRecord]
    status: int
    ceilings: list[ResultRecord] = []

    @property
    def results(self) -> list[ResultRecord]:
        """The cells' records."""
        return [r for r in self.records if isinstance(r, ResultRecord)]


class Recording:
    """One invocation that asks drivers: its run, what was gathered, and where records go as they come."""

    def __init__(self, run: RunRecord, records: list[AnyRecord], write: Callable[[AnyRecord], None]) -> None:
        self.run, self.records, self.progress = run, records, Reporter()
        self._write = write
        self.facts = Gathered(drivers=[], devices=[])

    def sink(self, record: AnyRecord) -> None:
        """Take a record: to the file and to stdout."""
        self.records.append(record)
        self._write(record)

    def specs(self) -> dict[str, DriverSpec]:
        """The drivers by name."""
        return {driver.spec.name: driver.spec for driver in self.facts.drivers}


@contextmanager
def recording(
    choice: DriverChoice, output: Path | None, as_records: bool, specs: Sequence[DriverSpec] | None = None
) -> Iterator[Recording]:
    """Gather the chosen devices' facts and record what the body does with them; failures are reported on stderr."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    chosen = choice.specs() if specs is None else specs  # a wrong name is reported before the file is touched
    file = Appender(output) if output is not None else None
    run = run_record()

    def write(record: AnyRecord) -> None:
        if file is not None:
            file.append(record)
        if as_records:
            click.echo(encode(record))

    journal = Recording(run, [], write)
    try:
        journal.facts = gathered(choice, run.run, chosen)
        for record in (run, *records_of(journal.facts, run.run)):
            journal.sink(record)
        complain(journal.facts)
        yield journal
    finally:
        journal.progress.clear()
        if file is not None:
            file.close()


def measure_all(
    choice: DriverChoice,
    *,
    cells_of: Callable[[DeviceRecord], Sequence[Cell]],
    policy_of: Callable[[DeviceRecord], Policy],
    output: Path | None,
    as_records: bool,
    resume: bool = False,
    specs: Sequence[DriverSpec] | None = None,
    climbs_of: Callable[[DeviceRecord], Sequence[Climb]] | None = None,
) -> Measured:
    """Measure the chosen devices' cells, after climbing the ladder where asked to; records go to the file and to stdout as they come.

    What the file has of them already is left out with `resume`; without, only copies and peaks that nobody asked for, where they are fresh.
    """
    chosen = choice.specs() if specs is None else specs
    earlier = None
    if output is not None:
        earlier = done(output) if resume else lately(output, run_record())
    with recording(choice, output, as_records, chosen) as journal:
        if climbs_of is not None:
            climb(
                journal.facts,
                climbs_of=climbs_of,
                policy_of=policy_of,
                run=journal.run,
                sink=journal.sink,
                progress=journal.progress,
                done=earlier,
            )
        taken = measure(
            journal.facts,
            cells_of=cells_of,
            policy_of=policy_of,
            run=journal.run,
            sink=journal.sink,
            progress=journal.progress,
            done=earlier,
        )
    results = [r for r in journal.records if isinstance(r, (ResultRecord, LadderRecord))]
    nulls = frozenset(d.device for d in journal.facts.devices if d.null)
    status = max(status_of(journal.facts, asked=choice.asked), exit_status(results, nulls))
    return Measured(gathered=journal.facts, records=journal.records, status=status, ceilings=taken)


def limited(policy: Policy, time_limit: float | None, compile_limit: float | None, rounds: int | None = None) -> Policy:
    """`policy` with the command line's limits, and rounds at the least."""
    if rounds is not None:
        policy = msgspec.structs.replace(policy, least_rounds=rounds, most_rounds=max(rounds, policy.most_rounds))
    return msgspec.structs.replace(
        policy, time_limit_s=time_limit or policy.time_limit_s, compile_limit_s=compile_limit or policy.compile_limit_s
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
