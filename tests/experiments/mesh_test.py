"""The binaries' work on two devices: programs, losses, runs, refusals."""

import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from experiments.building import (
  build,
  datasets,
  devices,
  networks,
  training_methods,
)
from experiments.building.shared import Shared
from experiments.command.exits import UsageError
from experiments.configuration import settings
from experiments.evaluation import evaluation_run
from experiments.training import loop, programs, training_run
from snnjax import sharding
from snnjax import training as steps
from snnjax.data.pipeline import Process
from snnjax.interfaces import Batch
from snnjax.storage import environment, workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("compiled")
SIZE, TIME = 28, 3  # that nothing else of the network has
RNG = np.random.default_rng(0)
BATCH = Batch(
  {"image": jnp.asarray(RNG.uniform(size=(SIZE, 8, 8, 1)), jnp.float32)},
  jnp.asarray(RNG.integers(0, 10, SIZE), jnp.int32),
  jnp.arange(SIZE) < 27,
)
CONV = {
  "model.kind": "cnn",
  "model.hidden": "4,4",
  "model.steps": str(TIME),
  "model.norm": "true",
  "train.batch_size": str(SIZE),
}
COLLECTIVE = re.compile(
  r"(all-gather|all-to-all|all-reduce|collective-\w+|reduce-scatter)\("
)


@pytest.fixture(scope="module")
def two():
  return devices.choose("data:2")


class Trainer:
  """The programs of a small convolutional network, and its first state."""

  def __init__(self, used, changes):
    self.config = tiny_runs.config(CONV | changes)
    network = networks.network(self.config, 10)
    self.programs = programs.build_programs(self.config, network, 9, used)
    state = steps.init_state(
      jax.random.key(1),
      network,
      training_methods.method(self.config, network),
      build.optimizer(self.config, 9),
      BATCH,
    )
    self.state = used.place(state, SIZE)
    self.batch = used.split(BATCH)
    self.arguments = (
      programs.traced_values(self.config),
      self.state,
      self.batch,
    )


def collectives(text):
  """Name and result of every collective operation of a compiled program."""
  return [
    (line.split(" = ")[1].partition(f" {match[1]}(")[0], match[1])
    for line in text.splitlines()
    if " = " in line and (match := COLLECTIVE.search(line))
  ]


def sizes(text):
  """All sizes of axes of all arrays of a compiled program."""
  shapes = re.findall(r"\b[a-z]+\d+\[([\d,]+)\]", text)
  return {int(size) for shape in shapes for size in shape.split(",")}


def step_of(split):
  """The program of a step on two devices: half the work each, sums alone."""
  program = split.programs.step.lower(*split.arguments).compile()
  text = program.as_text()
  assert {kind for _, kind in collectives(text)} == {"all-reduce"}
  # Half of the rows each, also where time and batch are one axis.
  assert {SIZE // 2, TIME * SIZE // 2} <= sizes(text)
  assert not sizes(text) & {SIZE, TIME * SIZE}
  return program


def test_a_training_step_on_two_devices(two):
  one, split = (Trainer(used, {}) for used in (devices.ALONE, two))
  program = step_of(split)
  for _ in range(2):
    one.state, alone = one.programs.step(one.arguments[0], one.state, one.batch)
    split.state, both = program(split.arguments[0], split.state, split.batch)
    np.testing.assert_allclose(both["loss"], alone["loss"], atol=1e-6)


def test_what_is_carried_between_batches_stays_split(two):
  split = Trainer(
    two,
    {
      "method.name": "hire",
      "method.hire.keep_noise": "true",
      "method.hire.periods": "1",
    },
  )
  want = jax.tree.map(lambda leaf: leaf.sharding, split.state)
  rows = sharding.rows(two.mesh)
  assert rows in jax.tree.leaves(want.carried)
  state, _ = step_of(split)(*split.arguments)
  assert jax.tree.map(lambda leaf: leaf.sharding, state) == want


def test_a_forward_pass_on_two_devices_adds_one_count(two):
  split = Trainer(two, {})
  variables = split.state.variables
  text = (
    split.programs.hits.lower(variables, jax.random.key(0), split.batch)
    .compile()
    .as_text()
  )
  assert collectives(text) == [("s32[]", "all-reduce")]
  assert not sizes(text) & {SIZE, TIME * SIZE}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, two, compiled):  # noqa: F811
  folder = tmp_path_factory.mktemp("two") / "run"
  training_run.run(tiny_runs.config(), folder, Shared(devices=two))
  return folder


