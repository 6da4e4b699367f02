"""Suites of attacks: what they say, what they refuse, what they run."""

import csv
import json

import jax
import numpy as np
import pytest
from absl import flags

from experiments import evaluate
from experiments.building import datasets
from experiments.command import exits
from experiments.command.exits import UsageError
from experiments.command.progress import silent
from experiments.configuration import schema, settings
from experiments.evaluation import (
  assessment,
  evaluation_folders,
  evaluation_run,
)
from experiments.planning import attack_grid, suites
from experiments.reporting import alarm_findings, leaderboard_entry, report_run
from experiments.reporting.remedies import COMMANDS
from experiments.runs import launch
from experiments.sweeping import comparison
from experiments.training import training_run
from snnjax.attacks import kinds as attack_kinds
from snnjax.attacks.kinds import KINDS
from snnjax.evaluation import plain_plans
from snnjax.storage import workdir
from tests import tiny_runs
from tests.tiny_runs import compiled, one_device  # noqa: F401 (fixtures)

NAMES = ("quick", "standard", "full")


def has_form(kind):
  """The norms that a kind of attack has a form for."""
  return [attack_kinds.NORMS[order] for order in KINDS[kind].orders]


FEW = {
  "data.train_examples": "64",
  "data.test_examples": "16",
  "data.validation": "0",
  "modalities.image.encoder": "direct",
  "train.epochs": "1",
  "evaluation.examples": "16",
}


def suite(tmp_path, *attacks):
  path = tmp_path / "mine.py"
  path.write_text(f"def get_config():\n  return {attacks!r}\n")
  return {"evaluation.suite": str(path)}


def resolved(changes):
  return suites.resolved(tiny_runs.config(changes))


@pytest.mark.parametrize(
  ("attack", "message"),
  [
    ({"kind": "pgdd"}, r"kind must be one of 'pgd', .*; got 'pgdd'"),
    ({}, "kind must be one of .*; got None"),
    ({"kind": "pgd", "stepz": 3}, r"keys must be among .*; got \['stepz'\]"),
    ({"kind": "pgd", "name": "a b"}, "name must be lower-case letters"),
    (
      {"kind": "pgd", "rules": ("bptt_atam",)},
      "rules must be one of 'own', 'configured', .*; got 'bptt_atam'",
    ),
    ({"kind": "pgd", "rules": "own"}, "rules must be a tuple; got 'own'"),
    ({"kind": "pgd", "rules": ()}, r"rules must be at least one; got \(\)"),
    ({"kind": "pgd", "mix": "mean"}, "mix must be one of 'each', .*'mean'"),
    ({"kind": "pgd", "loss": "ce"}, "loss must be one of 'cross_entr.*'ce'"),
    ({"kind": "square", "loss": "dlr"}, "loss must be one of ''; got 'dlr'"),
    ({"kind": "pgd", "steps": 0}, "steps must be at least 1; got 0"),
    ({"kind": "pgd", "steps": 2.5}, "steps must be a whole number; got 2.5"),
    ({"kind": "fgsm", "steps": 2}, "steps must be absent for fgsm; got 2"),
    ({"kind": "fgsm", "restarts": 2}, "restarts must be 1 for fgsm; got 2"),
    ({"kind": "pgd", "meets": "some"}, "meets must be one of 'all', 'surv"),
    ({"kind": "pgd", "targets": ("sound",)}, "targets must be one of 'image'"),
    ({"kind": "pgd", "levels": (0.1,)}, "levels must be a whole number"),
    ({"kind": "pgd", "norms": ("l3",)}, "norms must be one of 'linf', 'l2'"),
    ({"kind": "pgd", "norms": "l2"}, "norms must be a tuple; got 'l2'"),
    ({"kind": "fab", "rules": ("assg_atan",)}, "rules that do not adapt for"),
    ({"kind": "fab", "mix": "gradient_mean"}, "mix must be 'each' or"),
    ({"kind": "fab", "draws": 2}, "draws must be 1 for fab; got 2"),
    ({"kind": "fab", "options": {"rival": 1}}, "options must be one of 'rival"),
    ({"kind": "fab", "options": {"rivals": 0}}, "rivals must be a count above"),
    ({"kind": "transfer", "options": {"runs": "a"}}, "runs must be a tuple of"),
  ],
)
def test_an_attack_that_makes_no_sense_is_refused(tmp_path, attack, message):
  with pytest.raises(UsageError, match=message) as caught:
    resolved(suite(tmp_path, attack))
  assert "mine.py', attack 1 (" in str(caught.value)


