"""Runs a calibration: trains what is missing, measures, writes what it says.

    DIR/networks/NAME/                training runs, as those of `pool`
    DIR/calibration/networks/NAME/    what was measured of each
    DIR/calibration/                  calibration.json or weights.json

Radii have a report too, with the curves as pictures.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.command import compilation, exits
from experiments.command.exits import ExitCode, UsageError
from experiments.command.progress import Progress, reporter, say
from experiments.command.stopping import ShouldStop
from experiments.configuration import settings
from experiments.configuration import study as studies
from experiments.configuration.study import Member, Protocol, Study
from experiments.measuring.named_arrays import Arrays
from experiments.measuring.subject import Subject
from experiments.planning import preflight
from experiments.questions import (
  calibration,
  calibration_report,
  pool,
)
from experiments.questions.calibration_options import ARM, Match, Options
from experiments.questions.calibration_report import ByNorm, Chosen
from experiments.questions.network_numbers import Cell
from experiments.runs import origins
from snnjax import report
from snnjax.storage import environment, files, identity

FOLDER = "calibration"
RADII = "calibration.json"
WEIGHTS = "weights.json"
_WEIGHT = "method.sr.weight"
_PENALISED = ("sr", "sr_adversarial")


def run(asked: Options) -> ExitCode:
  """Calibrates, and writes and says what was chosen.

  Args:
    asked: what was asked for.

  Returns:
    The exit code for done.

  Raises:
    UsageError: a configuration is not allowed, or what is tried does not reach
      what is wanted; all of it is named, and what was measured stays.
    Preempted: a signal asked to stop; run again to go on.
  """
  choose = _choose_weights if asked.match else _choose_radii
  compilation.enable_cache()
  with exits.stop_on_sigterm() as should_stop, reporter() as progress:
    choose(asked, _Bench(asked, progress, should_stop))
  return ExitCode.DONE


class _Bench:
  """The networks that are measured, and what is kept of each."""

  def __init__(
    self, asked: Options, progress: Progress, should_stop: ShouldStop
  ) -> None:
    self._folder = asked.workdir / FOLDER
    self._networks = asked.workdir / pool.NETWORKS
    self._work = pool.Work(asked.study, asked.workdir)
    self._progress = progress
    self._should_stop = should_stop
    self.used: dict[str, Any] = {}

  def measured(
    self,
    own: Member,
    name: str,
    protocol: Any,
    measure: Callable[[Subject], Arrays],
    grids: Mapping[str, Sequence[float]],
  ) -> Arrays:
    """Returns what is measured of a network, now or before.

    Args:
      own: the network, trained if it is not yet.
      name: of the measurement.
      protocol: all that says how it is made, of what JSON holds.
      measure: makes it.
      grids: by norm, radii for the subject.
    """
    place = self._folder / pool.NETWORKS / own.name
    made = {
      "configuration": own.digest,
      "protocol": identity.of_value([name, protocol]),
    }
    try:
      arrays = files.read_arrays(place / f"{name}.npz", made)
      weights = origins.weights(self._networks / own.name)
    except (OSError, ValueError):
      say(f"\n{own.words}: {name}")
      subject = self._work.subject(
        own, grids, self._progress, self._should_stop
      )
      arrays = measure(subject)
      place.mkdir(parents=True, exist_ok=True)
      files.write_arrays(place / f"{name}.npz", arrays, made)
      weights = origins.weights(self._networks / own.name)
    training = studies.training_keys(own.config)
    self.used[own.name] = {"training": training, "parameters": weights}
    return arrays

  def write(self, name: str, content: Mapping[str, Any], seed: int) -> None:
    """Writes what was chosen, with all it was made from."""
    machine = environment.describe(seed)
    del machine["command_line"]  # nothing of whose machine it was
    self._folder.mkdir(parents=True, exist_ok=True)
    files.write_sealed(
      self._folder / name,
      {**content, "networks": self.used, "environment": machine},
    )
    say(f"\nwritten: {self._folder / name}")


def _member(study: Study, cell: Cell, arm: str, seed: int) -> Member:
  """A network, whose configuration is allowed."""
  modalities = tuple(cell.inputs.split("+"))
  own = studies.member(study, cell.data, modalities, arm, seed, ())
  try:
    preflight.check(own.config)
  except UsageError as error:
    raise UsageError(f"{own.words}: {error}") from None
  return own


def _norms(study: Study, cell: Cell) -> tuple[str, ...]:
  """The norms that questions attack a cell in; all where none asks of it."""
  read = [
    name
    for question in study.questions.values()
    for names, part in question.parts
    if cell.data in names and tuple(cell.inputs.split("+")) in part.modalities
    for name in question.measurements
  ]
  return studies.norms(study.protocol, read or studies.MEASUREMENTS)


def _choose_radii(asked: Options, bench: _Bench) -> None:
  study = asked.study
  networks = {  # all are checked before the first is trained
    cell: [_member(study, cell, ARM, seed) for seed in asked.seeds]
    for cell in asked.cells
  }
  result: dict[Cell, ByNorm] = {}
  problems = []
  for cell in asked.cells:
    grids = {norm: asked.grids[norm] for norm in _norms(study, cell)}
    curves = {
      own.seed: _curves(study, bench, own, grids) for own in networks[cell]
    }
    chosen = {}
    for norm, grid in grids.items():
      rows = {seed: arrays[norm] for seed, arrays in curves.items()}
      try:
        radii = calibration.radii(list(rows.values()), grid)
      except ValueError as error:
        problems.append(f"{cell.words}, {norm}: {error}")
        continue
      lists = {seed: row.tolist() for seed, row in rows.items()}
      chosen[norm] = Chosen(grid, lists, radii)
    result[cell] = chosen
  if problems:
    raise UsageError(
      "\n".join(problems) + "\nGive these networks other training, or the "
      "grids of calibration.GRIDS other ends"
    )
  _write_radii(asked, bench, result)


def _curves(
  study: Study,
  bench: _Bench,
  own: Member,
  grids: Mapping[str, Sequence[float]],
) -> Arrays:
  """The accuracies of one network at all radii, by norm."""
  protocol = calibration.shortened(study.protocol)
  count = _count(study, own.data)

  def measure(subject: Subject) -> Arrays:
    first = subject._replace(protocol=protocol, batch=subject.first(count))
    return calibration.accuracies(first)

  chains = _plain_chains(protocol, list(grids))
  told = {"examples": count, "chains": chains, "grids": grids}
  return bench.measured(own, "curves", told, measure, grids)


def _plain_chains(
  protocol: Protocol, norms: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
  """The attacks of some norms, of what JSON holds."""
  return {
    norm: [dataclasses.asdict(step) for step in protocol.chains[norm]]
    for norm in norms
  }


def _count(study: Study, data: str) -> int:
  return min(calibration.EXAMPLES, studies.examples(study, data))


def _write_radii(
  asked: Options, bench: _Bench, result: Mapping[Cell, ByNorm]
) -> None:
  study = asked.study
  protocol = calibration.shortened(study.protocol)
  data: dict[str, dict[str, Any]] = {}
  for cell, by_norm in result.items():
    data.setdefault(cell.data, {})[cell.inputs] = {
      norm: chosen._asdict() for norm, chosen in by_norm.items()
    }
  counts = {name: _count(study, name) for name in data}
  content = {
    "size": study.size,
    "arm": ARM,
    "seeds": asked.seeds,
    "shares": calibration.SHARES,
    "examples": counts,
    "chains": _plain_chains(protocol, list(protocol.chains)),
    "data": data,
  }
  record = calibration_report.record(asked, counts, result)
  written = report.write(record, asked.workdir / FOLDER)
  bench.write(RADII, content, asked.seeds[0])
  say(f"report: {written.html}")
  for name in data:
    radii = {
      cell.inputs: {norm: chosen.radii for norm, chosen in by_norm.items()}
      for cell, by_norm in result.items()
      if cell.data == name
    }
    say(f"\n# data[{name!r}].radii\n{calibration_report.lines(radii)}")


def _choose_weights(asked: Options, bench: _Bench) -> None:
  study, match = asked.study, asked.match
  assert match is not None
  networks = {  # all are checked before the first is trained
    cell: (
      _tried(study, cell, match, asked.seeds),
      [_member(study, cell, match.other, seed) for seed in asked.seeds],
    )
    for cell in asked.cells
  }
  rows, problems = [], []
  for cell, (tried, others) in networks.items():
    sizes = {
      weight: [_size(study, bench, own) for own in owns]
      for weight, owns in tried.items()
    }
    wanted = [_size(study, bench, own) for own in others]
    means = [float(np.mean(each)) for each in sizes.values()]
    size = float(np.mean(wanted))
    try:
      weight = calibration.matched_weight(list(sizes), means, size)
    except ValueError as error:
      problems.append(f"{cell.words}, {match.arm} as {match.other}: {error}")
      continue
    rows.append(
      {
        "data": cell.data,
        "modalities": cell.inputs,
        "arm": match.arm,
        "other": match.other,
        "log sizes wanted": dict(zip(asked.seeds, wanted, strict=True)),
        "log sizes": [
          {"weight": tried_weight, **dict(zip(asked.seeds, each, strict=True))}
          for tried_weight, each in sizes.items()
        ],
        "weight": weight,
      }
    )
  if problems:
    raise UsageError(
      "\n".join(problems) + f"\nGive {match.arm} another {_WEIGHT} in the study"
    )
  content = {"size": study.size, "seeds": asked.seeds, "weights": rows}
  bench.write(WEIGHTS, content, asked.seeds[0])
  for row in rows:
    say(
      f"{row['data']}, {row['modalities']}: {_WEIGHT} of {match.arm} that "
      f"leaves gradients of the size of {match.other}'s: {row['weight']:g}"
    )


def _tried(
  study: Study, cell: Cell, match: Match, seeds: Sequence[int]
) -> dict[float, list[Member]]:
  """The networks of an arm at multiples of its weight, by weight."""
  result: dict[float, list[Member]] = {}
  for seed in seeds:
    own = _member(study, cell, match.arm, seed)
    method = own.config.method
    if method.name not in _PENALISED or not method.sr.weight:
      raise UsageError(
        f"--match_size: {match.arm} must be trained by "
        f"{' or '.join(_PENALISED)} with a {_WEIGHT} above 0; got "
        f"{method.name}, {method.sr.weight:g}"
      )
    for factor in calibration.FACTORS:
      weight = factor * method.sr.weight
      config = settings.replaced(own.config, {_WEIGHT: weight})
      digest = studies.digest(config)
      member = own._replace(config=config, digest=digest)
      result.setdefault(weight, []).append(member)
  return result


def _size(study: Study, bench: _Bench, own: Member) -> float:
  """The log size of a network's clean gradients."""
  told = {"examples": studies.examples(study, own.data)}

  def measure(subject: Subject) -> Arrays:
    with exits.blame_data():
      return {"size": np.asarray(calibration.clean_size(subject))}

  return float(bench.measured(own, "size", told, measure, {})["size"])
