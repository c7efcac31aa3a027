"""The mirror is read from apt's own sources, and what a machine lacks is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from vkprobe.drivers import apt, embedded
from vkprobe.errors import UsageError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""# comment
Types: deb deb-src
# an old address
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {KEYRING}
"""


def etc(tmp: Path, **files: str) -> Path:
    """An /etc/apt with these files in sources.list.d (`name_list` is name.list); `main` is sources.list."""
    (tmp / "sources.list.d").mkdir()
    for name, text in files.items():
        path = tmp / "sources.list" if name == "main" else tmp / "sources.list.d" / ".".join(name.rsplit("_", 1))
        path.write_text(text)
    return tmp


def mirror(folder: Path) -> str | None:
    """The Debian mirror among these sources."""
    return apt.debian_mirror(apt.sources(folder))


def test_deb822_sources_give_the_mirror(tmp_path: Path) -> None:
    """The stanza of Debian's archive is taken, its security archive is not."""
    assert mirror(etc(tmp_path, debian_sources=DEB822)) == "http://mirror.example/debian"


def test_one_line_sources_give_the_mirror(tmp_path: Path) -> None:
    """Options in brackets, comments and deb-src lines are understood."""
    text = (
        "deb-src http://source.example/debian bookworm main\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
        "# deb http://old.example/debian bookworm main\n"
        f"deb [arch=amd64 signed-by={KEYRING}] https://mirror.example/deb bookworm main contrib # ours\n"
    )
    assert mirror(etc(tmp_path, main=text)) == "https://mirror.example/deb"


def test_third_parties_with_debian_suite_names_are_passed_over(tmp_path: Path) -> None:
    """Another keyring, other components or another suite name: none of them is Debian's archive."""
    folder = etc(
        tmp_path,
        a_list="deb [signed-by=/etc/apt/keyrings/v.asc] https://vendor.example/debian bookworm main\n",
        b_list="deb https://container.example/linux/debian bookworm stable\n",
        c_sources="Types: deb\nURIs: https://node.example/20.x\nSuites: nodistro\nComponents: main\nSigned-By: /usr/share/keyrings/n.gpg\n",
    )
    assert mirror(folder) is None


def test_a_source_without_keyring_counts_after_one_with_debians(tmp_path: Path) -> None:
    """Old installations name no keyring; where one source does, it is the surer one."""
    unsigned = etc(tmp_path, a_list="deb http://odd.example/pkgs bookworm main\ndeb http://plain.example/debian/ bookworm main\n")
    assert mirror(unsigned) == "http://plain.example/debian/"
    (tmp_path / "sources.list.d/z.list").write_text(f"deb [signed-by={KEYRING}] http://sure.example/d bookworm main\n")
    assert mirror(unsigned) == "http://sure.example/d"


def test_disabled_stanzas_do_not_count(tmp_path: Path) -> None:
    """`Enabled: no` is apt's own way to keep a source and not use it."""
    assert mirror(etc(tmp_path, debian_sources="Enabled: no\n" + DEB822.split("\n\n")[0])) is None


def test_ubuntu_has_no_debian_mirror_and_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the distribution's own packages, and nothing written."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    folder = etc(tmp_path, ubuntu_sources="Types: deb\nURIs: http://archive.example/ubuntu\nSuites: noble\nComponents: main\n")
    with pytest.raises(UsageError, match=r"no Debian mirror.*mesa-vulkan-drivers"):
        apt.unpack(tmp_path / "target", ("trixie",), ("libvulkan1",), print, etc=folder)


@pytest.mark.parametrize(
    ("machine", "tools", "word"), [("aarch64", True, "aarch64"), ("x86_64", False, "apt-get, dpkg-deb, tar is not here")]
)
def test_other_machines_are_shown_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, tools: bool, word: str
) -> None:
    """No apt or no x86_64: exit 2 with a sentence, and the cache holds no half-made set."""
    monkeypatch.setenv("VKPROBE_CACHE", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if tools else None)
    with pytest.raises(UsageError) as caught:
        embedded.fetch("trixie", lambda line: None)
    assert word in str(caught.value)
    assert "vulkan-swrast" in str(caught.value)
    assert caught.value.status == 2
    assert [p.name for p in (tmp_path / "drivers").iterdir()] == [".trixie.lock"]


def test_an_unknown_suite_names_the_known_ones(tmp_path: Path) -> None:
    """A typing error is not a download error."""
    with pytest.raises(UsageError, match="trixie-backports, trixie, sid"):
        embedded.fetch_packages(tmp_path / "x", "trixy", (), lambda line: None)
