"""A worker of a question's pool is killed; inputs are not what they seem."""

import dataclasses
import signal
import threading

import jax.numpy as jnp
import pytest

from experiments.building import sources
from experiments.command.exits import DataError
from experiments.configs.studies import questions
from experiments.configuration import settings
from experiments.configuration import study as studies
from experiments.configuration.study import Step
from experiments.questions import pool, results
from experiments.sweeping import claims
from experiments.training import training_run
from snnjax.data import dataset
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

QUESTION = "sparsity_under_attack"
# The study of these tests, in a file that the killed process reads.
FILE = """
from tests.faults import question_test

def get_config(size):
  return question_test.tiny_study()
"""


def tiny_study():
  """One network of one modality, attacked once in one norm."""
  own = questions.get_config("smoke")
  base = settings.replaced(
    own.base,
    {"model.kind": "mlp", "model.hidden": (8,), "model.steps": 2},
  )
  rule = own.protocol.rules[0]
  protocol = dataclasses.replace(
    own.protocol,
    chains={"linf": (Step(kind="pgd", rule=rule, steps=2),)},
    rules=(rule,),
    examples=16,
    microbatch=16,
    along=4,
  )
  question = dataclasses.replace(
    own.questions[QUESTION], arms={"conventional": 1}, modalities=(("image",),)
  )
  digits = dataclasses.replace(
    own.data["digits"],
    keys={"data.name": "digits", "data.train_examples": 64},
  )
  return dataclasses.replace(
    own,
    base=base,
    data={"digits": digits},
    protocol=protocol,
    questions={QUESTION: question},
  )


@pytest.mark.usefixtures("compiled")
def test_what_a_killed_worker_was_measuring_another_measures(tmp_path, capsys):
  study = tiny_study()
  (own,) = studies.members(study, QUESTION)
  alone, shared = tmp_path / "alone", tmp_path / "shared"
  assert pool.fill(study, [own], alone) == []
  (tmp_path / "study.py").write_text(FILE)
  words = [f"--workdir={shared}", f"--study={tmp_path / 'study.py'}"]
  env = {"PYTHONPATH": str(tiny_runs.ROOT), "PYTHONUNBUFFERED": "1"}
  network = shared / pool.NETWORKS / own.name
  with tiny_runs.start(QUESTION, *words, environment=env) as worker:

    def kill_in_measurement():
      for line in worker.stderr:
        if "measure gradients" in line:  # after the attacks; nothing is kept
          worker.kill()
          return

    killer = threading.Thread(target=kill_in_measurement, daemon=True)
    killer.start()
    tiny_runs.wait_for(lambda: claims.busy(network))
    capsys.readouterr()
    # Another process comes while the worker is at it, waits, and takes over.
    assert pool.fill(study, [own], shared) == []
    killer.join()
    worker.wait()
  assert worker.returncode == -signal.SIGKILL
  said = capsys.readouterr().out
  assert "0 of 1 networks are measured" in said
  assert "network 1 of 1" in said
  assert "is finished; nothing to do" in said  # the training was not repeated
  for folder in (pool.MEASURED, pool.RESULTS):
    first, second = (
      {
        path.relative_to(root / folder): path.read_bytes()
        for path in (root / folder).rglob("*.npz")
      }
      for root in (alone, shared)
    )
    assert len(first) == 1
    assert first == second
  assert results.is_measured(
    study, own, results.folder(shared / pool.RESULTS, own), "gradients"
  )


@pytest.mark.parametrize(
  ("prepare", "said"),
  [
    (lambda stored: jnp.asarray(stored, jnp.float32), "float32 in 0..255"),
    (lambda stored: dataset.to_unit(stored).astype(jnp.float16), "float16 in"),
    (lambda stored: dataset.to_unit(stored) - 0.5, "float32 in -0.5..0.5"),
  ],
  ids=["bytes", "half", "centred"],
)
def test_inputs_that_no_radius_fits_are_named_before_training(
  prepare, said, tmp_path, monkeypatch
):
  row = sources.Source(lambda config: prepare)
  monkeypatch.setitem(sources.TABLE, "image", row)
  config = tiny_runs.config()
  with pytest.raises(DataError, match=f"'image' must be float32.*got {said}"):
    training_run.run(config, tmp_path / "run")
  assert not (tmp_path / "run" / "metrics.jsonl").exists()
  assert not (tmp_path / "run" / "parameters.npz").exists()
