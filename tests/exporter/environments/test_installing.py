"""Installing a target: whole or not at all, one at a time, begun again where it failed, gone where it is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

from converters.errors import LockedError, ResourceError, StepError, UsageError
from converters.progress import Progress
from exporter.cli.main import run
from exporter.environments import installing
from exporter.environments.installing import Site, install, remove
from exporter.environments.request import Request
from validate.targets.arm64 import QEMU, ROOT, SITE
from validate.targets.browser import PACKAGE
from validate.targets.environment import RECORD, Environment, environment_of

PYTHON = "/usr/bin/python3.11"
EVERY = tuple(installing.INSTALLERS)


def quick(site: Site, _request: Request, progress: Progress) -> Environment:
    """Makes what looks like an environment; fails where a file `fail` lies among the downloads."""
    progress("unpacking", 0.5)
    (site.folder / "part").write_text("x" * 1000)
    for part in (QEMU, SITE, f"{ROOT}{PYTHON}"):
        (site.folder / part).mkdir(parents=True)
    if (site.downloads / "fail").exists():
        raise StepError("The archive is gone.", next_step="Try again.")
    versions = {"thing": "1"}
    return Environment(site.folder, PYTHON, versions, ({"name": "thing.deb", "sha256": "0" * 64},), "somebody")


def full(_site: Site, _request: Request, _progress: Progress) -> Environment:
    raise OSError(28, "No space left on device", "/cache/x")


@pytest.fixture(autouse=True)
def maker(monkeypatch: pytest.MonkeyPatch, own_targets: Path) -> Path:
    monkeypatch.setattr(installing, "INSTALLERS", {"arm64": f"{__name__}:quick"})
    return own_targets


def test_it_is_there_with_its_record_when_it_is_whole(maker: Path) -> None:
    made = install("arm64")
    assert made == environment_of("arm64")
    assert (made.versions, made.python, made.trust) == ({"thing": "1"}, PYTHON, "somebody")
    assert made.size_bytes >= 1000
    assert sorted(path.name for path in maker.iterdir() if path.is_dir()) == ["arm64"]


def test_one_that_fails_leaves_what_was_there_and_its_downloads(maker: Path) -> None:
    install("arm64")
    before = (maker / "arm64" / "part").stat().st_ino
    (maker / ".arm64.downloads").mkdir()
    (maker / ".arm64.downloads" / "fail").touch()
    with pytest.raises(StepError, match="The archive is gone"):
        install("arm64")
    assert (maker / "arm64" / "part").stat().st_ino == before
    assert not (maker / ".arm64.new").exists()
    (maker / ".arm64.downloads" / "fail").unlink()
    install("arm64")
    assert (maker / "arm64" / "part").stat().st_ino != before
    assert not (maker / ".arm64.downloads").exists()


def test_one_that_was_killed_half_way_is_made_anew(maker: Path) -> None:
    (maker / ".arm64.new").mkdir(parents=True)
    (maker / ".arm64.new" / "part").write_text("half")
    assert environment_of("arm64") is None
    assert install("arm64").versions == {"thing": "1"}


def test_two_at_once_are_refused(maker: Path) -> None:
    maker.mkdir()
    with FileLock(maker / ".arm64.lock"), pytest.raises(LockedError, match="Another process is installing"):
        install("arm64")


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "INSTALLERS", {"arm64": f"{__name__}:full"})
    with pytest.raises(ResourceError, match="No space left") as error:
        install("arm64")
    assert "EDGEPORT_TARGETS" in error.value.next_step


def test_removed_it_is_gone(maker: Path) -> None:
    assert not remove("arm64")
    install("arm64")
    (maker / "arm64" / "locked").mkdir(mode=0o500)
    assert remove("arm64")
    assert environment_of("arm64") is None
    assert not [path for path in maker.iterdir() if path.is_dir()]


@pytest.mark.parametrize("mirror", ["deb.debian.org", "http://a b/debian", "http://x/debian] evil [", ""])
def test_a_mirror_is_an_address(mirror: str) -> None:
    with pytest.raises(UsageError, match="--mirror has to be an address"):
        Request(mirror=mirror)


def test_an_option_of_another_target_is_refused(tmp_path: Path) -> None:
    Request(qemu=tmp_path, tree=tmp_path).check_for("arm64")
    with pytest.raises(UsageError, match="--python-tree, --qemu means nothing to the target browser") as error:
        Request(qemu=tmp_path, tree=tmp_path, npm_archive=tmp_path).check_for("browser")
    assert "--npm-archive" in error.value.next_step
    for name in EVERY:
        Request().check_for(name)


def listed(capsys: pytest.CaptureFixture[str], name: str) -> tuple[str, str]:
    """A target's state and the command for it."""
    capsys.readouterr()
    assert run(["target", "list", "--json"]) == 0
    (row,) = (row for row in json.loads(capsys.readouterr().out)["targets"] if row["name"] == name)
    return row["state"], row["install"]


@pytest.mark.parametrize("part", [QEMU, SITE, f"{ROOT}{PYTHON}"])
def test_one_without_a_part_is_damaged_and_installed_anew(
    maker: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install("arm64")
    assert listed(capsys, "arm64") == ("installed", "")
    (maker / "arm64" / part).rmdir()
    assert listed(capsys, "arm64") == ("damaged", "edgeport target install arm64 --force")
    assert run(["target", "install", "arm64"]) == 0
    assert listed(capsys, "arm64") == ("installed", "")


@pytest.mark.parametrize(("name", "part"), [("browser", f"{PACKAGE}/dist/ort.wasm.min.mjs"), ("qnn", "site")])
def test_what_the_others_cannot_do_without(
    own_targets: Path, name: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_targets / name
    (folder / part).mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(Environment(folder, "", {"thing": "1"}).to_json()))
    assert listed(capsys, name) == ("installed", "")
    (folder / part).rmdir()
    assert listed(capsys, name) == ("damaged", f"edgeport target install {name} --force")


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    def document(*words: str) -> tuple[int, dict[str, object]]:
        code = run(["target", *words, "--json"])
        parsed: dict[str, object] = json.loads(capsys.readouterr().out)
        return code, parsed

    def listed() -> dict[str, dict[str, object]]:
        rows = document("list")[1]["targets"]
        return {row["name"]: row for row in rows}  # type: ignore[attr-defined]

    assert (listed()["arm64"]["state"], listed()["arm64"]["install"]) == (
        "not installed",
        "edgeport target install arm64",
    )
    code, told = document("install", "arm64")
    assert (code, told["installed"], told["versions"]) == (0, True, {"thing": "1"})
    assert document("install", "arm64")[1]["installed"] is False
    assert document("install", "arm64", "--force")[1]["installed"] is True
    assert (listed()["arm64"]["state"], listed()["arm64"]["versions"]) == ("installed", {"thing": "1"})
    assert listed()["host"]["state"] == "installed"
    assert {listed()[name]["state"] for name in ("cuda", "ssh", "adb")} == {"see doctor"}
    assert document("remove", "arm64") == (0, {"target": "arm64", "removed": True})
    for name, said in (("arm46", "There is no target `arm46`"), ("openvino", "no environment of its own")):
        code, told = document("install", name)
        assert code == 2
        assert said in told["error"]["message"]  # type: ignore[index]
