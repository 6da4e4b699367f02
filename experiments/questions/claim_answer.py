"""The ledger as a report, and the run that makes it."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.command.exits import ExitCode, UsageError
from experiments.configuration.study import Study
from experiments.questions import (
  claim_ledger,
  committed_evidence,
  network_numbers,
  pool,
  question_run,
  results,
  wording,
)
from experiments.questions.claim_evidence import Context
from experiments.questions.claim_ledger import Entry, Weighed
from experiments.questions.question_run import Options
from experiments.questions.results import Measured
from snnjax.report import Column, Record, Section, Table

NAME = "claims"
_COMMAND = (
  "python -m experiments.claims --workdir=DIR --from_results=results/questions "
  "--size={size}"
)


def run(options: Options) -> ExitCode:
  """Makes the ledger of the results that are there; trains nothing.

  Args:
    options: what was asked for.

  Returns:
    The exit code for done.

  Raises:
    UsageError: the study has no claims, or a plan is asked for.
    DataError: networks are missing or damaged; all of them are named.
  """
  if options.plan:
    raise UsageError(
      "--plan is for the questions, which train the networks: the ledger reads "
      "what they measured"
    )
  there = options.from_results or options.workdir / pool.RESULTS
  measured, missing = results.load(
    options.study,
    list(options.study.questions),
    there,
    finished_only=options.finished_only,
  )
  record = answer(options.study, measured, missing)
  return question_run.write(record, options.workdir / NAME)


def answer(
  study: Study,
  measured: Sequence[Measured],
  missing: Sequence[str],
  committed: pathlib.Path = committed_evidence.COMMITTED,
) -> Record:
  """Returns the report of all claims, the ledger first.

  Args:
    study: its claims and protocol.
    measured: the networks of all questions.
    missing: networks that lack a measurement, in words.
    committed: the folder of what else this repository has measured.

  Raises:
    UsageError: the study has no claims, or one that nothing measures.
    DataError: a committed file is damaged.
  """
  whole = [each for each in measured if "gradients" in each.arrays]
  networks = network_numbers.grouped(whole)
  entries = claim_ledger.ledger(Context(study, networks, committed))
  command = _COMMAND.format(size=study.size)
  return wording.record(
    "The ledger of claims",
    _summary(study, entries, missing),
    study,
    whole,
    [
      _ledger_section(entries, command),
      *(_claim_section(number, each) for number, each in _numbered(entries)),
    ],
  )


def _numbered(entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
  return list(enumerate(entries, 1))


def _summary(
  study: Study, entries: Sequence[Entry], missing: Sequence[str]
) -> str:
  words: dict[str, list[str]] = {}
  for each in entries:
    words.setdefault(each.conclusion.value, []).append(each.name)
  parts = [
    "; ".join(
      f"{word}: {len(names)} ({', '.join(names)})"
      for word, names in words.items()
    )
    + ".",
    f"Size {study.size}; every verdict rests on the rule beside it, which the "
    "study has.",
  ]
  return "\n\n".join([*parts, *wording.reservations(study, missing)])


def _numbers(weighed: Weighed | None) -> dict[str, Any]:
  """The number of a row, with its interval and its replicates."""
  own: dict[str, Any] = dict.fromkeys(
    ("value", "low", "high", "replicates", "replicate", "p")
  )
  if weighed is None:
    return own
  row = weighed.row
  own["replicate"] = row.replicate
  if row.estimate is not None:
    own |= {
      "value": row.estimate.estimate,
      "low": row.estimate.low,
      "high": row.estimate.high,
      "replicates": row.estimate.replicates,
      "p": weighed.p,
    }
  elif row.interval is not None:
    ends = zip(("value", "low", "high"), row.interval, strict=True)
    own |= {name: end for name, end in ends if math.isfinite(end)}
  return own


def _ledger_section(entries: Sequence[Entry], command: str) -> Section:
  rows: list[dict[str, Any]] = []
  for number, each in _numbered(entries):
    turning = each.turning
    rows.append(
      {
        "number": number,
        "name": each.name,
        "claim": each.claim.text,
        "source": each.claim.source,
        "verdict": each.conclusion.value,
        "rests_on": turning.row.name if turning else "",
        **_numbers(turning),
        "unit": each.claim.unit,
        "evidence": _counts(each),
        "rule": claim_ledger.describe(each.name, each.claim),
        "artifact": turning.row.artifact if turning else "",
        "command": command,
        "change": turning.change if turning else "Nothing decides it.",
      }
    )
  columns = [
    Column("number", "no."),
    Column("claim", "claim"),
    Column("verdict", "verdict"),
    Column("evidence", "numbers that decide"),
    Column("rests_on", "the verdict turns on"),
    Column("value", "measured", interval=("low", "high")),
    Column("unit", "unit"),
    Column("replicates", "replicates"),
    Column("replicate", "of"),
    Column("source", "source"),
    Column("artifact", "artifact"),
    Column("command", "command"),
    Column("change", "what would change it"),
  ]
  return Section(
    "The ledger",
    "A claim is general: verified where every number that decides verifies it, "
    "refuted where one refutes it, undecided otherwise, also for want of a "
    "number. The number shown is the one that the verdict turns on.",
    [
      Table(
        "ledger",
        "Claims",
        "A row a claim, with the number its verdict turns on and its interval "
        "before correction.",
        columns,
        rows,
      )
    ],
  )


def _counts(entry: Entry) -> str:
  """How many numbers say what, of those that decide."""
  counts: dict[str, int] = {}
  for each in entry.rows:
    if each.conclusion is not None:
      missing = each.row.estimate is None
      word = "not measured" if missing else each.conclusion.value
      counts[word] = counts.get(word, 0) + 1
  return ", ".join(f"{count} {word}" for word, count in counts.items())


def _claim_section(number: int, entry: Entry) -> Section:
  rows: list[Mapping[str, Any]] = [
    {
      "what": each.row.name,
      **_numbers(each),
      "verdict": each.conclusion.value if each.conclusion else "told beside",
      "reason": each.reason,
      "change": each.change,
      "artifact": each.row.artifact,
    }
    for each in entry.rows
  ]
  claim = entry.claim
  return Section(
    f"{number}. {claim.text}: {entry.conclusion.value}",
    f"{claim.source}. {claim_ledger.describe(entry.name, claim)}",
    [
      Table(
        entry.name,
        f"Evidence on {entry.name}",
        f"Unit: {claim.unit}. Intervals are Student's over replicates, before "
        "correction; the verdict of a row is after it.",
        [
          Column("what", "what"),
          Column("value", "measured", interval=("low", "high")),
          Column("replicates", "replicates"),
          Column("replicate", "of"),
          Column("p", "corrected p"),
          Column("verdict", "verdict"),
          Column("reason", "reason"),
          Column("artifact", "artifact"),
        ],
        rows,
      )
    ],
  )
