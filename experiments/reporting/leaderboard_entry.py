"""Evaluated networks as entries of a leaderboard."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.building import build
from experiments.configuration import schema
from experiments.configuration.schema import Config
from experiments.evaluation.assessment import Assessed
from experiments.planning import suites
from experiments.reporting import alarm_findings, data_tables, findings
from experiments.runs.origins import WEIGHTS
from snnjax import checks
from snnjax import evaluation as evaluating
from snnjax.report import leaderboard
from snnjax.report.leaderboard import Entry, Paper, Robustness, Spiking
from snnjax.storage import environment, files

FILE = "leaderboard.json"
_GRAVEST = (
  checks.State.FIRED,
  checks.State.UNDECIDED,
  checks.State.NOT_CHECKED,
  checks.State.PASSED,
  checks.State.NOT_APPLICABLE,
)


def check_entries(networks: Sequence[Assessed], config: Config) -> list[Entry]:
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
  entries = [entry(network, config, alone=alone) for network in networks]
  leaderboard.document(entries)  # checks them, together too
  return entries


def write(entries: Sequence[Entry], folder: pathlib.Path) -> pathlib.Path:
  """Writes ``leaderboard.json`` into a report's folder.

  Args:
    entries: from `check_entries`.
    folder: the report's; it exists.

  Returns:
    The file's path.

  Raises:
    OSError: it cannot be written.
  """
  path = folder / FILE
  leaderboard.write(path, entries)
  return path


def entry(assessed: Assessed, config: Config, *, alone: bool) -> Entry:
  """Returns one network's entry, under the last target's largest radii.

  Args:
    assessed: the network.
    config: its ``leaderboard`` is what only the authors know.
    alone: whether the name of ``config.leaderboard`` is for this network
      only; else the run's is put behind it.
  """
  run_config = assessed.config
  authors_words = _authors_words(config, run_config)
  name = authors_words.get("name", "") or assessed.name
  if not alone and name != assessed.name:
    name = f"{name}, {assessed.name}"
  session = environment.read(assessed.folder)[-1]
  return Entry(
    paper=Paper(
      name=name,
      **{
        key: authors_words[key]
        for key in Paper._fields
        if key != "name" and key in authors_words
      },
    ),
    dataset=f"{run_config.data.name} ({', '.join(run_config.seen)})",
    data=data_tables.to_record(assessed.used),
    architecture=authors_words.get("architecture", "")
    or _architecture(run_config),
    method=run_config.method.name,
    additional_data=authors_words.get("additional_data", False),
    spiking=Spiking(
      steps=run_config.model.steps,
      encoder=", ".join(
        dict.fromkeys(modality.encoder for modality in run_config.seen.values())
      ),
      neuron=run_config.model.neuron.kind,
      rule=run_config.model.rule,
    ),
    robustness=_robustness(assessed, authors_words),
    seeds=(run_config.seed,),
    checkpoint_sha256=files.sha256(assessed.folder.parent / WEIGHTS),
    software=_software(session),
    made_from=assessed.made_from,
    precision=build.precision(run_config),
    kernel=build.kernel(run_config),
  )


def _authors_words(config: Config, run_config: Config) -> dict[str, Any]:
  """What the authors said: for this report, or when they trained the run."""
  default = dataclasses.asdict(schema.Leaderboard())
  changed = {
    key: value
    for key, value in dataclasses.asdict(config.leaderboard).items()
    if value != default[key]
  }
  return {**dataclasses.asdict(run_config.leaderboard), **changed}


def _robustness(
  assessed: Assessed, authors_words: Mapping[str, Any]
) -> Robustness:
  run_config = assessed.config
  plan = assessed.plan
  cells = {norm: plan.strongest_in(norm) for norm in plan.norms}
  ran = [case.attack for cell in cells.values() for case in plan.on(cell)]
  headline = findings.headline(assessed)
  summary = evaluating.summarize(headline)
  alarms = alarm_findings.alarms(assessed)
  mixing = findings.batch_dependent(assessed, headline)
  zero = list(findings.zero_gradients(assessed).values())
  # Every norm has its own: the gravest state of a check counts.
  states: dict[str, set[checks.State]] = {}
  for alarm in alarms:
    states.setdefault(alarm.name, set()).add(alarm.state)
  gravest = {
    name: next(state for state in _GRAVEST if state in there)
    for name, there in states.items()
  }

  def named(state: checks.State) -> tuple[str, ...]:
    return tuple(name for name, its in gravest.items() if its is state)

  reported = authors_words.get("reported", -1.0)
  return Robustness(
    norms=plan.norms,
    epsilon={
      norm: {name: r for name, r in cell.radii.items() if r}
      for norm, cell in cells.items()
    },
    suite=suites.title(run_config),
    attacks=tuple(dict.fromkeys(attack.name for attack in ran)),
    rules=tuple(dict.fromkeys(rule for a in ran for rule in a.rules)),
    examples=summary.examples,
    clean=summary.clean,
    robust=summary.robust,
    robust_by_norm={
      norm: evaluating.summarize(findings.within(assessed, cell)).robust
      for norm, cell in cells.items()
    },
    success=summary.success,
    reported=None if reported == -1 else reported,
    zero_gradient_fraction=float(np.mean(np.logical_or.reduce(zero))),
    alarms=named(checks.State.FIRED),
    undecided=named(checks.State.UNDECIDED),
    unchecked=named(checks.State.NOT_CHECKED),
    passed=named(checks.State.PASSED),
    depends_on_batch=mixing,
    batch=run_config.evaluation.microbatch if mixing else None,
  )


def _architecture(run_config: Config) -> str:
  model = run_config.model
  parts = [model.kind]
  if model.kind == "cnn":
    widths = {
      "-".join(map(str, modality.channels))
      for modality in run_config.seen.values()
    }
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
