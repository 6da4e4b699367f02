"""Penalties against the norms that they stand for."""

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
  surrogates,
)
from snnjax.interfaces import Trace
from snnjax.prng import example_keys

KEYS = jax.random.split(jax.random.key(0), 4)
LABELS = jnp.array([0, 2, 1])
IMAGE = jax.random.normal(KEYS[0], (3, 2, 3))
PARAMS = {
  "first": jax.random.normal(KEYS[1], (6, 8)),
  "second": jax.random.normal(KEYS[2], (8, 4)),
}
NORMS = {
  "sign": (regularizers.sign_direction, 1),
  "unit": (regularizers.unit_direction, 2),
  "peak": (regularizers.peak_direction, np.inf),
}
ESTIMATORS = {
  "finite_difference": regularizers.finite_difference(1e-2),
  "jvp": regularizers.jvp,
  "double_backpropagation": regularizers.double_backpropagation,
}


def forward(params, key, inputs):
  """A smooth network; aux says what it was shown."""
  del key
  hidden = jnp.tanh(inputs.reshape(len(inputs), -1) @ params["first"])
  return hidden @ params["second"], {"shown": inputs}


def penalty_of(params, **parts):
  return regularizers.gradient_penalty(
    lambda key, inputs: forward(params, key, inputs), **parts
  )


def gradient_of(confidence, params=PARAMS, inputs=IMAGE):
  fn = losses.composed(
    lambda key, x: forward(params, key, x)[0], losses.against_rival(confidence)
  )
  return input_gradients.summed(fn)(jax.random.key(0), inputs, LABELS)


def norms(gradients, order):
  flat = gradients.reshape(len(gradients), -1)
  return jnp.linalg.norm(flat, ord=order, axis=1)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("estimator", ["jvp", "double_backpropagation"])
def test_exact_slopes_are_the_norms(name, estimator):
  direction, order = NORMS[name]
  for confidence in (losses.rival_probability, losses.surprisal):
    result = jax.jit(
      penalty_of(
        PARAMS,
        confidence=confidence,
        direction=direction,
        estimator=ESTIMATORS[estimator],
        shape=regularizers.absolute,
      )
    )(jax.random.key(0), IMAGE, LABELS)
    expected = norms(gradient_of(confidence), order)
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(result.slope, expected, **close)
    np.testing.assert_allclose(result.penalty, jnp.abs(result.slope))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NORMS)
def test_the_finite_difference_converges_to_the_norm(name):
  direction, order = NORMS[name]
  params, image = jax.tree.map(
    lambda leaf: leaf.astype(jnp.float64), (PARAMS, IMAGE)
  )

  traces = []  # JAX's own count is of a cache that other tests empty

  @jax.jit
  def slope(step):
    traces.append(step)
    return penalty_of(
      params,
      direction=direction,
      estimator=regularizers.finite_difference(step),
    )(jax.random.key(0), image, LABELS).slope

  exact = norms(gradient_of(losses.rival_probability, params, image), order)
  errors = [jnp.abs(slope(step) - exact) for step in (1e-4, 1e-5)]
  np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.05)
  assert len(traces) == 1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NORMS)
def test_parameter_gradients_are_those_of_the_norm(name):
  direction, order = NORMS[name]
  params, image = jax.tree.map(
    lambda leaf: leaf.astype(jnp.float64), (PARAMS, IMAGE)
  )

  def plain(params):
    gradients = gradient_of(losses.margin, params, image)
    return jnp.sum(norms(gradients, order) ** 2)

  expected = jax.grad(plain)(params)
  tolerances = {"finite_difference": 1e-3}
  small_step = {"finite_difference": regularizers.finite_difference(1e-6)}
  for estimator, chosen in (ESTIMATORS | small_step).items():

    @jax.jit
    def penalized(params, chosen=chosen):
      penalty = penalty_of(
        params,
        confidence=losses.margin,
        direction=direction,
        estimator=chosen,
      )
      return jnp.sum(penalty(jax.random.key(0), image, LABELS).penalty)

    gradients = jax.grad(penalized)(params)
    for leaf in params:
      np.testing.assert_allclose(
        gradients[leaf],
        expected[leaf],
        rtol=tolerances.get(estimator, 1e-6),
        atol=tolerances.get(estimator, 1e-9),
      )