def test_a_suite_that_makes_no_sense_is_refused(tmp_path):
  for attacks, message in (
    ((), "attacks must be at least one"),
    (({"kind": "pgd"}, {"kind": "pgd"}), r"got \['pgd'\] twice"),
    (("pgd",), "attack 1 must be a mapping; got 'pgd'"),
  ):
    with pytest.raises(UsageError, match=message):
      resolved(suite(tmp_path, *attacks))
  with pytest.raises(UsageError, match=r"one of \['full', 'quick', 'standard'"):
    resolved({"evaluation.suite": "standart"})
  with pytest.raises(UsageError, match=r"no configuration 'gone\.py'"):
    resolved({"evaluation.suite": "gone.py"})
  elsewhere = {"kind": "spgd", "norms": ("l0",)}
  with pytest.raises(UsageError, match=r"one of evaluation\.norms, linf; got"):
    resolved(suite(tmp_path, elsewhere))
  level = {"kind": "pgd", "levels": (2,)}
  made = resolved(suite(tmp_path, level))
  with pytest.raises(UsageError, match=r"'pgd' must be in -2\.\.1 for 2"):
    attack_grid.plan(made)


def test_defaults_come_from_the_evaluation_and_the_kind(tmp_path):
  made = resolved(
    suite(
      tmp_path,
      {"kind": "pgd", "rules": ("own", "configured", "rga")},
      {"kind": "random"},
      {"name": "far", "kind": "square", "levels": (-1,)},
    )
    | {"evaluation.rules": "hart_atan,rga"}
  )
  plan = attack_grid.plan(made)
  attacks = {attack.name: attack for attack in plan.attacks}
  assert list(attacks) == [
    "pgd/bptt_triangle",
    "pgd/hart_atan",
    "pgd/rga",
    "random",
    "far",
  ]
  assert attacks["pgd/rga"].steps == 2  # evaluation.steps
  assert attacks["random"].steps == 2  # evaluation.random_draws
  assert attacks["far"].steps == 5000
  first, last = (
    [case.attack.name for case in plan.on(cell)] for cell in plan.cells
  )
  assert last == list(attacks)
  assert first == list(attacks)[:-1]
  # What was planned is plain data, too.
  assert (
    plain_plans.from_plain(json.loads(json.dumps(plain_plans.to_plain(plan))))
    == plan
  )
  # What was resolved is plain data, and the same when resolved again.
  again = settings.from_dict(settings.to_dict(made))
  assert settings.to_dict(suites.resolved(again)) == settings.to_dict(made)


def test_an_evaluation_is_named_by_what_it_is():
  for changes, name in (
    ({"evaluation.suite": "standard"}, "linf_standard_0.05_0.1"),
    ({"evaluation.suite": "full:a,b"}, "linf_full_0.05_0.1"),
    ({"evaluation.suite": "some/where/mine.py"}, "linf_mine_0.05_0.1"),
    (
      {"evaluation.norms": "l2", "modalities.image.epsilons.l2": "8/255,1"},
      "l2_quick_0.03137_1",
    ),
    (
      {"modalities.image.epsilons.linf": "1,2,3,4,5"},
      "linf_quick_1_to5_5",
    ),
    ({"evaluation.norms": "linf,l2,l1,l0"}, "linf_l2_l1_l0_quick"),
    (
      {"data.modalities": "image,events"},
      "linf_quick_events_0.05_0.1_image_0.05_0.1",
    ),
  ):
    assert evaluation_folders.name(tiny_runs.config(changes)) == name


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compiled):  # noqa: F811
  folder = tmp_path_factory.mktemp("suites") / "run"
  training_run.run(tiny_runs.config(FEW), folder)
  return folder


