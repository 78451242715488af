from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import IntegrityError, LockedError, ResourceError, StepError, UsageError
from exporter.bundle import check_output, finish, read_golden, staged, staging, verify, write_golden
from exporter.bundle.disk import exchange, translated
from exporter.manifest.schema import Manifest

Fill = Callable[..., Manifest]
Snapshot = dict[str, bytes]


def snapshot(folder: Path) -> Snapshot:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def make(output: Path, work: Callable[[Path], object]) -> None:
    with staged(output) as folder:
        work(folder)


def siblings(output: Path) -> list[str]:
    """What lies beside the output but for its lock."""
    return sorted(p.name for p in output.parent.iterdir() if p != output and not p.name.endswith(".lock"))


def test_a_bundle_is_published_whole(bundle: Path) -> None:
    assert verify(bundle) == []
    assert {"manifest.json", "report.md", "report.html", "golden.npz", "edgeport.log"} <= set(snapshot(bundle))
    assert siblings(bundle) == []


def test_nothing_lies_at_the_output_before_it_is_whole(
    tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Fill
) -> None:
    output = tmp_path / "a" / "b" / "out"
    with staged(output) as folder:
        fill_bundle(folder, sample_document)
        assert not output.exists()
        assert folder.parent == output.parent
    assert verify(output) == []


@pytest.mark.parametrize("kernel_swaps", [True, False])
def test_a_new_bundle_replaces_the_old_one(
    bundle: Path,
    sample_document: dict[str, Any],
    fill_bundle: Fill,
    monkeypatch: pytest.MonkeyPatch,
    kernel_swaps: bool,
) -> None:
    if not kernel_swaps:
        monkeypatch.setattr(staging, "exchange", lambda *_: False)
    old = snapshot(bundle)
    with staged(bundle) as folder:
        fill_bundle(folder, sample_document, seed=1)
        assert snapshot(bundle) == old
    assert verify(bundle) == []
    assert snapshot(bundle)["golden.npz"] != old["golden.npz"]
    assert siblings(bundle) == []


def test_the_kernel_swaps_two_folders(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "file").touch()
    if exchange(one, other):
        assert (other / "file").exists()
        assert list(one.iterdir()) == []
    else:
        assert (one / "file").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, StepError])
def test_an_error_leaves_the_old_bundle_and_no_staging(
    bundle: Path, sample_document: dict[str, Any], fill_bundle: Fill, error: type[BaseException]
) -> None:
    old = snapshot(bundle)
    raised = error("x", next_step="y") if error is StepError else error("x")

    def work(folder: Path) -> None:
        fill_bundle(folder, sample_document, seed=1)
        raise raised

    with pytest.raises(error):
        make(bundle, work)
    assert snapshot(bundle) == old
    assert siblings(bundle) == []


def test_a_failed_second_rename_puts_the_old_bundle_back(
    bundle: Path, sample_document: dict[str, Any], fill_bundle: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, rename = snapshot(bundle), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if "staging" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(staging, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StepError), staged(bundle) as folder:
        fill_bundle(folder, sample_document, seed=1)
    assert snapshot(bundle) == old
    assert siblings(bundle) == []


def test_a_block_that_finishes_nothing_publishes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    with pytest.raises(StepError, match="No bundle"), staged(output) as folder:
        (folder / "half").touch()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken(tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Fill) -> None:
    with staged(tmp_path / "out") as folder:
        (tmp_path / "out").mkdir()
        fill_bundle(folder, sample_document)
    assert verify(tmp_path / "out") == []


def test_a_foreign_folder_is_refused_untouched(tmp_path: Path) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "chapter.tex").write_text("years of work")
    with pytest.raises(UsageError, match="neither empty nor"), staged(output):
        pytest.fail("the block must not run")
    assert snapshot(output) == {"chapter.tex": b"years of work"}
    assert siblings(output) == []