def ratio(gradients):
  """PR by its definition, [B]."""
  flat = gradients.reshape(len(gradients), -1)
  l1 = jnp.sum(jnp.abs(flat), axis=1)
  return l1**2 / (flat.shape[1] * jnp.sum(flat**2, axis=1))


EXACT = {n: ESTIMATORS[n] for n in ("jvp", "double_backpropagation")}
LIF = models.mlp((8,), neuron=neurons.lif(0.5, 0.5), encoder=encoders.direct(3))


def spiking(params, key, inputs):
  """A spiking network under a surrogate, on the same images."""
  rule = backward.Bptt(surrogates.atan())
  return LIF.apply(params, inputs, rule=rule, key=key).logits


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("network", ["smooth", "spiking"])
def test_parameter_gradients_are_those_of_the_participation_ratio(network):
  params = PARAMS
  if network == "spiking":
    params = LIF.init(KEYS[3], IMAGE[..., None])
  params, image = jax.tree.map(
    lambda leaf: leaf.astype(jnp.float64), (params, IMAGE)
  )

  def logits(params, key, inputs):
    if network == "spiking":
      return spiking(params, key, inputs[..., None])
    return forward(params, key, inputs)[0]

  @jax.jit
  def plain(params):
    fn = losses.composed(
      lambda key, x: logits(params, key, x),
      losses.against_rival(losses.margin),
    )
    gradients = input_gradients.summed(fn)(KEYS[0], image, LABELS)
    return jnp.sum(ratio(gradients))

  expected = jax.grad(plain)(params)
  scale = max(jnp.max(jnp.abs(x)) for x in jax.tree.leaves(expected))
  assert scale > 1e-3
  for estimator in EXACT.values():
    # Of every increasing function of the margin it is the same ratio.
    for confidence in (losses.margin, losses.rival_probability):

      @jax.jit
      def penalized(params, estimator=estimator, confidence=confidence):
        result = regularizers.gradient_penalty(
          lambda key, x: logits(params, key, x),
          confidence=confidence,
          direction=regularizers.participation_direction,
          estimator=estimator,
          shape=regularizers.signed,
        )(KEYS[0], image, LABELS)
        return jnp.sum(result.penalty), result.slope

      gradients, slope = jax.grad(penalized, has_aux=True)(params)
      np.testing.assert_allclose(slope, 0, atol=1e-12)
      for ours, theirs in zip(
        *map(jax.tree.leaves, (gradients, expected)), strict=True
      ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9 * scale)


def test_the_participation_direction_is_the_ratios_derivative():
  gradients = jnp.array([[3.0, -4.0, 0.5], [1e-20, 2e-20, -1e-20]])
  direct = jax.jit(regularizers.participation_direction)
  direction = direct(gradients)
  scale = jnp.array([[1.0], [1e-20]])
  derivative = jax.jit(jax.grad(lambda g: jnp.sum(ratio(g))))
  expected = derivative(gradients / scale) / scale
  np.testing.assert_allclose(direction, expected, rtol=1e-4, atol=1e-7)
  # Too short for a slope along it, or none: not an infinite one.
  short = jnp.array([[1e-32, 2e-32, 0.0], [0.0, 0.0, 0.0]])
  both = {"a": short, "b": gradients[:, :2]}
  of_each = direct(both)
  np.testing.assert_array_equal(of_each["a"], 0)
  np.testing.assert_allclose(of_each["b"], direct(both["b"]), rtol=1e-6)


