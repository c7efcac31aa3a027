"""`vkprobe`: the group of verbs, loaded lazily so that --help and start-up stay light."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from vkprobe import __version__
from vkprobe.cli.outputs import guard_stdout, silence
from vkprobe.errors import EXIT_ABORT, EXIT_INTERNAL, VkprobeError

VERBS: dict[str, tuple[str, str]] = {
    "drivers": ("vkprobe.cli.drivers:drivers", "Every Vulkan driver found, whether it works, and what to do where it doesn't."),
    "caps": ("vkprobe.cli.caps:caps", "Device facts, several drivers and files side by side; the difference of two."),
    "ladder": ("vkprobe.cli.ladder:ladder", "Each advertised coopmat tuple and sub-feature, rung by rung."),
    "gaps": ("vkprobe.cli.gaps:gaps", "Compare the needs of each llama.cpp path with the devices, and name the path it would take."),
    "profile": ("vkprobe.cli.profile:profile", "Vulkan-Profiles JSON of a device, or of what llama.cpp's paths require."),
    "gemm": ("vkprobe.cli.bench:gemm", "Matrix times matrix, as llama.cpp's prompt processing does it."),
    "gemv": ("vkprobe.cli.bench:gemv", "Matrix times 1 to 8 vectors, as llama.cpp's token generation does it."),
    "dequant": ("vkprobe.cli.bench:dequant", "Quantised blocks to f16."),
    "convert": ("vkprobe.cli.bench:convert", "Activations from f32 to what products of bf16 weights, coopmat2 and intdot read."),
    "copy": ("vkprobe.cli.peak:copy", "Measure memory bandwidth: copies inside the device, and to and from the host."),
    "peak": (
        "vkprobe.cli.peak:peak",
        "Measure peak arithmetic: multiply-adds from registers, of vectors and of each cooperative-matrix tuple.",
    ),
    "compile": ("vkprobe.cli.compile:compile_", "Compile the kernels with each driver: registers, spills, instructions, ISA."),
    "run": ("vkprobe.cli.run:run", "The main job: facts, verified benchmarks and compile statistics of every chosen device."),
    "ab": ("vkprobe.cli.ab:ab", "Two drivers of one device: the same cells on both, interleaved, a verdict for each."),
    "compare": ("vkprobe.cli.compare:compare", "Compare two record files; the worst changes come first."),
    "bisect-step": ("vkprobe.cli.bisect:bisect_step", "One step of `git bisect run`: is the build at hand slower, wrong or worse?"),
    "export": ("vkprobe.cli.export:export", "Records as pytest-benchmark's, Google Benchmark's, Bencher's or JUnit's files."),
    "matrix": ("vkprobe.cli.matrix:matrix", "The per-driver capability and performance matrix, from records."),
}
"""Verb -> (`module:function`, the first line of its help, which --help shows without importing it)."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="vkprobe")
def cli() -> None:
    """What does this Vulkan driver offer to LLM inference, does it really work, how fast is it, and what is missing?"""


def main() -> None:
    """The console script: every way out is a sentence and an exit status, never a traceback."""
    guard_stdout()
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        click.echo("vkprobe: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except VkprobeError as error:
        click.echo(f"vkprobe: {error}", err=True)
        sys.exit(error.status)
    except BrokenPipeError:
        silence()  # `vkprobe ... | head` is no error
        sys.exit(0)
    except Exception as error:  # the tool's own edge: a defect of vkprobe, reported without a traceback unless asked for
        if os.environ.get("VKPROBE_DEBUG"):
            traceback.print_exc()
        click.echo(
            f"vkprobe: internal error, please report it: {type(error).__name__}: {error} (VKPROBE_DEBUG=1 shows where)",
            err=True,
        )
        bisecting = sys.argv[1:2] == ["bisect-step"]  # whose own edge is not there yet where it can't be imported
        sys.exit(EXIT_ABORT if bisecting else EXIT_INTERNAL)
