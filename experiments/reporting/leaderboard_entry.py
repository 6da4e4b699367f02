"""Evaluated networks as entries of a leaderboard."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.evaluation.assessment import Assessed
from experiments.planning import suites
from experiments.reporting import data_tables, findings
from experiments.training.loop import WEIGHTS
from snnjax import checks
from snnjax import evaluation as evaluating
from snnjax.report import leaderboard
from snnjax.report.leaderboard import Entry, Paper, Robustness, Spiking
from snnjax.storage import environment, files

FILE = "leaderboard.json"


def checked(networks: Sequence[Assessed], config: Config) -> list[Entry]:
  """Returns the entries of some networks, all that is in them allowed.

  Args:
    networks: evaluated alike.
    config: its ``leaderboard`` is what only the authors know; where it has
      the values of the base configuration, each run's own counts.

  Raises:
    ValueError: a value of ``config.leaderboard`` is not allowed; the message
      names it.
    OSError: the weights cannot be read.
  """
  alone = len(networks) == 1
  entries = [entry(each, config, alone=alone) for each in networks]
  leaderboard.document(entries)  # checks them, together too
  return entries


def write(entries: Sequence[Entry], folder: pathlib.Path) -> pathlib.Path:
  """Writes ``leaderboard.json`` into a report's folder.

  Args:
    entries: from `checked`.
    folder: the report's; it exists.

  Returns:
    The file's path.

  Raises:
    OSError: it cannot be written.
  """
  found = folder / FILE
  leaderboard.write(found, entries)
  return found


def entry(assessed: Assessed, config: Config, *, alone: bool) -> Entry:
  """Returns one network's entry, under the last target's largest radius.

  Args:
    assessed: the network.
    config: its ``leaderboard`` is what only the authors know.
    alone: whether the name of ``config.leaderboard`` is for this network
      only; else the run's is put behind it.
  """
  own = assessed.config
  given = _known(config, own)
  name = given.get("name", "") or assessed.name
  if not alone and name != assessed.name:
    name = f"{name}, {assessed.name}"
  session = environment.read(assessed.folder)[-1]
  return Entry(
    paper=Paper(
      name=name,
      **{
        key: given[key]
        for key in Paper._fields
        if key != "name" and key in given
      },
    ),
    dataset=f"{own.data.name} ({', '.join(own.seen)})",
    data=data_tables.described(assessed.used),
    architecture=given.get("architecture", "") or _architecture(own),
    method=own.method.name,
    additional_data=given.get("additional_data", False),
    spiking=Spiking(
      steps=own.model.steps,
      encoder=", ".join(
        dict.fromkeys(each.encoder for each in own.seen.values())
      ),
      neuron=own.model.neuron.kind,
      rule=own.model.rule,
    ),
    robustness=_robustness(assessed, given),
    seeds=(own.seed,),
    checkpoint_sha256=files.sha256(assessed.folder.parent / WEIGHTS),
    software=_software(session),
    made_from=assessed.made_from,
  )


def _known(config: Config, own: Config) -> dict[str, Any]:
  """What the authors said: for this report, or when they trained the run."""
  default = dataclasses.asdict(schema.Leaderboard())
  said = {
    key: value
    for key, value in dataclasses.asdict(config.leaderboard).items()
    if value != default[key]
  }
  return {**dataclasses.asdict(own.leaderboard), **said}


def _robustness(assessed: Assessed, given: Mapping[str, Any]) -> Robustness:
  own = assessed.config
  cell = assessed.plan.strongest
  ran = [case.attack for case in assessed.plan.on(cell)]
  found = evaluating.summarize(findings.within(assessed, cell))
  alarms = findings.alarms(assessed)
  mixing = findings.mixing(assessed, cell)
  zero = list(findings.zero_gradients(assessed).values())

  def named(state: checks.State) -> tuple[str, ...]:
    return tuple(alarm.name for alarm in alarms if alarm.state is state)

  reported = given.get("reported", -1.0)
  return Robustness(
    norm=own.evaluation.norm,
    epsilon={name: r for name, r in cell.radii.items() if r},
    suite=suites.title(own),
    attacks=tuple(attack.name for attack in ran),
    rules=tuple(dict.fromkeys(rule for a in ran for rule in a.rules)),
    examples=found.examples,
    clean=found.clean,
    robust=found.robust,
    success=found.success,
    reported=None if reported == -1 else reported,
    zero_gradient_fraction=float(np.mean(np.logical_or.reduce(zero))),
    alarms=named(checks.State.FIRED),
    undecided=named(checks.State.UNDECIDED),
    unchecked=named(checks.State.NOT_CHECKED),
    passed=named(checks.State.PASSED),
    depends_on_batch=mixing,
    batch=own.evaluation.microbatch if mixing else None,
  )


def _architecture(own: Config) -> str:
  model = own.model
  parts = [model.kind]
  if model.kind == "cnn":
    widths = {"-".join(map(str, each.channels)) for each in own.seen.values()}
    parts += [f"channels {width}" for width in sorted(widths)]
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