def test_several_penalties_share_the_clean_pass_and_its_gradient():
  calls = []

  def counted(key, inputs):
    calls.append(1)
    return forward(PARAMS, key, inputs)

  parts = (
    regularizers.Term(
      regularizers.sign_direction,
      regularizers.finite_difference(),
      regularizers.squared,
    ),
    regularizers.Term(
      regularizers.peak_direction,
      regularizers.double_backpropagation,
      regularizers.signed,
    ),
  )
  key = jax.random.key(0)
  together = jax.jit(regularizers.gradient_penalties(counted, parts))
  several = together(key, IMAGE, LABELS)
  assert len(calls) == 3  # clean, moved, and looked at for lost derivatives
  gradient = gradient_of(losses.rival_probability)
  for part, result in zip(parts, several, strict=True):
    alone = jax.jit(penalty_of(PARAMS, **part._asdict()))(key, IMAGE, LABELS)
    np.testing.assert_allclose(result.penalty, alone.penalty, rtol=1e-6)
    np.testing.assert_allclose(result.gradient, gradient, rtol=1e-5, atol=1e-7)
  with pytest.raises(ValueError, match="terms must hold at least one Term"):
    regularizers.gradient_penalties(counted, [])
  odd = parts[0]._replace(shape=lambda: 0)
  with pytest.raises(ValueError, match="shape must"):
    regularizers.gradient_penalties(counted, [odd])


def test_the_clean_pass_is_handed_back_and_open_to_differentiation():
  def entropy(params, through_penalty):
    if through_penalty:
      result = penalty_of(params)(jax.random.key(0), IMAGE, LABELS)
      np.testing.assert_array_equal(result.aux["shown"], IMAGE)
      logits = result.logits
    else:
      logits, _ = forward(params, jax.random.key(0), IMAGE)
    return jnp.mean(losses.cross_entropy(logits, LABELS))

  ours, plain = (jax.grad(entropy)(PARAMS, flag) for flag in (True, False))
  for leaf in PARAMS:
    np.testing.assert_allclose(ours[leaf], plain[leaf], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  ("estimator", "passes"),
  [("finite_difference", 2), ("jvp", 2), ("double_backpropagation", 1)],
)
def test_no_forward_pass_is_wasted(estimator, passes):
  calls = []

  def counted(key, inputs):
    calls.append(1)
    return forward(PARAMS, key, inputs)

  regularizers.gradient_penalty(counted, estimator=ESTIMATORS[estimator])(
    jax.random.key(0), IMAGE, LABELS
  )
  # Once more it is only looked at, for derivatives that would be lost.
  assert len(calls) == passes + 1


def second_order_products(frozen_estimator):
  """Matrix products in the outer gradient's program."""

  def penalized(params):
    penalty = penalty_of(params, estimator=frozen_estimator)
    return jnp.sum(penalty(jax.random.key(0), IMAGE, LABELS).penalty)

  return str(jax.make_jaxpr(jax.grad(penalized))(PARAMS)).count("dot_general")


def test_the_direction_is_not_differentiated():
  # Two forward passes of two products, one backward pass to the inputs of
  # two, and the outer backward pass of two forward passes: two for each
  # second layer and one for each first.
  difference = second_order_products(regularizers.finite_difference())
  assert difference == 4 + 2 + 6
  assert second_order_products(regularizers.double_backpropagation) > difference


def test_both_passes_see_the_same_draws():
  def noisy(key, inputs):
    noise = jax.vmap(lambda k: jax.random.normal(k, (4,)))(
      example_keys(key, len(inputs))
    )
    logits = inputs.reshape(3, -1) @ PARAMS["first"][:, :4]
    return logits + 100 * noise, None

  result = jax.jit(
    regularizers.gradient_penalty(noisy, confidence=losses.margin)
  )(jax.random.key(3), IMAGE, LABELS)
  weights = PARAMS["first"][:, :4].T
  rival = losses.rival(result.logits, LABELS)
  expected = norms(weights[LABELS] - weights[rival], 1)
  np.testing.assert_allclose(result.slope, expected, rtol=5e-3)


