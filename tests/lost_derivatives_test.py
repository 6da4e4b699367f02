"""Rules that two differentiations lose are refused; all others are right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import (
  attacks,
  backward,
  encoders,
  input_gradients,
  losses,
  lost_derivatives,
  methods,
  models,
  neurons,
  regularizers,
  surrogates,
  training,
)
from snnjax.interfaces import Batch, Trace

KEY = jax.random.key(0)
KEYS = jax.random.split(jax.random.key(1), 3)
WEIGHTS = {
  "below": jax.random.normal(KEYS[0], (6, 8)),
  "above": jax.random.normal(KEYS[1], (8, 4)),
}
INPUTS, LABELS = jax.random.uniform(KEYS[2], (3, 6)), jnp.array([0, 1, 2])


def step(u):
  return (u > 0).astype(u.dtype)


def slope(u):
  return 1 / (1 + jnp.abs(u)) ** 2


@jax.custom_jvp
def own_jvp(u):
  return step(u)


@own_jvp.defjvp
def _(primals, tangents):
  return own_jvp(*primals), tangents[0] * slope(*primals)


@jax.custom_vjp
def own_vjp(u):
  return step(u)


own_vjp.defvjp(lambda u: (step(u), u), lambda u, g: (g * slope(u),))


@jax.custom_gradient
def own_gradient(u):
  return step(u), lambda g: g * slope(u)


def ours(u):
  return surrogates.spike(
    u, surrogates.fast_sigmoid(1.0), strict=True
  )  # 1 / (1 + |u|)^2


def in_scan(spike, currents):
  def once(v, _):
    v = 0.5 * v + currents
    s = spike(v - 0.3)
    return v * (1 - s), s

  return jnp.mean(jax.lax.scan(once, 0 * currents, None, length=4)[1], 0)


def in_checkpointed_scan(spike, currents):
  return in_scan(jax.checkpoint(spike), currents)


def in_fori_loop(spike, currents):
  return jax.lax.fori_loop(
    0, 3, lambda i, s: s + spike(currents - 0.3) / 3, 0 * currents
  )


def in_map(spike, currents):
  return jax.lax.map(lambda c: spike(c - 0.3), currents)


def spelled_out(spike, currents):
  v, total = 0 * currents, 0
  for _ in range(4):
    v = 0.5 * v + currents
    s = spike(v - 0.3)
    v, total = v * (1 - s), total + s / 4
  return total


def compiled(spike, currents):
  return jax.jit(jax.vmap(spike))(currents - 0.3)


LOOPS = (in_scan, in_checkpointed_scan, in_fori_loop, in_map)
FLAT = (spelled_out, compiled)
SPIKES = {"ours": ours, "jvp": own_jvp, "vjp": own_vjp, "grad": own_gradient}


def logits_of(spike, form, weights, inputs):
  return form(spike, jnp.tanh(inputs) @ weights["below"]) @ weights["above"]


def penalized(spike, form, estimator=None):
  """Cross-entropy plus 0 times a gradient penalty, of the weights."""

  def total(weights):
    penalize = regularizers.gradient_penalty(
      lambda key, x: (logits_of(spike, form, weights, x), ()),
      estimator=estimator,
    )
    result = penalize(KEY, INPUTS, LABELS)
    natural = jnp.mean(losses.cross_entropy(result.logits, LABELS))
    return natural + 0 * jnp.mean(result.penalty)

  return total


def plain(form):
  def total(weights):
    logits = logits_of(ours, form, weights, INPUTS)
    return jnp.mean(losses.cross_entropy(logits, LABELS))

  return total


CASES = [
  *(("ours", form) for form in (in_scan, compiled)),
  *(("jvp", form) for form in (*LOOPS, *FLAT)),
  *((name, form) for name in ("vjp", "grad") for form in (in_scan, compiled)),
]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_the_outer_gradient_is_right_or_refused(name, form):
  """What is refused would have been exactly 0 below the spike."""
  lost = name in ("vjp", "grad") or (name == "jvp" and form in LOOPS)
  gradient = jax.grad(penalized(SPIKES[name], form))
  if lost:
    with pytest.raises(ValueError, match=r"surrogates\.spike.*derivatives"):
      gradient(WEIGHTS)
    return
  got, want = gradient(WEIGHTS), jax.grad(plain(form))(WEIGHTS)
  assert float(jnp.abs(got["below"]).max()) > 0.01
  for leaf in WEIGHTS:
    np.testing.assert_allclose(got[leaf], want[leaf], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  "estimator", [regularizers.jvp, regularizers.double_backpropagation]
)
def test_every_estimator_refuses(estimator):
  gradient = jax.grad(penalized(own_jvp, in_scan, estimator))
  for run in (gradient, jax.jit(gradient)):
    with pytest.raises(ValueError, match=r"own_jvp at .*inside a loop"):
      run(WEIGHTS)


def summed_norm(gradients):
  return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradients))


def network_of(weights):
  return lambda x: logits_of(own_jvp, in_scan, weights, x)


def loss_of(weights):
  return losses.composed(network_of(weights), losses.cross_entropy)


# Everything of the library that holds a reverse pass, descended as a loss.
HOLDERS = {
  "summed": lambda w: summed_norm(
    input_gradients.summed(loss_of(w))(KEY, INPUTS, LABELS)
  ),
  "per_example": lambda w: summed_norm(
    input_gradients.per_example(loss_of(w))(KEY, INPUTS, LABELS)
  ),
  "value_and_summed": lambda w: jnp.sum(
    input_gradients.value_and_summed(loss_of(w))(KEY, INPUTS, LABELS)[0]
  ),
  "attack": lambda w: jnp.sum(
    attacks.pgd(network_of(w), attacks.linf(0.1), step_size=0.1, steps=1)(
      KEY, INPUTS, LABELS
    ).loss
  ),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_every_reverse_pass_of_the_library_is_watched(name):
  measure = HOLDERS[name]
  assert np.isfinite(measure(WEIGHTS))  # once is right
  with pytest.raises(ValueError, match=r"own_jvp at .*is lost"):
    jax.grad(measure)(WEIGHTS)


def test_what_is_only_looked_at_may_be_stopped():
  """A metric beside the loss, and adversarial examples held constant."""

  def total(weights):
    gradients = jax.lax.stop_gradient(HOLDERS["summed"](weights))
    natural = loss_of(weights)(KEY, INPUTS, LABELS)
    return jnp.mean(natural) + 0 * gradients

  got = jax.jit(jax.grad(total))(WEIGHTS)
  np.testing.assert_allclose(
    got["below"], jax.grad(plain(in_scan))(WEIGHTS)["below"], rtol=1e-4
  )


def test_forward_mode_over_a_reverse_pass_is_refused_too():
  with pytest.raises(ValueError, match="is lost"):
    jax.jvp(HOLDERS["summed"], (WEIGHTS,), (WEIGHTS,))
  with pytest.raises(ValueError, match="is lost"):
    jax.jit(lambda w: jax.jvp(HOLDERS["summed"], (w,), (w,))[1])(WEIGHTS)


def test_functions_of_jax_itself_pass():
  """The derivative of what relu and logaddexp compute is their rule's."""

  def smooth(u):
    return jnp.logaddexp(u, 0.0) + jax.nn.relu(u)

  for form in LOOPS:
    program = jax.make_jaxpr(lambda c, f=form: f(smooth, c))(INPUTS)
    assert "custom_jvp_call" in str(program)
    assert not lost_derivatives.lost_derivatives(program)
  got = jax.grad(penalized(smooth, in_scan))(WEIGHTS)
  want = jax.grad(
    lambda w: jnp.mean(
      losses.cross_entropy(logits_of(smooth, in_scan, w, INPUTS), LABELS)
    )
  )(WEIGHTS)
  np.testing.assert_allclose(got["below"], want["below"], rtol=1e-4, atol=1e-6)


