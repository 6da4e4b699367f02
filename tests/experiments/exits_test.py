"""Exit codes, one line, SIGTERM, and the compilation cache."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import jax
import pytest

from experiments.command import compilation, exits
from experiments.command.exits import ExitCode
from snnjax.storage import checkpoints, workdir

OUT_OF_MEMORY = jax.errors.JaxRuntimeError(
  "RESOURCE_EXHAUSTED: Out of memory allocating 40000000000000 bytes."
)


@pytest.mark.parametrize(
  ("error", "code", "text"),
  [
    (exits.UsageError("no key"), 2, "no key"),
    (ModuleNotFoundError("pip install x"), 2, "pip install x"),
    (workdir.ConfigurationChanged("a\n  b: 1 -> 2"), 2, "a\n  b: 1 -> 2"),
    (exits.DataError("bad\n  do"), 3, "bad\n  do"),
    (checkpoints.CheckpointError("all damaged"), 3, "all damaged"),
    (
      exits.NonFiniteError(7, "loss/penalty", float("nan"), "b.npz"),
      4,
      "loss/penalty is nan at step 7; its batch is in b.npz",
    ),
    (
      PermissionError(errno.EACCES, "Permission denied", "/x"),
      5,
      "[Errno 13] Permission denied: '/x'",
    ),
    (workdir.WorkdirBusy(11, "busy", "/x"), 5, "[Errno 11] busy: '/x'"),
    (
      OSError(errno.ENOSPC, "No space left on device", "/x"),
      6,
      "disk full: [Errno 28] No space left on device: '/x'; "
      "what was saved before is intact",
    ),
    (
      OSError(errno.EDQUOT, "Quota exceeded"),
      6,
      "disk full: [Errno 122] Quota exceeded; what was saved before is intact",
    ),
    (
      workdir.Preempted("stopped at step 3"),
      7,
      "stopped at step 3; run the same command to go on",
    ),
    (KeyboardInterrupt(), 7, "interrupted; run the same command to go on"),
    (jax.errors.JaxRuntimeError("INTERNAL: x"), 1, "JaxRuntimeError: INTERN"),
    (ValueError("a\nbug"), 1, "internal error: ValueError: a bug"),
  ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_every_end_has_its_code_and_its_line(error, code, text, debug, capsys):
  def body():
    raise error

  assert exits.run_guarded(body, "experiments.x", debug) == code
  out, err = capsys.readouterr()
  assert out == ""
  assert ("Traceback" in err) == (debug or code == 1)
  if debug or code == 1:
    assert text in err[err.rindex("experiments.x: ") :]
  else:
    assert err == f"experiments.x: {text}\n"


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, MemoryError()])
def test_out_of_memory_gets_advice(error, capsys):
  def body():
    raise error

  assert exits.run_guarded(body, "x", False) is ExitCode.OUT_OF_MEMORY
  line = capsys.readouterr().err
  assert line.count("\n") == 1
  for word in ("batch size", "time steps T", "microbatch", "remat"):
    assert word in line


def test_jax_raises_what_is_recognised():
  with pytest.raises(jax.errors.JaxRuntimeError) as caught:
    jax.numpy.zeros((10**7, 10**6)).block_until_ready()
  assert exits.exit_code(caught.value) is ExitCode.OUT_OF_MEMORY


def test_done_is_zero_and_says_nothing(capsys):
  assert exits.run_guarded(lambda: "result", "x", False) == 0
  assert capsys.readouterr() == ("", "")


def test_the_module_documents_every_code():
  assert exits.__doc__ is not None
  for code in ExitCode:
    assert f"\n| {code.value} | " in exits.__doc__


@pytest.mark.parametrize(
  ("context", "kind"),
  [
    (exits.blame_configuration, exits.UsageError),
    (exits.blame_data, exits.DataError),
  ],
)
def test_a_value_error_is_blamed_on_its_phase(context, kind):
  with pytest.raises(kind, match="steps must be"), context():
    raise ValueError("steps must be")
  for own in (exits.UsageError("a"), exits.DataError("b")):
    with pytest.raises(type(own)), context():
      raise own
  with pytest.raises(KeyError), context():
    raise KeyError


def test_missing_data_are_bad_data_and_a_full_disk_is_not():
  with pytest.raises(exits.DataError), exits.blame_data():
    pathlib.Path("/nowhere/at/all").read_bytes()
  with pytest.raises(OSError, match="full"), exits.blame_data():
    raise OSError(errno.ENOSPC, "full")


def test_a_numbers_accident_names_step_and_term():
  error = exits.NonFiniteError(7, "gradient", float("inf"))
  assert (error.step, error.term) == (7, "gradient")
  assert str(error) == "gradient is inf at step 7"


def test_sigterm_is_a_question_and_the_old_handler_returns():
  before = signal.getsignal(signal.SIGTERM)
  with exits.stop_on_sigterm() as should_stop:
    assert not should_stop()
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 5
    while not should_stop() and time.monotonic() < deadline:
      time.sleep(0.001)
    assert should_stop()
  assert signal.getsignal(signal.SIGTERM) is before
  assert not [t for t in threading.enumerate() if t.name == "sigterm"]
  with exits.stop_on_sigterm() as should_stop:
    assert not should_stop()


def test_other_signals_do_not_stop_the_watch():
  before = signal.signal(signal.SIGUSR1, lambda *_: None)
  try:
    with exits.stop_on_sigterm() as should_stop:
      os.kill(os.getpid(), signal.SIGUSR1)
      time.sleep(0.05)
      assert not should_stop()
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(0.05)
      assert should_stop()
  finally:
    signal.signal(signal.SIGUSR1, before)


def test_outside_the_main_thread_nothing_is_installed():
  seen = []

  def body():
    with exits.stop_on_sigterm() as should_stop:
      seen.append((should_stop(), signal.getsignal(signal.SIGTERM)))

  before = signal.getsignal(signal.SIGTERM)
  thread = threading.Thread(target=body)
  thread.start()
  thread.join()
  assert seen == [(False, before)]


def test_a_negative_grace_is_refused():
  with pytest.raises(ValueError, match="grace"):
    exits.stop_on_sigterm(-1.0).__enter__()


def test_a_loop_that_does_not_come_back_is_ended_after_its_grace():
  # One bytecode that sleeps in C, as a compilation does: no handler runs.
  code = """
