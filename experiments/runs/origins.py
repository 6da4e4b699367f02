"""Digests of everything that a run's files are made from.

A file notes the digests of its inputs, so that a reader can refuse a file
that belongs to another configuration, data set or network:

    configuration    what training reads, less what cannot change its result
    data             the data set, wherever it lies
    evaluation       ``config.evaluation`` with its resolved suite of attacks,
                     and the radii, less what cannot change its result
    parameters       of the network under attack
    stand-in RUN     the parameters of another network that attacks use

Checkpoints and parameters note the first two, the files of an evaluation all.
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


def recorded_training(config: Config, path: pathlib.Path) -> dict[str, str]:
  """What the parameters in a run's folder were made from.

  Raises:
    DamagedError: they are damaged.
    ForeignError: they are those of another configuration.
    OSError: there are none.
  """
  origin = configuration(config)
  return {**origin, "data": _read_weights(path, origin)[1].get("data", "")}


def training_part(made_from: Mapping[str, str]) -> dict[str, str]:
  """The digests in an evaluation's origin that its training run has too."""
  return {name: made_from[name] for name in _TRAINED}


def assessment(config: Config, path: pathlib.Path) -> dict[str, str]:
  """The origin of an evaluation, without the digests of other runs' networks.

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
  """The whole origin of an evaluation: also data set and stand-in networks.

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
  return identity.of_arrays(_read_weights(path, made_from or {})[0])


def remedy(path: pathlib.Path | str) -> str:
  """The advice for parameters that do not belong in a run's folder."""
  return (
    "put the run's own back, or remove it and run: python -m "
    f"experiments.train --workdir={path}"
  )


def _read_weights(
  path: pathlib.Path | str, made_from: Mapping[str, str]
) -> tuple[Mapping[str, np.ndarray], Mapping[str, str]]:
  """The parameters in a run's folder, and what they were made from."""
  file = pathlib.Path(path) / WEIGHTS
  stored = array_files.read(file, remedy(path))
  if made_from:
    identity.check(file, stored.made_from, made_from, remedy(path))
  return stored.arrays, stored.made_from or {}


def _assessment(
  config: Config, path: pathlib.Path, data: str | None
) -> dict[str, str]:
  """The origin of an evaluation, its parameters checked against it.

  `data` is the data set's digest; None takes the one the network was trained
  on.
  """
  origin = configuration(config)
  arrays, noted = _read_weights(path, origin)
  identity.check(
    path / WEIGHTS,
    noted,
    {"data": data or noted.get("data", identity.of_value(None))},
    "give the folder in which its own data set lies as --config.data.data_dir",
  )
  evaluated = identity.of_configuration(
    settings.to_dict(config), _unevaluated_keys()
  )
  return {
    **origin,
    "data": noted["data"],
    "evaluation": evaluated,
    "parameters": identity.of_arrays(arrays),
  }


def _unevaluated_keys() -> tuple[str, ...]:
  """The keys that say nothing of how a network is evaluated."""
  others = (k for k in schema.KEYS if not schema.covers(schema.ATTACKING, k))
  return (*others, *schema.CHANGEABLE)
