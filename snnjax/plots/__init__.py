"""Figures of a report. The only part of the package that needs Matplotlib."""

from snnjax.plots.accuracy import Curve, accuracy_against_epsilon
from snnjax.plots.gradients import as_maps, gradient_maps
from snnjax.plots.seeds import SeedCurve, accuracy_over_seeds
from snnjax.plots.sparsity import sparsity_along_attack, sparsity_histograms
from snnjax.plots.spikes import spike_raster
from snnjax.plots.vulnerability import Ratios, vulnerability_ratio

__all__ = [
  "Curve",
  "Ratios",
  "SeedCurve",
  "accuracy_against_epsilon",
  "accuracy_over_seeds",
  "as_maps",
  "gradient_maps",
  "sparsity_along_attack",
  "sparsity_histograms",
  "spike_raster",
  "vulnerability_ratio",
]


def __dir__() -> list[str]:
  return sorted(__all__)