import ctypes, sys
from experiments.command import exits
with exits.stop_on_sigterm(0.2):
  print("ready", flush=True)
  library = ctypes.CDLL(None)
  for _ in range(100):
    library.usleep(900_000)
"""
  child = subprocess.Popen(
    [sys.executable, "-c", code],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd())},
  )
  assert child.stdout is not None
  assert child.stderr is not None
  with child:
    assert child.stdout.readline() == "ready\n"
    begun = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == ExitCode.PREEMPTED
    assert time.monotonic() - begun < 20
    assert "run the same command to go on" in child.stderr.read()


@pytest.fixture
def cache_settings():
  names = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
  )
  before = {name: getattr(jax.config, name) for name in names}
  yield
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.usefixtures("cache_settings")
def test_compilations_are_kept_in_a_folder_per_processor(tmp_path, monkeypatch):
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  place = compilation.enable_cache()
  assert place is not None
  assert place.parent == tmp_path / "snnjax"
  assert place.is_dir()
  assert jax.config.jax_compilation_cache_dir == str(place)
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert (
    compilation.enable_cache() == tmp_path / ".cache" / "snnjax" / place.name
  )
  assert (
    compilation.enable_cache(tmp_path / "own") == tmp_path / "own" / place.name
  )


@pytest.mark.usefixtures("cache_settings")
def test_a_home_that_cannot_be_written_is_logged_and_no_more(
  tmp_path, monkeypatch, caplog
):
  (tmp_path / "file").write_text("")
  before = jax.config.jax_compilation_cache_dir
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  with caplog.at_level("WARNING", "absl"):
    assert compilation.enable_cache() is None
  assert "compilations are not kept" in caplog.text
  assert jax.config.jax_compilation_cache_dir == before


def test_the_users_own_cache_is_left_alone(tmp_path, monkeypatch):
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
  before = jax.config.jax_compilation_cache_dir
  assert compilation.enable_cache() == tmp_path / "mine"
  assert jax.config.jax_compilation_cache_dir == before
