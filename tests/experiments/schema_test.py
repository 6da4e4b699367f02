"""The table of keys: complete, true, and asked before a byte is written."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import pytest

from experiments.building import build, networks, sources, training_methods
from experiments.command.exits import DataError, UsageError
from experiments.configuration import schema, settings, validity
from experiments.evaluation import evaluation_folders
from experiments.planning import attack_grid, preflight, suites
from experiments.runs import launch
from experiments.training import programs, training_run
from snnjax import precision
from snnjax.evaluation.planning import EVERYTHING
from snnjax.interfaces import Batch
from snnjax.kernels import scan
from snnjax.storage import workdir
from tests import tiny_runs


@pytest.mark.parametrize("name", ["base", "quickstart", "mnist", "cifar10"])
def test_every_key_is_known_and_its_default_allowed(name):
  validity.check(settings.load(name))


@pytest.mark.parametrize(
  ("key", "table"),
  [
    ("data.augment", programs.AUGMENTATIONS),
    ("method.name", training_methods.METHODS),
    ("precision", precision.NAMES),
    ("evaluation.precision", precision.NAMES),
    ("method.sr.precision", precision.NAMES),
    ("kernel", scan.KERNELS),
    ("evaluation.kernel", scan.KERNELS),
    ("data.modalities", sources.TABLE),
    ("model.readout", networks.READOUTS),
    ("model.neuron.reset", networks.RESETS),
    ("method.hire.noise", training_methods.NOISES),
    ("method.sr.estimator", training_methods.ESTIMATORS),
    ("method.sr.direction", training_methods.DIRECTIONS),
    ("method.sr.shape", training_methods.SHAPES),
    ("method.sr.confidence", training_methods.CONFIDENCES),
    ("method.sr.participation_estimator", training_methods.PROBES),
    ("method.adversarial.norms", build.DENSE_THREATS),
    ("method.adversarial.norms", training_methods.RADII),
    ("evaluation.norms", build.THREATS),
  ],
)
def test_the_names_are_those_that_are_built(key, table):
  allowed = schema.KEYS[key].allowed
  allowed = getattr(allowed, "each", allowed)
  assert set(allowed.names) == set(table)


def test_the_encoders_of_all_modalities_are_those_that_are_built():
  names = [
    schema.KEYS[f"modalities.{name}.encoder"].allowed.names
    for name in schema.MODALITIES
  ]
  assert set(itertools.chain(*names)) == set(networks.ENCODERS)


def test_the_rules_and_suites_are_those_there_are():
  known = build.rule_names(settings.load("base"))
  assert set(known) == {*schema.RULES, *schema.ADAPTIVE_RULES}
  files = sorted(p.stem for p in suites.FOLDER.glob("[!_]*.py"))
  assert list(schema.SUITES) == files


@pytest.mark.parametrize(
  ("key", "text", "match"),
  [
    ("evaluation.norms", "l3", "each one of linf, l2, l1, l0; got"),
    ("evaluation.norms", "l2,l2", "1 or more different values"),
    ("method.adversarial.norms", "l0", "each one of linf, l2, l1; got"),
    ("modalities.image.epsilons.l0", "1.5,2", "an integer"),
    ("evaluation.rules", "foo", "evaluation.rules must be 1 or more"),
    ("evaluation.suite", "autoattack", "evaluation.suite must be one of"),
    (
      "modalities.image.epsilons.linf",
      "-0.1,0.1",
      "each a number of at least 0",
    ),
    ("modalities.image.epsilons.linf", "0.2,0.1", "rising"),
    (
      "modalities.image.epsilons.linf",
      "inf,",
      "modalities.image.epsilons.linf must",
    ),
    ("evaluation.microbatch", "0", "evaluation.microbatch must be a whole"),
    ("train.epochs", "-1", "train.epochs must be a whole number of at least 0"),
    ("train.batch_size", "0", "train.batch_size must be a whole number"),
    ("optimizer.learning_rate", "-1", "optimizer.learning_rate must be"),
    ("seed", "4294967296", r"seed must be a whole number in \[0, 4294967295\]"),
    ("model.kind", "mlpp", "model.kind must be one of cnn, mlp"),
    ("method.hire.periods", "3", "periods must divide"),
    ("method.sr.participation", "-1", "participation must be 0 unless"),
    ("method.sr.participation", "inf", "participation must be a number"),
    ("method.adversarial.norms", "linf,worst", "each one of linf, l2, l1; got"),
    ("method.adversarial.norms", "l2,l2", "norms must be 1 or more different"),
    ("modalities.image.radius_l1", "0", "radius_l1 must be a number above 0"),
    ("train.select", "validation", "data.validation must be above 0"),
    ("data.modalities", "sound", "each one of image, events; got"),
    ("data.modalities", "image,image", "1 or more different values"),
    ("data.modalities", "image,events", "model.kind must be 'cnn' for several"),
  ],
)
def test_a_run_is_checked_before_a_byte_is_written(tmp_path, key, text, match):
  changes = {key: text}
  if key == "method.hire.periods":
    changes["method.name"] = "hire"
  if key == "train.select":
    changes["data.validation"] = "0"
  with pytest.raises(UsageError, match=match):
    training_run.run(tiny_runs.config(changes), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"trian": {"epochs": 3}}, r"'trian' is known; did you mean train"),
    (
      {"train": {"epocs": 3}},
      r"'train.epocs' is known; did you mean train\.ep",
    ),
    ({"seed": None}, "seed must be a whole number"),
    ({"train": 5}, "train must be a group of keys; got 5"),
  ],
)
def test_a_file_with_other_keys_is_refused_by_name(tmp_path, changes, match):
  plain = settings.to_dict(tiny_runs.config()) | changes
  with pytest.raises(DataError, match=match):
    validity.recorded(plain, tmp_path)


TOUCH = schema.Events(channels=(3,), epsilons=schema.Radii(linf=(0.2, 0.4)))


def test_a_third_modality_is_a_class_and_a_row():
  """Nothing of networks, methods, suites and cells knows the names."""

  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Three(schema.Modalities):
    touch: schema.Modality = TOUCH

  config = schema.Config(
    data=schema.Data(modalities=("image", "touch", "events")),
    modalities=Three(),
    method=schema.Method(name="hire"),
    model=schema.Model(steps=2, hidden=()),
  )
  inputs = {
    "image": jnp.zeros((2, 8, 8, 1)),
    "events": jnp.zeros((2, 2, 8, 8, 2)),
    "touch": jnp.zeros((2, 2, 4, 4, 1)),
  }
  network = networks.network(config, 3)
  method = training_methods.method(config, network)
  rule = build.rule(config, config.model.rule)
  key = jax.random.key(0)
  variables = network.init(key, inputs)
  assert network.apply(variables, inputs, rule=rule).logits.shape == (2, 3)
  batch = Batch(inputs, jnp.zeros(2, int), jnp.ones(2, bool))
  assert method.begin((), batch).perturbation["touch"].shape == (2, 1, 4, 4, 1)
  cells = attack_grid.plan(suites.resolved(config)).cells
  assert [cell.target for cell in cells[::2]] == [*config.seen, EVERYTHING]
  assert cells[-1].radii == {"events": 0.1, "image": 0.1, "touch": 0.4}


def test_what_is_not_read_is_refused_and_what_is_true_is_not(tmp_path):
  workdir.open(tmp_path, settings.to_dict(tiny_runs.config())).close()

  def parsed(*words):
    values = launch.flags.FlagValues()
    launch.define_flags(values, "base", {})
    keys = launch.Keys(schema.EVALUATING, recorded=True)
    argv = ["evaluate", f"--workdir={tmp_path}", *words]
    return launch.parse(argv, values, {}, keys).config

  assert parsed("--config.model.kind=mlp").model.kind == "mlp"
  assert parsed("--config.data.data_dir=x").data.data_dir == "x"
  with pytest.raises(UsageError, match=r"only evaluation\.\* and modalities"):
    parsed("--config.model.kind=cnn")
  # Of a file, what the run was trained with stays.
  assert parsed("--config=mnist").data.name == "digits"


@pytest.mark.parametrize(
  ("flag", "key"),
  [("--seed=1", "seed"), ("--epochs=2", "train.epochs")],
)
def test_a_key_without_its_prefix_is_answered_with_it(flag, key):
  values = launch.flags.FlagValues()
  launch.define_flags(values, "base", {})
  with pytest.raises(UsageError, match=rf"did you mean --config\.{key}"):
    launch.parse(["train", "--workdir=x", flag], values, {})


def test_a_start_that_failed_does_not_hold_its_folder(tmp_path):
  first = {"seed": 0, "train": {"log_every": 1}}
  run = workdir.open(tmp_path, first)
  run.save_arrays(f"{workdir.ACCIDENTS}/step_1", {})
  run.set_status(workdir.Status.FAILED, "MemoryError")
  run.close()
  second = {"seed": 1, "train": {"log_every": 2}}
  with workdir.open_with_status(tmp_path, second) as run:
    assert run.outcome is workdir.Outcome.FRESH
    (run.checkpoints / "00000001").mkdir(parents=True)
    # What changes no result may change; what does, may not.
  tiny_runs.set_status(tmp_path, workdir.Status.PREEMPTED)
  changed = {"seed": 1, "train": {"log_every": 3}}
  with pytest.raises(workdir.ConfigurationChanged, match="log_every: 2 -> 3"):
    workdir.open(tmp_path, changed)
  run = workdir.open(tmp_path, changed, ("train.log_every",))
  assert run.outcome is workdir.Outcome.RESUMED
  assert workdir.read_config(tmp_path) == changed
  run.close()
  with pytest.raises(workdir.ConfigurationChanged, match="seed: 1 -> 0"):
    workdir.open(tmp_path, first, ("train.log_every",))


def test_chosen_evaluations_are_named_by_parts(tmp_path):
  path = tmp_path / "evaluation_l2_quick_0.5_1"
  for chosen in ("", "l2", "quick", "l2_quick", path.name):
    assert evaluation_folders.matches(path, chosen)
  for chosen in ("l", "linf", "0", "quick_l2"):
    assert not evaluation_folders.matches(path, chosen)


def test_a_platform_that_is_not_there_is_named_in_one_line(tmp_path):
  code, out, err = tiny_runs.finished(
    "train",
    f"--workdir={tmp_path / 'run'}",
    environment={"JAX_PLATFORMS": "cuda"},
  )
  assert (code, out) == (2, "")
  assert "JAX_PLATFORMS=cuda: JAX finds no such device" in err
  assert "Traceback" not in err
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["kernel", "evaluation.kernel"])
def test_a_kernel_that_cannot_run_is_refused_before_anything_is_written(key):
  config = settings.override(settings.load("base"), key, "fused")
  assert build.kernel(config) == {
    "training": "fused" if key == "kernel" else "scan",
    "attacks and measurements": "scan" if key == "kernel" else "fused",
  }
  with pytest.raises(UsageError, match=r"needs a CUDA GPU .* cpu \(cpu\)"):
    preflight.check(config)
