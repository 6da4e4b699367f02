"""The workdir: fresh, resumed, finished or refused; its environment."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from snnjax.storage import environment, workdir

CONFIG = {"seed": 1, "attack": {"epsilon": 8 / 255, "steps": (10, 20)}}


@pytest.fixture
def folder(tmp_path):
  return tmp_path / "deep" / "run"


def files_of(folder):
  return sorted(p.name for p in folder.iterdir())


def test_a_new_folder_is_fresh(folder):
  run = workdir.open(folder, CONFIG)
  assert run.outcome is workdir.Outcome.FRESH
  assert run.config["attack"]["steps"] == [10, 20]
  assert workdir.read_config(folder) == run.config
  assert workdir.read_status(folder) == (workdir.Status.RUNNING, "")
  assert files_of(folder) == [".lock", "config.json", "status.json"]
  run.close()


def test_an_interrupted_run_is_resumed(folder):
  workdir.open(folder, CONFIG).close()
  run = workdir.open(folder, CONFIG)
  assert run.outcome is workdir.Outcome.RESUMED
  run.close()


def test_a_finished_run_is_left_alone(folder):
  with workdir.open_with_status(folder, CONFIG):
    pass
  before = (folder / "status.json").read_bytes()
  with workdir.open_with_status(folder, CONFIG) as run:
    assert run.outcome is workdir.Outcome.FINISHED
  assert (folder / "status.json").read_bytes() == before
  with pytest.raises(RuntimeError), workdir.open_with_status(folder, CONFIG):
    raise RuntimeError
  assert (folder / "status.json").read_bytes() == before


def test_a_changed_configuration_is_refused_key_by_key(folder):
  run = workdir.open(folder, CONFIG)
  run.save_arrays("clean", {})  # without a result it would not be held
  run.close()
  before = (folder / "config.json").read_bytes()
  changed = {"attack": {"epsilon": 0.5, "steps": [10, 20]}, "name": "x"}
  with pytest.raises(workdir.ConfigurationChanged) as caught:
    workdir.open(folder, changed)
  assert str(caught.value).splitlines()[1:] == [
    "  attack.epsilon: 0.03137254901960784 -> 0.5",
    '  name: (absent) -> "x"',
    "  seed: 1 -> (absent)",
  ]
  assert str(folder) in str(caught.value)
  assert (folder / "config.json").read_bytes() == before
  workdir.open(folder, CONFIG).close()  # the refused one holds no lock


@pytest.mark.parametrize(
  ("error", "status"),
  [
    (ValueError("two\nlines"), workdir.Status.FAILED),
    (workdir.Preempted("two\nlines"), workdir.Status.PREEMPTED),
    (KeyboardInterrupt("two\nlines"), workdir.Status.PREEMPTED),
  ],
)
def test_the_status_says_how_the_run_ended(folder, error, status):
  with pytest.raises(type(error)), workdir.open_with_status(folder, CONFIG):
    raise error
  expected = f"{type(error).__name__}: two lines"
  assert workdir.read_status(folder) == (status, expected)
  with workdir.open_with_status(folder, CONFIG) as run:
    assert run.outcome is workdir.Outcome.RESUMED
    assert workdir.read_status(folder)[0] is workdir.Status.RUNNING
  assert workdir.read_status(folder) == (workdir.Status.DONE, "")


def test_a_full_disk_does_not_hide_the_first_error(folder, monkeypatch):
  def full(*arguments):
    raise OSError(errno.ENOSPC, "full", str(arguments[0]))

  def fail():
    with workdir.open_with_status(folder, CONFIG):
      monkeypatch.setattr(workdir.files, "write_json", full)
      raise ValueError("first")

  with pytest.raises(ValueError, match="first"):
    fail()


def test_two_processes_do_not_share_a_folder(folder):
  run = workdir.open(folder, CONFIG)
  with pytest.raises(workdir.WorkdirBusy, match="another process"):
    workdir.open(folder, CONFIG)
  run.close()
  workdir.open(folder, CONFIG).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match=r"cannot be written: .*file/run"):
    workdir.open(tmp_path / "file" / "run", CONFIG)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
  tmp_path.chmod(0o500)
  with pytest.raises(OSError, match=r"cannot be written: Permission denied"):
    workdir.open(tmp_path / "run", CONFIG)


def test_another_runs_files_without_a_configuration_are_refused(folder):
  (folder / "checkpoints").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"has checkpoints but no config\.json"):
    workdir.open(folder, CONFIG)


@pytest.mark.parametrize("name", ["config.json", "status.json"])
@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_files_are_named(folder, name, content):
  workdir.open(folder, CONFIG).close()
  (folder / name).write_text(content)
  with pytest.raises(ValueError, match=f"{name} is damaged"):
    workdir.open(folder, CONFIG)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, np.ones(2)])
def test_what_json_lacks_is_named(folder, value):
  with pytest.raises(ValueError, match=r"config\.a\.b"):
    workdir.open(folder, {"a": {"b": value}})
  assert not folder.exists()


def test_a_folder_without_a_run_has_no_status(tmp_path):
  assert workdir.read_status(tmp_path) == (None, "")
  with pytest.raises(FileNotFoundError):
    workdir.read_config(tmp_path)


def test_arrays_come_back_and_equal_ones_have_equal_bytes(folder):
  run = workdir.open(folder, CONFIG)
  arrays = {"index": np.arange(3), "loss": np.ones(3, np.float32)}
  run.save_arrays("test/pgd", arrays)
  run.save_arrays("clean", arrays)
  assert run.array_names() == ("clean", "test/pgd")
  loaded = run.load_arrays("test/pgd")
  for name, array in arrays.items():
    assert loaded[name].dtype == array.dtype
    np.testing.assert_array_equal(loaded[name], array)
  path = folder / "arrays" / "clean.npz"
  assert path.read_bytes() == (folder / "arrays/test/pgd.npz").read_bytes()
  with pytest.raises(ValueError, match="relative path"):
    run.save_arrays("../outside", arrays)
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(ValueError, match=r"clean\.npz is"):
    run.load_arrays("clean")
  with pytest.raises(FileNotFoundError):
    run.load_arrays("none")
  run.close()


def test_no_kill_leaves_half_a_file(folder):
  code = f"""
