"""What a reported robust accuracy should have withstood.

PGD under every configured rule, PDSG and ASSG, FGSM and noise meet all
examples, so that one rule alone can be compared with the worst of them. The
stronger attacks, cheap ones first, meet what those left correct.
"""

import ml_collections

_RULES = ("configured", "pdsg", "assg_atan")
_SURVIVORS = {"meets": "survivors"}


def get_config() -> ml_collections.ConfigDict:
  """Returns the suite."""
  return ml_collections.ConfigDict(
    {
      "attacks": (
        {"kind": "pgd", "rules": _RULES},
        {"kind": "fgsm"},
        {"kind": "random"},
        {"kind": "mi_fgsm", **_SURVIVORS},
        {"name": "sa_pgd_assg", "kind": "sa_pgd", "rules": ("assg_atan",)}
        | _SURVIVORS,
        {
          "name": "pgd_mean",
          "kind": "pgd",
          "rules": _RULES,
          "mix": "gradient_mean",
          "loss": "margin",
          **_SURVIVORS,
        },
        {
          "name": "pgd_restarts",
          "kind": "pgd",
          "loss": "margin",
          "restarts": 5,
          **_SURVIVORS,
        },
        {"name": "apgd_ce", "kind": "apgd", "steps": 50, **_SURVIVORS},
        {
          "name": "apgd_dlr",
          "kind": "apgd",
          "loss": "dlr",
          "rules": ("assg_atan",),
          "steps": 50,
          **_SURVIVORS,
        },
        {"kind": "fab", "steps": 20, "options": {"rivals": 3}, **_SURVIVORS},
        {
          "kind": "apgd_t",
          "steps": 20,
          "options": {"rivals": 3},
          **_SURVIVORS,
        },
        {"kind": "square", "steps": 500, **_SURVIVORS},
      )
    }
  )
