"""PGD under every configured rule, FGSM and noise, all on every example."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the suite."""
  return ml_collections.ConfigDict(
    {
      "attacks": (
        {"kind": "pgd", "rules": ("configured",)},
        {"kind": "fgsm"},
        {"kind": "random"},
      )
    }
  )