@pytest.fixture(scope="module")
def subject(trained):
  """The network with its data, its variables and one example."""
  config = tiny_runs.config(FEW)
  splits = datasets.load(config, silent, only_test=True)
  network, variables = training_run.trained(config, splits, trained)
  return splits, network, variables


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", schema.NORMS)
def test_every_attack_of_every_suite_fits_the_network(subject, name, norm):
  splits, network, variables = subject
  made = resolved(FEW | {"evaluation.suite": name, "evaluation.norms": norm})
  plan = attack_grid.plan(made)
  grid = attack_grid.grid(made, network, plan)
  inputs = assessment.test_batch(made, splits).inputs
  found = attack_grid.cases(plan, grid, variables, inputs)
  refused = found.plan.refused
  # One program for all radii and networks.
  planned = {attack.name for attack in plan.attacks}
  programs = {case.func for case in found.builders.values()}
  assert len(programs) == len(planned - set(refused))
  again = attack_grid.cases(plan, grid, variables, inputs).builders
  assert {case.func for case in again.values()} == programs
  expected = {
    attack.name
    for attack in plan.attacks
    if norm not in has_form(attack.kind)
    or attack.kind == "transfer"
    or "averaged" in attack.name
  }
  assert set(refused) == expected
  assert all(refused.values())


FEW_STEPS = {
  "hop_skip_jump": {"steps": 1},
  "carlini_wagner": {"steps": 2, "options": {"searches": 2}},
  "ead": {"steps": 2, "options": {"searches": 2}},
  "fgsm": {},
  "spsa": {"steps": 2, "options": {"pairs": 1}},
}
# Those without steps of their own for a norm are asked for in one norm alone.
NORMED = ("pgd", "sa_pgd", "apgd", "apgd_t", "fab", "square")


@pytest.mark.parametrize("norm", schema.NORMS)
def test_every_kind_of_attack_can_be_asked_for(
  trained, subject, tmp_path, norm
):
  splits, network, variables = subject
  kinds = [
    kind
    for kind in KINDS
    if norm in has_form(kind) and (norm == has_form(kind)[0] or kind in NORMED)
  ]
  few = FEW_STEPS | {"transfer": {"options": {"runs": (str(trained),)}}}
  attacks = [{"kind": kind} | few.get(kind, {"steps": 3}) for kind in kinds]
  rules = {"rules": ("assg_atan", "rga")}
  for mix in ("gradient_mean", "worst_of"):
    kind = "spgd" if norm == "l0" else "pgd"
    attacks.append({"kind": kind, "name": mix, "mix": mix} | rules)
  made = resolved(FEW | suite(tmp_path, *attacks) | {"evaluation.norms": norm})
  others = evaluation_run.stand_ins(made, splits)
  plan = attack_grid.plan(made)
  grid = attack_grid.grid(made, network, plan, others)
  batch = assessment.test_batch(made, splits)
  found = attack_grid.cases(plan, grid, variables, batch.inputs)
  assert not found.plan.refused
  first = found.plan.on(found.plan.cells[0])
  assert len(first) == len(kinds) + 2
  keys = jax.random.split(jax.random.key(0), len(batch.labels))
  for case in first:
    builder = found.builders[case.path]
    result = jax.eval_shape(
      lambda build: build().attack(keys, batch.inputs, batch.labels), builder
    )
    assert result.success.shape == batch.labels.shape


MIXED = (
  {"kind": "pgd", "rules": ("own", "pdsg")},
  {"kind": "random"},
  {"kind": "slide"},
  {
    "name": "mean",
    "kind": "pgd",
    "rules": ("own", "rga"),
    "mix": "gradient_mean",
    "meets": "survivors",
  },
  {"kind": "fab", "options": {"rivals": 2}, "meets": "survivors"},
  {"kind": "square", "steps": 4, "levels": (-1,), "meets": "survivors"},
)


@pytest.fixture(scope="module")
def mixed(trained, tmp_path_factory):
  """The configuration of a suite of all sorts, and its evaluation."""
  folder = tmp_path_factory.mktemp("mixed")
  config = tiny_runs.config(FEW | suite(folder, *MIXED))
  evaluation_run.run(config, trained)
  return config


