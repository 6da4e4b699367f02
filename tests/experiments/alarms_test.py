"""A masked network goes through the binaries, and its alarms come first."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building import networks
from experiments.command.exits import UsageError
from experiments.configuration import settings
from experiments.evaluation import alarm_study, chunk_files, evaluation_run
from experiments.planning import suites
from experiments.reporting import (
  alarm_findings,
  findings,
  leaderboard_entry,
  report_run,
)
from experiments.training import training_run
from snnjax import checks
from snnjax.checks import Measurements, State
from snnjax.storage import environment, files
from snnjax.storage.workdir import Preempted, Status, Workdir
from tests import tiny_runs
from tests.tiny_runs import compiled  # noqa: F401 (a fixture)

CHANGES = {
  "data.test_examples": "128",
  "modalities.image.encoder": "direct",
  "evaluation.examples": "128",
  "evaluation.microbatch": "32",
  "modalities.image.epsilons.linf": "0.2,0.3",
  "evaluation.random_draws": "30",
  "evaluation.rules": "bptt_triangle,bptt_atan",
  "evaluation.alarm_examples": "8",
  "evaluation.alarm_pairs": "8",
}


def quantised(network):
  """The network behind a staircase, whose slope is zero everywhere."""

  def apply(variables, inputs, **options):
    stairs = jax.tree.map(lambda leaf: jnp.round(leaf * 3) / 3, inputs)
    return network.apply(variables, stairs, **options)

  return network._replace(apply=apply)


@pytest.fixture(scope="module")
def masked(tmp_path_factory, compiled):  # noqa: F811
  """A run that was trained in the open and is evaluated behind the mask."""
  folder = tmp_path_factory.mktemp("masked") / "run"
  made = tiny_runs.config(CHANGES)
  training_run.run(made, folder)
  real = networks.network
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(networks, "network", lambda *given: quantised(real(*given)))
    evaluation_run.run(made, folder)
    report_run.run(made, folder)
  return folder


def alarms_of(folder):
  return json.loads((folder / "report" / "report.json").read_text())["alarms"]


def test_the_alarms_of_a_masked_network_come_first(masked):
  alarms = alarms_of(masked)
  assert len(alarms) == len(checks.CHECKS)
  states = [alarm["state"] for alarm in alarms]
  fired = [alarm for alarm in alarms if alarm["state"] == "fired"]
  assert states[: len(fired)] == ["fired"] * len(fired)
  names = {alarm["name"] for alarm in fired}
  assert {
    "Gradients are exactly zero",
    "A gradient-free attack beats the white box",
    "Accuracy survives any epsilon",
  } <= names
  for alarm in fired:
    assert alarm["cause"]
    assert alarm["remedy"]
    assert alarm["evidence"]
    assert alarm["examples"] in (8, 128)
  page = (masked / "report" / "report.html").read_text()
  body = page[page.index("<main>") :]
  assert body.index("Gradients are exactly zero") < body.index("<table")


def test_the_worst_case_breaks_the_masked_network(masked):
  (row,) = json.loads((masked / "report" / leaderboard_entry.FILE).read_text())[
    "entries"
  ]
  assert row["zero_gradient_fraction"] == 1
  assert row["robust"] < row["clean"]
  assert row["unreliable"] is True
  assert "Gradients are exactly zero" in row["alarms"]
  assert row["checkpoint_sha256"] == files.sha256(masked / "parameters.npz")
  assert row["epsilon"] == {"linf": {"image": 0.3}}
  assert row["examples"] == 128
  assert set(row["precision"].values()) == {"float32"}
  assert set(row["kernel"].values()) == {"scan"}


def test_an_evaluation_below_float32_raises_an_alarm(masked):
  made = tiny_runs.config(CHANGES)
  told = report_run.load(masked, made)
  (session,) = environment.read(told.folder)
  assert set(session["precision"].values()) == {"float32"}
  assert set(session["kernel"].values()) == {"scan"}
  for name in ("float32", "tf32", "bfloat16"):
    config = settings.override(told.config, "evaluation.precision", name)
    alarms = alarm_findings.alarms(told._replace(config=config))
    (alarm,) = [a for a in alarms if a.name == "Evaluated below float32"]
    assert alarm.fired == (name != "float32")
    if alarm.fired:
      assert "--config.evaluation.precision=float32" in alarm.remedy


def test_every_alarm_is_checked_or_says_why_not(masked):
  alarms = {alarm["name"]: alarm for alarm in alarms_of(masked)}
  open_ones = [a for a in alarms.values() if a["state"] == "not checked"]
  # Two rules are fewer than this alarm needs; the rest is measured.
  assert [a["name"] for a in open_ones] == [
    "One rule alone is much weaker than all"
  ]
  assert "fewer than 4" in open_ones[0]["reason"]
  idle = [a for a in alarms.values() if a["state"] == "not applicable"]
  assert {a["name"] for a in idle} == {
    "Normalisation statistics changed",
    "Tuned on the reported examples",
    "Too few draws",
  }
  assert all(alarm["reason"] for alarm in idle)


def test_the_worst_case_never_rises_though_an_attack_does(masked, tmp_path):
  """The alarm still sees what each radius did on its own."""
  made = tiny_runs.config(CHANGES)
  told = report_run.load(masked, made)
  small, large = told.plan.cells
  # All fall at the smaller radius, and none at the larger.
  there = {case.path for case in told.plan.on(small)}
  found = {
    name: outcome._replace(
      success=np.full(128, name in there),
      claimed=np.full(128, name in there),
      attempted=np.ones(128, bool),
    )
    for name, outcome in told.evaluation.attacks.items()
  }
  told = told._replace(evaluation=told.evaluation._replace(attacks=found))
  rows = findings.accuracy_rows(told)
  assert [row["robust"] for row in rows] == [0, 0]
  assert [row["success"] for row in rows] == [1, 1]
  assert [row["pgd"] for row in rows] == [0, rows[0]["clean"]]
  assert [row["suite"] for row in findings.rule_rows(told)] == [0, 0]
  counts = findings.correct_counts(told, "linf")[f"attack on {large.target}"]
  assert counts["correct"][1:] == [0, 0]
  entry = leaderboard_entry.entry(told, told.config, alone=True)
  assert entry.robustness.robust.estimate == 0
  risen = [a for a in alarm_findings.alarms(told) if "rises" in a.name]
  assert [alarm.state for alarm in risen] == [State.FIRED]


def test_what_is_reported_holds_smaller_radii_and_fewer_modalities(masked):
  told = report_run.load(masked, tiny_runs.config(CHANGES))
  robust = [
    alarm_study.reported_robust(told.plan, cell, told.evaluation, 8)
    for cell in told.plan.cells
  ]
  assert np.all(robust[1] <= robust[0])


def test_how_visible_each_attack_is_is_kept_per_example(masked):
  root = tiny_runs.evaluation(masked) / "arrays"
  chunks = [
    files.read_arrays(path) for path in (root / "chunks").glob("[!.]*.npz")
  ]
  clean = [rows for rows in chunks if str(rows["stage"]) == "clean"]
  assert 0 < len(clean) < len(chunks)
  for rows in chunks:
    columns = {name for name in rows if name.startswith("more/")}
    assert len(columns) == (0 if str(rows["stage"]) == "clean" else 2)
    if columns:
      moved = rows["rows/distance"] > 0
      assert np.all((rows["more/distance"] > 0) == moved)
      wrong = rows["more/tolerance"] > 0
      assert np.all(wrong[rows["rows/success"]])
  table = masked / "report" / "tables" / "perceptual.csv"
  assert "tolerance" in table.read_text().splitlines()[0]


def test_a_stopped_study_goes_on_with_the_next_part(
  masked, tmp_path, monkeypatch
):
  folder = tmp_path / "run"
  shutil.copytree(masked, folder)
  whole = tiny_runs.evaluation(folder) / "arrays" / "alarms"
  finished = {p.name: p.read_bytes() for p in whole.iterdir()}
  there = ("randomness.npz", "gradient.npz", "steps.npz", "losses.npz")
  for path in whole.iterdir():
    if path.name not in there:
      path.unlink()
  tiny_runs.set_status(tiny_runs.evaluation(folder), Status.PREEMPTED)
  saved = []
  real = Workdir.save_arrays

  def save(self, name, *rest):
    saved.append(name)
    real(self, name, *rest)

  monkeypatch.setattr(Workdir, "save_arrays", save)
  network = networks.network
  monkeypatch.setattr(networks, "network", lambda *a: quantised(network(*a)))
  evaluation_run.run(tiny_runs.config(CHANGES), folder)
  again = [name for name in saved if name.startswith("alarms/")]
  assert set(again) == {
    f"alarms/{name.removesuffix('.npz')}" for name in finished
  } - {f"alarms/{name.removesuffix('.npz')}" for name in there}
  assert again[-1] == "alarms/examples"
  assert {p.name: p.read_bytes() for p in whole.iterdir()} == finished


def test_a_stop_is_obeyed_after_a_part(monkeypatch, masked, tmp_path):
  part = Measurements(differing_alone=0, attacked_alone=2)
  monkeypatch.setattr(
    checks, "parts", lambda *_: dict.fromkeys(PARTS, lambda: part)
  )
  monkeypatch.setattr(alarm_study, "_statistics", lambda *_: part)
  made = suites.resolved(tiny_runs.config(CHANGES))
  from experiments.building import datasets
  from experiments.evaluation import assessment
  from snnjax.storage import workdir

  splits = datasets.load(made, only_test=True)
  source = tiny_runs.evaluation(masked)
  with workdir.open_with_status(
    source, workdir.read_config(source)
  ) as finished:
    agenda = chunk_files.read(source)
    parts = chunk_files.load(finished, agenda)
  plan = agenda.plan
  # A network that nothing withstands at the largest radius is checked there
  # as well: another choice for it would compare networks at different radii.
  batch = assessment.test_batch(made, splits)
  evaluation = chunk_files.collect(agenda, parts, batch.labels)
  lost = {
    case.path: outcome._replace(success=outcome.claimed | True)
    for case in plan.on(plan.strongest)
    for outcome in [evaluation.attacks[case.path]]
  }
  assert lost
  evaluation = evaluation._replace(attacks={**evaluation.attacks, **lost})
  judge = jax.tree_util.Partial(lambda *_: None, {})
  given = (made, None, judge, batch, plan, evaluation)
  stops, told = 0, []
  with workdir.open_with_status(tmp_path / "new", {}) as folder:
    with pytest.raises(FileNotFoundError):
      alarm_study.load(made, folder, {})
    with pytest.raises(Preempted, match="before the alarms"):
      alarm_study.measure(*given, folder, {}, should_stop=lambda: True)
    while True:
      answers = iter((False,))  # not before the first part, but after it
      try:
        alarm_study.measure(
          *given,
          folder,
          {},
          progress=lambda done, *_, **__: told.append(done),
          should_stop=lambda answers=answers: next(answers, True),
        )
        break
      except Preempted:
        stops += 1
    found = alarm_study.load(made, folder, {})
  assert stops == len(PARTS) + 1
  # Every session says where it starts before it measures anything, and every
  # part that it begins, whose compilation is not measured.
  assert told == [n + i for n in range(len(PARTS) + 2) for i in (0, 0, 1)]
  assert found.examples == 8
  assert found.attacked == "image 0.3"
  assert found.measurements.differing_alone == 0
  assert "configuration did" in found.measurements.reasons["tuning_indices"]


PARTS = (
  "randomness",
  "gradient",
  "steps",
  "losses",
  "restarts",
  "batch",
  "gradient_free",
)


def test_measurements_survive_the_disk(tmp_path):
  yes = np.array([True, False])
  whole = Measurements(
    steps_robust=yes,
    zero_gradient={"clean": yes, "ball": ~yes},
    finite_difference_cosines={"ball_margin": np.array([float("nan"), 0.5])},
    epsilons=[0.1, 0.2],
    epsilon_robust=[yes, ~yes],
    loss_robust={"margin": yes},
    rules=3,
    statistics_change=0.5,
    reasons={"statistics_change": "there are none"},
  )
  folder = tmp_path / "arrays.npz"
  files.write_arrays(folder, alarm_study.encode(whole))
  back = alarm_study.decode(files.read_arrays(folder))
  for name, value in whole._asdict().items():
    np.testing.assert_equal(getattr(back, name), value, name)


def test_without_examples_the_report_says_so():
  alone = {"differing_alone": 0, "attacked_alone": 2}
  alarms = checks.check(Measurements(**alone), "net")
  told = alarm_study.complete(alarms, None, "net", "nobody asked")
  for alarm in told:
    if alarm.state is State.NOT_CHECKED:
      assert alarm.reason == "nobody asked"
  assert [a.state for a in told] == [a.state for a in alarms]


@pytest.mark.parametrize("name", ["alarm_examples", "alarm_pairs"])
def test_numbers_below_zero_are_refused(name):
  made = tiny_runs.config({f"evaluation.{name}": "-1"})
  with pytest.raises(ValueError, match=f"evaluation.{name} must be at least 0"):
    alarm_study.check(made)


def test_what_only_authors_know_is_given_and_checked(masked, tmp_path):
  def entry(changes):
    made = tiny_runs.config(CHANGES | changes)
    networks = [report_run.load(masked, made)]
    entries = leaderboard_entry.check_entries(networks, made)
    path = leaderboard_entry.write(entries, tmp_path)
    return json.loads(path.read_text())["entries"][0]

  plain = entry({})
  assert (plain["name"], plain["venue"]) == ("run", "Unpublished")
  assert plain["reported"] is None
  assert plain["architecture"] == "mlp, hidden 16, readout mean"
  told = entry(
    {
      "leaderboard.name": "mask",
      "leaderboard.venue": "ICML 2026",
      "leaderboard.reported": "0.9",
      "leaderboard.additional_data": "true",
      "leaderboard.architecture": "an MLP",
    }
  )
  assert told["name"] == "mask"
  assert told["reported"] == 0.9
  assert told["additional_data"] is True
  assert told["architecture"] == "an MLP"
  assert told["robust"] == plain["robust"]
  with pytest.raises(ValueError, match="venue must be 'Unpublished', or end"):
    entry({"leaderboard.venue": "ICML"})


@pytest.mark.parametrize(
  ("key", "value", "match"),
  [
    ("leaderboard.venue", "ICML", "venue must be 'Unpublished', or end"),
    ("leaderboard.link", "javascript:alert(1)", "link must be empty, or an"),
    ("leaderboard.reported", "2", r"leaderboard\.reported must be a number in"),
  ],
)
def test_what_is_not_allowed_is_said_before_a_page_is_written(
  masked, key, value, match
):
  page = masked / "report" / "report.html"
  before = page.stat().st_mtime_ns
  with pytest.raises(UsageError, match=match):
    report_run.run(tiny_runs.config(CHANGES | {key: value}), masked)
  assert page.stat().st_mtime_ns == before
