"""What is checked before a byte is written: all that needs no data."""

from typing import Any

import ml_collections

from experiments import (
  attack_grid,
  build,
  checking,
  datasets,
  lifecycle,
  schema,
  suites,
)


def check(config: Any) -> None:
  """Raises unless a run can be trained, and then evaluated, as configured.

  Args:
    config: the whole configuration; one without an ``evaluation`` is trained
      only.

  Raises:
    UsageError: a value is not allowed, or values do not fit each other.
  """
  checking.check(config, schema.TRAINING)
  with lifecycle.configuring():
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
  checking.check(config, ("evaluation",))
  whole = suites.resolved(config)
  with lifecycle.configuring():
    attack_grid.plan(whole, datasets.MODALITIES[whole.data.modality])
  return whole
