"""PGD under every configured rule, FGSM and noise, all on every example."""

import ml_collections

from experiments.evaluation import suites
from snnjax import attacks


def get_config() -> ml_collections.ConfigDict:
  """Returns the suite."""
  suite = attacks.quick_suite(("configured",), own="own")
  return ml_collections.ConfigDict({"attacks": suites.mappings(suite)})
