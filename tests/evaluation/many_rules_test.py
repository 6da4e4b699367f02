"""A suite under several rules: its cases, its worst case, what it saves."""

import collections
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, derivatives, evaluation
from snnjax.attacks import SuiteAttack, SuiteError
from snnjax.evaluation import (
  View,
  gradients,
  many_rules,
  plain_plans,
  planning,
  saving,
)
from snnjax.storage import array_files, identity
from tests import tiny_runs

KEY = jax.random.key(0)
N, PIXELS, CLASSES = 10, 12, 4
INPUTS = jax.random.uniform(jax.random.key(1), (N, PIXELS))
RADII = (0.05, 0.2)
TRACES = []


def rule(width):
  """A staircase with the slope of a ramp of some width; 0 has none."""

  def logits(weights, key, inputs):
    del key
    TRACES.append(width)
    slope = (jnp.abs(inputs - 0.5) < width).astype(inputs.dtype)
    stairs = jnp.round(8 * inputs) / 8
    return derivatives.replace_derivative(stairs, slope, inputs) @ weights

  return logits


FUNCTIONS = {
  name: rule(width)
  for name, width in (("none", 0.0), ("some", 0.2), ("all", 1.0))
}


def network(seed):
  weights = jax.random.normal(jax.random.key(seed), (PIXELS, CLASSES))
  return {
    name: jax.tree_util.Partial(function, weights)
    for name, function in FUNCTIONS.items()
  }


VIEWS = network(2)
LABELS = np.asarray(jnp.argmax(VIEWS["none"](KEY, INPUTS), 1))
SUITE = (
  SuiteAttack("pgd", ("none", "some", "all"), steps=3),
  SuiteAttack("random", ("none",), steps=2),
  SuiteAttack("pgd", ("some", "all"), "worst", "worst_of", steps=2),
  SuiteAttack("square", ("all",), steps=5, levels=(-1,), meets="survivors"),
)


L0 = functools.partial(attacks.l0, site_axes=0)
NORMS = {
  "linf": (attacks.linf, (0.02, 0.06)),
  "l2": (attacks.l2, (0.1, 0.25)),
  "l1": (attacks.l1, (0.3, 0.6)),
  "l0": (L0, (1, 2)),
}
NORM_SUITE = (
  SuiteAttack("pgd", ("some",), steps=3),
  SuiteAttack("random", ("none",), steps=2),
  SuiteAttack("spgd", ("all",), steps=4, norms=("l0",)),
  SuiteAttack("slide", ("all",), steps=2, meets="survivors"),
  SuiteAttack("square", ("all",), steps=4, meets="survivors"),
  SuiteAttack("sparse_rs", ("all",), steps=4, meets="survivors"),
  SuiteAttack("fgsm", ("all",), targets=("sound",)),
)


def evaluated(views=VIEWS, suite=SUITE, norms=attacks.linf, **options):
  fixed = {"key": KEY, "radii": RADII, "microbatch": 4}
  return evaluation.evaluate_suite(
    suite, views, norms, INPUTS, LABELS, **(fixed | options)
  )


@pytest.fixture(scope="module")
def result():
  return evaluated()


def test_every_case_is_planned_once_and_run(result):
  paths = [
    *(f"pgd/{rule}" for rule in FUNCTIONS),
    "random",
    "worst",
  ]
  assert list(result.evaluation.attacks) == [
    *(f"inputs/0/{path}" for path in paths),
    *(f"inputs/1/{path}" for path in (*paths, "square")),
  ]
  assert list(result.plan.by_path) == list(result.evaluation.attacks)
  assert [a.rules[0] for a in result.plan.alone("linf")] == list(FUNCTIONS)
  small, large = result.plan.cells
  assert (small.radius, large.radius) == RADII
  assert result.plan.strongest == large
  (square,) = result.plan.on(large, "square")
  assert result.plan.survivors == {
    square.path: tuple(c.path for c in result.plan.on(large)[:-1])
  }


