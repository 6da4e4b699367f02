"""The measurements of a study's networks, as files that anyone can read again.

    DIR/networks/NAME/network.json    who it is, what it was made from
    DIR/networks/NAME/gradients.npz   its arrays; see `named_arrays`
    DIR/networks/NAME/transfer.npz

A file notes the digest of the network's configuration and that of the
protocol: one that belongs to another network or protocol is refused by name.
"""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.command.exits import DataError
from experiments.configuration import study as studies
from experiments.configuration.study import Member, Study
from snnjax.storage import files, identity

NETWORKS = "networks"
WHO = "network.json"
_TOLD = 20  # of missing networks in one message
REMEDY = "remove it and run the question again: what it held is measured anew"


class Measured(NamedTuple):
  """What is known of one network.

  Attributes:
    member: who it is.
    arrays: by measurement, by path.
    who: its network.json.
  """

  member: Member
  arrays: Mapping[str, Mapping[str, np.ndarray]]
  who: Mapping[str, Any]


def folder(path: pathlib.Path, own: Member) -> pathlib.Path:
  """Returns the folder of a network's results.

  Args:
    path: the folder of all results.
    own: the network.
  """
  return path / NETWORKS / own.name


def made_from(study: Study, own: Member, name: str) -> dict[str, str]:
  """Returns what a measurement must have been made from.

  Args:
    study: its protocol and radii.
    own: the network.
    name: of the measurement.
  """
  protocol = dataclasses.asdict(study.protocol)
  protocol["examples"] = studies.examples(study, own.data)
  read: tuple[str, ...]
  norms = studies.norms(study.protocol, (name,))
  own_keys = {
    "transfer": ("transfer_examples", "transfer_norms"),
    "stronger": ("stronger_examples", "stronger"),
  }
  if name in own_keys:
    read = ("examples", "chains", *own_keys[name])
    if name == "stronger":
      read += ("level",)
  else:
    unread = ("microbatch", *itertools.chain(*own_keys.values()))
    read = tuple(key for key in protocol if key not in unread)
  protocol = {key: protocol[key] for key in read}  # what changes results
  protocol["chains"] = {
    norm: [_described(step) for step in chain]
    for norm, chain in protocol["chains"].items()
    if norm in norms
  }
  there = studies.check_radii(study, own)
  radii = {norm: there[norm] for norm in norms}
  return {
    "configuration": own.digest,
    "protocol": identity.of_value([name, protocol, radii]),
  }


def _described(step: Mapping[str, Any]) -> dict[str, Any]:
  """A step as digests know it: of one start, as before there were several."""
  return {key: v for key, v in step.items() if (key, v) != ("restarts", 1)}


def is_measured(
  study: Study, own: Member, place: pathlib.Path, name: str
) -> bool:
  """Returns whether a measurement is there, whole and this network's own."""
  try:
    read(study, own, place, name)
  except (OSError, ValueError):
    return False
  return (place / WHO).is_file()


def read(
  study: Study, own: Member, place: pathlib.Path, name: str
) -> dict[str, np.ndarray]:
  """Reads one measurement.

  Args:
    study: the study.
    own: the network.
    place: its folder of results.
    name: of the measurement.

  Raises:
    OSError: it is not there.
    DamagedError: it is not what was written.
    ForeignError: it is another network's, or was measured otherwise.
  """
  origin = made_from(study, own, name)
  return files.read_arrays(place / f"{name}.npz", origin, REMEDY)


def write_arrays(
  study: Study,
  own: Member,
  place: pathlib.Path,
  name: str,
  arrays: Mapping[str, np.ndarray],
) -> None:
  """Writes the arrays of one measurement, as `read` reads them.

  Args:
    study: the study.
    own: the network.
    place: a folder, which exists.
    name: of the measurement.
    arrays: by name.

  Raises:
    OSError: it cannot be written.
  """
  origin = made_from(study, own, name)
  files.write_arrays(place / f"{name}.npz", arrays, origin)


def write(
  study: Study,
  own: Member,
  place: pathlib.Path,
  name: str,
  arrays: Mapping[str, np.ndarray],
  noted: Mapping[str, Any],
) -> None:
  """Writes one measurement, and who the network is.

  Args:
    study: the study.
    own: the network.
    place: its folder of results, which exists.
    name: of the measurement.
    arrays: by path.
    noted: of the making: digests, seconds.

  Raises:
    OSError: it cannot be written.
  """
  write_arrays(study, own, place, name, arrays)
  before: dict[str, Any] = {"measurements": {}, "examples": 0}
  if (place / WHO).is_file():
    with contextlib.suppress(ValueError):  # damaged: written anew
      before |= files.read_sealed(place / WHO, REMEDY)
  correct = arrays["correct"]
  # Of several measurements, that of the most examples.
  seen = {"accuracy": float(np.mean(correct)), "examples": len(correct)}
  if before["examples"] > len(correct):
    seen = {key: before[key] for key in seen}
  files.write_sealed(
    place / WHO,
    {
      "data": own.data,
      "modalities": list(own.modalities),
      "arm": own.arm,
      "seed": own.seed,
      "training": studies.training_keys(own.config),
      **seen,
      "measurements": {
        **before["measurements"],
        name: _kept(noted),
      },
    },
  )


