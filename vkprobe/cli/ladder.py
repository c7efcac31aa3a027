"""`vkprobe ladder`: how high each advertised cooperative-matrix tuple and sub-feature really gets."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from vkprobe.cli.devices import leave, status_of
from vkprobe.cli.measuring import compiling_options, recording
from vkprobe.cli.options import DriverChoice
from vkprobe.records import LadderRecord
from vkprobe.report.ladder import as_text
from vkprobe.report.tables import terminal_width
from vkprobe.session.campaign import climb, exit_status
from vkprobe.session.ladder import tuple_climbs
from vkprobe.session.ladder_features import feature_climbs
from vkprobe.session.policy import Policy

_COMPILE_LIMIT_S = 30.0


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also features whose extension the device does not list.")
@compiling_options(_COMPILE_LIMIT_S)
def ladder(choice: DriverChoice, form: str, compile_limit: float | None, everything: bool, output: Path | None, as_records: bool) -> None:
    """Each advertised coopmat tuple and sub-feature, rung by rung.

    advertised, queried, compiles, runs, correct, faster than plain arithmetic: the highest rung reached, and why no higher.
    What is not advertised is never compiled: drivers abort on it.
    """
    policy = msgspec.structs.replace(Policy(), compile_limit_s=compile_limit or _COMPILE_LIMIT_S)
    with recording(choice, output, as_records) as journal:
        climb(
            journal.facts,
            climbs_of=lambda device: tuple_climbs(device) + feature_climbs(device, everything=everything),
            policy_of=lambda device: policy,
            run=journal.run,
            sink=journal.sink,
            progress=journal.progress,
        )
    climbed = [r for r in journal.records if isinstance(r, LadderRecord)]
    if not as_records and climbed:
        click.echo(as_text(climbed, form, width=terminal_width()))
    nulls = frozenset(d.device for d in journal.facts.devices if d.null)
    leave(max(status_of(journal.facts, asked=choice.asked), exit_status(climbed, nulls)))
