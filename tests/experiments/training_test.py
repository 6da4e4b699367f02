"""Training runs: equal bits, resumed, finished, refused, selected, logged."""

import functools
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building import build, datasets, networks, training_methods
from experiments.command import exits
from experiments.command.exits import UsageError
from experiments.configuration import settings
from experiments.training import loop, training_run
from snnjax.interfaces import Batch
from snnjax.storage import checkpoints, environment, workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

CHANGES = {"train.select": "validation", "train.tensorboard": "true"}
pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compiled):  # noqa: F811
  """A run of two epochs, 5 steps each, that selects on validation."""
  folder = tmp_path_factory.mktemp("whole") / "run"
  training_run.run(tiny_runs.config(CHANGES), folder)
  return folder


def test_the_workdir_has_everything(whole):
  assert sorted(p.name for p in whole.iterdir()) == [
    ".lock",
    "checkpoints",
    "config.json",
    "data.json",
    "environment.json",
    "events",
    "examples.npz",
    "metrics.jsonl",
    "parameters.npz",
    "status.json",
  ]
  lines = tiny_runs.lines(whole)
  steps = [line["step"] for line in lines if "loss" in line]
  assert steps == list(range(1, 11))
  assert checkpoints.steps(whole / "checkpoints") == (6, 9, 10)
  (session,) = environment.read(whole)
  assert set(session["precision"].values()) == {"float32"}
  assert set(session["kernel"].values()) == {"scan"}
  assert session["seed"] == 0
  assert session["packages"]["jax"]


def test_two_runs_are_the_same_bits(whole, tmp_path):
  training_run.run(tiny_runs.config(CHANGES), tmp_path)
  pair = (tiny_runs.parameters(each) for each in (whole, tmp_path))
  assert tiny_runs.same(*pair) == 4
  assert tiny_runs.equal_metrics(whole, tmp_path)


def test_tensorboard_has_the_metrics(whole):
  from tensorboardX.proto import event_pb2

  (path,) = (whole / "events").glob("events*")
  content, tags = path.read_bytes(), set()
  while content:  # length, its checksum, the event, its checksum
    size = int.from_bytes(content[:8], "little")
    event = event_pb2.Event.FromString(content[12 : 12 + size])
    tags |= {(value.tag, event.step) for value in event.summary.value}
    content = content[12 + size + 4 :]
  expected = {
    (name, line["step"])
    for line in tiny_runs.lines(whole)
    for name in line
    if name != "step"
  }
  assert tags == expected


def test_a_finished_run_says_so_and_changes_nothing(whole, capsys, monkeypatch):
  before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
  # Not even the data are opened.
  monkeypatch.delattr(training_run.datasets, "load")
  training_run.run(tiny_runs.config(CHANGES), whole)
  told = capsys.readouterr().out
  assert told.startswith(f"{whole} is finished; nothing to do. Validation acc")
  after = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
  assert before == after


def test_a_changed_configuration_is_refused_with_what_changed(whole, capsys):
  changed = tiny_runs.config(CHANGES | {"seed": "3", "model.hidden": "8,8"})

  def body():
    training_run.run(changed, whole)

  assert exits.run_guarded(body, "x", False) is exits.ExitCode.USAGE
  assert capsys.readouterr().err.splitlines()[-2:] == [
    "  model.hidden: [16] -> [8, 8]",
    "  seed: 0 -> 3",
  ]


def stopping(after):
  """A `should_stop` that says yes after step `after`, asked before it too."""
  asked = iter(range(1000))
  return lambda: next(asked) == after


def test_a_run_stopped_in_an_epoch_goes_on_to_the_same_bits(whole, tmp_path):
  made = tiny_runs.config(CHANGES)
  splits = datasets.load(made)
  plain = settings.to_dict(made)
  for step in (2, 5):
    with (
      pytest.raises(workdir.Preempted, match="stopped after step"),
      workdir.open_with_status(tmp_path, plain) as folder,
    ):
      loop.fit(made, splits, folder, should_stop=stopping(step))
    assert tiny_runs.status(tmp_path) == "preempted"
  assert checkpoints.steps(tmp_path / "checkpoints")[-1] == 7
  training_run.run(made, tmp_path)
  pair = (tiny_runs.parameters(each) for each in (whole, tmp_path))
  assert tiny_runs.same(*pair) == 4
  assert tiny_runs.equal_metrics(whole, tmp_path)