def _kept(noted: Mapping[str, Any]) -> dict[str, Any]:
  """What of a measurement's making is kept: nothing of whose machine it was."""
  kept = {key: value for key, value in noted.items() if key != "sha256"}
  environment = kept.get("environment", {})
  kept["environment"] = {
    key: value for key, value in environment.items() if key != "command_line"
  }
  return kept


def load(
  study: Study,
  questions: Sequence[str],
  path: pathlib.Path,
  *,
  finished_only: bool = False,
) -> tuple[list[Measured], list[str]]:
  """Reads all measurements of some questions, every network once.

  Args:
    study: the study.
    questions: names of questions of it.
    path: the folder of all results.
    finished_only: leave out what nobody measured yet. A network of which a part
      is measured is returned with that part.

  Returns:
    The networks, and those that are not there or lack a measurement, in words.

  Raises:
    UsageError: the study lacks radii.
    DataError: one or more are damaged, or of another network, protocol or seed,
      or missing; all of them are named.
  """
  problems: list[str] = []
  missing: list[str] = []
  measured: list[Measured] = []
  members = _wanted(study, questions)
  for own in members:
    studies.check_radii(study, own)  # a fault of the study, not of its results
  for own in members:
    try:
      network, lacking = _load(study, own, folder(path, own))
    except (OSError, ValueError) as error:
      problems.append(f"{own.words}: {error}")
      continue
    if lacking:
      missing.append(f"{own.words}: no {', '.join(lacking)}")
    if network is not None:
      measured.append(network)
  if not finished_only:
    problems = missing + problems
  if problems or not measured:
    raise _incomplete(questions, path, problems or missing)
  return measured, missing


def _load(
  study: Study, own: Member, place: pathlib.Path
) -> tuple[Measured | None, list[str]]:
  """One network, None if nothing of it is there, and what it lacks."""
  arrays, lacking = {}, []
  for name in own.measurements:
    try:
      arrays[name] = read(study, own, place, name)
    except FileNotFoundError:
      lacking.append(name)
  if not arrays:
    return None, lacking
  if not (place / WHO).is_file():  # it is written last
    return None, [*lacking, WHO]
  who = files.read_sealed(place / WHO, REMEDY)
  _check_who(own, who, place / WHO)
  return Measured(own, arrays, who), lacking


def _wanted(study: Study, questions: Sequence[str]) -> list[Member]:
  """The networks of some questions, with what any of them measures."""
  result: dict[str, Member] = {}
  for question in questions:
    for own in studies.members(study, question):
      before = result.get(own.name, own).measurements
      names = dict.fromkeys((*before, *own.measurements))
      result[own.name] = own._replace(measurements=tuple(names))
  return list(result.values())


def _incomplete(
  questions: Sequence[str], path: pathlib.Path, told: Sequence[str]
) -> DataError:
  """The error that names networks, not more than a reader can take in."""
  more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
  names = " and ".join(questions)
  return DataError(
    "\n".join(
      [
        f"{path} must have all networks of {names}; got",
        *told[:_TOLD],
        *more,
        f"Run {names} without --from_results, or this with --finished_only to "
        "see what there is",
      ]
    )
  )


def _check_who(own: Member, who: Mapping[str, Any], file: pathlib.Path) -> None:
  """Raises ValueError if a network.json is another network's."""
  wanted = {
    "data": own.data,
    "modalities": list(own.modalities),
    "arm": own.arm,
    "seed": own.seed,
    "training": studies.training_keys(own.config),
  }
  for key, value in wanted.items():
    if who.get(key) != value:
      raise ValueError(
        f"{file} must be of {key} {value!r}; got {who.get(key)!r}; {REMEDY}"
      )


def is_whole(study: Study, own: Member, path: pathlib.Path) -> bool:
  """Returns whether all that is wanted of a network is there, and its own.

  Args:
    study: the study.
    own: the network.
    path: the folder of all results.
  """
  place = folder(path, own)
  return all(is_measured(study, own, place, name) for name in own.measurements)


def present(
  study: Study, question: str, path: pathlib.Path
) -> Sequence[Member]:
  """Returns the networks of a question whose measurements are all there."""
  members = studies.members(study, question)
  return [own for own in members if is_whole(study, own, path)]
