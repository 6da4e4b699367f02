"""Whether a configuration holds what may be in it; nothing heavy."""

import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.command.exits import DataError, UsageError
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config


def check(config: Config) -> None:
  """Raises unless every value of a configuration is allowed.

  Args:
    config: the configuration.

  Raises:
    UsageError: values are not allowed, alone or beside each other; it names
      all of them.
  """
  wrong = [
    f"{key} must be {schema.KEYS[key].allowed.told()}; got "
    f"{settings.shown(value)}"
    for key, value in settings.part(config, list(schema.KEYS)).items()
    if not schema.KEYS[key].allowed.holds(value)
  ]
  wrong = wrong or _related(config)
  if wrong:
    raise UsageError(settings.listed(wrong))


def recorded(plain: Any, folder: pathlib.Path) -> Config:
  """Returns the configuration that a run's folder holds, checked.

  The folder may be somebody else's: nothing in it is believed. The attacks
  of an evaluation are left to `suites.check_recorded`.

  Args:
    plain: the content of the folder's config.json.
    folder: for the message.

  Raises:
    DataError: it is no configuration of a run, or has a value that is not
      allowed.
  """
  file = folder / "config.json"
  try:
    config = settings.from_dict(plain)
    check(config)
  except UsageError as error:
    raise DataError(
      f"{file} must be the configuration of a run; it is damaged, foreign or "
      f"of an older version: {' '.join(str(error).split())}"
    ) from None
  except RecursionError:
    raise DataError(
      f"{file} must be the configuration of a run; it is nested too deep"
    ) from None
  return config


def _related(config: Config) -> list[str]:
  """What is wrong between keys, each of which is allowed alone."""
  wrong = []

  def need(kept: bool, text: str) -> None:
    if not kept:
      wrong.append(text)

  data, kind = config.data, config.model.kind
  names = ",".join(data.modalities)
  images = data.modalities == ("image",)
  need(
    config.train.select != "validation" or data.validation > 0,
    "data.validation must be above 0 to select on it; got 0",
  )
  need(
    data.augment == "none" or images,
    "data.augment must be 'none' unless data.modalities is 'image'; got "
    f"{data.augment!r} for {names!r}",
  )
  need(
    not data.stream or data.name != "digits",
    f"data.stream must be false but for a prepared data set; got true for "
    f"{data.name!r}",
  )
  need(
    len(data.modalities) == 1 or kind == "cnn",
    f"model.kind must be 'cnn' for several data.modalities; got {kind!r}",
  )
  probe = config.method.sr
  need(
    probe.participation == 0 or probe.participation_estimator != "none",
    "method.sr.participation must be 0 unless method.sr."
    "participation_estimator is 'jvp' or 'double_backpropagation'; got "
    f"{probe.participation:g} with 'none'",
  )
  counts = {
    f"{name}.epsilons.{norm}": len(own.epsilons.of(norm))
    for name, own in config.seen.items()
    for norm in config.evaluation.norms
  }
  need(
    len(set(counts.values())) == 1,
    "modalities.*.epsilons must be as many for every modality that the network "
    f"sees and every one of evaluation.norms; got {counts}",
  )
  return wrong


def lines(
  config: Config, groups: Sequence[str], without: Sequence[str] = ()
) -> str:
  """Returns a line of help for each key, with its default.

  Args:
    config: the defaults.
    groups: the keys, or groups of keys, to tell of.
    without: those among them that are not told of.
  """
  text = ""
  for key, value in settings.part(config, groups).items():
    if not schema.covers(without, key):
      known = schema.KEYS[key]
      text += f"  --config.{key}={settings.spelt(value)}\n"
      text += f"      {known.about}; {known.allowed.told()}\n"
  return text