def test_what_a_suite_did_is_reported(trained, mixed):
  made = evaluation_folders.folder(trained, suites.resolved(mixed))
  assert made.name.startswith("evaluation_linf_mine_")
  report_run.run(mixed, trained, "mine")
  folder = trained / "report_mine" / "tables"

  def table(name):
    with (folder / f"{name}.csv").open() as stream:
      return list(csv.DictReader(stream))

  attacks = {row["attack"]: row for row in table("attacks")}
  assert list(attacks) == [
    *("pgd/bptt_triangle", "pgd/pdsg", "random", "mean", "fab", "square"),
    "all of them",
  ]
  # Told wherever a result is: in tables, in the text, on the leaderboard.
  size = f"of {mixed.evaluation.microbatch}"
  assert {
    name: row["batch"] for name, row in attacks.items() if row["batch"]
  } == {
    "pgd/pdsg": size,
    "all of them": size,
  }
  assert {row["depends_on_batch"] for row in table("accuracy")} == {size}
  page = json.loads((folder.parent / "report.json").read_text())
  assert "the attacks pgd/pdsg depends on the batch" in page["summary"]
  board = json.loads((folder.parent / leaderboard_entry.FILE).read_text())
  (entry,) = board["entries"]
  assert entry["depends_on_batch"] == ["pgd/pdsg"]
  assert entry["batch"] == mixed.evaluation.microbatch
  whole = attacks.pop("all of them")
  loaded = report_run.load(trained, mixed)
  robust = [0, 0]
  correct = loaded.evaluation.clean.correct
  for level in (0, 1):
    standing = correct.copy()
    for name in attacks:
      rows = loaded.evaluation.attacks.get(f"image/{level}/{name}")
      if rows is None:
        assert (name, level) == ("square", 0)
        continue
      if attacks[name]["meets"] == "survivors":
        np.testing.assert_array_equal(rows.attempted, standing)
      else:
        assert rows.attempted.all()
      standing &= ~rows.success
    robust[level] = int(standing.sum())
  newly = sum(int(row["newly_broken"]) for row in attacks.values())
  assert newly == 2 * correct.sum() - sum(robust) > 0
  assert int(whole["newly_broken"]) == newly
  met = sum(int(row["met"]) for row in attacks.values())
  assert int(whole["met"]) == met < 16 * 11
  assert float(whole["share"]) == met / (16 * 11)
  assert int(attacks["random"]["met"]) == 2 * 16
  assert float(attacks["random"]["seconds_per_example"]) > 0
  shares = [float(row["robust"]) for row in table("accuracy")]
  assert shares == [count / 16 for count in robust]
  for row in table("rules"):
    alone = [float(row[r]) for r in ("bptt_triangle", "pdsg")]
    assert min(alone) >= float(row["worst"]) >= float(row["suite"])
  assert [(r["attack"], r["reason"]) for r in table("not_run")] == [
    ("slide", loaded.plan.refused["slide"])
  ]
  assert loaded.plan.refused["slide"] == (
    "slide must have a budget in l1; got one in linf"
  )


FOUR = {
  "evaluation.norms": "linf,l2,l1,l0",
  "modalities.image.epsilons.linf": "0.005,0.02",
  "modalities.image.epsilons.l2": "0.02,0.3",
  "modalities.image.epsilons.l1": "0.2,1",
  "modalities.image.epsilons.l0": "2,8",
}
PER_NORM = (
  {"kind": "pgd"},
  {"kind": "spgd", "norms": ("l0",)},
  {"kind": "sparse_rs", "steps": 9, "meets": "survivors"},
)