def test_rematerialized_noisy_networks_are_penalized():
  # Under checkpoint the keys themselves are kept for the backward pass.
  @jax.checkpoint
  def noisy(params, key, inputs):
    noise = jax.vmap(lambda k: jax.random.uniform(k, (2, 3)))(
      example_keys(key, len(inputs))
    )
    return forward(params, key, inputs * noise)[0]

  @jax.jit
  def penalized(params):
    penalty = regularizers.gradient_penalty(
      lambda key, inputs: (noisy(params, key, inputs), None)
    )
    return jnp.sum(penalty(jax.random.key(0), IMAGE, LABELS).penalty)

  value, gradients = jax.value_and_grad(penalized)(PARAMS)
  assert value > 0
  assert all(jnp.any(leaf != 0) for leaf in gradients.values())


def test_the_rival_is_fixed_between_the_passes():
  # f = margin of z = (0, x, -x): at x = .001 the rival is class 1, and along
  # d = -1 class 2 overtakes it; a rival chosen anew would hide the change.
  def network(key, inputs):
    del key
    return jnp.concatenate([0 * inputs, inputs, -inputs], axis=1), None

  result = regularizers.gradient_penalty(network, confidence=losses.margin)(
    jax.random.key(0), jnp.array([[0.001]]), jnp.array([0])
  )
  np.testing.assert_allclose(result.slope, [1.0], rtol=1e-4)


def test_contributions_of_modalities_add_up():
  weights = {"a": jnp.array([[1.0, -2.0]]), "b": jnp.array([[3.0, 4.0, 0.0]])}
  inputs = {name: jnp.zeros((1, w.shape[1])) for name, w in weights.items()}

  def network(key, inputs):
    del key
    value = sum((weights[n] * inputs[n]).sum(1) for n in inputs)
    return jnp.stack([value, 0 * value], axis=1), None

  def slope(direction):
    penalty = regularizers.gradient_penalty(
      network,
      confidence=losses.margin,
      direction=direction,
      estimator=regularizers.jvp,
    )
    return jax.jit(penalty)(jax.random.key(0), inputs, jnp.array([0])).slope[0]

  np.testing.assert_allclose(slope(regularizers.sign_direction), 3 + 7)
  np.testing.assert_allclose(
    slope(regularizers.unit_direction), np.sqrt(5) + 5, rtol=1e-6
  )
  np.testing.assert_allclose(slope(regularizers.peak_direction), 2 + 4)
  mixed = {
    "a": regularizers.zero_direction,
    "b": regularizers.unit_direction,
  }
  np.testing.assert_allclose(
    slope(regularizers.per_modality(mixed)), 5, rtol=1e-6
  )
  with pytest.raises(ValueError, match=r"modalities \['a'\].*\['a', 'b'\]"):
    slope(regularizers.per_modality({"a": regularizers.sign_direction}))


@pytest.mark.parametrize(
  ("name", "estimator"),
  [
    *zip(NORMS, ESTIMATORS, strict=True),
    *(("participation", estimator) for estimator in EXACT),
  ],
)
def test_zero_gradients_give_zero_and_finite_derivatives(name, estimator):
  direction = getattr(regularizers, f"{name}_direction")
  shape = regularizers.signed if name == "participation" else None

  @jax.jit
  def penalized(params):
    penalty = penalty_of(
      params,
      direction=direction,
      estimator=ESTIMATORS[estimator],
      shape=shape or regularizers.squared,
    )
    return jnp.sum(penalty(jax.random.key(0), IMAGE, LABELS).penalty)

  silent = PARAMS | {"second": jnp.zeros_like(PARAMS["second"])}
  value, gradients = jax.value_and_grad(penalized)(silent)
  assert value == 0
  assert all(jnp.isfinite(leaf).all() for leaf in gradients.values())