def test_the_worst_case_is_over_rules_attacks_and_smaller_balls(result):
  small, large = map(result.within, result.plan.cells)
  assert len(small.attacks) == 5
  assert len(large.attacks) == 11
  standing = result.evaluation.clean.correct.copy()
  assert standing.all()
  for outcome in result.evaluation.attacks.values():
    standing &= ~outcome.success
  np.testing.assert_array_equal(evaluation.worst(large).robust, standing)
  robust = [evaluation.summarize(e).robust.estimate for e in (small, large)]
  assert 1 > robust[0] > robust[1]
  # The rule without a gradient hides what the others find.
  masked = result.evaluation.attacks["inputs/1/pgd/none"].success
  opened = result.evaluation.attacks["inputs/1/pgd/all"].success
  assert masked.sum() < opened.sum()


def test_a_case_is_what_its_attack_is_alone(result):
  def builder():
    threat = attacks.linf(jnp.asarray(RADII[1]))
    pgd = attacks.pgd(VIEWS["some"], threat, steps=3)
    return evaluation.Trial(pgd, threat)

  path = "inputs/1/pgd/some"
  alone = evaluation.evaluate(
    {path: builder}, VIEWS["none"], INPUTS, LABELS, key=KEY, microbatch=4
  )
  tiny_runs.same(
    alone.attacks[path]._asdict(), result.evaluation.attacks[path]._asdict()
  )


def test_networks_and_radii_share_their_programs(result):
  del TRACES[:]
  other = evaluated(network(3))
  # Only the number of classes is asked again, of shapes.
  assert TRACES == [0.0]
  assert other.plan == result.plan
  assert not np.array_equal(
    other.evaluation.clean.loss, result.evaluation.clean.loss
  )


def test_an_interrupted_suite_goes_on_from_the_disk(result, tmp_path):
  class StoppedError(Exception):
    pass

  asked = iter(range(9))

  def stop(done, total, stage):
    if next(asked, None) is None:
      raise StoppedError

  origin = {"network": "0f" * 32}
  plan = result.plan
  cases = many_rules.builders(
    plan,
    {k: View(v) for k, v in VIEWS.items()},
    {"linf": attacks.linf},
    INPUTS,
    {},
  )
  options = {"key": KEY, "microbatch": 4, "survivors": plan.survivors}
  chunks = evaluation.stream(
    cases, VIEWS["none"], INPUTS, LABELS, progress=stop, **options
  )
  with pytest.raises(StoppedError):
    collections.deque(
      (saving.save(chunk, tmp_path, origin) for chunk in chunks), maxlen=0
    )
  finished = saving.load(tmp_path, origin)
  assert 0 < len(finished) < 11 * 3
  again = evaluated(finished=finished).evaluation
  tiny_runs.same(again.clean._asdict(), result.evaluation.clean._asdict())
  for path, outcome in result.evaluation.attacks.items():
    tiny_runs.same(again.attacks[path]._asdict(), outcome._asdict())
  assert saving.load(tmp_path / "nowhere") == []
  with pytest.raises(identity.ForeignError):
    saving.load(tmp_path, {"network": "1f" * 32})
  file = tmp_path / "000000.npz"
  file.write_bytes(file.read_bytes()[:-9])
  with pytest.raises(identity.DamagedError, match="is computed again"):
    saving.load(tmp_path)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"rows/loss": np.zeros(3)}, r"rows/loss: float64\[3\] came, 2 rows are"),
    ({"rows/success": None}, "rows/success: missing"),
    ({"more/x": np.zeros(2)}, "more/x: no such leaf is expected"),
  ],
)
def test_a_chunk_with_other_columns_is_none(result, change, message):
  rows = jax.tree.map(
    lambda leaf: leaf[:2], result.evaluation.attacks["inputs/0/random"]
  )
  chunk = evaluation.Chunk("inputs/0/random", np.arange(2), rows)
  arrays = saving.to_arrays(chunk)
  assert saving.from_arrays(arrays)[0].rows.success.tolist() == (
    rows.success.tolist()
  )
  changed = {n: a for n, a in (arrays | change).items() if a is not None}
  with pytest.raises(ValueError, match=message):
    saving.from_arrays(changed)


