"""Debian packages unpacked into a folder with all they need: no root, no maintainer scripts, nothing installed on the machine.

The mirror is the one that the machine's own apt uses; apt's proxies, credentials and certificates count, its hooks don't.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from vkprobe.errors import UsageError

KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
_CODENAMES = "bullseye|bookworm|trixie|forky|duke|sid|stable|oldstable|oldoldstable|testing|unstable"
_DEBIAN_SUITE = re.compile(rf"({_CODENAMES})(-updates|-backports|-proposed-updates)?$")
_INSTEAD = (
    "install your distribution's Vulkan drivers instead (Debian, Ubuntu: mesa-vulkan-drivers libvulkan1; "
    "Fedora: mesa-vulkan-drivers vulkan-loader; Arch: vulkan-swrast vulkan-icd-loader; Alpine: mesa-vulkan-swrast vulkan-loader)"
)
_EXCLUDED = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale")

Progress = Callable[[str], None]


class Source(Struct, frozen=True, kw_only=True):
    """One line (or stanza) of apt's sources, as far as it says where Debian's packages come from."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str | None = None


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options = dict(o.split("=", 1) for o in (match[1] or "").split() if "=" in o)
            yield Source(
                uri=match[2],
                suites=(match[3],),
                components=tuple(match[4].split()),
                signed_by=options.get("signed-by", options.get("Signed-By")),
            )


def _deb822(text: str) -> Iterator[Source]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[key] = fields.get(key, "") + "\n" + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in (
            "no",
            "false",
            "0",
            "off",
            "without",
            "disable",
        ):
            continue
        for uri in fields.get("uris", "").split():
            yield Source(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by") or None,
            )


def sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Every enabled binary source of the machine's apt, both formats, in apt's order."""
    entries: list[Source] = []
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else [])]:
        reader = {".list": _one_line, ".sources": _deb822}.get(path.suffix)
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue  # absent, or not for us to read: apt run by this user could not use it either
        if reader:
            entries += reader(text)
    return entries


def debian_mirror(available: Sequence[Source]) -> str | None:
    """The URI of Debian's own archive among apt's sources, None where there is none.

    Third parties use Debian's suite names as well; Debian's archive is recognised by its keyring, and where sources name no
    keyring, an address that ends in `debian`. Security and other partial archives are passed over.
    """

    def rank(source: Source) -> int | None:
        if "main" not in source.components or not any(_DEBIAN_SUITE.match(s) for s in source.suites):
            return None
        if "debian-security" in source.uri:
            return None
        if source.signed_by is not None:
            return 0 if "debian-archive-" in source.signed_by else 3 if "BEGIN PGP" in source.signed_by else None
        return 1 if source.uri.rstrip("/").endswith("debian") else 2

    ranked = [(r, i, s.uri) for i, s in enumerate(available) if (r := rank(s)) is not None]
    return min(ranked)[2] if ranked else None


def _required(etc: Path) -> tuple[str, str]:
    """The mirror and the keyring; raises UsageError where this machine can't unpack Debian's packages."""
    if platform.machine() != "x86_64":
        raise UsageError(f"the embedded driver set is for x86_64 and this machine is {platform.machine()}: {_INSTEAD}")
    missing = [tool for tool in ("apt-get", "dpkg-deb", "tar") if shutil.which(tool) is None]
    if missing:
        raise UsageError(f"the embedded driver set is unpacked with Debian's tools and {', '.join(missing)} is not here: {_INSTEAD}")
    mirror = debian_mirror(sources(etc))
    if mirror is None:
        raise UsageError(f"apt on this machine has no Debian mirror among its sources ({etc}): {_INSTEAD}")
    keyring = next((k for k in KEYRINGS if os.path.exists(k)), None)
    if keyring is None:
        raise UsageError(f"Debian's archive keys are not here ({KEYRINGS[0]}): install debian-archive-keyring, or {_INSTEAD}")
    return mirror, keyring


def _configuration(work: Path, prefer: str | None) -> str:
    # `#clear` drops what the machine's own configuration says: its hooks, pins and folders are not for this.
    lines = [
        "#clear APT::Update::Pre-Invoke;",
        "#clear APT::Update::Post-Invoke;",
        "#clear APT::Update::Post-Invoke-Success;",
        "#clear DPkg::Pre-Install-Pkgs;",
        "#clear DPkg::Post-Invoke;",
        "#clear APT::Default-Release;",
        "#clear APT::Architectures;",
        f'Dir::Etc::sourcelist "{work}/sources.list"; Dir::Etc::sourceparts "/dev/null";',
        'Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";',
        f'Dir::State "{work}"; Dir::State::lists "{work}/lists"; Dir::State::status "{work}/status";',
        f'Dir::State::extended_states "{work}/extended_states";',
        f'Dir::Cache "{work}/cache"; Dir::Cache::archives "{work}/cache/archives"; Dir::Log "{work}";',
        'Acquire::Check-Valid-Until "false"; Acquire::Languages "none"; APT::Install-Recommends "false"; APT::Install-Suggests "false";',
        'APT::Architecture "amd64"; APT::Architectures {"amd64";}; Debug::NoLocking "1"; APT::Update::Error-Mode "any";',
    ]
    if os.geteuid() == 0:
        lines.append('APT::Sandbox::User "root";')  # apt's own user can't write where root's home is closed
    if prefer:
        lines.append(f'APT::Default-Release "{prefer}";')
    return "\n".join(lines) + "\n"


def _run(argv: Sequence[str], what: str, *, cwd: Path | None = None) -> str:
    """Output of a command; raises UsageError with its last lines where it fails."""
    done = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, cwd=cwd
    )
    if done.returncode:
        last_lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-5:]
        raise UsageError("\n  ".join([f"{what} failed (status {done.returncode}); nothing was changed. {argv[0]} says:", *last_lines]))
    return done.stdout


def unpack(
    target: Path, suites: Sequence[str], packages: Sequence[str], progress: Progress, *, etc: Path = Path("/etc/apt")
) -> dict[str, str]:
    """Unpack `packages` of Debian's `suites` (the last is preferred) and all they depend on into the empty folder `target`.

    Returns the version of every package unpacked.

    Raises:
        UsageError: this machine has no apt, no Debian mirror or keyring, or the download failed.
    """
    mirror, keyring = _required(etc)
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=target.parent) as folder:
        work = Path(folder)
        for subfolder in ("lists/partial", "cache/archives/partial"):
            (work / subfolder).mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text("".join(f"deb [signed-by={keyring}] {mirror} {suite} main\n" for suite in suites))
        (work / "apt.conf").write_text(_configuration(work, suites[-1] if len(suites) > 1 else None))
        apt = ["apt-get", "-c", str(work / "apt.conf")]
        progress(f"reading the package lists of {', '.join(suites)}")
        _run([*apt, "-qq", "update"], f"reading the package lists of {', '.join(suites)}")
        install = [*apt, "-y", "--download-only", "install", *packages]
        plan = re.findall(
            r"^'\S+' \S+ (\d+)", _run([*install, "--print-uris", "-qq"], f"choosing the packages for {', '.join(packages)}"), re.M
        )
        progress(f"downloading {len(plan)} packages, {sum(map(int, plan)) / 1e6:.0f} MB")
        _run([*install, "-qq"], "the download")
        archives = sorted((work / "cache/archives").glob("*.deb"))
        progress(f"unpacking {len(archives)} packages")
        for merged in ("bin", "sbin", "lib", "lib64"):
            (target / "usr" / merged).mkdir(parents=True)
            (target / merged).symlink_to(f"usr/{merged}")
        for archive in archives:
            _extract(archive, target)
        return dict(tuple(a.name.split("_")[:2]) for a in archives)  # type: ignore[misc]


def download_source(work: Path, suite: str, package: str, progress: Progress, *, etc: Path = Path("/etc/apt")) -> Path:
    """Download and unpack Debian's source of `package` below the folder `work`; returns the source's folder.

    Raises:
        UsageError: as `unpack`.
    """
    mirror, keyring = _required(etc)
    for subfolder in ("lists/partial", "cache/archives/partial"):
        (work / subfolder).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb-src [signed-by={keyring}] {mirror} {suite} main\n")
    (work / "apt.conf").write_text(_configuration(work, None))
    apt = ["apt-get", "-c", str(work / "apt.conf")]
    progress(f"reading the source lists of {suite}")
    _run([*apt, "-qq", "update"], f"reading the source lists of {suite}")
    progress(f"downloading the source of {package}")
    _run([*apt, "-qq", "--download-only", "source", package], "the download", cwd=work)
    described = next(work.glob("*.dsc"))
    _run(["dpkg-source", "--no-check", "-x", str(described), str(work / "source")], "unpacking the source")
    return work / "source"


def _extract(archive: Path, target: Path) -> None:
    excluded = [f"--exclude={path}" for path in _EXCLUDED]
    argv = ["tar", "-x", "-C", str(target), "--keep-directory-symlink", "--no-same-owner", *excluded]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as source:
        assert source.stdout is not None
        assert source.stderr is not None
        done = subprocess.run(argv, stdin=source.stdout, capture_output=True, text=True, errors="replace")
        source.stdout.close()  # where tar gave up (a full disk), dpkg-deb would wait for a reader for ever
        errors = done.stderr + source.stderr.read().decode(errors="replace")
    if source.returncode or done.returncode:
        raise UsageError(f"unpacking {archive.name} failed; nothing was changed: {errors.strip()[:300]}")
