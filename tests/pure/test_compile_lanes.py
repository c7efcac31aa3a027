"""Several devices compiling at once, in fake workers behind real pipes: losses, limits and interrupts cost what they must."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.pure.recorded_devices import recorded
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed, WorkerLost
from vkprobe.kernels import kernels
from vkprobe.program import Dispatch
from vkprobe.protocol import Compile, Open, Opened, Request
from vkprobe.protocol import Compiled as Reply
from vkprobe.records import AnyRecord, EventRecord, PipelineRecord
from vkprobe.session import device as sessions
from vkprobe.session.compiling import Compiler, Lane, compile_all
from vkprobe.session.isa import IsaFolder
from vkprobe.session.opening import open_request
from vkprobe.session.selection import compile_plans

Handler = Callable[[Dispatch], Any]
"""A stage -> the reply; an exception to raise; None for a worker that never answers."""
REPLY = Reply(compile_s=0.1, statistics={"VGPRs": 96, "Instructions": 10}, subgroup_size=64, texts={"Assembly": "s_endpgm"})


class Fake:
    """A worker that has its reply ready at once, or never."""

    alive = 0

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._read, self._write = os.pipe()
        self.reply: Any = None
        Fake.alive += 1

    def request(self, request: Request, *, timeout: float) -> Any:
        """The opening."""
        assert isinstance(request, Open)
        return Opened(executes=False, timestamps=False)

    def send(self, request: Request) -> None:
        """A pipeline to create."""
        assert isinstance(request, Compile)
        self.reply = self._handler(request.stage)
        if self.reply is not None:
            os.write(self._write, b".")

    def fileno(self) -> int:
        """Readable when the reply is there."""
        return self._read

    def advance(self) -> bool:
        """The reply, whole."""
        os.read(self._read, 1)
        if isinstance(self.reply, Exception):
            raise self.reply
        return True

    def time_out(self, timeout: float) -> WorkerLost:
        """Return the same error as Worker."""
        return WorkerLost("timeout", f"no answer within {timeout:g} s")

    def stderr_tail(self) -> str:
        """Nothing."""
        return ""

    def kill(self) -> None:
        """End it."""
        os.close(self._read)
        os.close(self._write)
        Fake.alive -= 1

    close = kill


class Compiled:
    """Devices compiled with a handler each."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, handlers: dict[str, Handler], *, isa: IsaFolder | None = None, parallel: int = 2
    ) -> None:
        self.records: list[AnyRecord] = []
        self.steps: list[tuple[str, str, int, int]] = []
        monkeypatch.setattr(sessions, "Worker", lambda spec, environment: Fake(handlers[spec.name]))
        lanes = []
        for name in handlers:
            device = recorded(name)
            waiting = compile_plans(device, full=False, types=["f16"], paths=["scalar-f32", "scalar-f16", "coopmat"])
            request = open_request(device, [r.requirement for r in waiting])
            spec = DriverSpec(name=name, icd=None)
            compiler = Compiler(spec, device, request, run="run", limit_s=0.05, sink=self.records.append, isa=isa)
            lanes.append(Lane(device=device.device, compiler=compiler, waiting=waiting))
        Fake.alive = 0
        try:
            compile_all(lanes, progress=self, parallel=parallel)
        finally:
            assert Fake.alive == 0

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """Progress is remembered."""
        self.steps.append((device, what, done, total))

    def statuses(self, device: str) -> list[str]:
        """Statuses of a device's pipelines, in order."""
        return [r.status for r in self.records if isinstance(r, PipelineRecord) and r.device == device]

    @property
    def pipelines(self) -> list[PipelineRecord]:
        """All records of pipelines."""
        return [r for r in self.records if isinstance(r, PipelineRecord)]


def good(stage: Dispatch) -> Any:
    """A healthy compiler."""
    return REPLY


def failing(kernel: str, n: int, error: Any) -> Handler:
    """Healthy but for one pipeline."""
    return lambda stage: error if (stage.kernel, stage.constants.get("columns")) == (kernel, n) else REPLY