def test_what_does_not_fit_is_refused_before_anything_runs():
  for suite, message in (
    ([SuiteAttack("pgdd", ("all",))], "kind must be one of .*; got 'pgdd'"),
    ([SuiteAttack("pgd", ("all",), steps=0)], "steps must be at least 1"),
    ([SuiteAttack("pgd", "all")], "rules must be a tuple; got 'all'"),
    ([SuiteAttack("fgsm", ("all",))] * 2, r"names must .*\['fgsm'\]"),
    ([], "names must be at least one"),
    ([SuiteAttack("fgsm", ("all",), levels=(2,))], r"must be in -2\.\.1 for 2"),
    ([SuiteAttack("slide", ("all",))], "attacks must be at least one that can"),
  ):
    with pytest.raises(SuiteError, match=message):
      evaluated(suite=suite)
  with pytest.raises(ValueError, match=r"every rule of the suite; .* 'rga' of"):
    evaluated(suite=attacks.quick_suite(("rga",)))
  with pytest.raises(ValueError, match="radii must be those of the inputs'"):
    evaluated(radii={"image": RADII})
  with pytest.raises(ValueError, match=r"views\['all'\] must be"):
    evaluated(views={"all": 3})
  two = {"linf": attacks.linf, "l2": attacks.l2}
  for radii in (RADII, {"linf": RADII}, {"linf": RADII, "l0": RADII}):
    with pytest.raises(ValueError, match="with those of every norm"):
      evaluated(norms=two, radii=radii)


def four_norms(norms, **options):
  return evaluated(
    suite=NORM_SUITE,
    norms={name: NORMS[name][0] for name in norms},
    radii={name: NORMS[name][1] for name in norms},
    **options,
  )


@pytest.fixture(scope="module")
def many():
  return four_norms(NORMS)


def test_an_attack_meets_the_norms_that_it_has_a_form_for(many):
  plan = many.plan
  ran = {
    norm: list(
      dict.fromkeys(c.attack.name for c in plan.cases if c.cell.norm == norm)
    )
    for norm in plan.norms
  }
  assert ran == {
    "linf": ["pgd", "random", "square"],
    "l2": ["pgd", "random", "square"],
    "l1": ["pgd", "random", "slide", "square"],
    "l0": ["random", "spgd", "sparse_rs"],
  }
  assert list(many.evaluation.attacks) == list(plan.by_path)
  assert "l0/inputs/1/sparse_rs" in plan.by_path
  # Only what runs nowhere, or is refused for itself, is named.
  assert list(plan.refused) == ["fgsm"]
  assert many.evaluation.skipped == plan.refused
  assert plain_plans.from_plain(plain(many)) == plan
  none = {(norm, "random"): f"no form for {norm}" for norm in plan.norms}
  assert plan.without({}, none).refused["random"] == (
    "no form for linf; no form for l2; no form for l1; no form for l0"
  )
  assert (
    plan.without({("l0", "random"): "why"}, none).refused["random"] == "why"
  )
  less = plan.without({("l1", "square"): "why"}, {("l1", "pgd"): "no form"})
  assert less.refused == {**plan.refused, "square under l1": "why"}
  assert {c.path for c in plan.cases} - {c.path for c in less.cases} == {
    f"l1/inputs/{level}/{name}"
    for level in (0, 1)
    for name in ("pgd", "square")
  }
  for path, before in plan.survivors.items():
    norm = plan.by_path[path].cell.norm
    assert {plan.by_path[p].cell.norm for p in before} == {norm}
  assert [plan.alone(norm)[0].name for norm in plan.norms] == [
    *("pgd", "pgd", "pgd", "spgd")
  ]


