"""Figures of a report. The only part of the package that needs Matplotlib."""

from snnjax.plots.accuracy import Curve, accuracy_against_epsilon
from snnjax.plots.bands import bands_along
from snnjax.plots.gradients import as_maps, gradient_maps
from snnjax.plots.pairs import PairedArm, paired_differences
from snnjax.plots.radii import RadiusCurve, chosen_radii
from snnjax.plots.scatter import (
  NetworkPoint,
  Slopes,
  size_against_sparsity,
)
from snnjax.plots.seeds import SeedCurve, accuracy_over_seeds
from snnjax.plots.sparsity import sparsity_along_attack, sparsity_histograms
from snnjax.plots.spikes import spike_raster
from snnjax.plots.transfer import transfer_matrix
from snnjax.plots.verdicts import ContrastRow, verdict_strip
from snnjax.plots.vulnerability import Ratios, vulnerability_ratio

__all__ = [
  "ContrastRow",
  "Curve",
  "NetworkPoint",
  "PairedArm",
  "RadiusCurve",
  "Ratios",
  "SeedCurve",
  "Slopes",
  "accuracy_against_epsilon",
  "accuracy_over_seeds",
  "as_maps",
  "bands_along",
  "chosen_radii",
  "gradient_maps",
  "paired_differences",
  "size_against_sparsity",
  "sparsity_along_attack",
  "sparsity_histograms",
  "spike_raster",
  "transfer_matrix",
  "verdict_strip",
  "vulnerability_ratio",
]


def __dir__() -> list[str]:
  return sorted(__all__)
