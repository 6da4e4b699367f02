"""The records of a run as a Markdown table of ratios."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.benchmarks import problems
from experiments.benchmarks.libraries import LIBRARIES
from experiments.benchmarks.tasks import OWN, ROWS, TORCH, from_json

Record = Mapping[str, Any]

_NAMES = ("kind", "libraries")  # what tells tasks of one pair apart

# Pairs of our own tasks whose ratio is of interest, by kind.
_PAIRS = (
  ("hire", "train"),
  ("sr", "train"),
  ("sr_jvp", "sr"),
  ("per_example_gradient", "summed_gradient"),
  ("seeds_vmap", "seeds_loop"),
  ("over_seeds", "seeds_loop"),
  ("suite_survivors", "suite_all"),
  ("own_forward", "lax_forward"),
  ("own_gradients", "lax_gradients"),
)


def ratios(record: Record) -> dict[str, float]:
  """The other libraries' medians over ours, by library; empty without ours."""
  medians = {
    name: entry["median"]
    for name, entry in record.get("libraries", {}).items()
    if "median" in entry
  }
  ours = medians.pop(OWN, None)
  return {} if ours is None else {n: m / ours for n, m in medians.items()}


def against_fastest(record: Record, names: Sequence[str]) -> float | None:
  """The ratio of the fastest of some libraries; None if none was timed."""
  timed = [r for n, r in ratios(record).items() if n in names]
  return min(timed) if timed else None


def own_ratios(records: Sequence[Record]) -> dict[str, float]:
  """Our medians over our own of another kind, all else equal, by name."""
  medians = {}
  for record in records:
    entry = record.get("libraries", {}).get(OWN, {})
    if "median" in entry:
      task = record["task"]
      rest = tuple(v for k, v in task.items() if k not in _NAMES)
      medians[task["kind"], str(rest)] = (record["name"], entry["median"])
  return {
    f"{name} over {below}": median / medians[below, rest][1]
    for (kind, rest), (name, median) in medians.items()
    for above, below in _PAIRS
    if kind == above and (below, rest) in medians
  }


def shares(records: Sequence[Record]) -> dict[str, dict[str, float]]:
  """Our tasks' shares of what the machine can do, where that was measured.

  Returns:
    By task name, "sgemm": arithmetic per second over the matrix product's.
  """
  peak = 0.0
  for record in records:
    if record["task"]["kind"] == "sgemm":
      peak = max(peak, *(rate(record, n) or 0 for n in record["libraries"]))
  if not peak:
    return {}
  rates = {r["name"]: rate(r, OWN) for r in records}
  return {n: {"sgemm": v / peak} for n, v in rates.items() if v}


def rate(record: Record, library: str) -> float | None:
  """GF/s of a library on a task; None if not timed or not known."""
  entry = record.get("libraries", {}).get(library, {})
  work = problems.arithmetic(from_json(dict(record["task"])))
  if "median" not in entry or work is None:
    return None
  return work / entry["median"]


def markdown(result: Mapping[str, Any]) -> str:
  """Writes the whole result, for people.

  Args:
    result: "environment", "libraries" (each one's hello) and "records".

  Returns:
    Markdown: machine and versions, a table per row, what was not timed.
  """
  records = result["records"]
  lines = ["# Benchmark", ""]
  lines += [f"- {k}: {v}" for k, v in result["environment"].items()]
  for name, hello in result["libraries"].items():
    lines.append(f"- {name}: {_presence(name, hello)}")
  efficiency = shares(records)
  for row, title in ROWS.items():
    chosen = [r for r in records if r["task"]["row"] == row]
    if chosen:
      lines += ["", f"## {row}: {title}", ""]
      lines += _table(chosen, efficiency)
      lines += _remarks(chosen)
      own = own_ratios(chosen).items()
      lines += [f"- {OWN}, {name}: {ratio:.2f}x" for name, ratio in own]
  return "\n".join(lines) + "\n"


def _presence(name: str, hello: Mapping[str, Any]) -> str:
  if "versions" not in hello:
    why = hello.get("absent") or hello.get("failed")
    return f"absent, skipped ({why})"
  versions = ", ".join(f"{k} {v}" for k, v in hello["versions"].items())
  neuron = LIBRARIES[name].neuron if name in LIBRARIES else ""
  return f"{versions}. {neuron}"


def _table(
  records: Sequence[Record], efficiency: Mapping[str, Mapping[str, float]]
) -> list[str]:
  """Our milliseconds and memory, and the others' as ratios to ours."""
  names: list[str] = []
  for record in records:
    for name, entry in record.get("libraries", {}).items():
      if name != OWN and name not in names and "median" in entry:
        names.append(name)
  head = ["task", f"{OWN} ms (quartiles)", "peak MB", *names]
  head += ["fastest torch", "sgemm share"]
  lines = [_row(head), _row(["---"] * len(head))]
  for record in records:
    ours = record.get("libraries", {}).get(OWN, {})
    if "median" not in ours:
      continue
    ratio_by_name = ratios(record)
    lines.append(
      _row(
        [
          record["name"],
          _spread(ours),
          _megabytes(ours),
          *(_against(record, name, ratio_by_name) for name in names),
          _times(against_fastest(record, TORCH)),
          _percent(efficiency.get(record["name"], {}).get("sgemm")),
        ]
      )
    )
  return lines if len(lines) > 2 else []


def _against(record: Record, name: str, found: Mapping[str, float]) -> str:
  if name not in found:
    return "-"
  peak = _megabytes(record["libraries"][name])
  return f"{found[name]:.2f}x, {peak} MB"


def _spread(entry: Mapping[str, Any]) -> str:
  low, middle, high = (1e3 * entry[k] for k in ("low", "median", "high"))
  return f"{middle:.3g} ({low:.3g}..{high:.3g})"


def _megabytes(entry: Mapping[str, Any]) -> str:
  return f"{entry['peak']:.0f}" if entry.get("peak") else "-"


def _times(value: float | None) -> str:
  return "-" if value is None else f"{value:.2f}x"


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100 * value:.0f} %"


def _row(cells: Sequence[str]) -> str:
  return f"| {' | '.join(cells)} |"


def _remarks(records: Sequence[Record]) -> list[str]:
  """What was not timed, what was compared, and the notes."""
  lines = [""]
  for record in records:
    if "skipped" in record:
      lines.append(f"- {record['name']}: skipped, {record['skipped']}")
    if "starts" in record:
      lines += _starts(record)
    for name, entry in record.get("libraries", {}).items():
      if entry["status"] not in ("timed", "ready"):
        detail = entry.get("detail", "")
        lines.append(f"- {record['name']}, {name}: {entry['status']} {detail}")
      notes = {**entry.get("notes", {}), **entry.get("errors", {})}
      if notes:
        values = ", ".join(f"{k} {_plain(v)}" for k, v in notes.items())
        lines.append(f"- {record['name']}, {name}: {values}")
  return lines


def _starts(record: Record) -> list[str]:
  return [
    f"- {record['name']}, {when}: "
    + ", ".join(f"{part} {value:.2f} s" for part, value in parts.items())
    for when, parts in record["starts"].items()
  ]


def _plain(value: Any) -> str:
  return f"{value:.2g}" if isinstance(value, float) else str(value)
