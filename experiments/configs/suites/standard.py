"""What a robust accuracy should have withstood before it is reported.

PGD under every configured rule, PDSG and ASSG, FGSM and noise meet all
examples, so that one rule alone can be compared with the worst of them. The
stronger attacks, cheap ones first, meet what those left correct, with more
steps. Square, the dearest, is for the largest radius.
"""

from typing import Any


def get_config() -> tuple[dict[str, Any], ...]:
  """Returns the suite."""
  later: tuple[dict[str, Any], ...] = (
    {"kind": "sa_pgd", "rules": ("assg_atan",), "steps": 50},
    {"name": "apgd_ce", "kind": "apgd", "steps": 50},
    {"kind": "fab_t", "steps": 10, "options": {"rivals": 3}},
    {
      "name": "pgd_mean",
      "kind": "pgd",
      "rules": ("own", "assg_atan"),
      "mix": "gradient_mean",
      "loss": "margin",
    },
    {
      "name": "apgd_dlr",
      "kind": "apgd",
      "rules": ("assg_atan",),
      "loss": "dlr",
      "steps": 50,
      "restarts": 2,
    },
    {"kind": "apgd_t", "steps": 50, "options": {"rivals": 3}},
    {"kind": "square", "steps": 1000, "levels": (-1,)},
  )
  return (
    {"kind": "pgd", "rules": ("configured", "pdsg", "assg_atan")},
    {"kind": "fgsm"},
    {"kind": "random"},
    *(attack | {"meets": "survivors"} for attack in later),
  )