def test_directions_of_tiny_and_zero_gradients():
  gradients = jnp.array([[3e-30, -4e-30], [0.0, 0.0]])
  np.testing.assert_allclose(
    regularizers.unit_direction(gradients), [[0.6, -0.8], [0, 0]], rtol=1e-6
  )
  np.testing.assert_array_equal(
    regularizers.peak_direction(gradients), [[0, -1], [0, 0]]
  )


def test_orthogonalize_approaches_orthonormal_rows():
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 5))
  kernel = kernel / jnp.linalg.norm(kernel) * 2
  rows = np.asarray(kernel.reshape(-1, 5).T)
  moved = regularizers.orthogonalize(kernel, jax.random.key(0), 0.004)
  expected = 1.004 * rows - 0.004 * rows @ rows.T @ rows
  np.testing.assert_allclose(moved.reshape(-1, 5).T, expected, rtol=1e-5)
  step = jax.jit(regularizers.orthogonalize)
  for _ in range(60):
    kernel = step(kernel, jax.random.key(0), 0.2)
  rows = np.asarray(kernel.reshape(-1, 5).T)
  np.testing.assert_allclose(rows @ rows.T, np.eye(5), atol=1e-4)


def test_orthogonalize_moves_a_random_share_of_many_rows():
  kernel = jax.random.normal(jax.random.key(1), (20, 210))
  moved = [
    np.flatnonzero(
      np.any(
        regularizers.orthogonalize(kernel, jax.random.key(seed)) != kernel,
        axis=0,
      )
    )
    for seed in (0, 0, 1)
  ]
  assert [len(rows) for rows in moved] == [63, 63, 63]
  np.testing.assert_array_equal(moved[0], moved[1])
  assert set(moved[0]) != set(moved[2])
  chosen = np.asarray(kernel)[:, moved[0]].T
  expected = 1.004 * chosen - 0.004 * chosen @ chosen.T @ chosen
  ours = regularizers.orthogonalize(kernel, jax.random.key(0))
  np.testing.assert_allclose(
    np.asarray(ours)[:, moved[0]].T, expected, rtol=1e-4, atol=1e-6
  )


def test_firing_rate_penalty():
  spikes = {
    "one": jnp.zeros((4, 2, 3)).at[:2, 0].set(1),
    "two": jnp.ones((4, 2, 2, 2)),
  }
  traces = {name: Trace(s, s, s[-1]) for name, s in spikes.items()}
  np.testing.assert_allclose(
    regularizers.firing_rate(traces), [(0.25 + 1) / 2, 0.5]
  )
  np.testing.assert_allclose(
    regularizers.firing_rate(traces, 0.5), [0.25 / 2, 0.25]
  )


def test_bad_arguments_are_named():
  with pytest.raises(ValueError, match="step must be positive"):
    regularizers.finite_difference(0.0)
  with pytest.raises(ValueError, match="rate must be positive"):
    regularizers.orthogonalize(jnp.ones((2, 2)), jax.random.key(0), -1.0)
  with pytest.raises(
    ValueError, match=r"kernel must be \[\.\.\., inputs, outputs\]"
  ):
    regularizers.orthogonalize(jnp.ones(2), jax.random.key(0))
  with pytest.raises(ValueError, match="share must lie"):
    regularizers.orthogonalize(jnp.ones((2, 2)), jax.random.key(0), share=2.0)
  with pytest.raises(ValueError, match="share must be positive; got 0"):
    regularizers.orthogonalize(jnp.ones((2, 2)), jax.random.key(0), share=0)
  with pytest.raises(ValueError, match="at least one spiking layer"):
    regularizers.firing_rate({})
  with pytest.raises(ValueError, match="target must lie"):
    regularizers.firing_rate({"a": Trace(*(jnp.ones((1, 1, 1)),) * 3)}, 2.0)
