"""What is checked before a byte is written: all that needs no data."""

from typing import Any

import ml_collections

from experiments.building import build, datasets
from experiments.command import exits
from experiments.configuration import schema, validity
from experiments.evaluation import attack_grid, suites


def check(config: Any) -> None:
  """Raises unless a run can be trained, and then evaluated, as configured.

  Args:
    config: the whole configuration; one without an ``evaluation`` is trained
      only.

  Raises:
    UsageError: a value is not allowed, or values do not fit each other.
  """
  validity.check(config, schema.TRAINING)
  with exits.configuring():
    modalities = datasets.MODALITIES[config.data.modality]
    made = build.network(config, modalities, classes=2)
    build.method(config, made, modalities)
    build.optimizer(config, 1)
  if "evaluation" in config:
    resolved(config)


def resolved(config: Any) -> ml_collections.ConfigDict:
  """Returns the configuration of an evaluation, all that its suite says in it.

  Args:
    config: the whole configuration; ``evaluation.suite`` names the suite.

  Raises:
    UsageError: a value is not allowed, there is no such suite, or it asks for
      what is not allowed.
  """
  validity.check(config, ("evaluation",))
  whole = suites.resolved(config)
  with exits.configuring():
    attack_grid.plan(whole, datasets.MODALITIES[whole.data.modality])
  return whole
