"""examples/gitlab-ci: jobs of documented keywords, whose scripts run as they stand, in under three minutes without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from vkprobe.drivers import clibrary, embedded
from vkprobe.drivers.config import load

EXAMPLE = Path(__file__).parents[2] / "examples/gitlab-ci"
TEMPLATE: dict[str, dict[str, Any]] = yaml.safe_load((EXAMPLE / "vkprobe.gitlab-ci.yml").read_text())

# Source: docs.gitlab.com/ci/yaml, of each keyword that the template could use: its subkeys; none where it takes a plain value.
KEYWORDS: dict[str, set[str]] = {
    "after_script": set(),
    "allow_failure": {"exit_codes"},
    "artifacts": {"paths", "exclude", "expire_in", "expose_as", "name", "public", "access", "reports", "untracked", "when"},
    "before_script": set(),
    "cache": {"paths", "key", "untracked", "unprotect", "when", "policy", "fallback_keys"},
    "extends": set(),
    "image": set(),
    "needs": {"job", "artifacts", "optional", "pipeline", "project", "ref", "parallel"},
    "rules": {"if", "changes", "exists", "when", "allow_failure", "needs", "variables", "interruptible"},
    "script": set(),
    "stage": set(),
    "timeout": set(),
    "variables": set(),
}


def blocks(value: object) -> list[dict[str, Any]]:
    """The mappings that a keyword's value is made of."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def test_jobs_have_gitlabs_documented_keywords() -> None:
    """Each keyword of each job, and each subkey, is one of GitLab's; scripts are lists of text; no job hides."""
    assert [name for name in TEMPLATE if not name.startswith(".")] == ["vkprobe-baseline", "vkprobe-gate"]
    for name, job in TEMPLATE.items():
        assert set(job) <= set(KEYWORDS), name
        for keyword, value in job.items():
            if keyword != "variables":
                assert all(set(block) <= KEYWORDS[keyword] for block in blocks(value)), (name, keyword)
            if keyword.endswith("script"):
                assert all(isinstance(line, str) for line in value), (name, keyword)
        assert name.startswith(".") or ("script" in job and job["extends"] in TEMPLATE)


def test_a_merge_request_reads_the_record_that_its_base_left() -> None:
    """The same file under a key of the commit: pushed by the default branch, pulled by the merge request."""
    left, read = TEMPLATE["vkprobe-baseline"]["cache"], TEMPLATE["vkprobe-gate"]["cache"]
    assert left["paths"] == read["paths"]
    assert (left["policy"], read["policy"]) == ("push", "pull")
    assert left["key"].replace("CI_COMMIT_SHA", "CI_MERGE_REQUEST_DIFF_BASE_SHA") == read["key"]


def test_caches_of_protected_and_unprotected_refs_are_one() -> None:
    """The default branch is protected, merge requests are not: GitLab would keep their caches apart."""
    assert all(TEMPLATE[job]["cache"]["unprotect"] is True for job in ("vkprobe-baseline", "vkprobe-gate"))