def damage(path, kind):
  content = bytearray(path.read_bytes())
  if kind == "deleted":
    path.unlink()
  elif kind == "truncated":
    path.write_bytes(content[: len(content) // 2])
  else:
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, compiled):  # noqa: F811
  """The same run, stopped after 7 of its 10 steps."""
  path = tmp_path_factory.mktemp("stopped")
  made = tiny_runs.config(CHANGES)
  splits = datasets.load(made)
  with (
    pytest.raises(workdir.Preempted),
    workdir.open_with_status(path, settings.to_dict(made)) as folder,
  ):
    loop.fit(made, splits, folder, should_stop=stopping(7))
  return path


@pytest.mark.parametrize("kind", ["truncated", "deleted", "flipped"])
def test_a_damaged_checkpoint_is_named_and_an_older_one_used(
  whole, stopped, tmp_path, kind
):
  folder = tmp_path / "run"
  shutil.copytree(stopped, folder)
  newest = folder / "checkpoints" / "00000007"
  largest = max(
    (path for path in newest.rglob("*") if path.is_file()),
    key=lambda path: path.stat().st_size,
  )
  damage(largest, kind)
  with pytest.warns(checkpoints.CheckpointWarning, match="step 6 is used"):
    training_run.run(tiny_runs.config(CHANGES), folder)
  pair = (tiny_runs.parameters(each) for each in (whole, folder))
  assert tiny_runs.same(*pair) == 4
  assert tiny_runs.equal_metrics(whole, folder)


def test_selection_delivers_the_best_validation_epoch_not_the_last(tmp_path):
  # At a rate this high epochs differ; some seed's best is not its last.
  for seed in range(8):
    changes = {
      "seed": str(seed),
      "optimizer.learning_rate": "0.3",
      "optimizer.schedule": "constant",
      "train.epochs": "3",
      "train.checkpoint_every": "1000",
    }
    select = {"train.select": "validation"}
    selected = tmp_path / f"validation{seed}"
    training_run.run(tiny_runs.config(changes | select), selected)
    scores = [
      line["validation_accuracy"]
      for line in tiny_runs.lines(selected)
      if "validation_accuracy" in line
    ]
    best = int(np.argmax(scores))
    if best < 2:
      break
  assert best < 2
  for name, epochs in (("short", best + 1), ("last", 3)):
    length = {"train.epochs": str(epochs)}
    training_run.run(tiny_runs.config(changes | length), tmp_path / name)
  delivered = tiny_runs.parameters(selected)
  assert tiny_runs.same(tiny_runs.parameters(tmp_path / "short"), delivered)
  with pytest.raises(AssertionError):
    tiny_runs.same(tiny_runs.parameters(tmp_path / "last"), delivered)


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"train.select": "test"}, "train.select must be one of"),
    (
      {"train.select": "validation", "data.validation": "0"},
      "data.validation must be above 0 to select on it",
    ),
    ({"model.kind": "vgg12"}, "model.kind must be one of"),
    ({"data.augment": "mixup"}, "data.augment must be one of"),
    (
      {"data.validation": "1.5"},
      r"data.validation must be a number in \[0, 1\)",
    ),
    ({"train.batch_size": "0"}, "batch_size must be"),
  ],
)
def test_what_does_not_fit_is_the_users_to_correct(tmp_path, changes, match):
  with pytest.raises(UsageError, match=match):
    training_run.run(tiny_runs.config(changes), tmp_path)
  assert not any(tmp_path.iterdir())


def test_training_needs_neither_tensorflow_nor_a_network(tmp_path, compiled):  # noqa: F811
  script = """
import socket, sys
sys.modules["tensorflow"] = sys.modules["torch"] = None  # import fails
def refuse(*arguments):
  raise OSError("there is no network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import json, pathlib
from experiments.configuration import settings
from experiments.evaluation import evaluation_run
from experiments.reporting import report_run
from experiments.training import loop, training_run
config = settings.from_dict(json.loads(sys.argv[1]))
training_run.run(config, pathlib.Path(sys.argv[2]))
"""
  plain = settings.to_dict(tiny_runs.config())
  done = subprocess.run(
    [sys.executable, "-c", script, json.dumps(plain), str(tmp_path)],
    cwd=tiny_runs.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert tiny_runs.status(tmp_path) == "done"


def test_remat_takes_less_memory_for_the_same_gradient():
  batch = Batch(
    {"image": jax.random.uniform(jax.random.key(0), (32, 28, 28, 1))},
    jnp.arange(32) % 10,
    jnp.ones(32, bool),
  )
  memory, gradients = [], []
  for remat in ("false", "true"):
    made = tiny_runs.config(
      {
        "model.remat": remat,
        "model.steps": "8",
        "model.kind": "cnn",
        "modalities.image.channels": "8,",
        "modalities.image.encoder": "direct",
      }
    )
    network = networks.network(made, 10)
    variables = network.init(build.key(made, "training"), batch.inputs)
    objective = training_methods.method(made, network)

    def loss(variables, objective=objective):
      return objective(variables, jax.random.key(1), batch, 0)[0]

    program = jax.jit(jax.grad(loss)).lower(variables).compile()
    memory.append(program.memory_analysis().temp_size_in_bytes)
    gradients.append(program(variables)["params"])
  assert memory[1] < memory[0]
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7),
    *gradients,
  )
  assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradients[0])) > 0