def test_a_bundle_with_foreign_files_is_refused_naming_them(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"), staged(bundle):
        pytest.fail("the block must not run")


def test_a_folder_with_anothers_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text('{"name": "my web app"}')
    with pytest.raises(UsageError, match="damaged or not edgeport's"):
        check_output(tmp_path / "out")


def test_force_keeps_what_was_there_under_another_name(
    tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Fill
) -> None:
    output = tmp_path / "out"
    for number, text in enumerate(["first", "second"]):
        if output.exists():
            (output / "mine.txt").write_text(text)
        else:
            output.mkdir()
            (output / "mine.txt").write_text(text)
        with staged(output, force=True) as folder:
            document = {**sample_document}
            fill_bundle(folder, document, seed=number)
        assert verify(output) == []
    assert (tmp_path / "out.old-1" / "mine.txt").read_text() == "first"
    assert (tmp_path / "out.old-2" / "mine.txt").read_text() == "second"


def test_a_file_put_into_the_old_bundle_while_we_work_is_kept(
    bundle: Path, sample_document: dict[str, Any], fill_bundle: Fill
) -> None:
    with staged(bundle) as folder:
        fill_bundle(folder, sample_document, seed=1)
        (bundle / "late.txt").write_text("mine")
    assert verify(bundle) == []
    assert (bundle.parent / "out.old-1" / "late.txt").read_text() == "mine"


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        check_output(tmp_path / "out")


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"), staged(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long"), staged(tmp_path / ("x" * 250)):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UsageError), staged(tmp_path / "a"):
        pytest.fail("the block must not run")


def test_a_folder_without_permission_is_refused(as_a_user: Path) -> None:
    as_a_user.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written"), staged(as_a_user / "out"):
        pytest.fail("the block must not run")


def test_a_file_system_that_makes_no_files_is_not_called_locked() -> None:
    with pytest.raises(UsageError, match="cannot be written"), staged(Path("/proc/edgeport")):
        pytest.fail("the block must not run")


def test_a_mount_point_is_refused() -> None:
    with pytest.raises(UsageError, match="mount point"):
        check_output(Path("/proc"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, ResourceError), (errno.EROFS, UsageError), (errno.EACCES, UsageError), (errno.EIO, StepError)],
)
def test_the_systems_errors_become_ours(code: int, kind: type[Exception]) -> None:
    error = translated(OSError(code, os.strerror(code)), Path("out"))
    assert type(error) is kind
    assert os.strerror(code) in error.message


def test_a_link_to_a_folder_is_followed(tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Fill) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with staged(tmp_path / "link") as folder:
        fill_bundle(folder, sample_document)
    assert (tmp_path / "link").is_symlink()
    assert verify(tmp_path / "real") == []


def test_two_runs_on_one_output(bundle: Path, sample_document: dict[str, Any], fill_bundle: Fill) -> None:
    code = (
        "import sys; from pathlib import Path; from exporter.bundle import staged\n"
        "with staged(Path(sys.argv[1])): pass\n"
    )

    def work(folder: Path) -> None:
        second = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=False)
        assert "LockedError" in second.stderr
        with pytest.raises(LockedError), staged(bundle):
            pytest.fail("the block must not run")
        assert folder.is_dir()
        fill_bundle(folder, sample_document, seed=1)

    make(bundle, work)
    assert verify(bundle) == []