def test_a_stopped_run_goes_on_to_the_same_bits(trained, two, tmp_path):
  made = tiny_runs.config()
  (session,) = environment.read(trained)
  assert session["mesh"] == {"data": 2}
  asked = iter(range(100))
  with (
    pytest.raises(workdir.Preempted),
    workdir.open_with_status(
      tmp_path / "stopped", settings.to_dict(made)
    ) as folder,
  ):
    loop.fit(
      made,
      datasets.load(made),
      folder,
      should_stop=lambda: next(asked) == 4,
      shared=Shared(devices=two),
    )
  other = shutil.copytree(folder.path, tmp_path / "other")
  training_run.run(made, folder.path, Shared(devices=two))
  pair = (tiny_runs.parameters(each) for each in (trained, folder.path))
  assert tiny_runs.same(*pair) == 4
  assert tiny_runs.equal_metrics(trained, folder.path)
  # It may go on with other devices too: the same but for rounding.
  training_run.run(made, other)
  losses = (
    [line["loss"] for line in tiny_runs.lines(each) if "loss" in line]
    for each in (trained, other)
  )
  np.testing.assert_allclose(*losses, atol=1e-6)
  assert [each["mesh"]["data"] for each in environment.read(other)] == [2, 1]


def test_an_evaluation_is_that_of_one_device(trained, two, tmp_path):
  """Of three microbatches: a device has none of its own in the end."""
  suite = tmp_path / "suite.py"
  suite.write_text('def get_config():\n  return ({"kind": "fgsm"},)\n')
  made = tiny_runs.config(
    {
      "evaluation.suite": str(suite),
      "evaluation.examples": "24",
      "modalities.image.epsilons.linf": "0.1",
    }
  )
  evaluation_run.run(made, trained)
  folder = tiny_runs.evaluation(trained)
  want = tiny_runs.rows(trained)
  folder.rename(trained / "alone")
  evaluation_run.run(made, trained, Shared(devices=two))
  assert tiny_runs.same(tiny_runs.rows(trained), want) > 50
  (session,) = environment.read(tiny_runs.evaluation(trained))
  assert session["mesh"] == {"data": 2}


@pytest.mark.parametrize("text", ["data:3", "data:0", "data", "rows:2", "2"])
def test_devices_that_are_not_there_are_refused(text):
  with pytest.raises(UsageError) as refused:
    devices.choose(text)
  told = str(refused.value)
  assert told.startswith("--mesh must be data:N with N from 1 to 2, the device")
  assert f"got {text!r}" in told


def test_the_default_is_all_devices_and_one_is_no_mesh():
  assert devices.choose(None).size == 2
  assert devices.choose("data:1") == devices.ALONE
  assert devices.ALONE.mesh is None


@pytest.mark.parametrize("key", ["kernel", "evaluation.kernel"])
def test_a_fused_kernel_is_for_one_device(key, two):
  config = tiny_runs.config({key: "fused"})
  devices.ALONE.check(config)
  with pytest.raises(UsageError, match=f"^{key} must be scan or auto where 2"):
    two.check(config)


def test_a_batch_that_the_mesh_does_not_divide_is_refused(two, tmp_path):
  odd = tiny_runs.config({"train.batch_size": "33"})
  with pytest.raises(UsageError) as refused:
    training_run.run(odd, tmp_path / "run", Shared(devices=two))
  assert str(refused.value) == (
    "train.batch_size must be a multiple of the number of devices, 2; got 33. "
    "Give --config.train.batch_size=34, or --mesh=data:1"
  )
  assert not (tmp_path / "run").exists()


def test_processes_that_differ_are_refused(monkeypatch):
  """Of two, the other one says the same, or something else."""
  used = devices.Devices(process=Process(0, 2))
  monkeypatch.setattr(
    multihost_utils, "process_allgather", lambda mine: np.stack([mine, 4])
  )
  used.check_same(4, "all must be four")
  with pytest.raises(UsageError) as refused:
    used.check_same(3, "all must be four")
  assert str(refused.value) == "all must be four; got, by process: 3, 4"
