"""What the artefacts of a run are made from, as digests.

    configuration    what training reads, less what cannot change its result
    data             the data set, wherever it lies
    evaluation       ``config.evaluation`` with its resolved suite of attacks,
                     and the radii, less what cannot change its result
    parameters       of the network under attack
    stand-in RUN     the parameters of another network that attacks use

Checkpoints and parameters carry the first two, what an evaluation leaves all.
"""

import pathlib
from collections.abc import Mapping

import numpy as np

from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.planning import suites
from snnjax.data import registry
from snnjax.storage import array_files, identity

WEIGHTS = "parameters.npz"
_TRAINED = ("configuration", "data")


def configuration(config: Config) -> dict[str, str]:
  """What a network of this configuration is made from, the data left out."""
  unread = (*schema.LATER, *schema.CHANGEABLE)
  plain = settings.to_dict(config)
  return {"configuration": identity.of_configuration(plain, unread)}


def training(config: Config) -> dict[str, str]:
  """What a network of this configuration is made from.

  Raises:
    MissingDataError: the data set is not prepared.
  """
  digest = registry.digest(config.data.name, config.data.data_dir or None)
  return {**configuration(config), "data": digest}


def run(config: Config, path: pathlib.Path) -> dict[str, str]:
  """What the parameters in a run's folder were made from.

  Raises:
    DamagedError: they are damaged.
    ForeignError: they are those of another configuration.
    OSError: there are none.
  """
  own = configuration(config)
  return {**own, "data": _held(path, own)[1].get("data", "")}


def trained(made_from: Mapping[str, str]) -> dict[str, str]:
  """The part of an evaluation's origin that is the training run's own."""
  return {name: made_from[name] for name in _TRAINED}


def assessment(config: Config, path: pathlib.Path) -> dict[str, str]:
  """What an evaluation is made from, as far as its run's folder tells.

  Args:
    config: the whole configuration, its suite resolved.
    path: the folder of the training run.

  Raises:
    DamagedError: the run's parameters are damaged.
    ForeignError: they are another run's.
    OSError: there are none.
  """
  return _assessment(config, path, None)


def evaluation(config: Config, path: pathlib.Path) -> dict[str, str]:
  """What an evaluation is made from, data and stand-ins included.

  Args:
    config: the whole configuration, its suite resolved.
    path: the folder of the training run.

  Raises:
    DamagedError: parameters are damaged.
    ForeignError: they are another run's, or of other data.
    MissingDataError: the data set is not prepared.
    OSError: there are no parameters.
  """
  others = {
    f"stand-in {run}": weights(run) for run in suites.transferred(config)
  }
  digest = registry.digest(config.data.name, config.data.data_dir or None)
  return {**_assessment(config, path, digest), **others}


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
  return identity.of_arrays(_held(path, made_from or {})[0])


def remedy(path: pathlib.Path | str) -> str:
  """What a person does about parameters that do not belong in a run."""
  return (
    "put the run's own back, or remove it and run: python -m "
    f"experiments.train --workdir={path}"
  )


def _held(
  path: pathlib.Path | str, made_from: Mapping[str, str]
) -> tuple[Mapping[str, np.ndarray], Mapping[str, str]]:
  """The parameters in a run's folder, and what they were made from."""
  file = pathlib.Path(path) / WEIGHTS
  held = array_files.read(file, remedy(path))
  if made_from:
    identity.check(file, held.made_from, made_from, remedy(path))
  return held.arrays, held.made_from or {}


def _assessment(
  config: Config, path: pathlib.Path, data: str | None
) -> dict[str, str]:
  """The origin of an evaluation; without a data set, that of the network's."""
  own = configuration(config)
  arrays, noted = _held(path, own)
  identity.check(
    path / WEIGHTS,
    noted,
    {"data": data or noted.get("data", identity.of_value(None))},
    "give the folder in which its own data set lies as --config.data.data_dir",
  )
  evaluated = identity.of_configuration(
    settings.to_dict(config), _unevaluated()
  )
  return {
    **own,
    "data": noted["data"],
    "evaluation": evaluated,
    "parameters": identity.of_arrays(arrays),
  }


def _unevaluated() -> tuple[str, ...]:
  """The keys that say nothing of how a network is evaluated."""
  others = (k for k in schema.KEYS if not schema.covers(schema.ATTACKING, k))
  return (*others, *schema.CHANGEABLE)
