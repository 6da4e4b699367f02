"""Training methods as a configuration names them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.building import build, networks, training_methods
from experiments.configuration import schema
from experiments.training import programs
from snnjax import attacks, methods, precision, training
from snnjax.interfaces import Batch
from snnjax.models import classifier
from tests import tiny_runs

RNG = np.random.default_rng(0)
BATCH = Batch(
  {
    "image": jnp.asarray(RNG.random((8, 8, 8, 1)), jnp.float32),
    "events": jnp.asarray(RNG.random((8, 2, 8, 8, 2)), jnp.float32),
  },
  jnp.arange(8) % 3,
  jnp.ones(8, bool),
)
FUSED = {
  "data.modalities": "image,events",
  "model.kind": "cnn",
  "model.hidden": "",
  "modalities.image.encoder": "direct",
  "modalities.image.channels": "4,",
  "modalities.events.channels": "4,",
}
# So that each norm is the worst of some examples.
RADII = {
  "modalities.image.radius": "0.05",
  "modalities.events.radius": "0.05",
  "modalities.image.radius_l2": "0.45",
  "modalities.events.radius_l2": "0.45",
  "modalities.image.radius_l1": "4",
  "modalities.events.radius_l1": "4",
}


def configured(changes):
  return tiny_runs.config(FUSED | changes)


@functools.cache
def network():
  return networks.network(configured({}), 3)


@functools.cache
def variables():
  return network().init(jax.random.key(1), BATCH.inputs)


def attacked_losses(norms):
  """Cross-entropy of each example where one-step training puts it, [B]."""
  config = configured(
    RADII
    | {
      "method.name": "adversarial",
      "method.adversarial.steps": "1",
      "method.adversarial.norms": norms,
    }
  )
  method, weights = training_methods.method(config, network()), variables()

  @jax.jit
  def loss(mask):
    batch = BATCH._replace(mask=mask)
    stage = method.begin((), batch)
    key = jax.random.key(0)
    return method.objective(weights, stage, key, batch, 0, 0)[0]

  return np.array([loss(row) for row in np.eye(8, dtype=bool)])


def test_of_several_norms_each_example_meets_its_worst():
  alone = np.stack([attacked_losses(norm) for norm in schema.DENSE_NORMS])
  np.testing.assert_allclose(
    attacked_losses(",".join(schema.DENSE_NORMS)), alone.max(0), rtol=1e-5
  )
  # Else one attack alone would do.
  assert len(set(alone.argmax(0))) > 1
  np.testing.assert_allclose(
    attacked_losses("l1,l2"), alone[1:].max(0), rtol=1e-5
  )


def test_training_under_l1_steps_as_slide_does():
  def result(steps, whole=None):
    changes = {
      "method.adversarial.norms": "l1",
      "method.adversarial.steps": str(steps),
    }
    config = configured(RADII | changes)
    rule = build.rule(config, config.model.rule)
    logits_fn = classifier(network(), variables(), rule=rule)
    attack = whole or functools.partial(training_methods.craft, config)
    run = jax.jit(attack(logits_fn))
    return run(jax.random.key(0), BATCH.inputs, BATCH.labels)

  for name, moved in result(1).inputs.items():
    change = np.asarray(moved - BATCH.inputs[name]).reshape(8, -1)
    assert np.all(np.abs(change).sum(1) <= 4.0001)
    # One in a hundred, one at least.
    expected = {"image": 1, "events": 3}[name]
    assert np.median((change != 0).sum(1)) == expected
  threat = build.threat_of("l1", dict.fromkeys(BATCH.inputs, 4.0))
  ours = result(2)
  slide = result(2, lambda f: attacks.slide(f, threat, steps=2))
  for name in ours.inputs:
    np.testing.assert_array_equal(ours.inputs[name], slide.inputs[name])


@pytest.mark.parametrize(
  ("changes", "traced"),
  [
    (
      {
        "method.name": "adversarial",
        "method.adversarial.norms": "linf,l2,l1",
        "method.adversarial.steps": "2",
      },
      "modalities.image.radius_l1",
    ),
    (
      {"method.name": "sr", "method.sr.participation_estimator": "jvp"},
      "method.sr.participation",
    ),
  ],
)
def test_runs_that_differ_in_a_radius_or_weight_share_a_program(
  changes, traced, monkeypatch
):
  config = configured(RADII | changes)
  step = programs.build_programs(config, network(), 1).step
  build_method = training_methods.method
  method = build_method(config, network())
  traces = []

  def counted(own, made):
    traces.append(own)
    return build_method(own, made)

  monkeypatch.setattr(programs.training_methods, "method", counted)
  weights = []
  for text in ("0.5", "40"):
    own = tiny_runs.changed(config, {traced: text})
    assert programs.shape(own) == programs.shape(config)
    state = training.init_state(
      jax.random.key(0), network(), method, build.optimizer(own, 1), BATCH
    )
    state, metrics = step(programs.traced_values(own), state, BATCH)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    weights.append(
      np.concatenate([np.ravel(x) for x in jax.tree.leaves(state.params)])
    )
  assert len(traces) == 1
  assert np.all(np.isfinite(weights))
  assert not np.array_equal(*weights)
  if changes["method.name"] == "sr":
    total = metrics["cross_entropy"] + 0.001 * metrics["penalty"]
    for name in ("image", "events"):
      assert 0 < metrics[f"participation/{name}"] < 1
      total += 40 * metrics[f"participation/{name}"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)


def test_a_whole_number_in_a_file_is_traced_as_any_other():
  config = schema.Config(
    method=schema.Method(
      sr=schema.Sr(participation=-1, participation_estimator="jvp")
    )
  )
  values = programs.traced_values(config)
  assert type(values["method.sr.participation"]) is float
  assert values["seed"].dtype == np.uint32


@pytest.mark.parametrize(
  ("changes", "bits"),
  [
    ({}, 24),
    ({"precision": "bfloat16"}, 8),
    ({"precision": "tf32"}, 11),
    ({"precision": "bfloat16", "method.name": "sr"}, 24),
    (
      {
        "precision": "bfloat16",
        "method.name": "sr",
        "method.sr.precision": "tf32",
      },
      11,
    ),
    (
      {
        "precision": "bfloat16",
        "method.name": "sr",
        "method.sr.estimator": "jvp",
      },
      8,
    ),
    # Its attack is a part of training.
    ({"precision": "bfloat16", "method.name": "sr_adversarial"}, 8),
  ],
)
def test_training_is_as_exact_as_the_policy_says(changes, bits):
  """Finite differences are exact whatever the rest of training is."""
  made = methods.as_method(
    training_methods.method(configured(changes), network())
  )
  stage = made.begin(made.init(BATCH), BATCH)

  def loss(weights):
    return made.objective(weights, stage, jax.random.key(0), BATCH, 0, 0)[0]

  shapes = jax.eval_shape(network().init, jax.random.key(1), BATCH.inputs)
  told = precision.fewest_bits(jax.grad(loss), shapes, platform="gpu")
  assert told == bits
