"""The evaluations of a run: each in a folder named by what it is.

``RUN/evaluation_linf_quick_0.05_0.1`` is that by the suite "quick" within
linf radii .05 and .1. Another one that would have the same name (with more
steps, on fewer examples) has some letters of its configuration's SHA-256
behind it.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Mapping

from experiments.building import build
from experiments.configuration import schema, settings
from experiments.configuration.schema import Config
from experiments.evaluation import assessment
from experiments.planning import suites
from snnjax.storage import workdir
from snnjax.storage.workdir import Workdir

PREFIX = "evaluation_"
_LISTED = 4  # more radii than these are told by the first and the last


def name(config: Config) -> str:
  """Returns what an evaluation is called: norm, suite and radii.

  Args:
    config: the whole configuration.
  """
  parts = [config.evaluation.norm, suites.title(config)]
  for modality, own in config.seen.items():
    radii = [f"{r:.4g}" for r in own.epsilons]
    if len(radii) > _LISTED:
      radii = [radii[0], f"to{len(radii)}", radii[-1]]
    parts += [modality] * (len(config.seen) > 1) + radii
  return "_".join(parts)


def folder(path: pathlib.Path, config: Config) -> pathlib.Path:
  """Returns where a run keeps an evaluation, begun or not.

  Args:
    path: the run's folder.
    config: the whole configuration, its suite resolved.

  Raises:
    ValueError: a configuration or status there is damaged.
  """
  plain = path / f"{PREFIX}{name(config)}"
  if not workdir.begun(plain) or same(plain, config):
    return plain
  changeable = _changeable(config)
  told = {
    key: value
    for key, value in settings.flatten(settings.to_dict(config)).items()
    if not schema.covers(changeable, key)
  }
  digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
  return plain.with_name(f"{plain.name}_{digest.hexdigest()[:6]}")


def same(path: pathlib.Path, config: Config) -> bool:
  """Returns whether the evaluation in a folder is the configured one.

  Args:
    path: the evaluation's folder; it was opened.
    config: the whole configuration, its suite resolved.
  """
  there = workdir.read_config(path)
  return not workdir.difference(
    there, settings.to_dict(config), _changeable(config)
  )


def _changeable(config: Config) -> tuple[str, ...]:
  """What changes no result: the microbatch too, if nothing depends on it.

  Of an attack that transfers from another network that is not known here.
  """
  planned = suites.attacks_of(config)
  own = [attack for attack in planned if attack.kind != "transfer"]
  if (
    len(own) == len(planned)
    and not suites.depend_on_batch(config, own)
    and not build.depends_on_batch(config, config.model.rule)
  ):
    return schema.CHANGEABLE
  return tuple(k for k in schema.CHANGEABLE if k != "evaluation.microbatch")


def opened(
  path: pathlib.Path, config: Config, known: Mapping[str, str]
) -> contextlib.AbstractContextManager[Workdir]:
  """Opens an evaluation's folder; what changes no result may change.

  A finished one that is not whole is gone on with.

  Args:
    path: the evaluation's folder.
    config: the whole configuration, its suite resolved.
    known: what it must have been made from; see `origins.assessment`.

  Raises:
    ForeignError: a part of it was made from something else.
  """
  return workdir.opened(
    path,
    settings.to_dict(config),
    _changeable(config),
    lambda found: assessment.lacking(config, found, known),
  )


def matches(path: pathlib.Path, chosen: str) -> bool:
  """Returns whether an evaluation's folder is among the chosen.

  Args:
    path: the folder.
    chosen: its name, or some of the name's parts that follow each other, such
      as "l2" or "quick_0.05"; every folder's if empty.
  """
  return not chosen or f"_{chosen.removeprefix(PREFIX)}_" in f"_{path.name}_"


def finished(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders of a run's finished evaluations, by name.

  Args:
    path: the run's folder.

  Raises:
    ValueError: a status is damaged.
  """
  return [
    found
    for found in sorted(path.glob(f"{PREFIX}*"))
    if workdir.read_status(found)[0] is workdir.Status.DONE
  ]
