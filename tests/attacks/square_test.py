"""Square's patches, and its progress without a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import attacks, losses
from snnjax.attacks.queries import patches, square_moves
from snnjax.attacks.threats.norms import Block
from tests import smooth_network

KEY = jax.random.key(0)
MARGIN = losses.scored(smooth_network.logits, losses.margin_loss)


def test_sides_of_patches():
  sides = patches.sides(np.array([1.0, 0.25, 0.0]), (8, 4))
  assert sides.tolist() == [[8, 4], [4, 2], [1, 1]]
  # Events: time is an axis like the others.
  assert patches.sides(np.array([0.125]), (6, 8, 8)).tolist() == [[3, 4, 4]]
  assert patches.sites(jnp.zeros((2, 6, 8, 8, 2))) == (6, 8, 8)
  assert patches.sites(jnp.zeros((2, 8, 4, 3))) == (8, 4)
  assert patches.sites(jnp.zeros((2, 6, 20))) == (6, 20)


def test_patches_lie_anywhere_and_have_their_size():
  sides = jnp.array([3, 2])
  masks = jax.vmap(
    lambda key: patches.inside(patches.place(key, (5, 4), sides), sides)
  )(smooth_network.keys(200))[..., 0]
  assert np.all(np.sum(masks, (1, 2)) == 6)
  assert np.all(np.any(masks, 0))
  assert not np.any(np.all(masks, 0))


@pytest.mark.parametrize("decay", [2, 4])
def test_a_dipole_is_two_pyramids_of_opposite_sign(decay):
  sides = jnp.array([6, 5])
  places = patches.place_in_tile((6, 5), (6, 5))
  shape = patches.dipole(places, sides, jnp.array(0), decay)
  shape = np.asarray(shape[..., 0])
  assert np.all(shape[:3] > 0)
  assert np.all(shape[3:] < 0)
  np.testing.assert_allclose(shape[:3], -shape[3:])
  # Rings 0, 1 and 2 of a pyramid.
  outer = 3.0**-decay
  middle = outer + 2.0**-decay
  top = middle + 1
  np.testing.assert_allclose(shape[1, 2:], [top, middle, outer], rtol=1e-6)
  np.testing.assert_allclose(shape[:3, 2], [middle, top, middle], 1e-6)


def authors_meta_pyramid(side, order):
  """A dipole as AutoAttack's `square.py` builds it, split along the rows.

  Its `eta_rectangles` counts rings outwards from the first half's centre and
  weighs ring k by 1/(k+1)^2 in L2, by 1/(k+1)^4 in L1.
  """

  def half(rows, columns):
    values = np.zeros((rows, columns))
    row, column = rows // 2, columns // 2
    first = [row, column]
    for ring in range(max(row, column) + 1):
      values[
        max(first[0], 0) : min(first[0] + 2 * ring + 1, rows),
        max(first[1], 0) : min(first[1] + 2 * ring + 1, columns),
      ] += 1 / (ring + 1) ** (4 if order == 1 else 2)
      first = [first[0] - 1, first[1] - 1]
    return values / np.sum(values**order) ** (1 / order)

  whole = np.concatenate(
    [half(side // 2, side), -half(side - side // 2, side)], 0
  )
  return whole / np.sum(np.abs(whole) ** order) ** (1 / order)


@pytest.mark.parametrize("order", [2, 1])
@pytest.mark.parametrize("side", [3, 5, 7])
def test_the_patches_are_the_authors(order, side):
  """An empty perturbation becomes one patch with the authors' weights."""
  patch = square_moves.Patch((side, side), jnp.array([side, side]))
  delta = jnp.zeros((side, side))
  wanted = authors_meta_pyramid(side, order)
  # A dipole of either direction and sign.
  wanted = [s * w for s in (1, -1) for w in (wanted, wanted.T)]

  @jax.jit
  def move(key):
    return square_moves.move_mass(key, jnp.ones(()), delta, patch, order)

  for seed in range(4):
    moved = move(jax.random.key(seed))
    gaps = [np.abs(np.asarray(moved) - each).max() for each in wanted]
    assert min(gaps) < 1e-6, gaps


@pytest.mark.parametrize("order", [2, 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_move_spends_the_budget_and_changes_two_patches(order, channels):
  rng = np.random.default_rng(0)
  delta = jnp.asarray(rng.normal(size=(9, 9, channels)) / 60, jnp.float32)
  patch = square_moves.Patch((9, 9), jnp.array([3, 3]))
  key = jax.random.key(order)
  ball = Block(order, delta.size)
  radius = jnp.array(np.sum(np.abs(delta) ** order) ** (1 / order) + 0.1)
  moved = square_moves.change_patch([ball], key, [radius], [delta], [patch])[0]
  norm = np.linalg.norm(np.asarray(moved).ravel(), order)
  if order == 1 and channels > 1:
    assert norm > radius  # what the projection takes from everywhere
  else:
    np.testing.assert_allclose(norm, radius, rtol=1e-5)
  # Outside the two patches all is scaled by one number.
  ratio = np.asarray(moved / delta)
  usual = np.median(ratio)
  touched = np.any(~np.isclose(ratio, usual, rtol=1e-4), 2)
  assert 9 <= touched.sum() <= 18


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.15), ("l1", 1.5)])
def test_stronger_than_as_many_random_draws(norm, radius):
  inputs, labels = smooth_network.batch(16)
  threat = getattr(attacks, norm)(radius)
  square, noise = (
    jax.jit(attack)(KEY, inputs, labels)
    for attack in (
      attacks.square(smooth_network.logits, threat, queries=150),
      attacks.random_noise(
        smooth_network.logits, threat, loss=losses.margin_loss, draws=150
      ),
    )
  )
  assert np.all(threat.contains(square.inputs, inputs))
  assert np.mean(square.loss) > np.mean(noise.loss) + 0.1
  assert np.mean(square.success) >= np.mean(noise.success)
  after = MARGIN(KEY, square.inputs, labels)
  np.testing.assert_allclose(square.loss, after.loss, atol=1e-4)


def test_it_needs_no_gradient():
  """A network whose gradient is zero everywhere."""

  def steps(key, inputs):
    return smooth_network.logits(key, jnp.round(inputs * 20) / 20)

  inputs, labels = smooth_network.batch(16)
  labels = jnp.argmax(steps(None, inputs), 1)
  threat = attacks.linf(0.15)
  blind = attacks.bim(steps, threat, step_size=0.05, steps=2)
  assert not np.any(jax.jit(blind)(KEY, inputs, labels).success)
  search = jax.jit(attacks.square(steps, threat, queries=100))
  assert np.mean(search(KEY, inputs, labels).success) > 0.2


def test_bad_arguments():
  separate = attacks.per_modality({"image": attacks.l0(3)})
  with pytest.raises(ValueError, match="one norm ball"):
    attacks.square(smooth_network.logits, separate)
  with pytest.raises(ValueError, match="queries"):
    attacks.square(smooth_network.logits, attacks.linf(0.1), queries=0)
  with pytest.raises(ValueError, match="share"):
    attacks.square(smooth_network.logits, attacks.linf(0.1), share=2.0)
