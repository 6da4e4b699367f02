"""PGD under every configured rule, FGSM and noise, all on every example."""

from typing import Any


def get_config() -> tuple[dict[str, Any], ...]:
  """Returns the suite."""
  return (
    {"kind": "pgd", "rules": ("configured",)},
    {"kind": "fgsm"},
    {"kind": "random"},
  )
