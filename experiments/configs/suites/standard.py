"""What a robust accuracy should have withstood before it is reported.

`snnjax.attacks.standard_suite` with PDSG and ASSG beside the configured rules.
"""

import ml_collections

from experiments.evaluation import suites
from snnjax import attacks


def get_config() -> ml_collections.ConfigDict:
  """Returns the suite."""
  suite = attacks.standard_suite(
    ("configured", "pdsg"), own="own", adaptive="assg_atan"
  )
  return ml_collections.ConfigDict({"attacks": suites.mappings(suite)})
