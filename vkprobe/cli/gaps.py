"""`vkprobe gaps`: requirements of each llama.cpp path against each device, and the path that llama.cpp would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec.structs import replace

from vkprobe.cli.devices import complain, leave, records_of, status_of
from vkprobe.cli.files import from_option, gathered_beside
from vkprobe.cli.options import DriverChoice, driver_options, output_options
from vkprobe.cli.outputs import distinct, keep
from vkprobe.errors import EXIT_CONDITION, EXIT_OK, UsageError
from vkprobe.records import AnyRecord, DeviceRecord, ResultRecord
from vkprobe.report.gaps import as_text, build, choice_records, gap_records
from vkprobe.report.losses import missing_in_words
from vkprobe.report.tables import terminal_width
from vkprobe.requirements import evaluate, requirement
from vkprobe.results.provenance import run_record
from vkprobe.results.store import Store


@click.command()
@driver_options
@from_option
@click.option("--path", "paths", multiple=True, metavar="PATH", help="Only this path, every condition beside the devices. May be repeated.")
@click.option("--baseline", metavar="DEVICE", help="First what this device has and others lack (its id, or part of its name or driver).")
@click.option(
    "--require", "required", multiple=True, metavar="PATH", help="Status 1 where a device does not surely meet it. May be repeated."
)
@output_options
def gaps(
    choice: DriverChoice,
    files: tuple[Path, ...],
    paths: tuple[str, ...],
    baseline: str | None,
    required: tuple[str, ...],
    form: str,
    as_records: bool,
    output: Path | None,
) -> None:
    """Compare the needs of each llama.cpp path with the devices, and name the path it would take.

    Met, partial, unknown (the facts don't say) or no; below it what is missing, the dearest first, and which path llama.cpp
    would take for prompt processing (pp) and token generation (tg), and why not a better one. Measurements among the files
    show what a gap costs.
    """
    for path in (*required, *paths):
        requirement(path)  # an unknown one is reported before any driver is loaded
    distinct([("-o", output)], [*choice.files(), *(("--from", path) for path in files)])
    run = run_record()
    facts = gathered_beside(choice, files, run.run)
    results = [r for path in files for r in _results(path, facts.devices)]
    report = build(facts.devices, results, paths=paths, baseline=baseline)
    records: list[AnyRecord] = [run, *records_of(facts, run.run), *gap_records(report, run.run), *choice_records(report, run.run)]
    keep(records, as_records, output)
    if facts.devices and not as_records:
        click.echo(as_text(report, form, width=terminal_width()))
    complain(facts)
    unmet = list(_unmet(facts.devices, required))
    for sentence in unmet:
        click.echo(f"vkprobe: {sentence}", err=True)
    leave(max(status_of(facts, asked=choice.asked) if facts.drivers else EXIT_OK, EXIT_CONDITION if unmet else EXIT_OK))


def _results(path: Path, devices: Sequence[DeviceRecord]) -> Iterator[ResultRecord]:
    """The measurements of a file of records, as those of `devices`, which have ids of their own."""
    try:
        store = Store.load([path])
    except UsageError:
        return  # another tool's file, which describes devices only and has been read as such
    for key, device in store.devices.items():
        same = [d for d in devices if (d.at, d.name, d.hardware, d.driver) == (device.at, device.name, device.hardware, device.driver)]
        for (owner, _), result in store.results.items():
            if owner == key and same:
                yield replace(result, run=same[0].run, device=same[0].device)


def _unmet(devices: Sequence[DeviceRecord], required: Sequence[str]) -> Iterator[str]:
    """A sentence for every path that a device does not surely meet."""
    for path in required:
        for device in devices:
            gap = evaluate(device, requirement(path))
            if gap.met is False:
                yield f"--require {path}: {device.device} does not meet it: {missing_in_words(gap)}"
            elif gap.met is None:
                yield f"--require {path}: not known of {device.device}, which counts as not met: {missing_in_words(gap)}"
