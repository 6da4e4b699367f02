"""What the artefacts of a run are made from, as digests.

    configuration    what training reads, less what cannot change its result
    data             the data set, wherever it lies
    evaluation       ``config.evaluation`` with its resolved suite of attacks
    parameters       of the network under attack
    stand-in RUN     the parameters of another network that attacks use

Checkpoints and parameters carry the first two, what an evaluation leaves all.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import settings, suites
from snnjax import identity, parameters
from snnjax.data import registry

WEIGHTS = "parameters.npz"
# Keys that training does not read, and those that cannot change what it finds.
LATER = ("evaluation", "leaderboard")
_INERT = (
  "data.data_dir",
  "train.tensorboard",
  "train.log_every",
  "train.checkpoint_every",
)


def configuration(config: Any) -> dict[str, str]:
  """What a network of this configuration is made from, the data left out."""
  plain = settings.to_dict(config)
  return {"configuration": identity.of_configuration(plain, (*LATER, *_INERT))}


def training(config: Any) -> dict[str, str]:
  """What a network of this configuration is made from.

  Raises:
    MissingDataError: the data set is not prepared.
  """
  digest = registry.digest(config.data.name, config.data.data_dir or None)
  return {**configuration(config), "data": digest}


def assessment(config: Any, path: pathlib.Path) -> dict[str, str]:
  """What an evaluation is made from, as far as its run's folder tells.

  Args:
    config: the whole configuration, its suite resolved.
    path: the folder of the training run.

  Raises:
    DamagedError: the run's parameters are damaged.
    ForeignError: they are another run's.
    OSError: there are none.
  """
  return _assessment(config, path, configuration(config))


def evaluation(config: Any, path: pathlib.Path) -> dict[str, str]:
  """What an evaluation is made from, data and stand-ins included.

  Args:
    config: the whole configuration, its suite resolved.
    path: the folder of the training run.

  Raises:
    DamagedError: parameters are damaged.
    ForeignError: they are another run's, or of other data.
    OSError: there are none, or no such data set.
  """
  others = {
    f"stand-in {run}": weights(run) for run in suites.transferred(config)
  }
  return {**_assessment(config, path, training(config)), **others}


def weights(
  path: pathlib.Path | str, made_from: Mapping[str, str] | None = None
) -> str:
  """The digest of the parameters that a run left.

  Args:
    path: the run's folder.
    made_from: what they must have been made from; None asks nothing.

  Raises:
    DamagedError: they are damaged.
    ForeignError: they were made from something else.
    OSError: there are none.
  """
  file = pathlib.Path(path) / WEIGHTS
  held = parameters.read(file, remedy(path))
  if made_from is not None:
    identity.check(file, held.made_from, made_from, remedy(path))
  return identity.of_arrays(held.arrays)


def remedy(path: pathlib.Path | str) -> str:
  """What a person does about parameters that do not belong in a run."""
  return (
    "put the run's own back, or remove it and run: python -m "
    f"experiments.train --workdir={path}"
  )


def _assessment(
  config: Any, path: pathlib.Path, trained: dict[str, str]
) -> dict[str, str]:
  plain = settings.to_dict(config)["evaluation"]
  return {
    **trained,
    "evaluation": identity.of_configuration(plain),
    "parameters": weights(path, trained),
  }
