"""The questions at size smoke: one pool, results, answers, and their faults."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.command.exits import DataError, ExitCode, UsageError
from experiments.configuration import study as studies
from experiments.measuring import gradient_summary
from experiments.measuring.named_arrays import METRICS, parts_of
from experiments.questions import (
  claim_answer,
  network_numbers,
  question_run,
  results,
  sparsity_answer,
  transfer_answer,
)
from experiments.questions import pool as pool_module
from experiments.questions.question_run import Options
from snnjax.storage import files

NAME, TRANSFER = sparsity_answer.NAME, transfer_answer.NAME


@pytest.fixture(scope="module")
def study():
  return question_run.load_study(None, "smoke")


@pytest.fixture(scope="module")
def pool(study, tmp_path_factory):
  """The folder of a finished smoke run."""
  folder = tmp_path_factory.mktemp("pool")
  code = question_run.run(NAME, Options(folder, study), sparsity_answer.answer)
  assert code is ExitCode.DONE
  return folder


@pytest.fixture
def copied(pool, tmp_path):
  """A copy of the results that a test may damage."""
  shutil.copytree(pool / "results", tmp_path / "results")
  return tmp_path / "results"


def again(study, results_folder, folder, **options):
  """Answers from results."""
  asked = Options(folder, study, results_folder, **options)
  return question_run.run(NAME, asked, sparsity_answer.answer)


def files_of(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def test_the_answer_is_the_same_from_its_results(study, pool, tmp_path):
  assert again(study, pool / "results", tmp_path) is ExitCode.DONE
  first, second = files_of(pool / NAME), files_of(tmp_path / NAME)
  assert {"report.html", "report.json", "tables/contrasts.csv"} <= set(first)
  assert first == second


def test_a_finished_pool_trains_nothing(study, pool, capsys):
  question_run.run(NAME, Options(pool, study), sparsity_answer.answer)
  said = capsys.readouterr().out
  assert "6 of 6 networks are measured" in said
  assert "network 1 of" not in said
  assert "trained:" not in said


def test_the_rules_stand_first_and_every_network_is_named(study, pool):
  record = json.loads((pool / NAME / "report.json").read_text())
  sections = [section["title"] for section in record["sections"]]
  assert sections[:2] == ["The figure", "The decision rules"]
  names = {own.name for own in studies.members(study, NAME)}
  rows = (pool / NAME / "tables" / "networks.csv").read_text()
  assert len(names) == 6
  assert all(name in rows for name in names)
  assert "it answers nothing" in record["summary"]


def moved(each, distance):
  """A network whose gradients are sparser by so much, but for rounding."""
  if each.member.arm != "hire":
    return each
  arrays = dict(each.arrays["gradients"])
  arrays["mean"] = np.asarray(arrays["mean"]) * 0 - distance
  arrays["mean"] += 1e-3 * each.member.seed
  return each._replace(arrays={"gradients": arrays})


def still(each):
  arrays = dict(each.arrays["gradients"])
  arrays["mean"] = np.zeros_like(arrays["mean"])
  return each._replace(arrays={"gradients": arrays})


@pytest.mark.parametrize(
  ("smallest", "verdict"),
  [
    (0.05, "verified"),
    (0.2, "verified"),
    (0.2999, "undecided"),
    (0.4, "refuted"),
  ],
)
def test_a_threshold_decides(smallest, verdict, study, pool):
  """The same numbers, -0.3 and -0.299: another smallest effect decides."""
  measured, _ = results.load(study, [NAME], pool / "results")
  measured = [moved(still(each), 0.3) for each in measured]
  question = study.questions[NAME]
  contrasts = [
    dataclasses.replace(each, smallest_effect=smallest)
    for each in question.contrasts
  ]
  asked = dataclasses.replace(question, contrasts=tuple(contrasts))
  changed = dataclasses.replace(study, questions={NAME: asked})
  record = sparsity_answer.answer(changed, measured, [])
  tables = {table.name: table for table in record.tables()}
  decided = [row["verdict"] for row in tables["contrasts"].rows]
  assert decided == [verdict, ""]  # the second is told beside


def members(study):
  return list(studies.members(study, NAME))


def remove(folder, study):
  shutil.rmtree(results.folder(folder, members(study)[0]))
  return f"{members(study)[0].words}: no gradients"


def cut(folder, study):
  file = results.folder(folder, members(study)[1]) / "gradients.npz"
  file.write_bytes(file.read_bytes()[:-200])
  return f"{members(study)[1].words}: .*damaged"


def flip(folder, study):
  file = results.folder(folder, members(study)[1]) / "gradients.npz"
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 4
  file.write_bytes(content)
  return f"{members(study)[1].words}: .*gradients.npz"


def swap(folder, study):
  one, other = (results.folder(folder, own) for own in members(study)[:2])
  one.rename(folder / "aside")
  other.rename(one)
  (folder / "aside").rename(other)
  return f"{members(study)[0].words}: .*made from"


def swap_seeds(folder, study):
  """The same arm of two seeds, arrays alone."""
  one, other = (
    results.folder(folder, own) / "gradients.npz"
    for own in members(study)
    if own.arm == "hire"
  )
  first, second = one.read_bytes(), other.read_bytes()
  one.write_bytes(second)
  other.write_bytes(first)
  return "hire on digits .*seed 0: .*made from"


def rename_who(folder, study):
  one, other = (
    results.folder(folder, own) / results.WHO for own in members(study)[:2]
  )
  shutil.copy(one, other)
  return f"{members(study)[1].words}: .*must be of arm 'hire'"


def edit_who(folder, study):
  file = results.folder(folder, members(study)[0]) / results.WHO
  file.write_text(file.read_text().replace('"accuracy": 0', '"accuracy": 1'))
  return f"{members(study)[0].words}: .*network.json is damaged"


@pytest.mark.parametrize(
  "harm", [remove, cut, flip, swap, swap_seeds, rename_who, edit_who]
)
def test_a_wrong_network_is_named(harm, study, copied, tmp_path):
  match = harm(copied, study).replace("(", r"\(").replace(")", r"\)")
  match = match.replace("+", r"\+")
  with pytest.raises(DataError, match=match):
    again(study, copied, tmp_path / "answer")
  assert not (tmp_path / "answer").exists()


def test_what_is_missing_is_told_where_it_is_left_out(study, copied, tmp_path):
  gone = members(study)[0]
  shutil.rmtree(results.folder(copied, gone))
  again(study, copied, tmp_path / "answer", finished_only=True)
  record = json.loads((tmp_path / "answer" / NAME / "report.json").read_text())
  summary = record["summary"]
  assert "NOT FINISHED: 1 networks of the study are missing or" in summary
  assert gone.words in summary
  assert str(tmp_path) not in summary
  rows = (tmp_path / "answer" / NAME / "tables" / "contrasts.csv").read_text()
  assert "conventional 0" in rows  # the other arm's seed has no pair any more


def test_a_measurement_under_another_protocol_is_refused(
  study, copied, tmp_path
):
  protocol = dataclasses.replace(study.protocol, level=0)
  other = dataclasses.replace(study, protocol=protocol)
  with pytest.raises(DataError, match="protocol"):
    again(other, copied, tmp_path / "answer")


@pytest.mark.parametrize(
  ("changes", "match"),
  [
    ({"arms": {"nobody": 2}}, "arms must be among .*'nobody'"),
    ({"data": ("moons",)}, "data must be among .*'moons'"),
    ({"modalities": (("image",),)}, "no radii|must have"),
  ],
)
def test_a_study_that_does_not_fit_is_named(study, changes, match, tmp_path):
  data = {
    name: dataclasses.replace(each, radii={"image+events": {}})
    for name, each in study.data.items()
  }
  question = dataclasses.replace(study.questions[NAME], **changes)
  wrong = dataclasses.replace(study, data=data, questions={NAME: question})
  with pytest.raises(UsageError, match=match):
    question_run.run(NAME, Options(tmp_path, wrong), sparsity_answer.answer)
  assert not list(tmp_path.iterdir())


def test_a_wrong_measure_is_named(study, pool):
  measured, _ = results.load(study, [NAME], pool / "results")
  for wrong in ("precision", "mean/margin/linf/own/whole", "robust/l7/1"):
    with pytest.raises(UsageError, match=f"got '{wrong}'"):
      network_numbers.number(study, measured[0], wrong)


def test_the_clean_gradients_are_those_of_each_example_alone(study, pool):
  """By one backward pass per example, and the metrics by hand."""
  own = members(study)[1]
  place = pool / "measured" / own.name / "gradients.npz"
  arrays = files.read_arrays(place)
  work = pool_module.Work(study, pool)
  subject = work.subject(own, studies.check_radii(study, own))
  logits = subject.bound()

  @jax.jit
  def gradient(inputs, label):
    def margin(inputs):
      z = logits(
        jax.random.key(0), jax.tree.map(lambda leaf: leaf[None], inputs)
      )
      rival = jnp.max(jnp.where(jnp.arange(10) == label, -jnp.inf, z[0]))
      return z[0, label] - rival

    return jax.grad(margin)(inputs)

  parts = parts_of(own.modalities)
  assert parts == ("events", "image", "joint")
  for n in range(4):
    inputs = jax.tree.map(lambda leaf, n=n: leaf[n], subject.batch.inputs)
    g = {
      name: np.abs(np.asarray(leaf, np.float64)).ravel()
      for name, leaf in gradient(inputs, subject.batch.labels[n]).items()
    }
    g["joint"] = np.concatenate([g["image"], g["events"]])
    for q, part in enumerate(parts):
      own_g = g[part]
      if not own_g.any():
        assert np.isnan(arrays["gradient"][0, 0, 0, q, :, n]).all()
        continue
      by_hand = {
        "log_participation_ratio": np.log(
          own_g.sum() ** 2 / (len(own_g) * (own_g**2).sum())
        ),
        "l0_relative": np.mean(own_g > 0.01 * own_g.max()),
        "log_l1": np.log(own_g.sum()),
        "log_linf": np.log(own_g.max()),
      }
      for metric, value in by_hand.items():
        m = METRICS.index(metric)
        np.testing.assert_allclose(
          arrays["gradient"][0, 0, 0, q, m, n], value, rtol=5e-3, atol=5e-3
        )


def test_zero_gradients_are_counted_and_nowhere_averaged():
  """By hand: three examples, one of them wrong, one without a gradient."""
  shape = (1, 2, 1, 1, len(METRICS), 3)
  gradient = np.zeros(shape)
  gradient[0, 0] = [1.0, 2.0, 7.0]
  gradient[0, 1] = [3.0, np.nan, 7.0]
  arrays = {
    "gradient": gradient,
    "correct": np.array([True, True, False]),
    "part_sizes": np.array([4]),
  }
  kept = gradient_summary.summarized(arrays)
  first = len(METRICS)
  np.testing.assert_allclose(kept["mean"][0, 0, ..., :first], 1.5)
  np.testing.assert_allclose(kept["mean"][0, 1, ..., :first], 3.0)
  np.testing.assert_allclose(kept["change"][0, 1, ..., :first], 2.0)
  np.testing.assert_allclose(kept["zeros"][0, :, 0, 0], [0.0, 0.5])
  # log ||g||_2 = log ||g||_1 - (log d + log PR)/2
  log_l2 = kept["mean"][0, 0, 0, 0, first + 1]
  np.testing.assert_allclose(
    log_l2, np.mean([x - (np.log(4) + x) / 2 for x in (1.0, 2.0)]), rtol=1e-6
  )


def test_the_ledger_is_made_of_the_same_results(study, pool, tmp_path):
  """Every claim has a verdict; what nobody measured decides nothing."""
  # The networks of the second question are not there.
  asked = Options(pool, study, finished_only=True)
  assert claim_answer.run(asked) is ExitCode.DONE
  asked = Options(tmp_path, study, pool / "results", finished_only=True)
  assert claim_answer.run(asked) is ExitCode.DONE
  assert files_of(pool / "claims") == files_of(tmp_path / "claims")
  report = json.loads((tmp_path / "claims" / "report.json").read_text())
  (table,) = report["sections"][0]["tables"]
  verdicts = {row["name"]: row["verdict"] for row in table["rows"]}
  assert list(verdicts) == list(study.claims)
  assert verdicts["random_linear"] == "verified"
  assert verdicts["random_networks"] == "undecided"


@pytest.fixture(scope="module")
def transferred(study, pool, tmp_path_factory):
  """A copy of the pool in which the second question is answered too."""
  folder = tmp_path_factory.mktemp("both") / "pool"
  shutil.copytree(pool, folder)
  asked = Options(folder, study)
  code = question_run.run(TRANSFER, asked, transfer_answer.answer)
  assert code is ExitCode.DONE
  return folder


def test_what_both_questions_need_is_trained_once(study, pool, transferred):
  shared = [
    own.name
    for own in studies.members(study, TRANSFER)
    if (pool / pool_module.NETWORKS / own.name).is_dir()
  ]
  assert len(shared) == 2
  for name in shared:  # a copy keeps the time at which it was written
    first, second = (
      (folder / pool_module.NETWORKS / name / "parameters.npz").stat()
      for folder in (pool, transferred)
    )
    assert first.st_mtime_ns == second.st_mtime_ns


def test_every_arm_meets_every_norm(study, transferred):
  record = json.loads((transferred / TRANSFER / "report.json").read_text())
  tables = {
    table["name"]: table["rows"]
    for section in record["sections"]
    for table in section["tables"]
  }
  arms = {study.arms[arm].about for arm in study.questions[TRANSFER].arms}
  met = {(row["arm"], row["norm"], row["level"]) for row in tables["radii"]}
  assert met == {
    (arm, norm, level)
    for arm in arms
    for norm in ("linf", "l2", "l1", "l0", "all")
    for level in range(3)
  }
  (harder,) = tables["stronger"]  # of one seed of one arm, under one norm
  assert (harder["norm"], harder["seeds"]) == ("l1", 1)
  figures = {
    path.stem for path in (transferred / TRANSFER / "figures").glob("*.png")
  }
  assert figures == {
    "verdicts",
    "transfer_matrix_digits_image_events",
    "size_against_sparsity_digits_image_events",
  }


def test_the_second_answer_is_the_same_from_its_results(
  study, transferred, tmp_path
):
  asked = Options(tmp_path, study, transferred / "results")
  assert (
    question_run.run(TRANSFER, asked, transfer_answer.answer) is ExitCode.DONE
  )
  assert files_of(transferred / TRANSFER) == files_of(tmp_path / TRANSFER)
