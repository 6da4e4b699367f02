"""PGD under every configured rule, FGSM and noise, all on every example."""

from typing import Any

from experiments.planning import suites
from snnjax import attacks


def get_config() -> tuple[dict[str, Any], ...]:
  """Returns the suite."""
  return suites.mappings(
    attacks.quick_suite(("configured",), trained_rule="own")
  )
