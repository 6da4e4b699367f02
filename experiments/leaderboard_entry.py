"""Evaluated networks as entries of a leaderboard."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import (
  assessment,
  attack_grid,
  data_tables,
  findings,
  suites,
)
from experiments.assessment import Assessed
from experiments.training_loop import WEIGHTS
from snnjax import checks, files
from snnjax.evaluation.leaderboard import (
  Entry,
  Paper,
  Robustness,
  Spiking,
  document,
)

FILE = "leaderboard.json"


def write(
  networks: Sequence[Assessed],
  path: pathlib.Path,
  config: Any,
  folder: pathlib.Path,
) -> pathlib.Path:
  """Writes ``leaderboard.json`` of some networks into a report's folder.

  Args:
    networks: evaluated alike.
    path: the run's folder, or the runs' parent.
    config: its ``leaderboard`` is what only the authors know.
    folder: the report's; it exists.

  Returns:
    The file's path.

  Raises:
    ValueError: a value of ``config.leaderboard`` is not allowed; the message
      names it.
    OSError: the weights cannot be read, or the file not written.
  """
  entries = []
  for each in networks:
    run = path if (path / WEIGHTS).exists() else path / each.name
    entries.append(entry(each, run, config, alone=len(networks) == 1))
  found = folder / FILE
  files.write_json(found, document(entries))
  return found


def entry(
  assessed: Assessed, run: pathlib.Path, config: Any, *, alone: bool
) -> Entry:
  """Returns one network's entry, under the last target's largest radius.

  Args:
    assessed: the network.
    run: the folder it was trained in.
    config: its ``leaderboard`` is what only the authors know.
    alone: whether the name of ``config.leaderboard`` is for this network
      only; else the run's is put behind it.
  """
  own = assessed.config
  given = config.get("leaderboard", {})
  name = given.get("name", "") or assessed.name
  if not alone and name != assessed.name:
    name = f"{name}, {assessed.name}"
  evaluated = assessment.evaluation_folder(run, own)
  session = files.read_json(evaluated / "environment.json")["sessions"][-1]
  return Entry(
    paper=Paper(
      name=name,
      **{
        key: given[key]
        for key in Paper._fields
        if key != "name" and key in given
      },
    ),
    dataset=f"{own.data.name} ({own.data.modality})",
    data=data_tables.described(assessed.used),
    architecture=given.get("architecture", "") or _architecture(own),
    method=own.method.kind,
    additional_data=given.get("additional_data", False),
    spiking=Spiking(
      steps=own.model.steps,
      encoder=own.model.encoder,
      neuron=own.model.neuron.kind,
      rule=own.model.rule,
    ),
    robustness=_robustness(assessed, given),
    seeds=(own.seed,),
    checkpoint_sha256=files.sha256(run / WEIGHTS),
    software=_software(session),
  )


def _robustness(assessed: Assessed, given: Mapping[str, Any]) -> Robustness:
  own = assessed.config
  cell = attack_grid.cells(own, assessed.modalities)[-1]
  ran = findings.on_cell(assessed, cell)
  found = findings.cell_summary(assessed, cell, ran)
  used = [a for a in suites.plan(own) if a.name in ran]
  alarms = findings.alarms(assessed)
  reported = given.get("reported", -1.0)
  return Robustness(
    norm=own.evaluation.norm,
    epsilon={name: r for name, r in cell.radii.items() if r},
    suite=suites.title(own),
    attacks=tuple(ran),
    rules=tuple(dict.fromkeys(rule for a in used for rule in a.rules)),
    examples=found.examples,
    clean=found.clean,
    robust=found.robust,
    success=found.success,
    reported=None if reported == -1 else reported,
    zero_gradient_fraction=findings.zero_fraction(assessed),
    alarms=tuple(a.name for a in alarms if a.fired),
    unchecked=tuple(
      a.name for a in alarms if a.state is checks.State.NOT_CHECKED
    ),
  )


def _architecture(own: Any) -> str:
  model = own.model
  parts = [model.kind]
  if model.kind == "cnn":
    parts.append("channels " + "-".join(map(str, model.channels)))
  if model.hidden:
    parts.append("hidden " + "-".join(map(str, model.hidden)))
  return ", ".join([*parts, f"readout {model.readout}"])


def _software(session: Mapping[str, Any]) -> dict[str, str]:
  """Versions of the session that finished the evaluation."""
  packages = {k: v for k, v in session["packages"].items() if v}
  source = session["commit"] or "source tree"
  return {
    "python": session["python"],
    "snnjax": source,  # where it is not installed
    **packages,
  }