class OwnRule:
  """A composer's backward rule: scans with a custom_jvp spike."""

  def __call__(self, neuron, currents, state=None, layer=""):
    del layer

    def once(v, current):
      v = neuron.integrate(v, current)
      drive = neuron.drive(v)
      spikes = own_jvp(drive)
      return neuron.reset(v, spikes), (spikes, drive)

    state = neuron.init(currents[0]) if state is None else state
    state, (spikes, drive) = jax.lax.scan(once, state, currents)
    return Trace(spikes, drive, state)


NETWORK = models.mlp(
  (8,), neuron=neurons.lif(0.5, 0.5), encoder=encoders.direct(4), classes=4
)
BATCH = Batch(INPUTS, LABELS, jnp.ones(3, bool))
CRAFT = {
  "vanilla": lambda rule: methods.vanilla(NETWORK, rule=rule),
  "sr": lambda rule: methods.sr(NETWORK, rule=rule),
  "adversarial": lambda rule: methods.adversarial(
    methods.vanilla(NETWORK, rule=rule),
    NETWORK,
    lambda logits: attacks.fgsm(logits, attacks.linf(0.1)),
    rule=rule,
  ),
  "hire": lambda rule: methods.hire(
    NETWORK, rule=rule, steps=4, periods=2, step_size=0.1, radius=0.1
  ),
}


@pytest.mark.parametrize("name", CRAFT)
def test_training_with_a_rule_of_ones_own(name):
  """Only what differentiates twice refuses it."""
  method = CRAFT[name](OwnRule())
  state = training.init_state(
    jax.random.key(2), NETWORK, method, optax.sgd(0.1), BATCH
  )
  train = jax.jit(training.make_train_step(method, optax.sgd(0.1)))
  if name == "sr":
    with pytest.raises(ValueError, match=r"own_jvp at .*is lost"):
      train(state, BATCH)
    return
  new, _ = train(state, BATCH)
  kernel = new.params["body"]["dense1"]["kernel"]
  assert not np.allclose(kernel, state.params["body"]["dense1"]["kernel"])


def test_the_librarys_own_rules_are_safe():
  variables = NETWORK.init(jax.random.key(2), INPUTS)
  for rule in (
    backward.Bptt(surrogates.atan()),
    backward.Bptr(),
    backward.Rga(),
    backward.Hart(surrogates.atan()),
    backward.StraightThrough(),
  ):
    program = jax.make_jaxpr(
      lambda x, r=rule: NETWORK.apply(variables, x, rule=r).logits
    )(INPUTS)
    assert not lost_derivatives.lost_derivatives(program)
