"""The ledger: three verdicts a claim, thresholds, files, and what is named."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from experiments.command.exits import DataError, ExitCode, UsageError
from experiments.configs.studies import claims
from experiments.measuring.named_arrays import ATTACK
from experiments.questions import (
  claim_answer,
  claim_ledger,
  committed_evidence,
  contrasts,
  network_numbers,
  results,
  theory_evidence,
)
from experiments.questions.claim_evidence import Context
from experiments.questions.network_numbers import Cell
from experiments.questions.question_run import Options
from snnjax.storage import files
from tests.experiments.questions import made_up

CLAIMS = claims.CLAIMS


def entry(name, measured, study=None, committed=committed_evidence.COMMITTED):
  """One claim decided alone."""
  study = study or made_up.study(**{name: CLAIMS[name]})
  context = Context(study, network_numbers.grouped(measured), committed)
  (decided,) = claim_ledger.ledger(context)
  return decided


def verdict(name, values=(), spread=0.005):
  study = made_up.study(**{name: CLAIMS[name]})
  measured = made_up.networks(study, values, spread, CLAIMS[name].arms)
  return entry(name, measured, study).conclusion.value


def sr(**values):
  return {"sr": values}


def hire(**values):
  return {"hire": values}


def every(**values):
  return dict.fromkeys(("conventional", "hire", "sr", "at_linf"), values)


WIDE = 0.05
CASES = [
  ("random_networks", every(random_factor=1.2), 0.005, "verified"),
  ("random_networks", every(random_factor=4.0), 0.005, "refuted"),
  ("random_networks", every(random_factor=0.2), 0.005, "refuted"),
  ("random_networks", every(random_factor=1.5), 0.5, "undecided"),
  ("adversarial_networks", every(adversarial_factor=0.9), 0.005, "verified"),
  ("adversarial_networks", every(adversarial_factor=0.1), 0.005, "refuted"),
  ("adversarial_networks", every(adversarial_factor=1.5), 0.5, "undecided"),
  ("random_resilience", every(random=0.9), 0.005, "verified"),
  ("random_resilience", every(random=0.32), 0.005, "refuted"),
  ("random_resilience", every(random=0.4), WIDE, "undecided"),
  ("bound_where_linear", (), 0.005, "verified"),
  ("bound_where_linear", every(outside=0.2), 0.02, "refuted"),
  ("bound_where_linear", every(outside=0.1), 0.05, "undecided"),
  # Where first order holds for no example, nothing can be said.
  ("bound_where_linear", every(adversarial_factor=30.0), 0.005, "undecided"),
  ("bound_everywhere", every(adversarial_factor=30.0), 0.005, "refuted"),
  ("bound_everywhere", (), 0.005, "verified"),
  ("bound_everywhere", every(outside=0.1), 0.05, "undecided"),
  ("sr_weak_attacks", sr(fgsm=0.7, pgd10=0.5), 0.005, "verified"),
  ("sr_weak_attacks", sr(fgsm=0.7, pgd10=0.4), 0.005, "refuted"),
  ("sr_weak_attacks", sr(fgsm=0.7, pgd10=0.43), WIDE, "undecided"),
  ("sr_strong_attacks", sr(linf=0.4), 0.005, "verified"),
  ("sr_strong_attacks", sr(linf=0.3, fgsm=0.9), 0.005, "refuted"),
  ("sr_strong_attacks", sr(linf=0.33), WIDE, "undecided"),
  ("sr_modalities", sr(linf=0.4), 0.005, "verified"),
  ("sr_modalities", sr(linf=0.2), 0.005, "refuted"),
  ("sr_modalities", sr(linf=0.33), WIDE, "undecided"),
  ("sr_notable", sr(linf=0.45), 0.005, "verified"),
  ("sr_notable", sr(linf=0.35), 0.005, "refuted"),
  ("sr_notable", sr(linf=0.4), WIDE, "undecided"),
  ("hire_against_no_noise", hire(linf=0.4), 0.005, "verified"),
  ("hire_against_no_noise", hire(linf=0.3), 0.005, "refuted"),
  ("hire_against_no_noise", hire(linf=0.33), WIDE, "undecided"),
  ("hire_against_conventional", hire(linf=0.4), 0.005, "verified"),
  ("hire_against_conventional", hire(linf=0.3), 0.005, "refuted"),
  ("hire_against_conventional", hire(linf=0.33), WIDE, "undecided"),
  ("overestimated", every(one=0.4), 0.005, "verified"),
  ("overestimated", every(one=0.305), 0.0025, "refuted"),
  ("overestimated", every(one=0.4), 0.1, "undecided"),
]


@pytest.mark.parametrize(("name", "values", "spread", "want"), CASES)
def test_the_verdict_on_a_claim(name, values, spread, want):
  assert verdict(name, values, spread) == want


def test_every_claim_is_tried():
  others = {
    "random_linear",
    "adversarial_linear",
    "norms_compared",
    "hire_cost",
  }
  assert {case[0] for case in CASES} | others == set(CLAIMS)
  assert set(CLAIMS) == set(claim_ledger.EVIDENCE)


# Linear functions: computed, against closed forms.


def test_linear_functions_follow_the_closed_forms():
  linear = theory_evidence.linear()
  for norm in ("linf", "l2", "l1"):
    values = linear.random[norm]
    assert values.std() > 0.01  # another draw for each of them
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert np.abs(linear.adversarial[norm]).max() <= 1e-4


@pytest.mark.parametrize("name", ["random_linear", "adversarial_linear"])
@pytest.mark.parametrize(
  ("shift", "noise", "want"),
  [(0.0, 0.0, "verified"), (0.4, 0.0, "refuted"), (0.0, 2.0, "undecided")],
)
def test_the_verdict_on_linear_functions(name, shift, noise, want, monkeypatch):
  """As measured; with a wrong constant; with too few draws."""
  own = theory_evidence.linear()
  added = shift + noise * np.random.default_rng(0).normal(size=32)
  moved = [{n: v + added for n, v in each.items()} for each in own]
  wrong = theory_evidence.Linear(*moved)
  monkeypatch.setattr(theory_evidence, "linear", lambda: wrong)
  assert entry(name, []).conclusion == want


# Norms at equal visibility.


def with_l0(study):
  (data,) = (study.data["mnist"],)
  radii = {i: {**r, "l0": (4.0, 8.0, 16.0)} for i, r in data.radii.items()}
  changed = dataclasses.replace(data, radii=radii)
  return dataclasses.replace(study, data={**study.data, "mnist": changed})


def transferred(each, left, visible=60.0):
  """With attacks of all norms at three radii on the first 100 examples."""
  arrays = {}
  for norm, shares in left.items():
    for level, share in enumerate(shares):
      path = ATTACK.format(norm=norm, level=level, field="success")
      moved = share + 0.01 * (each.member.seed - 2.5)
      arrays[path] = np.arange(100) >= round(100 * moved)
  if visible:
    seen = ATTACK.format(norm="l0", level=1, field="visibility/image")
    arrays[seen] = np.full(100, visible)
  return each._replace(arrays={**each.arrays, "transfer": arrays})


NAME = "norms_compared"


@pytest.mark.parametrize(
  ("l2", "l0", "want"),
  [
    ((0.98, 0.95, 0.9), (0.98, 0.95, 0.9), "verified"),
    ((0.98, 0.95, 0.9), (0.3, 0.2, 0.1), "refuted"),
    ((0.5, 0.3, 0.1), (0.98, 0.95, 0.9), "refuted"),
    ((0.98, 0.95, 0.9), None, "undecided"),
  ],
)
def test_the_verdict_on_norms(l2, l0, want):
  study = with_l0(made_up.study(**{NAME: CLAIMS[NAME]}))
  left = {"linf": (0.8, 0.3, 0.1), "l2": l2}
  if l0:
    left["l0"] = l0
  measured = made_up.networks(study, arms=CLAIMS[NAME].arms)
  measured = [transferred(each, left, 60.0 if l0 else 0) for each in measured]
  decided = entry(NAME, measured, study)
  # Equal differences in all seeds have no spread, so linf's own moves too.
  assert decided.conclusion.value == want, decided.rows


def test_norms_are_compared_where_they_are_equally_visible():
  """By hand: linf is 100 at its radius, l2 reaches 50 at its only one.

  At 50, linf leaves half of the way from 0.95 to 0.3; l2 leaves 0.9.
  """
  study = made_up.study(**{NAME: CLAIMS[NAME]})
  measured = made_up.networks(
    study, {"conventional": {"l2": 0.9}}, arms=("conventional",)
  )
  rows = {w.row.name: w.row for w in entry(NAME, measured, study).rows}
  row = rows["mnist, image, l2 at equal perceptual distance"]
  assert math.isclose(row.estimate.estimate, 0.9 - 0.625, abs_tol=1e-9)
  # Lengths are those of all modalities together: 3 and 4 make 5.
  row = rows["mnist, image+events, l2 at equal length"]
  assert math.isclose(row.estimate.estimate, 0.9 - 0.3, abs_tol=1e-9)
  assert not row.decides
  assert "not measured" in claim_answer._counts(entry(NAME, measured, study))


# Thresholds, correction, what is missing.


@pytest.mark.parametrize(
  ("smallest", "want"),
  [(0.02, "verified"), (0.0999, "verified"), (0.2, "refuted")],
)
def test_a_threshold_of_the_study_changes_a_verdict(smallest, want):
  name = "sr_strong_attacks"
  changed = dataclasses.replace(CLAIMS[name], smallest_effect=smallest)
  study = made_up.study(**{name: changed})
  measured = made_up.networks(study, sr(linf=0.4))
  decided = entry(name, measured, study)
  assert decided.conclusion.value == want
  assert decided.turning.row.estimate.estimate == pytest.approx(0.1)


def test_contrasts_are_corrected_together():
  names = ("sr_strong_attacks", "hire_against_conventional", "sr_notable")
  alone = made_up.study(**{names[0]: CLAIMS[names[0]]})
  all_of_them = made_up.study(**{name: CLAIMS[name] for name in names})
  measured = made_up.networks(alone, {**sr(linf=0.4), **hire(linf=0.31)})
  p = []
  for study in (alone, all_of_them):
    context = Context(study, network_numbers.grouped(measured), None)
    first = claim_ledger.ledger(context)[0]
    p.append(first.turning.p)
  # One number that decides alone; with the other claims 1 + 3 + 3 of them.
  assert p[1] == pytest.approx(7 * p[0])


def test_one_cell_that_is_not_measured_leaves_a_claim_undecided():
  name = "sr_modalities"
  study = made_up.study(**{name: CLAIMS[name]})
  measured = [
    each
    for each in made_up.networks(study, sr(linf=0.4))
    if each.member.inputs != "events"
  ]
  decided = entry(name, measured, study)
  assert decided.conclusion == "undecided"
  assert claim_answer._counts(decided) == "2 verified, 1 not measured"
  assert decided.turning.row.name.startswith("mnist, events")
  assert "not measured: sr" in decided.turning.change


def test_a_seed_without_its_pair_is_named_and_not_counted():
  name = "sr_strong_attacks"
  study = made_up.study(**{name: CLAIMS[name]})
  measured = [
    each
    for each in made_up.networks(study, sr(linf=0.4))
    if (each.member.arm, each.member.seed) != ("conventional", 3)
  ]
  (deciding,) = (w for w in entry(name, measured, study).rows if w.row.decides)
  assert deciding.row.estimate.replicates == made_up.SEEDS - 1
  assert "for want of its pair: sr seeds 3" in deciding.reason


def test_one_seed_is_shown_and_decides_nothing():
  name = "sr_strong_attacks"
  study = made_up.study(**{name: CLAIMS[name]})
  measured = [
    n for n in made_up.networks(study, sr(linf=0.4)) if n.member.seed == 0
  ]
  record = claim_answer.answer(study, measured, ["sr on mnist: no gradients"])
  tables = {table.name: table.rows for table in record.tables()}
  row = next(r for r in tables[name] if r["what"].startswith("mnist, image+"))
  assert row["value"] == pytest.approx(0.1)
  assert (row["low"], row["verdict"]) == (None, "undecided")
  assert (
    "NOT FINISHED: 1 networks of the study are missing or" in record.summary
  )


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({}, "must have claims"),
    ({"moons": CLAIMS["sr_notable"]}, "must be among .*; got 'moons'"),
    (
      {"sr_notable": dataclasses.replace(CLAIMS["sr_notable"], arms=("x",))},
      r"claims\['sr_notable'\].arms must be among .*; got x",
    ),
    (
      {
        "sr_notable": dataclasses.replace(
          CLAIMS["sr_notable"], smallest_effect=0
        )
      },
      r"claims\['sr_notable'\]: smallest_effect must be positive",
    ),
  ],
)
def test_a_study_whose_claims_do_not_fit_is_named(changes, match):
  study = made_up.study(**changes)
  with pytest.raises(UsageError, match=match):
    claim_ledger.ledger(Context(study, {}, committed_evidence.COMMITTED))


# What the repository has committed.


def benchmark(folder, more, noise=0.01):
  def record(kind, median):
    own = {
      "median": median,
      "low": median * (1 - noise),
      "high": median * (1 + noise),
      "turns": 12,
    }
    task = {"kind": kind, "libraries": ["snnjax"], "row": "B"}
    return {
      "name": f"B/{kind}",
      "task": task,
      "libraries": {"snnjax": own},
    }

  (folder / "benchmark").mkdir()
  files.write_json(
    folder / "benchmark" / "a_b.json",
    {"records": [record("train", 1.0), record("hire", 1.0 + more)]},
  )


@pytest.mark.parametrize(
  ("more", "noise", "want"),
  [
    (0.0, 0.01, "verified"),
    (0.3, 0.01, "refuted"),
    (0.05, 0.2, "undecided"),
  ],
)
def test_the_verdict_on_cost(more, noise, want, tmp_path):
  benchmark(tmp_path, more, noise)
  decided = entry("hire_cost", [], committed=tmp_path)
  assert decided.conclusion == want
  counted, timed = (weighed.row for weighed in decided.rows)
  assert counted.interval.estimate == 0  # 2 updates through 2 of 4 steps
  assert timed.estimate.estimate == pytest.approx(more)


def test_a_benchmark_that_is_damaged_or_absent_is_named(tmp_path):
  assert entry("hire_cost", [], committed=tmp_path).conclusion == "undecided"
  benchmark(tmp_path, 0.0)
  path = tmp_path / "benchmark" / "a_b.json"
  path.write_text(path.read_text().replace("median", "mean"))
  with pytest.raises(DataError, match=r"a_b.json must be .*'median'.*again"):
    entry("hire_cost", [], committed=tmp_path)


def test_the_committed_suite_is_told_beside(tmp_path):
  decided = entry("overestimated", [])
  told = {w.row.name: w.row for w in decided.rows if not w.row.decides}
  row = told["standard suite, vanilla, image 0.2"]
  assert row.interval.estimate == pytest.approx((29 - 11) / 104)
  assert 0 < row.interval.low < row.interval.estimate
  shutil.copytree(
    committed_evidence.COMMITTED / "suite_standard", tmp_path / "suite_standard"
  )
  (tmp_path / "suite_standard" / "rules.csv").write_text("network\nvanilla\n")
  with pytest.raises(DataError, match="suite_standard must have"):
    entry("overestimated", [], committed=tmp_path)


# From files.


@pytest.fixture(scope="module")
def study():
  """All claims, with two arms of two seeds of two modalities."""
  own = made_up.study(**CLAIMS)
  question = own.questions[made_up.QUESTION]
  asked = dataclasses.replace(
    question,
    arms={"conventional": 2, "sr": 2},
    modalities=(("image", "events"),),
  )
  return dataclasses.replace(own, questions={made_up.QUESTION: asked})


@pytest.fixture
def stored(study, tmp_path):
  """Their results."""
  folder = tmp_path / "results"
  for each in made_up.networks(study, sr(linf=0.4)):
    place = results.folder(folder, each.member)
    place.mkdir(parents=True)
    noted = {"environment": {"python": "3"}}
    arrays = each.arrays["gradients"]
    results.write(study, each.member, place, "gradients", arrays, noted)
  return folder


def read(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def test_the_ledger_is_the_same_from_its_results(study, stored, tmp_path):
  for name in ("one", "two"):
    run = claim_answer.run(Options(tmp_path / name, study, stored))
    assert run is ExitCode.DONE
  one, two = (read(tmp_path / name / "claims") for name in ("one", "two"))
  assert one == two
  report = json.loads(one["report.json"])
  assert report["sections"][0]["title"] == "The ledger"
  ledger = report["sections"][0]["tables"][0]["rows"]
  assert len(ledger) == len(CLAIMS)
  for row in ledger:
    assert row["verdict"] in ("verified", "refuted", "undecided")
    for key in ("claim", "source", "rule", "artifact", "command", "change"):
      assert row[key], (row["name"], key)


def test_a_network_that_is_missing_or_another_s_is_named(
  study, stored, tmp_path
):
  first, *_, last = sorted((stored / "networks").iterdir())
  shutil.rmtree(last)
  with pytest.raises(DataError, match=r"sr on mnist .* seed 1: no gradients"):
    claim_answer.run(Options(tmp_path, study, stored))
  asked = Options(tmp_path, study, stored, finished_only=True)
  assert claim_answer.run(asked) is ExitCode.DONE
  summary = json.loads((tmp_path / "claims/report.json").read_text())["summary"]
  assert "NOT FINISHED: 1 networks" in summary
  shutil.copytree(first, last)
  with pytest.raises(DataError, match=r"sr on mnist .*gradients.npz"):
    claim_answer.run(asked)


def test_a_part_of_a_network_s_measurements_is_read(study, stored):
  """One that a second question has not measured yet."""
  question = study.questions[made_up.QUESTION]
  second = dataclasses.replace(question, measurements=("transfer",))
  both = {**study.questions, "norm_transfer": second}
  asked = dataclasses.replace(study, questions=both)
  names = list(both)
  with pytest.raises(DataError, match="seed 0: no transfer"):
    results.load(asked, names, stored)
  measured, missing = results.load(asked, names, stored, finished_only=True)
  assert len(measured) == len(missing) == 4
  assert all(set(each.arrays) == {"gradients"} for each in measured)
  # A question counts the networks that have all of its measurements.
  with pytest.raises(DataError, match=r"norm_transfer must .* transfer; got 4"):
    contrasts.findings(asked, "norm_transfer", measured)


def test_a_plan_is_refused(study, tmp_path):
  with pytest.raises(UsageError, match="--plan is for the questions"):
    claim_answer.run(Options(tmp_path, study, plan=True))


def test_cells_that_decide_are_there_before_they_are_measured():
  name = "sr_modalities"
  study = made_up.study(**{name: CLAIMS[name]})
  rows = entry(name, [], study).rows
  assert [weighed.row.name for weighed in rows] == [
    f"{Cell('mnist', inputs).words}, chain"
    for inputs in ("image", "events", "image+events")
  ]
