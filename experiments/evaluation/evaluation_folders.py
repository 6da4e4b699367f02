"""Names, opens and lists the folders of a run's evaluations.

``RUN/evaluation_linf_quick_0.05_0.1`` is that by the suite "quick" within
linf radii .05 and .1; ``RUN/evaluation_linf_l0_quick`` is one in two norms.
Another one that would have the same name (with more steps, on fewer examples)
has some letters of its configuration's SHA-256 behind it.
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

  Of several norms it is called by these and the suite alone.

  Args:
    config: the whole configuration.
  """
  norms = config.evaluation.norms
  parts = [*norms, suites.title(config)]
  if len(norms) > 1:
    return "_".join(parts)
  for modality, own in config.seen.items():
    radii = [f"{r:.4g}" for r in own.epsilons.of(norms[0])]
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
  if not workdir.has_results(plain) or is_configured(plain, config):
    return plain
  changeable = changeable_keys(config)
  unchangeable = {
    key: value
    for key, value in settings.flatten(settings.to_dict(config)).items()
    if not schema.covers(changeable, key)
  }
  digest = hashlib.sha256(json.dumps(unchangeable, sort_keys=True).encode())
  return plain.with_name(f"{plain.name}_{digest.hexdigest()[:6]}")


def is_configured(path: pathlib.Path, config: Config) -> bool:
  """Returns whether the evaluation in a folder is the configured one.

  Args:
    path: the evaluation's folder; it was opened.
    config: the whole configuration, its suite resolved.
  """
  there = workdir.read_config(path)
  return not workdir.difference(
    there, settings.to_dict(config), changeable_keys(config)
  )


def changeable_keys(config: Config) -> tuple[str, ...]:
  """Returns the keys that change no result of an evaluation.

  The microbatch is one of them if no attack and no gradient takes statistics
  of the whole batch. Of an attack that transfers from another network this is
  not known here: with one the microbatch is no such key.

  Args:
    config: the whole configuration, its suite resolved.
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


def open_folder(
  path: pathlib.Path, config: Config, known: Mapping[str, str]
) -> contextlib.AbstractContextManager[Workdir]:
  """Opens an evaluation's folder, and writes its status when it is left.

  Keys that change no result may have other values. A finished evaluation from
  which parts are missing is continued.

  Args:
    path: the evaluation's folder.
    config: the whole configuration, its suite resolved.
    known: what it must have been made from; see `origins.assessment`.

  Raises:
    ForeignError: a part of it was made from something else.
  """
  return workdir.open_with_status(
    path,
    settings.to_dict(config),
    changeable_keys(config),
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


def list_finished(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders of a run's finished evaluations, by name.

  Args:
    path: the run's folder.

  Raises:
    ValueError: a status is damaged.
  """
  return [
    entry
    for entry in sorted(path.glob(f"{PREFIX}*"))
    if workdir.read_status(entry)[0] is workdir.Status.DONE
  ]