def test_a_package_that_is_not_set_is_a_sentence() -> None:
    """Nothing is installed then: the first line ends the job."""
    done = subprocess.run(
        ["bash", "-c", f"set -eo pipefail; {TEMPLATE['.vkprobe']['before_script'][0]}; echo went on"],
        env={**os.environ, **TEMPLATE[".vkprobe"]["variables"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.startswith("VKPROBE_PACKAGE is empty"), "went on" in done.stdout) == (2, True, False)


@pytest.mark.parametrize("job", ["vkprobe-baseline", "vkprobe-gate"])
@pytest.mark.parametrize("status", [0, 2, 3, 4, 5])
def test_a_pipeline_that_fails_does_not_end_the_job(job: str, status: int) -> None:
    """On 3 and 4 the job goes on and prints the status, for the comparison to judge; usage errors and missing devices end it."""
    (line,) = (line for line in TEMPLATE[job]["script"] if "compile" in line)
    command = f"set -eo pipefail; vkprobe() {{ return {status}; }}; VKPROBE=vkprobe; {line}\necho went on"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ("went on" in done.stdout) == (status in (0, 3, 4))
    assert done.returncode == (0 if status in (3, 4) else status)
    assert (f"compile ended with {status}" in done.stdout) == (status != 0)


class Checkout:
    """A clean folder as GitLab's runner has it: vkprobe.toml and an install folder with a build's drivers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "vkprobe-results").mkdir()
        (folder / "vkprobe.toml").write_text((EXAMPLE / "vkprobe.toml").read_text())

    def install(self, suite: str) -> None:
        """Put a suite's Mesa where `ninja install` puts a branch's."""
        manifests, libraries = self.folder / "install/share/vulkan/icd.d", self.folder / "install/lib/x86_64-linux-gnu"
        for folder in (manifests, libraries):
            folder.mkdir(parents=True, exist_ok=True)
        for driver, shim in (("radeon", "amdgpu"), ("nouveau", "nouveau")):
            (given,) = (embedded.root(suite) / "icd").glob(f"{driver}_icd*.json")
            (manifests / f"{driver}_icd.x86_64.json").write_text(given.read_text())
            link = libraries / f"lib{shim}_noop_drm_shim.so"
            link.unlink(missing_ok=True)
            link.symlink_to(embedded.root(suite) / clibrary.LIBRARIES / link.name)

    def run(self, job: str, keyword: str = "script", **variables: str) -> subprocess.CompletedProcess[str]:
        """A job's lines in order, as the runner's bash has them."""
        given = {**TEMPLATE[".vkprobe"]["variables"], "VKPROBE": f"{sys.executable} -m vkprobe", **variables}
        lines = "\n".join(["set -eo pipefail", *TEMPLATE[job][keyword]])
        return subprocess.run(
            ["bash", "-c", lines], cwd=self.folder, env={**os.environ, **given}, capture_output=True, text=True, timeout=600, check=False
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A clean folder; both Mesa versions are there to stand for a build."""
    for suite, command in (("trixie-backports", "vkprobe drivers fetch"), ("trixie", "vkprobe drivers fetch --suite trixie")):
        if not embedded.fetched(suite):
            pytest.skip(f"needs two versions of Mesa: {command}")
    return Checkout(tmp_path)


def test_scripts_run_in_order_without_a_gpu(checkout: Checkout) -> None:
    """Mesa 25.0 as the merge base, 26.1 as the branch: 5 % more instructions somewhere close the gate, and the report is there."""
    checkout.install("trixie")
    devices = "--driver navi31"  # the tests of `compile` have several at once
    brief = checkout.folder / "brief"  # two types will do
    brief.write_text(f'#!/bin/sh\n[ "$1" = compile ] && set -- "$@" --type q4_0,q4_k\nexec {sys.executable} -m vkprobe "$@"\n')
    brief.chmod(0o755)
    variables = {"VKPROBE_DEVICES": devices, "VKPROBE": str(brief)}
    baseline = checkout.run("vkprobe-baseline", **variables)
    assert baseline.returncode == 0, baseline.stderr
    checkout.install("trixie-backports")
    gate = checkout.run("vkprobe-gate", **variables)
    after = checkout.run("vkprobe-gate", "after_script")
    assert gate.returncode == 1, gate.stderr
    assert "--fail-on worse" in gate.stderr
    assert "navi31/0 (radv 25.0" in gate.stdout
    assert after.returncode == 0, after.stderr
    suite = ElementTree.parse(checkout.folder / "vkprobe-results/junit.xml").getroot()
    records = map(json.loads, (checkout.folder / "vkprobe-results/branch.jsonl").read_text().splitlines())
    assert len(list(suite.iter("testcase"))) == sum(r["kind"] == "pipeline" for r in records) > 20
    assert "</html>" in (checkout.folder / "vkprobe-results/matrix.html").read_text()


def test_the_template_s_own_devices_are_those_of_its_file() -> None:
    """Each name after --driver is one of vkprobe.toml."""
    devices = TEMPLATE[".vkprobe"]["variables"]["VKPROBE_DEVICES"].split("--driver ")[1:]
    assert {name.strip() for name in devices} == set(load(EXAMPLE / "vkprobe.toml").drivers)


def test_without_a_record_of_the_merge_base_the_job_warns(checkout: Checkout) -> None:
    """Status 77, which the job allows as a warning: nothing was compared, and that is no pass."""
    checkout.install("trixie-backports")
    gate = checkout.run("vkprobe-gate", VKPROBE="true", CI_MERGE_REQUEST_DIFF_BASE_SHA="c0ffee")  # compiling changes nothing here
    assert gate.returncode == TEMPLATE["vkprobe-gate"]["allow_failure"]["exit_codes"] == 77, gate.stderr
    assert "no record of the merge base, c0ffee" in gate.stdout
