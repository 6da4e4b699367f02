"""Sparsity metrics against hand-computed values, and their edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snnjax import sparsity

# 3-4-0-0 and a flat one, on two feature axes.
GRADIENTS = jnp.array(
  [[[3.0, 0.0], [-4.0, 0.0]], [[2.0, -2.0], [2.0, 2.0]]], jnp.float32
)
ONE_HOT = jnp.array([[0.0, 0.0, -5.0, 0.0]])


def test_hand_computed_values():
  measured = sparsity.measure(GRADIENTS)
  expected = sparsity.Metrics(
    l0_exact=[2, 4],
    l0_relative=[2, 4],
    l1=[7, 8],
    l2=[5, 4],
    linf=[4, 2],
    hoyer=[(2 - 7 / 5) / 1, 0],
    participation_ratio=[49 / 100, 1],
    gini=[1 - 2 * (3 / 7 * 1.5 / 4 + 4 / 7 * 0.5 / 4), 0],
    is_zero=[False, False],
  )
  for name, values in expected._asdict().items():
    np.testing.assert_allclose(
      getattr(measured, name), values, rtol=1e-6, atol=1e-6, err_msg=name
    )


def test_one_entry_is_the_sparsest():
  np.testing.assert_allclose(sparsity.hoyer(ONE_HOT), 1, rtol=1e-6)
  np.testing.assert_allclose(sparsity.gini(ONE_HOT), 3 / 4, rtol=1e-6)
  np.testing.assert_allclose(
    sparsity.participation_ratio(ONE_HOT), 1 / 4, rtol=1e-6
  )


def test_relative_l0_counts_strictly_above_the_share():
  gradients = jnp.array([[100.0, 1.0, 1.5, 0.5, 0.0]])
  assert sparsity.l0_relative(gradients)[0] == 2
  assert sparsity.l0_relative(gradients, 0.001)[0] == 4
  assert sparsity.l0_relative(gradients, 0.0)[0] == sparsity.l0_exact(gradients)
  with pytest.raises(ValueError, match=r"share must lie in \[0.0, 1.0\]"):
    sparsity.l0_relative(gradients, 1.5)


def test_tiny_and_huge_gradients_do_not_underflow_or_overflow():
  for scale in (1e-30, 1e25):
    scaled = sparsity.measure(GRADIENTS * scale)
    plain = sparsity.measure(GRADIENTS)
    for name in ("hoyer", "participation_ratio", "gini"):
      np.testing.assert_allclose(
        getattr(scaled, name), getattr(plain, name), rtol=1e-5, atol=1e-6
      )
    np.testing.assert_allclose(scaled.l2, plain.l2 * scale, rtol=1e-5)
    assert not scaled.is_zero.any()


def test_half_precision_is_summed_in_single_precision():
  ones = jnp.ones((1, 70_000), jnp.float16)
  assert sparsity.l1(ones)[0] == 70_000
  assert sparsity.l1(ones).dtype == jnp.float32
  np.testing.assert_allclose(sparsity.participation_ratio(ones), 1, rtol=1e-5)


def test_zero_gradients_are_flagged_counted_and_left_out():
  gradients = jnp.stack(
    [jnp.zeros(4), jnp.array([3.0, -4.0, 0.0, 0.0]), jnp.ones(4), jnp.ones(4)]
  )
  metrics = sparsity.measure(gradients)
  np.testing.assert_array_equal(metrics.is_zero, [True, False, False, False])
  for name in ("hoyer", "participation_ratio", "gini"):
    values = getattr(metrics, name)
    assert jnp.isnan(values[0]), name
    assert jnp.isfinite(values[1:]).all(), name
  assert metrics.l1[0] == metrics.l2[0] == metrics.linf[0] == 0
  assert metrics.l0_exact[0] == metrics.l0_relative[0] == 0
  summary = sparsity.summarize(metrics, jnp.array([True, True, True, False]))
  assert (summary.counted, summary.zeros, summary.not_finite) == (2, 1, 0)
  np.testing.assert_allclose(summary.means["l1"], (7 + 4) / 2)
  np.testing.assert_allclose(
    summary.means["participation_ratio"], (0.49 + 1) / 2, rtol=1e-6
  )
  assert sparsity.summarize(metrics).counted == 3


def test_not_finite_gradients_are_counted_not_averaged():
  metrics = sparsity.measure(
    jnp.array([[jnp.nan, 1.0], [jnp.inf, 1.0], [1.0, 1.0]])
  )
  summary = sparsity.summarize(metrics)
  assert (summary.counted, summary.zeros, summary.not_finite) == (1, 0, 2)
  np.testing.assert_allclose(summary.means["gini"], 0, atol=1e-7)


def test_no_defined_example_gives_nan():
  summary = sparsity.summarize(sparsity.measure(jnp.zeros((2, 3))))
  assert summary.counted == 0
  assert summary.zeros == 2
  assert all(jnp.isnan(mean) for mean in summary.means.values())


def test_modalities_are_measured_apart():
  gradients = {"image": GRADIENTS, "sound": jnp.ones((2, 7))}
  measured = sparsity.measure(gradients)
  assert set(measured) == {"image", "sound"}
  np.testing.assert_array_equal(measured["sound"].l0_exact, [7, 7])
  np.testing.assert_array_equal(measured["image"].l0_exact, [2, 4])


@pytest.mark.parametrize("shape", [(3,), (2, 0)])
def test_gradients_without_entries_are_refused(shape):
  with pytest.raises(ValueError, match="at least one entry"):
    sparsity.measure(jnp.ones(shape))


def test_hoyer_needs_two_entries():
  with pytest.raises(ValueError, match="at least two entries"):
    sparsity.hoyer(jnp.ones((2, 1)))


def test_one_compilation_for_a_sweep_of_shares():
  traces = []

  @jax.jit
  def count(gradients, share):
    traces.append(share)
    return sparsity.l0_relative(gradients, share)

  np.testing.assert_array_equal(count(GRADIENTS, 0.5), [2, 4])
  np.testing.assert_array_equal(count(GRADIENTS, 0.9), [1, 4])
  assert len(traces) == 1


def test_norms_of_infinite_and_undefined_entries():
  rows = jnp.array([[jnp.inf, 1.0], [-jnp.inf, jnp.inf], [jnp.nan, 1.0]])
  for norm in (sparsity.l1, sparsity.l2, sparsity.linf):
    found = np.asarray(norm(rows))
    assert found[0] == found[1] == np.inf
    assert np.isnan(found[2])
  np.testing.assert_array_equal(sparsity.l0_relative(rows[:1]), [1])


def test_ratios_stay_in_the_ranges_that_they_document():
  """A rounding took the flat gradient's Hoyer measure below 0."""
  rng = np.random.default_rng(0)
  for size in (2, 3, 7, 10, 100, 784, 3072):
    rows = [np.full(size, v) for v in (0.1, 1 / 3, 0.7, 1e-20, 3e30)]
    rows += [np.eye(1, size)[0] * v for v in (0.1, 1 / 3, 1e-20)]
    rows += [rng.normal(size=size), 1 + 1e-7 * rng.normal(size=size)]
    flat = jnp.asarray(np.stack(rows), jnp.float32)
    hoyer, part, gini = (
      np.asarray(metric(flat))
      for metric in (
        sparsity.hoyer,
        sparsity.participation_ratio,
        sparsity.gini,
      )
    )
    assert np.all((hoyer >= 0) & (hoyer <= 1))
    assert np.all((part >= np.float32(1 / size)) & (part <= 1))
    assert np.all((gini >= 0) & (gini <= np.float32(1 - 1 / size)))
