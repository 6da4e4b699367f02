"""Compares two libraries' results, so that only equal work is timed."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Evidence = Mapping[str, np.ndarray]
_DETACHED = "_detached"
_WRONG = 1e30  # JSON has no infinity

# The largest accepted error by net: of spikes the share that differs, of all
# else the relative difference. The VGG normalises by batch statistics, whose
# last bits move potentials across the threshold; what ten layers make of that
# is reported and not judged.
_TOLERANCES: dict[str, dict[str, float]] = {
  "lif": {"spikes": 1e-5, "gradient": 1e-5},
  "cnn": {
    "spikes": 0.0,
    "logits": 1e-6,
    "input_gradient": 1e-4,
    "weight_gradient": 1e-4,
    "sr_loss": 1e-5,
    "sr_gradient": 1e-3,
  },
  "vgg": {"spikes": 1e-3, "sr_loss": 0.1},
  "analog": {"adversarial": 1e-2, "fooled": 0.1},
}


class Verdict(NamedTuple):
  """The outcome of a comparison.

  Attributes:
    errors: by the evidence's name.
    refusal: which results differ by more than their tolerance; empty if none.
  """

  errors: dict[str, float]
  refusal: str


def load(file: pathlib.Path) -> Evidence:
  """Reads what a worker saved."""
  with np.load(file, allow_pickle=False) as archive:
    return {name: archive[name] for name in archive.files}


def compare(
  net: str, reference: Evidence, other: Evidence, detached: bool
) -> Verdict:
  """Compares a library's evidence with our own.

  Args:
    net: the task's.
    reference: ours; NAME_detached is NAME with the reset held constant.
    other: the library's.
    detached: whether the library holds the reset constant in gradients.

  Returns:
    Errors, and what is wrong. Evidence that one side lacks is no error, but
    no evidence in common is.
  """
  errors: dict[str, float] = {}
  for name, value in other.items():
    if name.endswith(_DETACHED):
      continue
    ours = reference.get(f"{name}{_DETACHED}") if detached else None
    ours = reference.get(name) if ours is None else ours
    if ours is not None:
      errors[name] = _error(name, ours, value)
  if not errors:
    return Verdict({}, "no evidence to compare")
  limits = _TOLERANCES[net]
  wrong = [
    f"{name} differ by {error:.2g}"
    for name, error in errors.items()
    if name in limits and not error <= limits[name]
  ]
  return Verdict(errors, "; ".join(wrong))


def _error(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
  if ours.shape != theirs.shape:
    return _WRONG
  if name == "spikes":
    return float(np.mean(ours != theirs))
  difference = np.linalg.norm((ours - theirs).astype(np.float64))
  error = float(difference / max(float(np.linalg.norm(ours)), 1e-30))
  return error if np.isfinite(error) else _WRONG
