"""Laws of input gradients and penalties on a spiking network, rule by rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import (
  backward,
  encoders,
  input_gradients,
  losses,
  models,
  neurons,
  regularizers,
  sparsity,
  surrogates,
)
from snnjax.models.layers import BatchNorm

RULES = {
  "bptt": backward.Bptt(surrogates.triangle()),
  "rga": backward.Rga(),
  "hart": backward.Hart(surrogates.atan()),
  "straight_through": backward.StraightThrough(),
}
RNG = np.random.default_rng(0)
INPUTS = {
  "events": jnp.asarray(RNG.uniform(size=(4, 3, 6, 6, 2)), jnp.float32),
  "image": jnp.asarray(RNG.uniform(size=(4, 6, 6, 1)), jnp.float32),
}
LABELS = jnp.array([0, 3, 5, 9], jnp.int32)
NETWORK = models.fusion(
  {"image": encoders.direct(3), "events": encoders.frames(3)},
  {"image": (4,), "events": (4,)},
  neuron=neurons.lif(0.5, 0.5),
  hidden=(8,),
  norm=BatchNorm,
)
VARIABLES = NETWORK.init(jax.random.key(0), INPUTS)
KEY = jax.random.key(1)


def margin(rule):
  logits = models.classifier(NETWORK, VARIABLES, rule=RULES[rule])
  return losses.composed(logits, losses.against_rival(losses.margin))


@pytest.mark.parametrize("rule", RULES)
def test_per_example_is_summed_with_frozen_statistics(rule):
  both = [
    jax.jit(make(margin(rule)))(jax.random.clone(KEY), INPUTS, LABELS)
    for make in (input_gradients.per_example, input_gradients.summed)
  ]
  assert all(float(jnp.abs(leaf).max()) > 0 for leaf in both[0].values())
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *both
  )


DUALS = {
  "l1": (regularizers.sign_direction, sparsity.l1),
  "l2": (regularizers.unit_direction, sparsity.l2),
  "linf": (regularizers.peak_direction, sparsity.linf),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("norm", DUALS)
def test_jvp_along_the_direction_is_the_norm(rule, norm):
  """<g, d(g)> = ||g||, summed over modalities, by forward mode."""
  direction, measured = DUALS[norm]
  fn = margin(rule)

  @jax.jit
  def both(inputs):
    gradient = input_gradients.summed(fn)(KEY, inputs, LABELS)
    slope = input_gradients.directional_derivative(fn)(
      jax.random.clone(KEY), inputs, LABELS, direction(gradient)
    )
    return slope, sum(measured(leaf) for leaf in gradient.values())

  slope, want = both(INPUTS)
  assert float(want.min()) > 0
  np.testing.assert_allclose(slope, want, rtol=1e-4)


def test_estimators_agree_and_have_finite_weight_gradients():
  """jvp and double back-propagation are one penalty on a spiking network."""

  def penalty(params, estimator):
    variables = {**VARIABLES, "params": params}

    def forward(key, inputs):
      # Frozen statistics: batch statistics couple the examples' slopes.
      run = NETWORK.apply(variables, inputs, rule=RULES["bptt"], key=key)
      return run.logits, run.batch_stats

    penalize = regularizers.gradient_penalty(
      forward,
      estimator=estimator,
      confidence=losses.margin,
    )
    return jnp.mean(penalize(KEY, INPUTS, LABELS).penalty)

  results = {
    name: jax.jit(jax.value_and_grad(lambda p, e=e: penalty(p, e)))(
      VARIABLES["params"]
    )
    for name, e in {
      "jvp": regularizers.jvp,
      "double": regularizers.double_backpropagation,
      "difference": regularizers.finite_difference(),
    }.items()
  }
  for value, gradient in results.values():
    assert float(value) >= 0
    leaves = jax.tree.leaves(gradient)
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
  np.testing.assert_allclose(results["jvp"][0], results["double"][0], rtol=1e-4)
  for one, two in zip(
    *(jax.tree.leaves(results[n][1]) for n in ("jvp", "double")), strict=True
  ):
    np.testing.assert_allclose(one, two, rtol=2e-3, atol=2e-3)
