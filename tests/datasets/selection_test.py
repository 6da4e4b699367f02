"""Subsets hold every class by its share, and are told and remembered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax import prng
from snnjax.data import counts, selection
from snnjax.data.selection import Purpose


def test_a_subset_of_a_sorted_set_has_every_class():
  labels = np.repeat(np.arange(10), 1000)
  for count in (10, 100, 1000):
    chosen = selection.subset(labels, count, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [count // 10] * 10
  assert np.bincount(labels[:1000]).tolist() == [1000]  # the first N


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), min_size=2))
def test_every_beginning_has_every_class_by_its_share(seed, sizes):
  sizes = [*sizes, 1]
  labels = np.repeat(np.arange(len(sizes)), sizes)
  order = selection.stratified(labels, seed)
  np.testing.assert_array_equal(np.sort(order), np.arange(len(labels)))
  for count in range(1, len(labels) + 1):
    found = np.bincount(labels[order[:count]], minlength=len(sizes))
    share = np.array(sizes) * count / len(labels)
    # Within one where all classes are of one size; ties move a few more.
    assert np.all(np.abs(found - share) <= 1 + len(sizes) / 2)


def test_smaller_subsets_lie_in_larger_ones_and_seeds_differ():
  labels = np.arange(200) % 7
  large = selection.subset(labels, 100, seed=3)
  small = selection.subset(labels, 30, seed=3)
  np.testing.assert_array_equal(large[:30], small)
  assert set(selection.subset(labels, 30, seed=4)) != set(small)
  every = selection.subset(labels, 0, seed=3)
  assert sorted(every) == list(range(200))
  with pytest.raises(ValueError, match=r"count must lie in 0\.\.200; got 201"):
    selection.subset(labels, 201, seed=3)


def test_seeds_apart_by_two_to_the_32_are_refused():
  for seed in (2**32, 2**32 + 5, -1, True, 1.0):
    with pytest.raises(ValueError, match=r"in 0\.\.4294967295; got"):
      prng.key(seed)
    with pytest.raises(ValueError, match=r"in 0\.\.4294967295; got"):
      selection.permutation(4, seed, Purpose.EPOCH)
  last = prng.key(2**32 - 1)
  assert int(last._base_array[1]) == 2**32 - 1


def test_counts_are_told_in_a_line():
  assert (
    counts.describe((100,) * 10, ("x",) * 10) == "1,000 of 10 classes, 100 each"
  )
  assert (
    counts.describe((1, 1200), ("a", "b"))
    == "1,201 of 2 classes (a: 1, b: 1,200)"
  )
  many = (5, *(7,) * 19)
  assert counts.describe(many, ("x",) * 20) == "138 of 20 classes, 5 to 7 each"
  assert counts.fault((1, 2), ("a", "b")) == ""
  assert counts.fault((0, 2, 1), ("a", "b", "c")) == (
    "1 of 3 classes have no example: 'a'"
  )
  assert counts.fault((0, 3000), ("a", "b")) == (
    "all 3,000 examples are of one class, 'b'"
  )
