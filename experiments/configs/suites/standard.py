"""What a robust accuracy should have withstood before it is reported.

`snnjax.attacks.standard_suite` with PDSG and ASSG beside the configured rules.
"""

from typing import Any

from experiments.planning import suites
from snnjax import attacks


def get_config() -> tuple[dict[str, Any], ...]:
  """Returns the suite."""
  suite = attacks.standard_suite(
    ("configured", "pdsg"), trained_rule="own", adaptive="assg_atan"
  )
  return suites.mappings(suite)
