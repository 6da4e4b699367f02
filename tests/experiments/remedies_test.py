"""Every alarm's remedy ends with a command that runs."""

import shlex
import subprocess
import sys

import pytest
from absl import flags

from experiments import evaluate, prepare_data
from experiments.command import exits
from experiments.configuration import schema, settings
from experiments.planning import preflight
from experiments.reporting import alarm_findings, remedies
from experiments.runs import launch
from snnjax import checks
from snnjax.storage import workdir
from tests import tiny_runs

# As the binaries' own last lines have it.
KEYS = {
  "evaluate": launch.Keys(schema.EVALUATING, recorded=True),
  "train": launch.Keys(
    schema.TRAINING, kept=schema.LATER, later="experiments.evaluate"
  ),
}


def test_every_alarm_has_a_command_and_no_command_is_left_over():
  assert set(remedies.COMMANDS) == {line.name for line in checks.CHECKS}


def test_what_fires_says_its_command():
  unmeasured = alarm_findings.unmeasured({"run": "it failed"})
  assert len(unmeasured) == len(checks.CHECKS)
  for alarm in unmeasured:
    said = remedies.command(remedies.COMMANDS[alarm.name])
    assert alarm.remedy.endswith(f" Run: {said}")
    assert said.startswith("python -m experiments.")


@pytest.mark.parametrize("name", remedies.COMMANDS)
def test_the_command_is_read_and_its_values_are_allowed(name, tmp_path):
  run = tmp_path / "run"
  with workdir.open_with_status(run, settings.to_dict(tiny_runs.config())):
    pass
  text = remedies.command(remedies.COMMANDS[name])
  _, _, module, *words = shlex.split(text.replace("RUN", str(run)))
  binary = module.removeprefix("experiments.")
  if binary == "prepare_data":
    own = flags.FLAGS.flags_by_module_dict()[prepare_data.__name__]
    known = {flag.name for flag in own}
    assert {w.removeprefix("--").partition("=")[0] for w in words} <= known
    return
  values = flags.FlagValues()
  aliases = {"suite": "evaluation.suite"} if binary == "evaluate" else {}
  launch.define_flags(values, "base", aliases)
  command = launch.parse([binary, *words], values, aliases, KEYS[binary])
  preflight.check(command.config)
  assert evaluate.__doc__


def test_a_command_runs_as_it_is_said(tmp_path):
  text = remedies.command(remedies.COMMANDS["Losses disagree"])
  words = shlex.split(text.replace("RUN", str(tmp_path / "run")))
  done = subprocess.run(
    [sys.executable, *words[1:]],
    cwd=tiny_runs.ROOT,
    capture_output=True,
    text=True,
  )
  # There is no run: that is all that is wrong with it.
  assert done.returncode == 3
  assert "must hold a finished training run" in done.stderr


@pytest.mark.parametrize(
  ("flag", "key"),
  [
    ("--seed=1", "seed"),
    ("--epochs=2", "train.epochs"),
    ("--batch_size=2", "train.batch_size"),
    ("--batch-size=2", "train.batch_size"),
    ("--learning_rate=1", "optimizer.learning_rate"),
    ("--learning-rate=1", "optimizer.learning_rate"),
    ("--norms=l2", "evaluation.norms"),
    ("--epsilons=1", "modalities.image.epsilons.linf"),
    ("--epsilon=1", "modalities.image.epsilons.linf"),
    ("--steps=2", "model.steps"),
    ("--rules=rga", "evaluation.rules"),
    ("--data_dir=x", "data.data_dir"),
    ("--hidden=2", "model.hidden"),
    ("--augment=none", "data.augment"),
    ("--noremat", "model.remat"),
  ],
)
def test_a_key_without_its_prefix_is_answered_with_it(flag, key):
  values = flags.FlagValues()
  launch.define_flags(values, "base", {})
  with pytest.raises(exits.UsageError, match="did you mean") as caught:
    launch.parse(["train", "--workdir=x", flag], values, {})
  assert f"--config.{key}" in str(caught.value)