@pytest.mark.usefixtures("one_device")
def test_four_norms_are_one_evaluation(trained, tmp_path, capsys):
  made = suite(tmp_path, *PER_NORM) | FEW | FOUR
  config = tiny_runs.config(made)
  evaluate.run(config, trained)
  folder = evaluation_folders.folder(trained, suites.resolved(config))
  assert folder.name == "evaluation_linf_l2_l1_l0_mine"
  report_run.run(config, trained, folder.name)
  told = capsys.readouterr().out
  assert "linf 0.02; l2 0.3; l1 1; l0 8" in told
  loaded = report_run.load_folder(folder, "run")
  alarms = alarm_findings.alarms(loaded)
  told_of = dict.fromkeys(alarm.subject for alarm in alarms)
  assert list(told_of) == [f"run in {norm}" for norm in schema.NORMS]
  names = [alarm.name for alarm in alarms]
  assert {name: names.count(name) for name in names} == {
    name: 1 if name in alarm_findings.WITHOUT_NORM else 4 for name in COMMANDS
  }
  ran = {
    norm: [c.attack.name for c in loaded.plan.cases if c.cell.norm == norm]
    for norm in schema.NORMS
  }
  assert ran == {
    "linf": ["pgd"] * 3,  # the last at a far radius
    "l2": ["pgd"] * 2,
    "l1": ["pgd"] * 2,
    "l0": ["spgd", "sparse_rs"] * 2,
  }
  assert not loaded.plan.refused
  correct = loaded.evaluation.clean.correct
  left = {}
  for path, rows in loaded.evaluation.attacks.items():
    norm, target, level, *_ = path.split("/")
    if target != "image":
      continue
    for at in range(int(level), 2):
      before = left.setdefault((norm, at), correct)
      left[norm, at] = before & ~rows.success
  together = [
    np.logical_and.reduce([left[norm, at] for norm in schema.NORMS])
    for at in (0, 1)
  ]
  assert 0 < together[1].sum() < together[0].sum() < correct.sum()
  tables = trained / f"report_{folder.name}" / "tables"
  with (tables / "accuracy.csv").open() as stream:
    accuracy = list(csv.DictReader(stream))
  assert [(row["norm"], float(row["robust"])) for row in accuracy] == [
    *((n, left[n, at].mean()) for n in schema.NORMS for at in (0, 1)),
    *(("all together", standing.mean()) for standing in together),
  ]
  with (tables / "attacks.csv").open() as stream:
    did = [(row["norm"], row["attack"]) for row in csv.DictReader(stream)]
  assert did == [
    *((norm, "pgd") for norm in schema.DENSE_NORMS),
    *(("l0", name) for name in ("spgd", "sparse_rs")),
    ("", "all of them"),
  ]
  pictures = {path.stem for path in (tables.parent / "figures").iterdir()}
  assert pictures >= {f"accuracy_epsilon_{norm}" for norm in schema.NORMS}
  board = tables.parent / leaderboard_entry.FILE
  (entry,) = json.loads(board.read_text())["entries"]
  assert entry["norms"] == list(schema.NORMS)
  assert entry["robust"] == together[1].mean()
  assert entry["robust_by_norm"]["l0"]["share"] == left["l0", 1].mean()
  assert entry["epsilon"]["l0"] == {"image": 8.0}


def test_an_attack_on_sites_is_refused_in_words_under_linf(
  trained, tmp_path, subject
):
  attacks = ({"kind": "spgd"}, {"kind": "pgd"})
  made = resolved(FEW | suite(tmp_path, *attacks))
  splits, network, variables = subject
  inputs = assessment.test_batch(made, splits).inputs
  plan = attack_grid.plan(made)
  grid = attack_grid.grid(made, network, plan)
  able = attack_grid.cases(plan, grid, variables, inputs).plan
  words = "spgd must have a budget in l0; got one in linf"
  assert able.refused == {"spgd": words}
  with pytest.raises(UsageError, match=words):
    evaluation_run.run(
      tiny_runs.config(FEW | suite(tmp_path, attacks[0])), trained
    )
  uneven = {"evaluation.norms": "linf,l0", "modalities.image.epsilons.l0": "1,"}
  with pytest.raises(UsageError, match=r"epsilons must be as many .*l0': 1"):
    evaluation_run.run(tiny_runs.config(FEW | uneven), trained)


def test_another_batch_is_another_evaluation_where_results_depend_on_it(
  tmp_path, trained, mixed
):
  def sized(size):
    return settings.replaced(
      suites.resolved(mixed), {"evaluation.microbatch": size}
    )

  size = mixed.evaluation.microbatch
  made = evaluation_folders.folder(trained, sized(size))
  assert (made / "plan.json").exists()
  assert evaluation_folders.is_configured(made, sized(size))
  assert not evaluation_folders.is_configured(made, sized(size + 1))
  assert evaluation_folders.folder(trained, sized(size + 1)) != made
  plain = tiny_runs.config(FEW | suite(tmp_path, {"kind": "random"}))
  assert (
    evaluation_folders.changeable_keys(suites.resolved(plain))
    == schema.CHANGEABLE
  )
  own = tiny_runs.config(
    FEW | suite(tmp_path, {"kind": "random"}) | {"model.rule": "pdsg"}
  )
  assert "evaluation.microbatch" not in evaluation_folders.changeable_keys(
    suites.resolved(own)
  )


