"""Attacks on a latent: what is decoded is projected, judged and returned."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from snnjax import attacks, losses
from tests.laws import attack_table

KEY = jax.random.key(3)
FREE = (-np.inf, np.inf)
NETWORK = attack_table.image_logits
LOSS = losses.scored(NETWORK, losses.cross_entropy)
THREATS = {
  "linf": (attacks.linf(0.1), 0.04),
  "l2": (attacks.l2(0.5), 0.2),
}


@pytest.mark.parametrize("name", THREATS)
def test_an_identity_is_the_plain_attack(name):
  """To the bit, where a projected point's projection is that point."""
  threat, step = THREATS[name]
  inputs, labels = attack_table.batch(False, 5)
  search = functools.partial(
    attacks.pgd, threat=threat, step_size=step, steps=4
  )
  attack = attacks.latent_attack(
    lambda latent, clean: latent,
    NETWORK,
    threat,
    start=lambda key, clean: clean,
    search=search,
  )
  result = jax.jit(attack)(KEY, inputs, labels)
  plain = jax.jit(search(NETWORK))(KEY, inputs, labels)
  assert np.any(plain.iterations > 1)
  equal = np.testing.assert_array_equal
  if name == "l2":  # That scales what is beyond the radius by one rounding.
    equal = functools.partial(np.testing.assert_allclose, rtol=1e-6)
  jax.tree.map(equal, tuple(result), (*plain, plain.inputs))


def test_tanh_keeps_the_box_and_the_projection_the_ball():
  """Adam on u, x = (1 + tanh u) / 2, far beyond where tanh is flat."""
  inputs, labels = attack_table.batch(False, 8)

  @jax.jit
  def run(radius):
    threat = attacks.linf(radius)
    attack = attacks.latent_attack(
      lambda u, clean: (1 + jnp.tanh(u)) / 2,
      NETWORK,
      threat,
      start=lambda key, clean: jnp.arctanh(0.999 * (2 * clean - 1)),
      search=lambda oracle: attacks.ascend(
        oracle, optax.adam(-1.0), attacks.linf(1e9, FREE), steps=15
      ),
    )
    result = attack(KEY, inputs, labels)
    inside = threat.contains(result.inputs, inputs)
    return result, inside, LOSS(KEY, result.inputs, labels)

  for radius in (0.15, 1.0):
    result, inside, seen = run(radius)
    assert np.all((result.inputs >= 0) & (result.inputs <= 1) & inside[0])
    assert np.all(np.abs(result.inputs - inputs) <= radius + 1e-6)
    np.testing.assert_allclose(result.loss, seen.loss, atol=1e-5)
    wrong = np.argmax(seen.logits, 1) != labels
    np.testing.assert_array_equal(result.success, wrong)
  assert float(jnp.abs(result.latent).max()) > 4
  assert np.mean(result.success) > 0.9


def line(key, inputs):
  """A linear network of ten samples."""
  weights = np.random.default_rng(5).normal(size=(10, 3)).astype(np.float32)
  return attack_table.weighed(inputs, weights)


def shifted(offset, wave):
  """The waveform [B, L] later by offsets [B, 1], between samples linearly."""
  places = jnp.arange(10.0)[None] - offset
  return jax.vmap(lambda at, values: jnp.interp(at, jnp.arange(10.0), values))(
    places, wave
  )


MIXING = np.random.default_rng(6).normal(size=(2, 10)).astype(np.float32)
# decode, the latent's size, its largest value, and the threat.
DECODERS = {
  "linear": (
    lambda z, x: x + 0.2 * attack_table.weighed(z, MIXING),
    2,
    1.0,
    attacks.linf(0.1),
  ),
  "shift": (shifted, 1, 3.0, attacks.linf(1.0)),
}
MARGIN = losses.scored(line, losses.margin_loss)


@pytest.mark.parametrize("name", DECODERS)
def test_a_latent_of_another_shape_is_searched_as_by_brute_force(name):
  decode, size, bound, threat = DECODERS[name]
  rng = np.random.default_rng(7)
  waves = jnp.asarray(rng.uniform(0.3, 0.7, (6, 10)), jnp.float32)
  labels = jnp.argmax(line(None, waves), 1)
  attack = attacks.latent_attack(
    decode,
    line,
    threat,
    loss=losses.margin_loss,
    start=lambda key, clean: jnp.zeros((len(clean), size)),
    search=lambda oracle: attacks.pgd(
      oracle,
      attacks.l2(bound, FREE),
      step_size=0.03 * bound,
      steps=60,
      restarts=6,
      keep=attacks.best_loss,
    ),
  )
  result = jax.jit(attack)(KEY, waves, labels)
  assert result.latent.shape == (6, size)
  assert result.inputs.shape == waves.shape
  assert np.all(np.linalg.norm(result.latent, axis=1) <= bound + 1e-5)
  assert np.all(threat.contains(result.inputs, waves))

  axis = jnp.linspace(-bound, bound, 41 if size > 1 else 601)
  grid = jnp.stack(jnp.meshgrid(*[axis] * size), -1).reshape(-1, size)
  grid = grid[np.linalg.norm(grid, axis=1) <= bound]

  @jax.jit
  @functools.partial(jax.vmap, in_axes=(0, None))
  def losses_at(point, wave):
    latent = jnp.broadcast_to(point, (len(wave), size))
    near = threat.project(decode(latent, wave), wave)
    return MARGIN(KEY, near, labels).loss

  best = losses_at(grid, waves).max(0)
  assert np.all(best > MARGIN(KEY, waves, labels).loss + 0.02)
  np.testing.assert_array_less(best - 0.02, result.loss)


def test_what_decodes_to_other_shapes_is_told():
  inputs, labels = attack_table.batch(False, 4)
  attack = attacks.latent_attack(
    lambda latent, clean: latent[:, :2],
    NETWORK,
    attacks.linf(0.1),
    start=lambda key, clean: clean,
    search=lambda oracle: attacks.fgsm(oracle, attacks.linf(0.1)),
  )
  with pytest.raises(ValueError, match=r"decode must return inputs like .*got"):
    attack(KEY, inputs, labels)
  with pytest.raises(ValueError, match=r"threat must be a threat; got 0\.1"):
    attacks.latent_attack(
      lambda latent, clean: latent, NETWORK, 0.1, start=None, search=None
    )


def test_an_oracle_through_a_decoder_is_the_chain_rule():
  """Also of an average over draws."""
  _, labels = attack_table.batch(False, 4)
  mixing = np.random.default_rng(8).normal(size=(3, 16)).astype(np.float32)

  def decode(z):
    return jnp.tanh(attack_table.weighed(z, mixing)).reshape(-1, 4, 4, 1)

  latent = jnp.asarray(
    np.random.default_rng(9).normal(size=(4, 3)), jnp.float32
  )
  want = jax.grad(lambda z: LOSS(KEY, decode(z), labels).loss.sum())(latent)
  for source in (NETWORK, attacks.eot(NETWORK, 3)):
    oracle = attacks.through(decode, source)
    probe, _ = jax.jit(oracle.grad)(KEY, oracle.init(latent), latent, labels)
    np.testing.assert_allclose(probe.gradient, want, rtol=1e-4, atol=1e-6)
    seen = LOSS(KEY, decode(latent), labels)
    np.testing.assert_allclose(probe.loss, seen.loss, rtol=1e-5)
