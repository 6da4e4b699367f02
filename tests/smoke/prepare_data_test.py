"""The binary that prepares data sets, as a person starts it."""

import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest

from experiments import prepare_data
from experiments.command import exits
from snnjax.data import manifest, registry
from tests.datasets.downloads import write_mnist, write_nmnist

ROOT = pathlib.Path(__file__).resolve().parents[2]


def start(*arguments):
  command = [sys.executable, "-m", "experiments.prepare_data", *arguments]
  return subprocess.run(
    command, cwd=ROOT, capture_output=True, text=True, timeout=120
  )


def flags(source, folder, name="mnist"):
  return f"--source={source}", f"--name={name}", f"--data_dir={folder}"


def test_help_is_quick():
  # Processor time, which a loaded machine does not stretch.
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  result = start("--help")
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert result.returncode == 0
  for word in ("--source", "--name", "--data_dir", "--overwrite", "cifar-10-"):
    assert word in result.stdout
  assert after.ru_utime - before.ru_utime < 1  # 0.2 s; JAX alone takes more


def test_a_download_is_prepared_found_done_and_listed(tmp_path):
  source, folder = tmp_path / "source", tmp_path / "data"
  write_mnist(source)
  first = start(*flags(source, folder))
  assert first.returncode == 0, first.stderr
  assert first.stdout.startswith("prepared in ")
  told = (
    "mnist 1.0.0 from IDX files, shuffled by seed 0\n"
    "  train: 7 of 10 classes (0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, "
    "7: 1, 8: 0, 9: 0)\n"
    "  test: 3 of 10 classes (0: 0, 1: 1, 2: 1, 3: 1, 4: 0, 5: 0, 6: 0, "
    "7: 0, 8: 0, 9: 0)\n"
  )
  assert told in first.stdout
  assert (
    "warning: mnist/train: 3 of 10 classes have no example: '0', '8', '9'\n"
  ) in first.stderr
  assert "verify train: 7/7 (100 %)" in first.stderr
  assert "as published it has 60000" in first.stderr
  second = start(*flags(source, folder))
  assert second.returncode == 0
  assert second.stdout.startswith("already prepared: mnist 1.0.0")
  listed = start(f"--data_dir={folder}")
  assert listed.stdout == f"1 data sets in {folder}\n{told}"
  assert len(registry.open_dataset("mnist", "train", folder).labels) == 7


def test_mistakes_have_their_own_exit_codes(tmp_path):
  wrong = start("--source=x")
  assert wrong.returncode == exits.ExitCode.USAGE
  assert "--source and --name are needed together" in wrong.stderr
  missing = start(*flags(tmp_path / "nowhere", tmp_path))
  assert missing.returncode == exits.ExitCode.BAD_DATA
  assert missing.stderr == (
    f"experiments.prepare_data: there is no file or folder {tmp_path}/nowhere\n"
  )


def test_run_blames_the_data(tmp_path):
  source = tmp_path / "source"
  write_mnist(source)
  path = source / "train-images-idx3-ubyte"
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(exits.DataError, match="is truncated"):
    prepare_data.run(source, "mnist", tmp_path / "data")
  assert manifest.list_prepared(tmp_path / "data") == []


def test_recordings_are_paired_by_the_command(tmp_path):
  folder = tmp_path / "data"
  write_mnist(tmp_path / "mnist")
  write_nmnist(tmp_path / "N-MNIST", {"train": (1, 2, 3), "test": (1, 2)})
  images = f"--images={tmp_path / 'mnist'}"
  first = start(*flags(tmp_path / "N-MNIST", folder, "nmnist"), images)
  assert first.returncode == 0, first.stderr
  assert (
    "nmnist 1.0.0 from N-MNIST recordings with their images" in first.stdout
  )
  assert (
    "nmnist/train has 3 examples; as published it has 60000" in first.stderr
  )
  with pytest.raises(exits.DataError, match="it holds none"):
    prepare_data.run(tmp_path / "mnist", "x", folder, images=tmp_path / "mnist")
  alone = start(images)
  assert alone.returncode == exits.ExitCode.USAGE


def test_a_full_disk_is_an_error_of_the_disk(tmp_path):
  source, folder = tmp_path / "source", tmp_path / "data"
  write_mnist(source, sizes=(4000, 3))

  script = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
runpy.run_module("experiments.prepare_data", None, "__main__", True)
"""
  result = subprocess.run(
    [sys.executable, "-c", script, *flags(source, folder)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == exits.ExitCode.IO, result.stderr
  assert "File too large" in result.stderr
  assert "Traceback" not in result.stderr
  assert not [path for path in folder.rglob("*") if path.is_file()]


def test_kill_9_leaves_no_half_set(tmp_path):
  source, folder = tmp_path / "source", tmp_path / "data"
  write_mnist(source, sizes=(20_000, 3))
  process = subprocess.Popen(
    [sys.executable, "-m", "experiments.prepare_data", *flags(source, folder)],
    cwd=ROOT,
    stderr=subprocess.DEVNULL,
  )
  shard = folder / "mnist" / ".tmp-1.0.0" / "mnist-train.array_record-00000"
  try:
    deadline = time.monotonic() + 60
    while not shard.exists() and time.monotonic() < deadline:
      time.sleep(0.02)
  finally:
    process.kill()
  assert process.wait() == -signal.SIGKILL
  assert shard.exists()  # it was in the middle
  assert manifest.list_prepared(folder) == []
  with pytest.raises(manifest.MissingDataError):
    registry.open_dataset("mnist", "train", folder)
  write_mnist(source)
  assert prepare_data.run(source, "mnist", folder).fresh
  assert not shard.parent.exists()