def test_kill_9_while_staging_leaves_the_output_whole(
    bundle: Path, sample_document: dict[str, Any], fill_bundle: Fill
) -> None:
    old = snapshot(bundle)
    code = (
        "import os, signal, sys; from pathlib import Path; from exporter.bundle import staged\n"
        "with staged(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_bytes(b'x' * 1000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bundle)], check=False).returncode == -signal.SIGKILL
    assert snapshot(bundle) == old
    assert len(siblings(bundle)) == 1
    with staged(bundle) as folder:
        fill_bundle(folder, sample_document, seed=1)
    assert siblings(bundle) == []
    assert verify(bundle) == []


def test_a_bundle_moved_aside_by_a_dying_run_is_put_back(bundle: Path) -> None:
    old = snapshot(bundle)
    bundle.rename(bundle.with_name(".out.previous"))

    def work(_: Path) -> None:
        assert snapshot(bundle) == old
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(bundle, work)
    assert snapshot(bundle) == old


def test_sweeping_takes_only_our_own_leftovers(tmp_path: Path) -> None:
    kept = [tmp_path / ".out.staging-notes", tmp_path / ".out.staging-a.staging-0123abcd", tmp_path / "out.old-1"]
    stale = tmp_path / ".out.staging-0123abcd"
    for folder in [*kept, stale]:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "out"):
        raise KeyboardInterrupt
    assert all(folder.is_dir() for folder in kept)
    assert not stale.exists()


def test_a_full_disk_leaves_the_old_bundle_whole(bundle: Path) -> None:
    """RLIMIT_FSIZE makes a write fail with EFBIG where a full disk says ENOSPC; both end as ResourceError."""
    old = snapshot(bundle)
    code = (
        "import resource, signal, sys; from pathlib import Path; from exporter.bundle import staged\n"
        "from converters.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    with staged(Path(sys.argv[1])) as folder:\n"
        "        (folder / 'model.onnx').write_bytes(b'x' * 100_000)\n"
        "except ResourceError as error:\n"
        "    sys.exit(error.exit_code)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(bundle)], check=False).returncode == 7
    assert snapshot(bundle) == old
    assert siblings(bundle) == []


@pytest.mark.parametrize("trick", ["symlink", "hardlink", "fifo"])
def test_finish_refuses_what_is_no_plain_file(
    tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Fill, trick: str
) -> None:
    (tmp_path / "shared.bin").write_bytes(b"cached")

    def work(folder: Path) -> None:
        if trick == "symlink":
            (folder / "trick").symlink_to(tmp_path / "shared.bin")
        elif trick == "hardlink":
            (folder / "trick").hardlink_to(tmp_path / "shared.bin")
        else:
            os.mkfifo(folder / "trick")
        fill_bundle(folder, sample_document)

    with pytest.raises(IntegrityError, match="trick"):
        make(tmp_path / "out", work)
    assert not (tmp_path / "out").exists()


def test_finish_refuses_an_artifact_row_that_is_not_what_lies_there(tmp_path: Path, sample_manifest: Manifest) -> None:
    with pytest.raises(IntegrityError, match="artifact without a file"), staged(tmp_path / "out") as folder:
        finish(folder, sample_manifest)


def test_golden_vectors_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=(2, 4, 4, 3)).astype(np.float32)
    ids, flag = np.arange(6, dtype=np.int64).reshape(2, 3), np.array(True)
    outputs = {"labels": image[..., 0]}
    write_golden(tmp_path / "a.npz", {"image": image, "ids": ids, "a/b": flag}, outputs)
    write_golden(tmp_path / "b.npz", {"a/b": flag, "ids": ids, "image": np.asfortranarray(image)}, outputs)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())
    inputs, outputs = read_golden(tmp_path / "a.npz")
    np.testing.assert_array_equal(inputs["image"], image)
    np.testing.assert_array_equal(inputs["ids"], ids)
    assert inputs["a/b"].shape == ()
    np.testing.assert_array_equal(outputs["labels"], image[..., 0])
    with np.load(tmp_path / "a.npz") as plain:
        assert set(plain.files) == {"input/image", "input/ids", "input/a/b", "output/labels"}


def test_golden_vectors_that_hold_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", **{"input/x": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(IntegrityError, match="golden"):
        read_golden(tmp_path / "evil.npz")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04nonsense", b"\x93NUMPY"])
def test_damaged_golden_vectors_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "golden.npz").write_bytes(data)
    with pytest.raises(IntegrityError):
        read_golden(tmp_path / "golden.npz")
