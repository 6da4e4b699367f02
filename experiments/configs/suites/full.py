"""Everything that finds adversarial examples here, for hours on a GPU.

``--suite=full:RUN,RUN`` also transfers attacks from these trained runs. What
a budget or a network has no use for (l1 steps under linf, averages over the
draws of an encoder that draws nothing) is named in the report.
"""

from typing import Any

_PLAIN = (
  "configured",
  "bptt_sigmoid",
  "bptt_gaussian",
  "bptr",
  "rga",
  "hart_atan",
  "straight_through",
  "pdsg",
)
_ADAPTIVE = (
  "assg_atan",
  "assg_triangle",
  "assg_rectangle",
  "assg_sigmoid",
  "assg_gaussian",
)
_ALL = (*_PLAIN, *_ADAPTIVE)


def get_config(runs: str = "") -> tuple[dict[str, Any], ...]:
  """Returns the suite.

  Args:
    runs: folders of trained runs to transfer attacks from, with commas
      between.
  """
  return (
    {"kind": "pgd", "rules": _ALL},
    {"kind": "fgsm"},
    {"kind": "random"},
    {"kind": "spgd", "rules": _ALL, "norms": ("l0",)},
    *(attack | {"meets": "survivors"} for attack in _later(runs)),
  )


def _few_sites() -> list[dict[str, Any]]:
  """Those of them where sites are counted."""
  return [
    {"kind": "pgd_l0", "rules": _ALL, "steps": 100, "restarts": 5},
    {
      "name": "spgd_restarts",
      "kind": "spgd",
      "rules": _ALL,
      "loss": "margin",
      "steps": 100,
      "restarts": 5,
    },
    {"kind": "spgd_unprojected", "rules": _ALL, "steps": 100, "restarts": 5},
    {"kind": "sigma_zero", "rules": _ALL, "steps": 1000},
    {"kind": "jsma", "rules": _PLAIN, "steps": 100},
    {"kind": "sparse_rs", "steps": 10_000},
  ]


def _later(runs: str) -> list[dict[str, Any]]:
  """The attacks that meet survivors, cheap ones first."""
  folders = tuple(run for run in runs.split(",") if run)
  return [
    {"kind": "mi_fgsm", "rules": _ALL},
    {"kind": "slide", "rules": _ALL, "steps": 100},
    {"kind": "sa_pgd", "rules": _ADAPTIVE, "steps": 100, "restarts": 5},
    {
      "name": "pgd_mean",
      "kind": "pgd",
      "rules": _ALL,
      "mix": "gradient_mean",
      "loss": "margin",
      "steps": 100,
    },
    {
      "name": "pgd_restarts",
      "kind": "pgd",
      "rules": _ALL,
      "loss": "margin",
      "steps": 100,
      "restarts": 10,
    },
    *(
      {
        "name": f"apgd_{short}",
        "kind": "apgd",
        "rules": _ALL,
        "loss": loss,
        "steps": 100,
        "restarts": 5,
      }
      for short, loss in (("ce", "cross_entropy"), ("dlr", "dlr"))
    ),
    {"kind": "transfer", "steps": 100, "options": {"runs": folders}},
    {"kind": "deepfool", "rules": _PLAIN, "steps": 50},
    {"kind": "fab", "rules": _PLAIN, "steps": 100, "restarts": 5},
    {"kind": "apgd_t", "rules": _PLAIN, "steps": 100},
    {"kind": "fab_t", "rules": _PLAIN, "steps": 100},
    {"kind": "carlini_wagner", "rules": ("configured",)},
    {"kind": "ead", "rules": ("configured",)},
    *(
      {
        "name": f"apgd_{short}_averaged",
        "kind": "apgd",
        "loss": loss,
        "rules": ("configured", "assg_atan"),
        "steps": 100,
        "draws": 20,
      }
      for short, loss in (("ce", "cross_entropy"), ("dlr", "dlr"))
    ),
    {"kind": "spsa", "steps": 100, "options": {"pairs": 128}},
    {"kind": "hop_skip_jump", "steps": 50},
    {"kind": "square", "steps": 5000},
    *(attack | {"norms": ("l0",)} for attack in _few_sites()),
    {"name": "random_search", "kind": "random", "steps": 10_000},
  ]
