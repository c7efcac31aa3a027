"""`vkprobe bisect-step`: the command of `git bisect run`, whose statuses are git's: 0 good, 1 bad, 125 skip, 128 and more end it."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import click
from msgspec.structs import replace

from vkprobe.bisect.checkout import Checkout, Skip, build, checkout
from vkprobe.bisect.decide import DEFAULT_STATISTICS, DEFAULT_TIMES, OF_STATISTICS, asked, line, verdict_of
from vkprobe.bisect.good import Good, good_cells, hardware_of
from vkprobe.cli.devices import complain, gathered, records_of
from vkprobe.cli.options import DriverChoice, driver_options, limit_option
from vkprobe.cli.outputs import distinct, silence
from vkprobe.cli.progress import Reporter
from vkprobe.drivers.config import DEFAULT, load
from vkprobe.drivers.embedded import cache_folder
from vkprobe.drivers.null import FAMILIES
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import EXIT_ABORT, EXIT_SKIP, NoDeviceError, UsageError, VkprobeError
from vkprobe.facts import Gathered
from vkprobe.records import AnyRecord, DeviceRecord
from vkprobe.results.provenance import run_record
from vkprobe.results.store import Appender

_STATUS = {"good": 0, "bad": 1, "unclear": EXIT_SKIP}
_BUILD_LIMIT_S = 3600.0
_TIME_LIMIT_S, _COMPILE_LIMIT_S = 20.0, 60.0


class _Abort(VkprobeError):
    """Error that makes main print its message and exit with EXIT_ABORT; click words the message for a wrong option."""

    status = EXIT_ABORT

    def __init__(self, error: click.ClickException | VkprobeError) -> None:
        super().__init__(error.format_message() if isinstance(error, click.ClickException) else str(error))


class _Step(click.Command):
    """A command whose own failures end a bisection: git takes 2, 4 and 70 for a bad commit."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except (click.ClickException, VkprobeError) as error:
            raise _Abort(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, VkprobeError) as error:
            raise _Abort(error) from None
        except BrokenPipeError:
            silence()
            sys.exit(EXIT_ABORT)
        except (click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:  # noqa: BLE001  # the tool's own edge, as main's: its status there would be a bad commit
            if os.environ.get("VKPROBE_DEBUG"):
                traceback.print_exc()
            click.echo(
                f"vkprobe: internal error, please report it: {type(error).__name__}: {error} (VKPROBE_DEBUG=1 shows where)", err=True
            )
            sys.exit(EXIT_ABORT)


@click.command("bisect-step", cls=_Step)
@click.option("--good", "records", type=click.Path(path_type=Path), required=True, metavar="RECORDS", help="Records of a good commit (-o).")
@click.option("--cell", "pattern", required=True, metavar="PATTERN", help="Their cells to measure: a glob on the name, or a part of it.")
@click.option("--build", "command", metavar="CMD", help="Shell command that builds the checkout; one that fails skips the commit.")
@limit_option("--build-limit", "build", _BUILD_LIMIT_S)
@click.option(
    "--bad-if", metavar="CONDITIONS", help=f"As compare's --fail-on.  [default: {DEFAULT_TIMES}; of pipelines {DEFAULT_STATISTICS}]"
)
@click.option("--crash", type=click.Choice(("bad", "skip")), help="What a crash, time-out or lost device says.  [default: as --bad-if]")
@click.option("--wrong", type=click.Choice(("bad", "skip")), help="What a wrong result says.  [default: as --bad-if]")
@click.option("--tries", type=click.IntRange(1, 20), default=3, show_default=True, help="How often what is unclear is measured.")
@click.option(
    "--log", "logs", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="[default: vkprobe-bisect in git's folder]"
)
@click.option(
    "-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.jsonl", help="[default: steps.jsonl in the --log folder]"
)
@limit_option("--time-limit", "cell", _TIME_LIMIT_S)
@limit_option("--compile-limit", "pipeline", _COMPILE_LIMIT_S)
@driver_options
def bisect_step(
    choice: DriverChoice,
    records: Path,
    pattern: str,
    command: str | None,
    build_limit: float | None,
    bad_if: str | None,
    crash: str | None,
    wrong: str | None,
    tries: int,
    logs: Path | None,
    output: Path | None,
    time_limit: float | None,
    compile_limit: float | None,
) -> None:
    """One step of `git bisect run`: is the build at hand slower, wrong or worse?

    It builds the checkout, measures cells of a good commit's records on it, and holds them against these.

    Ends with 0 (good), 1 (bad: a condition of --bad-if holds), 125 (skip: it does not build, its driver does not load, or the samples
    don't decide) or 128 and more (wrong usage, unreadable records, interrupted: git ends the bisection and marks nothing).
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    conditions = asked(bad_if or DEFAULT_TIMES, **_overrides(crash, wrong))
    goods = good_cells(records, pattern, statistics=bool(OF_STATISTICS & conditions.shares.keys()))
    if not any(good.cells for good in goods):
        conditions = asked(bad_if or DEFAULT_STATISTICS, **_overrides(crash, wrong))
        if "slower" in conditions:
            raise UsageError(f"--cell {pattern}: these are pipelines, which have no times: give --bad-if worse:5% or changed for slower")
    elif not any(good.pipelines for good in goods) and not conditions.shares.keys() - OF_STATISTICS:
        raise UsageError(f"--cell {pattern}: {records} has no statistics of these cells' pipelines, which --bad-if {bad_if} judges")
    here = checkout(logs)
    output = output if output is not None else here.logs / "steps.jsonl"
    distinct([("-o", output)], [("--good", records), *choice.files()])
    reporter = Reporter()
    try:
        with Appender(output) as file:
            if command is not None:
                reporter.note(f"{here.short}: {command}")
                build(command, here.logs / f"{here.short}.build.log", limit_s=build_limit or _BUILD_LIMIT_S)
            summary, status = _measured(
                here,
                choice,
                goods,
                conditions,
                reporter,
                file,
                built=command is not None,
                tries=tries,
                time_limit=time_limit,
                compile_limit=compile_limit,
            )
    except Skip as skip:
        click.echo(f"vkprobe: {here.short}: {skip}{skip.detail}", err=True)
        summary, status = f"{here.short} skip: {skip}", EXIT_SKIP
    finally:
        reporter.clear()
    _keep(here, summary)
    click.echo(summary)
    sys.stdout.flush()
    sys.exit(status)


def _measured(
    here: Checkout,
    choice: DriverChoice,
    goods: list[Good],
    conditions: Any,
    reporter: Reporter,
    file: Appender,
    *,
    built: bool,
    **how: Any,
) -> tuple[str, int]:
    """The step's line and exit status; raises Skip where there is nothing to measure on."""
    # Here: what measures is not loaded for a build that fails.
    from vkprobe.bisect.step import Step
    from vkprobe.ops.base import software

    base_run = run_record()
    run = replace(base_run, environment={**base_run.environment, "GIT_COMMIT": here.commit})
    specs, of_path = _specs(choice, goods, here)
    try:
        facts = gathered(choice, run.run, specs)
    except UsageError as error:  # --device chooses none of those that there are
        if built or of_path:
            raise Skip(str(error)) from None
        raise
    for record in (run, *records_of(facts, run.run)):
        file.append(record)
    complain(facts)
    good, device = _paired(facts, goods, base_run.host.cpu)
    if software(device) and base_run.host.cpu is not None and good.cpus - {base_run.host.cpu}:
        others = ", ".join(sorted(good.cpus - {base_run.host.cpu}))
        raise UsageError(
            f"--good: {device.name} of these records ran on {others}, this is {base_run.host.cpu}: measure the good commit here"
        )
    spec = next(d.spec for d in facts.drivers if d.spec.name == device.driver_name)
    if built and (doubt := not_the_build(spec, good.device, device)):
        click.echo(f"vkprobe: {doubt}", err=True)

    def sink(record: AnyRecord) -> None:
        file.append(record)

    findings = Step(spec, device, good, conditions, run=run.run, sink=sink, progress=reporter, **how).findings()
    return line(here.short, findings), _STATUS[verdict_of(findings)]


def _overrides(crash: str | None, wrong: str | None) -> dict[str, bool | None]:
    return {"crash": None if crash is None else crash == "bad", "wrong": None if wrong is None else wrong == "bad"}


def _default(choice: DriverChoice, good: Good) -> DriverChoice:
    """The driver that the good records name."""
    name = good.device.driver_name
    if name in load(choice.config).drivers:
        return replace(choice, drivers=(name,))
    if name.partition(":")[0] in FAMILIES:
        return replace(choice, nulls=(name,))
    icd = good.driver.icd if good.driver is not None else None
    of_set = name.startswith("embedded")  # its manifests lie in a cache, which need not be where it was
    return replace(choice, drivers=(name if of_set or icd is None else icd,))


def _specs(choice: DriverChoice, goods: list[Good], here: Checkout) -> tuple[list[DriverSpec], bool]:
    """The drivers, and whether one was named by its path.

    What is wrong with one is this commit's matter where a commit brings it, else the command line's.
    """
    if not choice.asked and len(goods) > 1:
        names = ", ".join(good.device.device for good in goods)
        raise UsageError(f"--good holds such cells of {names}: choose the driver with --driver or --null")
    chosen = choice
    try:
        chosen = choice if choice.asked else _default(choice, goods[0])
        return chosen.specs(), _of_path(chosen)
    except NoDeviceError as error:
        raise Skip(str(error)) from None
    except UsageError as error:
        if _of_path(chosen) or here.tracks(choice.config or DEFAULT):
            raise Skip(str(error)) from None
        raise


def _of_path(choice: DriverChoice) -> bool:
    return any("/" in name or name.endswith(".json") for name in choice.drivers)


def not_the_build(spec: DriverSpec, good: DeviceRecord, device: DeviceRecord) -> str | None:
    """Why the driver may be another one than --build makes, which would make every commit good; None where nothing says so."""
    if spec.icd is not None and Path(spec.icd).is_relative_to(cache_folder()):
        return f"{spec.name} is the driver of an embedded set, which CMD of --build does not build"
    if device.driver.build_id is not None and device.driver.build_id == good.driver.build_id:
        return "the driver has the good records' own build id: is it the one that CMD builds?"
    return None


def _paired(facts: Gathered, goods: list[Good], cpu: str | None) -> tuple[Good, DeviceRecord]:
    """The one device with the good records' hardware; if several hosts have records, those of a host with this `cpu`."""
    failed = "; ".join(f"{d.spec.name}: {d.reason}" for d in facts.drivers if d.state != "ok")
    if not facts.devices:
        raise Skip(f"no device to measure on: {failed}")
    pairs = [(good, device) for device in facts.devices for good in goods if good.hardware == hardware_of(device)]
    if not pairs:
        devices = ", ".join(f"{d.device} ({d.name})" for d in facts.devices)
        raise Skip(f"{devices}: not the hardware of the good records, {', '.join(good.device.name for good in goods)}")
    same = [pair for pair in pairs if pair[0].device.device == pair[1].device] or pairs
    same = [pair for pair in same if cpu in pair[0].cpus] or same
    if len(same) > 1:
        names = ", ".join(f"{device.device} against {good.device.device}" for good, device in same)
        raise UsageError(f"several devices could be meant: {names}: choose one with --driver, --device, or fewer records in --good")
    return same[0]


def _keep(here: Checkout, summary: str) -> None:
    try:
        with open(here.logs / "steps.txt", "a", encoding="utf-8") as file:
            file.write(summary + "\n")
    except OSError as error:
        raise UsageError(f"--log {here.logs}: steps.txt can't be written: {error.strerror}") from None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