def test_balls_are_within_one_norm_and_the_union_is_over_all(many):
  rows = many.evaluation.attacks
  for level in (0, 1):
    standing = many.evaluation.clean.correct.copy()
    for norm in many.plan.norms:
      (cell,) = [
        c for c in many.plan.cells if (c.norm, c.level) == (norm, level)
      ]
      inside = many.within(cell)
      alone = many.evaluation.clean.correct.copy()
      for path, outcome in rows.items():
        its, _, at, *_ = path.split("/")
        assert (path in inside.attacks) == (its == norm and int(at) <= level)
        if path in inside.attacks:
          alone &= ~outcome.success
      np.testing.assert_array_equal(evaluation.worst(inside).robust, alone)
      standing &= alone
    # Whichever norm's cell is asked for: the level is theirs together.
    union = many.union(cell)
    np.testing.assert_array_equal(evaluation.worst(union).robust, standing)
    lowest = min(
      evaluation.summarize(many.within(c)).robust.estimate
      for c in many.plan.cells
      if c.level == level
    )
    assert evaluation.summarize(union).robust.estimate == standing.mean()
    assert standing.mean() <= lowest
  assert 0 < standing.sum() < N
  # A norm without an attack at a level leaves the union unknown.
  cases = [c for c in many.plan.cases if not c.path.startswith("l2/inputs/1")]
  less = dataclasses.replace(many.plan, cases=tuple(cases))
  assert not less.union(many.evaluation, cell).attacks


def test_one_norm_has_the_same_paths_and_bits_named_or_not():
  named = four_norms(["l2"])
  bare = evaluated(suite=NORM_SUITE, norms=attacks.l2, radii=NORMS["l2"][1])
  assert named.plan == bare.plan
  assert next(iter(bare.evaluation.attacks)) == "inputs/0/pgd"
  for path, outcome in bare.evaluation.attacks.items():
    tiny_runs.same(outcome._asdict(), named.evaluation.attacks[path]._asdict())


@pytest.mark.parametrize(
  ("suite", "norms", "words"),
  [
    (("spgd",), attacks.linf, "spgd must have a budget in l0; got one in linf"),
    (("pgd",), L0, "pgd must have a budget in linf or l2 or l1; got one in l0"),
    (("slide", "fab"), L0, "slide must have .* in l1; got one in l0"),
  ],
)
def test_a_suite_of_another_norm_is_refused_in_words(suite, norms, words):
  suite = [SuiteAttack(kind, ("all",)) for kind in suite]
  with pytest.raises(SuiteError, match=words):
    evaluated(suite=suite, norms=norms)
  with pytest.raises(SuiteError, match=r"one is for \['l"):
    evaluated(suite=[suite[0]._replace(norms=("other",))], norms=norms)


def test_the_standard_suite_names_only_its_rules():
  suite = attacks.standard_suite(("own", "rga"), adaptive="assg")
  for each in suite:
    many_rules.with_defaults(each, adaptive=("assg",))
  rules = {rule for each in suite for rule in each.rules}
  assert rules == {"own", "rga", "assg"}
  assert [each.meets for each in suite] == ["all"] * 4 + ["survivors"] * 12
  alone = attacks.standard_suite(("own",))
  assert {rule for each in alone for rule in each.rules} == {"own"}


def plain(result):
  return json.loads(json.dumps(plain_plans.to_plain(result.plan)))


def test_a_plan_survives_json(result):
  plan = result.plan.with_cell(planning.Cell("linf", "far", 0, {"inputs": 0.5}))
  assert [case.path for case in plan.beside] == ["far/0/pgd/none"]
  back = plain_plans.from_plain(
    json.loads(json.dumps(plain_plans.to_plain(plan)))
  )
  assert back == plan
  assert back.beside == plan.beside


@pytest.mark.parametrize(
  "change",
  [
    lambda p: p.pop("cases"),
    lambda p: p.update(cells=7),
    lambda p: p["cases"].append([9, 0]),
    lambda p: p["cases"].append([0, -1]),
    lambda p: p["cells"][0].__setitem__(0, 3),
    lambda p: p["attacks"][0].update(kind="pgdd"),
    lambda p: p["attacks"][0].update(steps="3"),
  ],
)
def test_what_is_no_plan_is_refused(result, change):
  made = plain(result)
  change(made)
  with pytest.raises((KeyError, TypeError, ValueError)):
    plain_plans.from_plain(made)


