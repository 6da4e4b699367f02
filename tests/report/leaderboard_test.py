"""A leaderboard's entries: what they hold, and what is refused."""

import json

import pytest

from snnjax.intervals import Interval, wilson
from snnjax.report import leaderboard
from snnjax.report.leaderboard import Entry, Paper, Robustness, Spiking

ENTRY = Entry(
  paper=Paper("sparse", "On sparse gradients", venue="ICML 2026"),
  dataset="digits",
  data={"name": "digits", "source": {"sha256": "a1" * 32}, "parts": {}},
  architecture="cnn, channels 8-16",
  method="sr",
  additional_data=False,
  spiking=Spiking(4, "direct", "lif", "bptt_triangle"),
  robustness=Robustness(
    norms=("linf", "l0"),
    epsilon={"linf": {"image": 0.2, "events": 0.3}, "l0": {"image": 5}},
    suite="quick",
    attacks=("pgd/bptt_triangle", "fgsm"),
    rules=("bptt_triangle",),
    examples=104,
    clean=wilson(88, 104),
    robust=wilson(51, 104),
    robust_by_norm={"linf": wilson(60, 104), "l0": wilson(55, 104)},
    success=wilson(37, 88),
    zero_gradient_fraction=0.0,
    alarms=("Too few restarts",),
  ),
  seeds=(0,),
  checkpoint_sha256="0f" * 32,
  software={"python": "3.12", "snnjax": "1", "jax": "0.10.2"},
  made_from={"data": "1a" * 32, "parameters": "2b" * 32},
)


def changed(**values):
  """The entry with one value replaced, wherever it is."""
  entry = ENTRY
  for name, value in values.items():
    for part in ("paper", "spiking", "robustness"):
      if hasattr(getattr(entry, part), name):
        inner = getattr(entry, part)._replace(**{name: value})
        entry = entry._replace(**{part: inner})
        break
    else:
      entry = entry._replace(**{name: value})
  return entry


def test_what_depends_on_the_batch_comes_with_its_size():
  (flat,) = leaderboard.document(
    [changed(depends_on_batch=("pgd/pdsg",), batch=32)]
  )["entries"]
  assert (flat["depends_on_batch"], flat["batch"]) == (["pgd/pdsg"], 32)
  for names, size in ((("pgd/pdsg",), None), ((), 32), (("pgd/pdsg",), 0)):
    with pytest.raises(ValueError, match="batch must be"):
      leaderboard.check(changed(depends_on_batch=names, batch=size))


def test_a_document_is_flat_json_with_every_field():
  document = leaderboard.document([ENTRY])
  assert json.loads(json.dumps(document, allow_nan=False)) == document
  assert (document["schema"], document["version"]) == (
    "snnjax.leaderboard",
    2,
  )
  (flat,) = document["entries"]
  fields = {
    *(set(Entry._fields) - {"paper", "spiking", "robustness"}),
    *Paper._fields,
    *Spiking._fields,
    *Robustness._fields,
  }
  assert fields <= set(flat)
  extra = {
    f"{n}_{end}"
    for n in ("clean", "robust", "success")
    for end in (
      "low",
      "high",
    )
  }
  assert set(flat) - fields == extra | {"unreliable"}
  assert flat["robust"] == 51 / 104
  assert flat["robust_low"] < flat["robust"] < flat["robust_high"]
  assert flat["epsilon"] == {
    "linf": {"image": 0.2, "events": 0.3},
    "l0": {"image": 5},
  }
  assert flat["robust_by_norm"]["l0"] == {
    "share": 55 / 104,
    "share_low": wilson(55, 104).low,
    "share_high": wilson(55, 104).high,
  }
  assert flat["attacks"] == ["pgd/bptt_triangle", "fgsm"]
  assert flat["reported"] is None
  assert flat["unreliable"] is True


@pytest.mark.parametrize(
  ("checks", "unreliable"),
  [
    ({"passed": ("a", "b")}, False),
    ({}, None),
    ({"passed": ("a",), "undecided": ("b",)}, None),
    ({"passed": ("a",), "unchecked": ("b",)}, None),
    ({"passed": ("a",), "alarms": ("b",), "unchecked": ("c",)}, True),
  ],
)
def test_only_what_was_checked_is_called_reliable(checks, unreliable):
  robustness = ENTRY.robustness._replace(**{"alarms": ()} | checks)
  document = leaderboard.document([ENTRY._replace(robustness=robustness)])
  assert document["entries"][0]["unreliable"] is unreliable


def test_an_entry_without_alarms_or_hits_is_fine():
  entry = changed(
    alarms=(), clean=wilson(0, 104), robust=wilson(0, 104), success=wilson(0, 0)
  )
  (flat,) = leaderboard.document([entry])["entries"]
  assert flat["success"] is None
  perfect = changed(
    clean=wilson(104, 104),
    robust=wilson(104, 104),
    robust_by_norm=dict.fromkeys(("linf", "l0"), wilson(104, 104)),
    success=wilson(0, 104),
  )
  leaderboard.check(perfect)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("name", ""),
    ("name", 3),
    ("title", None),
    ("venue", "ICML"),
    ("link", "arxiv.org/abs/1"),
    ("dataset", " "),
    ("data", {"name": "digits"}),
    ("architecture", ""),
    ("encoder", ""),
    ("suite", ""),
    ("additional_data", "no"),
    ("norms", ("l7", "l0")),
    ("norms", ()),
    ("epsilon", {"linf": {"image": 0.2}}),
    ("epsilon", {"linf": {}, "l0": {"image": 5}}),
    ("epsilon", {"linf": {"image": 0.0}, "l0": {"image": 5}}),
    ("epsilon", {"linf": {"image": float("inf")}, "l0": {"image": 5}}),
    ("robust_by_norm", {"linf": wilson(60, 104)}),
    ("robust_by_norm", dict.fromkeys(("linf", "l0"), Interval(0.5, 0.6, 0.7))),
    ("robust", wilson(57, 104)),
    ("steps", 0),
    ("examples", 1.5),
    ("attacks", ()),
    ("rules", "bptt"),
    ("clean", Interval(1.2, 0.9, 1.3)),
    ("clean", Interval(float("nan"), 0.0, 1.0)),
    ("robust", Interval(0.5, 0.6, 0.7)),
    ("robust", wilson(100, 104)),
    ("success", Interval(-0.1, -0.2, 0.3)),
    ("reported", 53.1),
    ("zero_gradient_fraction", float("nan")),
    ("seeds", ()),
    ("seeds", (0.5,)),
    ("checkpoint_sha256", "0F" * 32),
    ("checkpoint_sha256", "0f" * 31),
    ("software", {"python": "3.12", "snnjax": "1"}),
    ("made_from", {"data": "1a" * 32}),
    ("made_from", {"data": "1a", "parameters": "2b" * 32}),
  ],
)
def test_what_is_not_allowed_is_refused_by_name(field, value):
  with pytest.raises(ValueError, match=rf"^{field}[.a-z0-9]* must .*; got "):
    leaderboard.document([changed(**{field: value})])


def test_two_entries_need_two_names():
  with pytest.raises(ValueError, match=r"name must be unique.*sparse"):
    leaderboard.document([ENTRY, ENTRY])
