"""Streaming through grain: the batches of memory, bit for bit."""

import chex
import jax
import numpy as np
import pytest

from snnjax.data import dataset, pipeline, prepared, registry, streaming
from snnjax.data.importers import prepare
from tests.datasets.downloads import write_mnist

SIZE = 23


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("stream")
  write_mnist(root / "source", sizes=(SIZE, 3))
  prepare.prepare(root / "source", "mnist", root)
  return root


def same(streamed, gathered):
  pairs = zip(streamed, gathered, strict=True)
  count = 0
  for one, other in pairs:
    chex.assert_trees_all_equal(one, other)
    for left, right in zip(one, other, strict=True):
      assert (left.dtype, left.shape) == (right.dtype, right.shape)
    count += 1
  return count


@pytest.mark.parametrize("seed", [None, 0, 2**32 - 1])
@pytest.mark.parametrize(("batch_size", "count"), [(1, 23), (8, 3), (64, 1)])
def test_streamed_batches_are_those_of_memory(folder, seed, batch_size, count):
  records = prepared.records("mnist", "train", folder)
  data = registry.open_dataset("mnist", "train", folder)
  for epoch in (0, 5):
    assert count == same(
      streaming.batches(records, batch_size, seed=seed, epoch=epoch),
      pipeline.batches(data, batch_size, seed=seed, epoch=epoch),
    )


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (8, 2), (3, 20)])
def test_the_order_does_not_depend_on_threads(folder, threads, ahead):
  records = prepared.records("mnist", "train", folder)
  plain = list(streaming.batches(records, 2, seed=4))
  threaded = streaming.batches(records, 2, seed=4, threads=threads, ahead=ahead)
  assert same(threaded, plain) == 12


def test_the_last_batch_is_padded_and_masked(folder):
  records = prepared.records("mnist", "train", folder)
  *_, last = streaming.batches(records, 5, seed=1)
  assert last.mask.tolist() == [True, True, True, False, False]
  assert last.inputs.shape == (5, 28, 28, 1)
  np.testing.assert_array_equal(last.inputs[2], last.inputs[4])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_the_batches_of_one(folder, count):
  records = prepared.records("mnist", "train", folder)
  whole = list(streaming.batches(records, 8, seed=2, epoch=1))
  parts = [
    list(
      streaming.batches(
        records, 8, seed=2, epoch=1, process=pipeline.Process(i, count)
      )
    )
    for i in range(count)
  ]
  for number, batch in enumerate(whole):
    joined = jax.tree.map(
      lambda *leaves: np.concatenate(leaves), *(part[number] for part in parts)
    )
    chex.assert_trees_all_equal(batch, joined)


def test_an_epoch_goes_on_in_its_middle(folder):
  records = prepared.records("mnist", "train", folder)
  whole = list(streaming.batches(records, 4, seed=9))
  assert same(streaming.batches(records, 4, seed=9, first=4), whole[4:]) == 2
  assert not list(streaming.batches(records, 4, seed=9, first=6))


def test_prepare_runs_on_the_device(folder):
  records = prepared.records("mnist", "test", folder)
  data = registry.open_dataset("mnist", "test", folder)
  prepare = jax.jit(dataset.to_unit)
  streamed = streaming.batches(records, 4, seed=None, prepare=prepare)
  gathered = pipeline.batches(data, 4, seed=None, prepare=prepare)
  assert same(streamed, gathered) == 1
  (batch,) = streaming.batches(records, 4, seed=None, prepare=prepare)
  assert batch.inputs.dtype == np.float32
  assert float(batch.inputs.max()) <= 1


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"batch_size": 0}, "batch_size must be a positive multiple"),
    ({"batch_size": 4, "first": 7}, "first must be between 0 and 6; got 7"),
    ({"batch_size": 4, "epoch": -1}, "epoch must be"),
    ({"batch_size": 4, "threads": 0}, "threads must be at least 1; got 0"),
    ({"batch_size": 4, "ahead": 0}, "ahead must be at least 1; got 0"),
  ],
)
def test_bad_arguments_are_refused_at_once(folder, arguments, message):
  records = prepared.records("mnist", "train", folder)
  with pytest.raises(ValueError, match=message):
    streaming.batches(records, **{"seed": 0, **arguments})


def test_damage_is_raised_and_not_skipped(folder, tmp_path):
  write_mnist(tmp_path / "source", sizes=(SIZE, 3))
  prepare.prepare(tmp_path / "source", "mnist", tmp_path)
  path = tmp_path / "mnist" / "1.0.0" / "mnist-train.array_record-00000"
  content = bytearray(path.read_bytes())
  content[300] ^= 1
  path.write_bytes(content)
  records = prepared.records("mnist", "train", tmp_path)
  with pytest.raises(ValueError, match=r"1\.0\.0 is damaged: "):
    list(streaming.batches(records, 4, seed=0))