def test_modalities_are_attacked_alone_and_together():
  linf = {"events": (0.1, 0.3), "image": (0.2, 0.4)}
  l0 = {"events": (0, 3), "image": (2, 4)}
  cells = planning.cells({"linf": linf, "l0": l0})
  assert [(c.norm, c.target, c.level, c.words) for c in cells] == [
    ("linf", "events", 0, "events 0.1"),
    ("linf", "events", 1, "events 0.3"),
    ("linf", "image", 0, "image 0.2"),
    ("linf", "image", 1, "image 0.4"),
    ("linf", "both", 0, "events 0.1, image 0.2"),
    ("linf", "both", 1, "events 0.3, image 0.4"),
    ("l0", "events", 0, ""),
    ("l0", "events", 1, "events 3"),
    ("l0", "image", 0, "image 2"),
    ("l0", "image", 1, "image 4"),
    ("l0", "both", 0, "image 2"),
    ("l0", "both", 1, "events 3, image 4"),
  ]
  for uneven in (
    {"linf": linf | {"events": (0.1,)}},
    {"linf": linf, "l0": {"events": (1,), "image": (2,)}},
  ):
    with pytest.raises(ValueError, match="as many for every modality"):
      planning.cells(uneven)


def test_each_modality_has_sites_of_its_own():
  images = {name: INPUTS.reshape(N, 3, 4, 1) for name in ("image", "events")}

  def logits(weights, key, inputs):
    mean = sum(inputs.values()) / 2
    return FUNCTIONS["all"](weights, key, mean.reshape(len(mean), -1))

  view = jax.tree_util.Partial(logits, VIEWS["all"].args[0])
  kinds = ("spgd", "sparse_rs", "sigma_zero", "square")
  result = evaluation.evaluate_suite(
    [SuiteAttack(kind, ("all",), steps=4) for kind in kinds],
    {"all": view},
    attacks.l0,
    images,
    LABELS,
    key=KEY,
    radii={"image": (2,), "events": (4,)},
    microbatch=N,
  )
  assert list(result.plan.refused) == ["sigma_zero", "square"]
  assert "numbers for ['events', 'image']" in result.plan.refused["sigma_zero"]
  assert "budget in linf or l2 or l1" in result.plan.refused["square"]
  assert [(c.norm, c.target, c.words) for c in result.plan.cells] == [
    ("l0", "image", "image 2"),
    ("l0", "events", "events 4"),
    ("l0", "both", "image 2, events 4"),
  ]
  assert len(result.evaluation.attacks) == 6
  for outcome in result.evaluation.attacks.values():
    # No site too many, and none of a modality that is not attacked.
    assert outcome.contained.all()
    assert outcome.distance.max() == 1
  left = [
    evaluation.summarize(result.within(cell)).robust.estimate
    for cell in result.plan.cells
  ]
  assert left[2] <= min(left[:2]) < 1


def test_a_gradient_study_is_of_each_example_and_comes_back(tmp_path):
  measure = gradients.measure_gradients(
    attacks.linf(0.1), step_size=0.05, steps=2, random_draws=2
  )

  def studied(count):
    return gradients.in_microbatches(
      measure,
      VIEWS["some"],
      INPUTS[:count],
      LABELS[:count],
      key=KEY,
      microbatch=4,
    )

  study = studied(N)
  arrays = array_files.named_leaves(study)
  few = array_files.named_leaves(studied(6))
  tiny_runs.same({n: a[:6] for n, a in arrays.items()}, few)
  clean = study.metrics["margin"]["clean"]["inputs"]
  gradient = study.maps["clean"]["inputs"]
  np.testing.assert_allclose(clean.l1, np.abs(gradient).sum(1), rtol=1e-5)
  template = gradients.template(("inputs",), N, N)
  back = array_files.fill(arrays, template)
  assert jax.tree.structure(back) == jax.tree.structure(study)
  assert back.standing is study.standing
  with pytest.raises(ValueError, match="random: missing"):
    array_files.fill({n: arrays[n] for n in arrays if n != "random"}, template)
