"""Batches and augmentation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnjax.data import augmentation, dataset, pipeline


def numbered(size):
  """Examples that carry their own index in both modalities."""
  index = np.arange(size)
  return dataset.Dataset(
    {
      "image": (index / 1024).astype(np.float32)[:, None],
      "events": (index % 256).astype(np.uint8)[:, None],
    },
    (index % 7).astype(np.int32),
    7,
    "numbered",
    tuple("abcdefg"),
  )


def indices(batch):
  return np.rint(np.asarray(batch.inputs["image"][:, 0]) * 1024).astype(int)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 50), st.integers(0, 2**32 - 1), st.integers(0, 2**40))
def test_the_order_is_a_function_of_seed_and_epoch(size, seed, epoch):
  order = pipeline.epoch_order(size, seed, epoch)
  np.testing.assert_array_equal(np.sort(order), np.arange(size))
  np.testing.assert_array_equal(order, pipeline.epoch_order(size, seed, epoch))


def test_seeds_and_epochs_give_different_orders():
  orders = {
    tuple(pipeline.epoch_order(100, seed, epoch))
    for seed in range(5)
    for epoch in range(5)
  }
  assert len(orders) == 25


def philox(key, counter):
  """Philox 4x64-10 of Salmon et al., 2011: four words of one counter."""
  mask = (1 << 64) - 1
  c, k = list(counter), list(key)
  for _ in range(10):
    high, low = divmod(0xD2E7470EE14C6C93 * c[0], 1 << 64)
    high2, low2 = divmod(0xCA5A826395121157 * c[2], 1 << 64)
    c = [high2 ^ c[1] ^ k[0], low2, high ^ c[3] ^ k[1], low]
    k = [
      (k[0] + 0x9E3779B97F4A7C15) & mask,
      (k[1] + 0xBB67AE8584CAA73B) & mask,
    ]
  return c


def test_the_order_sorts_the_words_of_philox():
  words = philox((3, 2), (1, 0, 0, 0)) + philox((3, 2), (2, 0, 0, 0))
  expected = sorted(range(8), key=words.__getitem__)
  assert pipeline.epoch_order(8, 3, 2).tolist() == expected


@settings(deadline=None, max_examples=40)
@given(
  st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3)
)
def test_one_epoch_visits_every_example_once(size, local, processes, seed):
  order = pipeline.epoch_order(size, seed, 0)
  batch_size = local * processes
  parts = [
    list(pipeline.slots(order, batch_size, pipeline.Process(i, processes)))
    for i in range(processes)
  ]
  whole = list(pipeline.slots(order, batch_size))
  assert len(whole) == pipeline.batch_count(size, batch_size)
  seen = []
  for together, *apart in zip(whole, *parts, strict=True):
    assert together.indices.shape == together.mask.shape == (batch_size,)
    for field in range(2):
      np.testing.assert_array_equal(
        together[field], np.concatenate([slot[field] for slot in apart])
      )
    seen.extend(together.indices[together.mask])
  np.testing.assert_array_equal(seen, order)


def test_batches_hold_their_examples_and_mask_the_rest():
  data = numbered(10)
  epoch = list(pipeline.batches(data, 4, seed=1, epoch=2))
  assert [batch.mask.tolist() for batch in epoch] == [
    [True] * 4,
    [True] * 4,
    [True, True, False, False],
  ]
  order = pipeline.epoch_order(10, 1, 2)
  for number, batch in enumerate(epoch):
    chosen = indices(batch)
    np.testing.assert_array_equal(batch.labels, data.labels[chosen])
    np.testing.assert_array_equal(batch.inputs["events"][:, 0], chosen)
    assert batch.inputs["events"].dtype == jnp.uint8
    np.testing.assert_array_equal(
      chosen[batch.mask], order[4 * number : 4 * number + 4]
    )
  assert indices(epoch[-1])[2:].tolist() == [order[-1]] * 2


def test_no_seed_keeps_the_order_and_first_goes_on_in_the_middle():
  data = numbered(10)
  whole = [indices(b).tolist() for b in pipeline.batches(data, 3, seed=None)]
  assert whole == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 9, 9]]
  rest = pipeline.batches(data, 3, seed=None, first=2)
  assert [indices(b).tolist() for b in rest] == whole[2:]
  assert not list(pipeline.batches(data, 3, seed=None, first=4))


def test_prepare_is_the_step_to_network_inputs():
  data = numbered(4)

  def prepare(inputs):
    return {**inputs, "events": dataset.to_unit(inputs["events"])}

  (batch,) = pipeline.batches(data, 4, seed=None, prepare=prepare)
  assert batch.inputs["events"].dtype == jnp.float32
  np.testing.assert_allclose(
    batch.inputs["events"][:, 0], np.arange(4) / 255, rtol=1e-6
  )


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"batch_size": 0}, "batch_size must be a positive multiple"),
    (
      {"batch_size": 3, "process": pipeline.Process(0, 2)},
      "multiple of the 2 processes; got 3",
    ),
    (
      {"batch_size": 2, "process": pipeline.Process(1, 1)},
      r"a rank in \[0, size\).*got Process\(rank=1, size=1\)",
    ),
    (
      {"batch_size": 2, "process": pipeline.Process(0, 0)},
      "size of at least 1",
    ),
    ({"batch_size": 2, "seed": -1}, r"in 0\.\.4294967295; got -1"),
    ({"batch_size": 2, "epoch": -1}, "epoch must be"),
    ({"batch_size": 2, "first": 4}, "first must be between 0 and 3; got 4"),
  ],
)
def test_bad_batches_are_refused_at_once(arguments, message):
  with pytest.raises(ValueError, match=message):
    pipeline.batches(numbered(5), **{"seed": 0, **arguments})


def test_an_empty_order_has_no_batches():
  with pytest.raises(ValueError, match="order must hold at least one"):
    pipeline.slots(np.arange(0), 2)
  with pytest.raises(ValueError, match="batch_size must be at least 1"):
    pipeline.batch_count(3, 0)


def test_validation_is_split_off_once():
  labels = np.arange(40) % 4
  kept, held = pipeline.train_validation(labels, 0.25, seed=3)
  assert (len(kept), len(held)) == (30, 10)
  assert np.all(np.diff(kept) > 0)
  assert np.all(np.diff(held) > 0)
  np.testing.assert_array_equal(
    np.sort(np.concatenate([kept, held])), np.arange(40)
  )
  assert sorted(np.bincount(labels[held]).tolist()) == [2, 2, 3, 3]
  again = pipeline.train_validation(labels, 0.25, seed=3)[1]
  np.testing.assert_array_equal(again, held)
  assert np.any(pipeline.train_validation(labels, 0.25, seed=4)[1] != held)
  first = np.sort(pipeline.epoch_order(40, 3, 0)[:10])
  assert np.any(held != first)  # not what the first epoch begins with


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 0.01, 0.99])
def test_a_split_with_an_empty_side_is_refused(fraction):
  with pytest.raises(ValueError, match=f"got {fraction}"):
    pipeline.train_validation(np.zeros(10, int), fraction, seed=0)


EVERYTHING = augmentation.compose(
  augmentation.random_crop(1),
  augmentation.horizontal_flip(),
  augmentation.cutout(2),
)


def pictures(count):
  return jnp.arange(1.0, count * 6 * 5 * 2 + 1).reshape(count, 6, 5, 2)


def test_augmentation_depends_on_key_and_example_alone():
  apply = jax.jit(augmentation.batched(EVERYTHING))
  keys = jax.random.split(jax.random.key(0), 9)
  together = apply(jax.random.clone(keys), pictures(9))
  assert together.shape == (9, 6, 5, 2)
  order = np.array([7, 3])
  apart = apply(jax.random.clone(keys)[order], pictures(9)[order])
  np.testing.assert_array_equal(apart, together[order])
  again = apply(jax.random.clone(keys), pictures(9))
  np.testing.assert_array_equal(again, together)
  assert np.any(apply(keys[::-1], pictures(9)) != together)


def test_time_steps_share_the_draw():
  frame = pictures(1)[0]
  frames = jnp.stack([frame, frame, frame])
  moved = jax.jit(EVERYTHING)(jax.random.key(5), frames)
  assert moved.shape == frames.shape
  assert np.any(moved != frames)
  for step in moved:
    np.testing.assert_array_equal(step, moved[0])


def test_crops_are_all_shifts_of_the_padded_image():
  image = np.asarray(pictures(1))
  copies = jnp.asarray(np.repeat(image, 400, axis=0))
  apply = jax.jit(augmentation.batched(augmentation.random_crop(1)))
  padded = np.pad(image[0], ((1, 1), (1, 1), (0, 0)))
  shifts = {
    padded[i : i + 6, j : j + 5].tobytes() for i in range(3) for j in range(3)
  }
  seen = {np.asarray(c).tobytes() for c in apply(jax.random.key(0), copies)}
  assert seen == shifts


def test_flips_mirror_columns_half_of_the_time():
  copies = jnp.asarray(np.repeat(np.asarray(pictures(1)), 400, axis=0))
  apply = jax.jit(augmentation.batched(augmentation.horizontal_flip()))
  flipped = 0
  for one, moved in zip(copies, apply(jax.random.key(0), copies), strict=True):
    if np.any(one != moved):
      np.testing.assert_array_equal(moved, one[:, ::-1])
      flipped += 1
  assert 150 < flipped < 250


def test_cutout_blanks_one_square_of_all_channels():
  copies = jnp.asarray(np.repeat(np.asarray(pictures(1)), 300, axis=0))
  result = jax.jit(augmentation.batched(augmentation.cutout(3)))(
    jax.random.key(0), copies
  )
  blank = np.asarray(result == 0)
  np.testing.assert_array_equal(blank[..., 0], blank[..., 1])
  np.testing.assert_array_equal(
    np.where(blank, copies, result), np.asarray(copies)
  )
  areas = set(blank[..., 0].sum(axis=(1, 2)).tolist())
  assert areas == {4, 6, 9}  # in a corner, at a side, inside


def test_no_chance_no_change():
  still = augmentation.compose(
    augmentation.random_crop(0), augmentation.horizontal_flip(0.0)
  )
  image = pictures(1)[0]
  np.testing.assert_array_equal(still(jax.random.key(0), image), image)


@pytest.mark.parametrize(
  ("build", "message"),
  [
    (lambda: augmentation.random_crop(-1), "padding must be at least 0"),
    (lambda: augmentation.horizontal_flip(1.5), "probability must be"),
    (lambda: augmentation.cutout(0), "side must be at least 1"),
    (
      lambda: augmentation.cutout(1)(jax.random.key(0), jnp.zeros((3, 3))),
      r"\[\.\.\., H, W, C\]; got shape \(3, 3\)",
    ),
  ],
)
def test_bad_augmentation_is_refused(build, message):
  with pytest.raises(ValueError, match=message):
    build()
