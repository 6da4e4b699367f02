"""What killed processes began to write goes at the next start, theirs alone."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from experiments import prepare_data
from snnjax import report
from snnjax.storage import files, workdir
from tests import tiny_runs
from tests.datasets import downloads
from tests.faults import disks

CONFIG = {"seed": 1}
# Is killed while it writes all these files, each within the one before.
KILLED = """
import os, pathlib, signal, sys
from snnjax.storage import files
def write(paths):
  if not paths:
    os.kill(os.getpid(), signal.SIGKILL)
  files.write_with(pathlib.Path(paths[0]), lambda _: write(paths[1:]))
write(sys.argv[1:])
"""


def killed(*paths):
  """Leaves what a killed process leaves that was writing these files."""
  for path in paths:
    path.parent.mkdir(parents=True, exist_ok=True)
  done = subprocess.run(
    [sys.executable, "-c", KILLED, *map(str, paths)], cwd=tiny_runs.ROOT
  )
  assert done.returncode == -signal.SIGKILL
  for path in paths:
    assert list(path.parent.glob(f".tmp-*-{path.name}"))


def half_checkpoint(folder):
  """What `checkpoints.save` leaves when it is killed while orbax writes."""
  inside = folder / "checkpoints" / ".tmp-00000003" / "state"
  inside.mkdir(parents=True)
  (inside / "data").write_bytes(bytes(10))


def test_opening_a_run_sweeps_it(tmp_path):
  with (
    pytest.raises(workdir.Preempted),
    workdir.open_with_status(tmp_path, CONFIG),
  ):
    raise workdir.Preempted
  chunk = tmp_path / "arrays" / "chunks" / "000003.npz"
  killed(tmp_path / "parameters.npz", tmp_path / "arrays" / "study.npz", chunk)
  half_checkpoint(tmp_path)
  (tmp_path / ".tmp-mine").mkdir()  # a folder of somebody else
  with workdir.open_with_status(tmp_path, CONFIG) as run:
    assert run.outcome is workdir.Outcome.RESUMED
    assert disks.leftovers(tmp_path) == [tmp_path / ".tmp-mine"]


def test_a_new_report_sweeps_its_folder(tmp_path):
  table = report.Table(
    "runs", "Runs", "", [report.Column("a", "a")], [{"a": 1}]
  )
  record = report.Record("T", "", [], [report.Section("S", "", [table])], {})
  paths = report.write(record, tmp_path)
  killed(paths.html, paths.tables[0])
  report.write(record, tmp_path)
  assert disks.leftovers(tmp_path) == []


def test_what_a_living_process_writes_stays(tmp_path):
  path = tmp_path / "file"

  def fill(stream):
    stream.write(b"half")
    stream.flush()
    files.sweep(tmp_path)
    with workdir.open_with_status(tmp_path, CONFIG):
      assert len(disks.leftovers(tmp_path)) == 1
    stream.write(b" and half")

  files.write_with(path, fill)
  assert path.read_bytes() == b"half and half"
  assert disks.leftovers(tmp_path) == []


def test_a_draft_that_was_swept_before_it_was_locked_is_made_again(
  tmp_path, monkeypatch
):
  real, taken = files.locks.take, []

  def take(opened, **options):
    if not taken:
      taken.append(1)
      files.sweep(tmp_path)  # another process, between open and lock
      assert disks.leftovers(tmp_path) == []
    return real(opened, **options)

  monkeypatch.setattr(files.locks, "take", take)
  files.write_bytes(tmp_path / "file", b"whole")
  assert (tmp_path / "file").read_bytes() == b"whole"


def test_preparing_a_set_sweeps_those_that_nobody_prepares(tmp_path):
  source, folder = tmp_path / "source", tmp_path / "data"
  downloads.write_mnist(source)
  half = folder / "fashion_mnist" / ".tmp-1.0.0"  # of another name
  living = folder / "emnist_letters" / ".tmp-1.0.0"
  foreign = folder / "notes" / ".tmp-1.0.0-draft"
  own = folder / "mnist" / ".tmp-1.0.0"
  for place in (half, living, foreign, own):
    place.mkdir(parents=True)
    (place / "shard").write_bytes(bytes(10))
  descriptor = os.open(living.parent, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert prepare_data.run(source, "mnist", folder).fresh
  finally:
    os.close(descriptor)
  assert not half.parent.exists()
  assert not own.exists()
  assert (living / "shard").exists()
  assert (foreign / "shard").exists()