def test_every_pipeline_of_every_device_has_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices at a time, the third after one of them; progress counts all of them together."""
    outcome = Compiled(monkeypatch, {"nvk-172": good, "radv-gfx1201": good, "turnip-750": good})
    assert outcome.statuses("nvk:172/0") == outcome.statuses("radv:gfx1201/0") == ["ok"] * 9
    assert sorted(outcome.statuses("turnip:750/0")) == ["ok"] * 7 + ["unsupported"] * 2
    assert [done for _, _, done, _ in outcome.steps] == list(range(25))
    assert {(who, total) for who, _, _, total in outcome.steps} == {("3 devices", 25)}


def test_an_emulated_matrix_path_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """ok, with a reason: the ISA that was given has no matrix instruction."""
    outcome = Compiled(monkeypatch, {"radv-gfx1201": good})
    reasons = {r.path: r.reason for r in outcome.pipelines}
    assert reasons["coopmat"] == "compiled to no matrix instruction: coopmat 16x16x16 is emulated with ordinary ones"
    assert reasons["scalar-f16"] is None
    assert {r.matrix_instructions for r in outcome.pipelines} == {0}


@pytest.mark.parametrize(
    ("error", "status", "events"),
    [
        (None, "timeout", ["timeout", "restart"]),
        (WorkerLost("crash", "killed by SIGABRT", signal="SIGABRT", stderr_tail="ACO ERROR"), "crash", ["crash", "restart"]),
        (WorkerFailed("vk", "vkCreateComputePipelines gave VK_ERROR_UNKNOWN"), "error", []),
    ],
)
def test_a_loss_costs_one_pipeline(monkeypatch: pytest.MonkeyPatch, error: Any, status: str, events: list[str]) -> None:
    """Over the limit, aborted, or refused: the others of this device and of the other one go on."""
    outcome = Compiled(monkeypatch, {"radv-gfx1201": failing("gemv_f16_subgroup", 2, error), "nvk-172": good})
    assert sorted(outcome.statuses("radv:gfx1201/0")) == sorted(["ok"] * 8 + [status])
    assert outcome.statuses("nvk:172/0") == ["ok"] * 9
    assert [r.what for r in outcome.records if isinstance(r, EventRecord)] == events
    (lost,) = (r for r in outcome.pipelines if r.status == status)
    assert (lost.tile or "").startswith("n2 ")
    assert lost.reason
    assert (lost.compile_s, lost.registers, lost.raw) == (None, None, {})


def test_three_losses_in_a_row_skip_the_rest_of_that_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other device is compiled to its end."""
    outcome = Compiled(monkeypatch, {"turnip-750": lambda stage: None, "nvk-172": good})
    assert outcome.statuses("turnip:750/0") == ["timeout"] * 3 + ["unsupported"] * 2 + ["skipped"] * 4
    assert outcome.statuses("nvk:172/0") == ["ok"] * 9
    assert {r.reason for r in outcome.pipelines if r.status == "skipped"} == {"the worker was lost 3 times in a row"}


def test_an_interrupt_ends_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is left behind, and what was compiled until then has its record."""

    def interrupt(stage: Dispatch) -> Any:
        if kernels()[stage.kernel].op == "gemv":
            raise KeyboardInterrupt
        return REPLY

    with pytest.raises(KeyboardInterrupt):
        Compiled(monkeypatch, {"radv-gfx1201": interrupt, "nvk-172": good})
    assert Fake.alive == 0


def test_texts_go_to_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """One file for each pipeline and representation."""
    outcome = Compiled(monkeypatch, {"radv-gfx1201": good}, isa=IsaFolder(tmp_path))
    files = sorted(p.name for p in (tmp_path / "radv_gfx1201_0").iterdir())
    assert len(files) == len(outcome.pipelines) == 9
    assert "gemv_f16_subgroup-n8_2_rows_64_64_subgroup.Assembly.txt" in files
