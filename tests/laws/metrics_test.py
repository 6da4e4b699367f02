"""Every sparsity metric against the laws that it must obey.

The six axioms of Hurley and Rickard (arXiv 0811.4706), with the direction in
which each metric moves when a vector becomes sparser.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snnjax import sparsity
from tests.doubles import in_double_precision

# metric -> +1 where sparser is larger, -1 where sparser is smaller.
AXIOMATIC = {
  "participation_ratio": (sparsity.participation_ratio, -1),
  "gini": (sparsity.gini, +1),
}
RELATIVE = AXIOMATIC | {"hoyer": (sparsity.hoyer, +1)}
ABSOLUTE = {
  "l0_exact": sparsity.l0_exact,
  "l0_relative": sparsity.l0_relative,
  "l1": sparsity.l1,
  "l2": sparsity.l2,
  "linf": sparsity.linf,
}
ALL = ABSOLUTE | {name: metric for name, (metric, _) in RELATIVE.items()}

SIZE = 12
MARGIN = 1e-9
positive = hnp.arrays(
  np.float64, SIZE, elements=st.floats(0.01, 10.0, allow_subnormal=False)
)
law = settings(max_examples=25, deadline=None)


def sparser(name, vector):
  """Returns the metric of one vector, oriented so that sparser is larger."""
  metric, sign = AXIOMATIC[name]
  with in_double_precision():
    return sign * float(metric(jnp.asarray(vector, jnp.float64)[None])[0])


@pytest.mark.parametrize("name", AXIOMATIC)
@law
@given(vector=positive, share=st.floats(0.05, 0.45))
def test_robin_hood_lowers_sparsity(name, vector, share):
  vector[0] = vector.max() + 1.0
  poorest = 1 + int(np.argmin(vector[1:]))
  amount = share * (vector[0] - vector[poorest])
  moved = vector.copy()
  moved[0] -= amount
  moved[poorest] += amount
  assert sparser(name, moved) < sparser(name, vector) - MARGIN


@pytest.mark.parametrize("name", RELATIVE)
@law
@given(vector=positive, scale=st.floats(1e-3, 1e3))
def test_scaling_changes_nothing(name, vector, scale):
  metric, _ = RELATIVE[name]
  with in_double_precision():
    both = metric(
      jnp.stack([jnp.asarray(vector), jnp.asarray(-scale * vector)])
    )
  np.testing.assert_allclose(both[0], both[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", AXIOMATIC)
@law
@given(vector=positive, tide=st.floats(0.1, 10.0))
def test_a_rising_tide_lowers_sparsity(name, vector, tide):
  vector[0] = vector[1:].max() + 1.0  # the axiom excludes flat vectors
  assert sparser(name, vector + tide) < sparser(name, vector) - MARGIN


@pytest.mark.parametrize("name", AXIOMATIC)
@law
@given(vector=positive)
def test_cloning_changes_nothing(name, vector):
  np.testing.assert_allclose(
    sparser(name, np.concatenate([vector, vector])),
    sparser(name, vector),
    rtol=1e-9,
    atol=1e-12,
  )


@pytest.mark.parametrize("name", AXIOMATIC)
@law
@given(vector=positive, more=st.floats(1.0, 50.0), index=st.integers(0, 11))
def test_bill_gates_raises_sparsity(name, vector, more, index):
  rich = vector.copy()
  rich[index] += vector.sum() ** 2 / vector.min()  # enough for any metric here
  richer = rich.copy()
  richer[index] += more * rich[index]
  assert sparser(name, richer) > sparser(name, rich)


@pytest.mark.parametrize("name", AXIOMATIC)
@law
@given(vector=positive)
def test_babies_raise_sparsity(name, vector):
  grown = np.concatenate([vector, [0.0]])
  assert sparser(name, grown) > sparser(name, vector) + MARGIN


@pytest.mark.parametrize("name", ["l1", "l2", "linf", "l0_exact"])
def test_norms_fail_the_axioms_that_the_ratios_meet(name):
  # Guards the laws above: a norm changes under scaling or cloning.
  metric = ABSOLUTE[name]
  vector = jnp.arange(1.0, 5.0)[None]
  scaled = metric(3 * vector) != metric(vector)
  cloned = metric(jnp.concatenate([vector, vector], axis=1)) != metric(vector)
  assert bool(scaled[0]) or bool(cloned[0])


@law
@given(
  vector=hnp.arrays(
    np.float32,
    (3, SIZE),
    elements=st.floats(-10, 10, width=32, allow_subnormal=False),
  )
)
def test_bounds(vector):
  measured = sparsity.measure(jnp.asarray(vector))
  defined = ~np.asarray(measured.is_zero)
  np.testing.assert_array_equal(defined, (vector != 0).any(axis=1))
  slack = 1e-5
  ranges = {
    "hoyer": (0, 1),
    "gini": (0, 1 - 1 / SIZE),
    "participation_ratio": (1 / SIZE, 1),
  }
  for name, (low, high) in ranges.items():
    values = np.asarray(getattr(measured, name))
    assert np.isnan(values[~defined]).all(), name
    assert (values[defined] >= low - slack).all(), name
    assert (values[defined] <= high + slack).all(), name
  l0 = np.asarray(measured.l0_exact)
  assert (measured.l0_relative <= l0).all()
  ratio = np.asarray(measured.participation_ratio)[defined]
  assert (ratio * SIZE <= l0[defined] * (1 + slack)).all()
  assert (measured.linf <= measured.l2 * (1 + slack)).all()
  assert (measured.l2 <= measured.l1 * (1 + slack)).all()


@pytest.mark.parametrize("name", ALL)
def test_jit_vmap_and_single_examples_agree(name):
  metric = ALL[name]
  gradients = jax.random.normal(jax.random.key(0), (4, 3, 5))
  whole = metric(gradients)
  assert whole.shape == (4,)
  np.testing.assert_allclose(jax.jit(metric)(gradients), whole, rtol=1e-6)
  one_by_one = jax.vmap(lambda g: metric(g[None])[0])(gradients)
  np.testing.assert_allclose(one_by_one, whole, rtol=1e-5)
  shuffled = jax.random.permutation(
    jax.random.key(1), gradients.reshape(4, 15), axis=1
  )
  np.testing.assert_allclose(metric(-shuffled), whole, rtol=1e-5)
