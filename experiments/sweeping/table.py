"""The tables of a sweep: every run, and groups of runs over their seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.command.exits import ExitCode
from experiments.configuration import settings
from experiments.evaluation.assessment import Assessed
from experiments.reporting import alarm_findings, findings
from experiments.sweeping.grid import SEED, Cell
from snnjax import plots, report
from snnjax.checks import Alarm
from snnjax.intervals import student, wilson
from snnjax.plots import SeedCurve
from snnjax.report import Column, Figure, Record, Section, Table
from snnjax.storage import environment

_SHOWN = "margin"  # the confidence whose gradients are told
# Numbers of the accuracy rows that are shares of all examples, with headings.
_SHARES = {
  "clean": "clean",
  "noise": "random noise",
  "fgsm": "FGSM",
  "pgd": "PGD, worst rule",
  "robust": "worst of all",
}
_ATTACK = ("norm", "attacked", "epsilon", "examples")
_DRAWN = 14  # groups in one picture: each colour with two marks
_OVER_SEEDS = (
  "Means over the seeds of a group, with 95 % t intervals (Student's) of the "
  "mean over all seeds that there could be, on the same test examples."
)


class Numbers(NamedTuple):
  """What a sweep keeps of one evaluated run.

  Attributes:
    accuracy: rows of `findings.accuracy_rows`.
    sparsity: rows of `findings.sparsity_rows`.
    curves: by norm and target, radii and the share of examples that withstand
      each.
    alarms: of the network.
    made_from: its digests.
  """

  accuracy: Sequence[Mapping[str, Any]]
  sparsity: Sequence[Mapping[str, Any]]
  curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]
  alarms: Sequence[Alarm]
  made_from: Mapping[str, str]


class Outcome(NamedTuple):
  """How one run stands.

  Attributes:
    cell: which.
    status: "done", "failed", "busy" or "free".
    code: 0 unless it failed.
    reason: why it did.
    seconds: that its last session took; 0 where that is not known.
    numbers: of its network, where it is done.
  """

  cell: Cell
  status: str
  code: ExitCode = ExitCode.DONE
  reason: str = ""
  seconds: float = 0.0
  numbers: Numbers | None = None


def numbers(assessed: Assessed) -> Numbers:
  """Returns what a sweep keeps of an evaluation: some kilobytes of it."""
  rows = findings.accuracy_rows(assessed)
  count = len(assessed.evaluation.labels)
  curves = {
    norm: {
      target: (list(told["radii"]), [n / count for n in told["correct"]])
      for target, told in findings.correct_counts(assessed, norm).items()
    }
    for norm in assessed.plan.norms
  }
  return Numbers(
    rows,
    findings.sparsity_rows(assessed, _SHOWN),
    curves,
    alarm_findings.alarms(assessed),
    dict(assessed.made_from),
  )


def record(outcomes: Sequence[Outcome], seed: int) -> Record:
  """Returns the report on a sweep, finished or not.

  Args:
    outcomes: of all its runs.
    seed: of the configuration that they change.
  """
  count = {
    status: sum(each.status == status for each in outcomes)
    for status in ("done", "failed", "busy", "free")
  }
  failed = [each for each in outcomes if each.status == "failed"]
  lines = [f"{count['done']} of {len(outcomes)} runs are finished."]
  if count["busy"] or count["free"]:
    lines.append(
      f"{count['busy']} are being run, {count['free']} are free: this table "
      "is not whole."
    )
  lines += [f"{each.cell.name} failed: {each.reason}" for each in failed]
  if failed:
    lines.append("The same command with --retry runs again what failed.")
  done = {
    each.cell.name: each.numbers
    for each in outcomes
    if each.numbers is not None
  }
  return Record(
    title="Sweep",
    summary="\n\n".join(lines),
    alarms=[
      *(alarm for each in done.values() for alarm in each.alarms),
      *alarm_findings.unmeasured(
        {each.cell.name: each.reason for each in failed}
      ),
    ],
    sections=[
      Section(
        "Groups",
        "Runs that differ in their seed alone are one group.",
        [groups(outcomes), *_sparsity(outcomes)],
        _figures(outcomes),
      ),
      Section("Runs", "", [runs(outcomes)]),
    ],
    provenance={
      "environment": environment.describe(seed),
      "configuration": {
        each.cell.name: settings.to_dict(each.cell.config) for each in outcomes
      },
      "made_from": {name: each.made_from for name, each in done.items()},
    },
  )


def runs(outcomes: Sequence[Outcome]) -> Table:
  """Returns the single runs: a row per run and attack, or why there is none.

  Args:
    outcomes: at least one.
  """
  rows = [row for each in outcomes for row in _rows(each)]
  columns = [
    *(Column(key, key) for key in outcomes[0].cell.values),
    *(Column(key, key) for key in ("status", "norm", "attacked", "epsilon")),
    Column("examples", "examples"),
    *(
      Column(key, _SHARES[key], True, interval=(f"{key}_low", f"{key}_high"))
      for key in ("clean", "robust")
    ),
    *(Column(key, _SHARES[key], True) for key in ("noise", "pgd")),
    Column("reason", "reason"),
  ]
  return Table(
    name="runs",
    title="Accuracy of every run",
    caption=(
      "Share of test examples classified correctly. 'Worst of all' counts an "
      "example as lost if any attack breaks it, at this radius or in a smaller "
      "ball that lies inside. Intervals are Wilson's, of 95 %: where the "
      "accuracy of the same network on other examples would lie."
    ),
    columns=columns,
    rows=_filled(columns, rows),
  )


def groups(outcomes: Sequence[Outcome]) -> Table:
  """Returns the means over seeds: a row per group and attack.

  Args:
    outcomes: at least one.
  """
  rows = []
  for about, members in _grouped(outcomes):
    done = [each.numbers for each in members if each.numbers is not None]
    lists = [each.accuracy for each in done]
    for same in zip(*lists, strict=True):  # one attack, a row for each seed
      row = {**about, **{key: same[0][key] for key in _ATTACK}}
      for key in (*_SHARES, "success"):
        row |= _mean(key, [each[key] for each in same if key in each], 0, 1)
      for key in _SHARES:
        row |= _pooled(key, same)
      rows.append(row)
    if not done:
      rows.append(about)
  columns = [
    *_about(outcomes),
    *(Column(key, key) for key in _ATTACK),
    *(
      Column(key, _SHARES[key], True, interval=(f"{key}_low", f"{key}_high"))
      for key in ("clean", "noise", "pgd", "robust")
    ),
    Column(
      "robust_pooled",
      "worst of all, pooled",
      True,
      interval=("robust_pooled_low", "robust_pooled_high"),
    ),
    Column("note", "note"),
  ]
  return Table(
    name="groups",
    title="Accuracy over seeds",
    caption=(
      f"{_OVER_SEEDS} They are cut at 0 and 100 %. 'Pooled' counts the "
      "examples of all seeds as one sample, with Wilson's interval of 95 %: "
      "too narrow where the same examples fall for every seed."
    ),
    columns=columns,
    rows=_filled(columns, rows),
  )


def _sparsity(outcomes: Sequence[Outcome]) -> list[Table]:
  """The metrics of input gradients over seeds, where a run is done."""
  rows = []
  for about, members in _grouped(outcomes):
    lists = [each.numbers.sparsity for each in members if each.numbers]
    for same in zip(*lists, strict=True):
      row = {
        **about,
        "modality": same[0]["modality"],
        "input": same[0]["input"],
      }
      for key in findings.METRICS:
        row |= _mean(key, [each[key] for each in same])
      rows.append(row)
  if not rows:
    return []
  columns = [
    *_about(outcomes),
    Column("modality", "modality"),
    Column("input", "input"),
    *(
      Column(key, heading, interval=(f"{key}_low", f"{key}_high"))
      for key, heading in findings.METRICS.items()
    ),
    Column("note", "note"),
  ]
  return [
    Table(
      name="sparsity_groups",
      title="Input gradients over seeds",
      caption=(
        f"{_OVER_SEEDS} Of each network the mean over its examples with a "
        f"gradient of the {_SHOWN}, at clean inputs, halfway through the "
        "attack and at its end."
      ),
      columns=columns,
      rows=_filled(columns, rows),
    )
  ]


def _figures(outcomes: Sequence[Outcome]) -> list[Figure]:
  """Accuracy against the radius, a line per group, where a run is done.

  Every norm has a picture of its own.
  """
  panels: dict[str, dict[str, dict[str, SeedCurve]]] = {}
  grouped = [
    (about, [each.numbers for each in members if each.numbers])
    for about, members in _grouped(outcomes)
  ]
  drawn = [(about, done) for about, done in grouped if done]
  for about, done in drawn[:_DRAWN]:
    told = [f"{key}={about[key]}" for key in _keys(outcomes)]
    for norm, targets in done[0].curves.items():
      for target, (radii, _) in targets.items():
        panel = panels.setdefault(norm, {}).setdefault(target, {})
        panel[", ".join(told) or "all runs"] = SeedCurve(
          radii, [each.curves[norm][target][1] for each in done]
        )
  name, title = "accuracy_seeds", "Accuracy against attack strength, over seeds"
  left = len(drawn) - _DRAWN
  more = f" {left} more groups are in the table alone." if left > 0 else ""
  return [
    plots.accuracy_over_seeds(
      by_target,
      caption=(
        "Accuracy under the worst attack up to each radius: the mean over "
        "seeds, its 95 % t band cut at 0 and 100 %, and each seed as a dot."
        f"{more} Where modalities have different radii, the larger one is "
        "drawn."
      ),
      **findings.axis(list(panels), norm, name, title)._asdict(),
    )
    for norm, by_target in panels.items()
  ]


def _keys(outcomes: Sequence[Outcome]) -> list[str]:
  """The keys that groups differ in."""
  return [key for key in outcomes[0].cell.values if key != SEED]


def _about(outcomes: Sequence[Outcome]) -> list[Column]:
  return [
    *(Column(key, key) for key in _keys(outcomes)),
    Column("seeds", "seeds"),
  ]


def _grouped(
  outcomes: Sequence[Outcome],
) -> list[tuple[dict[str, Any], list[Outcome]]]:
  """Each group: what its rows begin with, and its runs."""
  parts: dict[str, list[Outcome]] = {}
  for each in outcomes:
    parts.setdefault(each.cell.group, []).append(each)
  return [
    (
      {
        **{key: members[0].cell.values[key] for key in _keys(outcomes)},
        "seeds": sum(each.numbers is not None for each in members),
        "runs": len(members),
        "note": _note(members),
      },
      members,
    )
    for members in parts.values()
  ]


def _note(members: Sequence[Outcome]) -> str:
  """What is to be known of a group before its numbers are believed."""
  done = sum(each.numbers is not None for each in members)
  notes = []
  if done == 1:
    notes.append("one seed: no interval over seeds")
  if done < len(members):
    notes.append(f"{done} of {len(members)} runs are finished")
  return "; ".join(notes)


def _mean(
  key: str,
  values: Sequence[float | None],
  low: float = -math.inf,
  high: float = math.inf,
) -> dict[str, float | None]:
  """A mean with its interval and spread; None if a seed has no such number."""
  names = (key, f"{key}_low", f"{key}_high", f"{key}_deviation")
  known = [v for v in values if v is not None and math.isfinite(v)]
  if not known or len(known) < len(values):
    return dict.fromkeys(names)
  mean, *ends = student(known)
  if len(known) == 1:
    return dict(zip(names, (mean, None, None, None), strict=True))
  spread = statistics.stdev(known)
  cut = [min(max(end, low), high) for end in ends]
  return dict(zip(names, (mean, *cut, spread), strict=True))


def _pooled(
  key: str, same: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
  """The share of all seeds' examples, with its Wilson interval."""
  names = (f"{key}_pooled", f"{key}_pooled_low", f"{key}_pooled_high")
  shares = [row.get(key) for row in same]
  counts = [row["examples"] for row in same]
  if any(share is None or not math.isfinite(share) for share in shares):
    return dict.fromkeys(names)
  right = sum(
    round(share * count) for share, count in zip(shares, counts, strict=True)
  )
  return dict(zip(names, wilson(right, sum(counts)), strict=True))


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
  cell = outcome.cell
  about = {"run": cell.name, **cell.values, "status": outcome.status}
  if outcome.numbers is None:
    ended: dict[str, Any] = {"reason": outcome.reason}
    if outcome.status == "failed":
      ended["exit_code"] = int(outcome.code)
    return [{**about, **ended}]
  return [{**row, **about, "exit_code": 0} for row in outcome.numbers.accuracy]


def _filled(
  columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """The rows, each with every key: a run that failed has nothing there."""
  shown = [key for column in columns for key in report.keys_of(column)]
  every = dict.fromkeys(shown + [key for row in rows for key in row])
  return [{**every, **row} for row in rows]