import itertools, sys
sys.path.insert(0, {str(pathlib.Path.cwd())!r})
from snnjax.storage import workdir
run = workdir.open({str(folder)!r}, {{"a": 1}})
print("ready", flush=True)
for i in itertools.count():
  run.set_status(workdir.Status.RUNNING, "x" * (i % 5000))
"""
  for _ in range(2):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=-1)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
      child.wait(0.1)
    child.kill()
    child.wait()
    child.stdout.close()
    assert workdir.read_status(folder)[0] is workdir.Status.RUNNING
  run = workdir.open(folder, {"a": 1})  # the lock died with the process
  assert run.outcome is workdir.Outcome.RESUMED
  run.close()


def test_the_environment_is_described(folder, monkeypatch):
  monkeypatch.setattr("sys.argv", ["/home/somebody/train.py", "--seed=3"])
  described = environment.describe(seed=3)
  assert described["command_line"] == ["train.py", "--seed=3"]
  assert described["seed"] == 3
  assert described["backend"] == "cpu"
  assert len(described["devices"]) == 2
  assert described["python"] == sys.version.split()[0]
  for name in ("jax", "jaxlib", "flax", "optax", "numpy"):
    assert described["packages"][name][0].isdigit()
  json.dumps(described)


def test_every_session_is_recorded_with_what_changed(folder):
  run = workdir.open(folder, CONFIG)
  first = environment.describe(seed=3)
  assert environment.record(run, first) == []
  assert environment.record(run, {**first, "command_line": ["other"]}) == []
  second = {**first, "packages": {**first["packages"], "jax": "9.9"}}
  (line,) = environment.record(run, second)
  assert line.startswith("packages.jax: ")
  assert line.endswith(' -> "9.9"')
  sessions = json.loads((folder / "environment.json").read_text())["sessions"]
  assert [s["packages"]["jax"] for s in sessions][1:] == [
    first["packages"]["jax"],
    "9.9",
  ]
  run.close()


def test_the_commit_is_that_of_tracked_files_only(tmp_path):
  def git(*arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(
      ["git", "-C", str(tmp_path), *who, *arguments],
      check=True,
      capture_output=True,
    )

  source = tmp_path / "a.py"
  source.write_text("1")
  assert environment.commit(source) is None
  git("init")
  (tmp_path / "b.py").write_text("1")
  git("add", "b.py")
  git("commit", "-m", "x")
  assert environment.commit(source) is None
  commit = environment.commit(tmp_path / "b.py")
  assert commit is not None
  assert len(commit) == 40
  (tmp_path / "b.py").write_text("2")
  assert environment.commit(tmp_path / "b.py") == f"{commit}+changes"