def test_what_transfers_from_a_rule_of_the_batch_depends_on_it(
  tmp_path, monkeypatch
):
  """An attack without any gradient of its own network does not."""
  attacks = (
    {"kind": "transfer", "options": {"runs": ("theirs",)}},
    {"name": "other", "kind": "transfer", "options": {"runs": ("plain",)}},
    {"kind": "random", "rules": ("pdsg",)},
    {
      "name": "mean",
      "kind": "pgd",
      "rules": ("own", "pdsg"),
      "mix": "worst_of",
    },
    {"kind": "fab", "rules": ("pdsg",)},
  )
  made = suites.resolved(tiny_runs.config(suite(tmp_path, *attacks)))
  others = {
    "theirs": tiny_runs.config({"model.rule": "pdsg"}),
    "plain": tiny_runs.config(),
  }
  monkeypatch.setattr(
    workdir, "read_config", lambda path: settings.to_dict(others[path.name])
  )
  found = suites.depend_on_batch(made, suites.attacks_of(made))
  assert found == ("transfer", "mean", "fab")


@pytest.mark.parametrize("stop", [3, 14])
def test_an_interrupted_suite_goes_on_to_the_same_bits(
  trained, mixed, tmp_path, monkeypatch, stop
):
  folder = tmp_path / "run"
  folder.mkdir()
  for path in trained.iterdir():
    if path.is_file():
      (folder / path.name).write_bytes(path.read_bytes())
  left = iter(range(1 + stop))  # the first question comes before all
  real = assessment.assess

  def stopped(*arguments):
    return real(*arguments[:-1], lambda: next(left, None) is None)

  monkeypatch.setattr(assessment, "assess", stopped)
  with pytest.raises(assessment.Preempted):
    evaluation_run.run(mixed, folder)
  monkeypatch.setattr(assessment, "assess", real)
  chunks = tiny_runs.evaluation(folder) / "arrays" / "chunks"
  before = {path: path.stat().st_mtime_ns for path in chunks.iterdir()}
  assert len(before) == stop + 1
  evaluation_run.run(mixed, folder)
  assert before == {path: path.stat().st_mtime_ns for path in before}
  one, other = (report_run.load(run, mixed) for run in (trained, folder))
  for name, rows in one.evaluation.attacks.items():
    tiny_runs.same(rows._asdict(), other.evaluation.attacks[name]._asdict())


def test_the_binary_knows_the_suite(trained):
  values = flags.FlagValues()
  short = {"suite": "evaluation.suite"}
  launch.define_flags(values, "base", short)
  argv = ["evaluate", f"--workdir={trained}", "--suite=standard"]
  parsed = launch.parse(
    argv, values, short, launch.Keys(schema.EVALUATING, recorded=True)
  )
  assert parsed.config.evaluation.suite == "standard"
  code, out, err = tiny_runs.finished(
    "evaluate", f"--workdir={trained}", "--suite=standart"
  )
  assert (code, out) == (exits.ExitCode.USAGE, "")
  assert "must be one of ['full', 'quick', 'standard'] or a .py file" in err
  code, out, err = tiny_runs.finished(
    "report", f"--workdir={trained}", "--suite=full"
  )
  assert code == exits.ExitCode.BAD_DATA
  assert "a finished evaluation named 'full'" in err
  assert "python -m experiments.evaluate --workdir=" in err


def test_another_suite_does_not_train_a_network_again(tmp_path, monkeypatch):
  monkeypatch.setattr(training_run, "lacking", lambda *_: "")
  made = settings.load("quickstart")
  plain = settings.to_dict(comparison.network_config(made, "sr"))
  assert not comparison.trained(made, tmp_path)
  with workdir.open_with_status(tmp_path, plain):
    pass
  for key, value, same in (
    ("evaluation.suite", "standard", True),
    ("evaluation.microbatch", "26", True),
    ("method.sr.weight", "7", False),
    ("train.epochs", "9", False),
  ):
    other = settings.override(settings.from_dict(plain), key, value)
    assert comparison.trained(other, tmp_path) is same
