"""A data set in memory, and the named step from bytes to the unit box."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from snnjax.arguments import check_array
from snnjax.interfaces import Array

AnyArray = TypeVar("AnyArray", np.ndarray, Array)  # host or device
HostInputs = np.ndarray | Mapping[str, np.ndarray]


class Dataset(NamedTuple):
  """Examples of one split, on the host.

  Attributes:
    inputs: array [N, ...] or a mapping of them, one per modality. Bytes
      (pixels, event counts) stay uint8 until a named step such as `to_unit`
      or `events.saturate`.
    labels: [N] int32, in [0, num_classes).
    num_classes: number of classes.
    name: what the data are, for reports, e.g. "mnist/test".
    classes: the classes' names, one per label.
  """

  inputs: HostInputs
  labels: np.ndarray
  num_classes: int
  name: str
  classes: tuple[str, ...]


def describe(inputs: HostInputs) -> str:
  """Returns the type and shape of each modality, for messages."""
  if isinstance(inputs, Mapping):
    parts = (f"{name}: {describe(leaf)}" for name, leaf in inputs.items())
    return "{" + ", ".join(parts) + "}"
  return f"{inputs.dtype} {inputs.shape}"


def map_inputs(
  dataset: Dataset, function: Callable[[HostInputs], HostInputs]
) -> Dataset:
  """Returns the data set with ``function(inputs)`` for its inputs."""
  return dataset._replace(inputs=function(dataset.inputs))


def subset(dataset: Dataset, indices: np.ndarray) -> Dataset:
  """Returns the examples at `indices`, in that order.

  Args:
    dataset: N examples.
    indices: integers in [0, N).

  Raises:
    ValueError: if an index is not an integer in [0, N).
  """
  indices = np.asarray(indices)
  size = len(dataset.labels)
  if (
    indices.ndim != 1
    or not np.issubdtype(indices.dtype, np.integer)
    or np.any((indices < 0) | (indices >= size))
  ):
    raise ValueError(
      f"indices must be integers [n] in [0, {size}); got {indices!r}"
    )
  return dataset._replace(
    inputs=jax.tree.map(lambda leaf: leaf[indices], dataset.inputs),
    labels=dataset.labels[indices],
  )


def to_unit(images: AnyArray) -> AnyArray:
  """Returns pixels / 255: uint8 [...] -> float32 [...] in [0, 1].

  Works on the host and, under `jit`, on the device.

  Raises:
    ValueError: if the images are not uint8.
  """
  if images.dtype != np.uint8:
    raise ValueError(f"images must be uint8; got {images.dtype}")
  return images.astype(np.float32) / np.float32(255)


def _check_leaf(name: str, leaf: np.ndarray) -> None:
  if leaf.dtype == np.uint8:
    return  # bytes, whose box is set by the step that converts them
  if not np.issubdtype(leaf.dtype, np.floating):
    raise ValueError(
      f"{name} must be uint8 or floating point; got {leaf.dtype}"
    )
  inside = (leaf >= 0) & (leaf <= 1)  # False for NaN
  if not np.all(inside):
    first = np.argwhere(~inside)[0]
    raise ValueError(
      f"{name} must lie in [0, 1]; got {leaf[tuple(first)]} at index "
      f"{tuple(first.tolist())}, {np.count_nonzero(~inside)} such values"
    )


def validate(dataset: Dataset) -> Dataset:
  """Returns the data set if it is sound.

  Sound means: every modality and the labels have the same N > 0; modalities
  are uint8, or floats in [0, 1]; labels are int32 in [0, num_classes); every
  class has a name.

  Raises:
    ValueError: naming the data set, the field, what came and what is allowed.
  """
  name, labels = dataset.name, dataset.labels
  check_array(f"{name}: labels", labels, "int32 [N]")
  if not len(labels):
    raise ValueError(f"{name}: labels must be int32 [N] with N > 0; got none")
  leaves = jax.tree_util.tree_leaves_with_path(dataset.inputs)
  if not leaves or any(leaf.shape[:1] != labels.shape for _, leaf in leaves):
    raise ValueError(
      f"{name}: inputs must have one example per label, {len(labels)}; got "
      f"shapes {describe(dataset.inputs)}"
    )
  wrong = (labels < 0) | (labels >= dataset.num_classes)
  if np.any(wrong):
    raise ValueError(
      f"{name}: labels must be in [0, {dataset.num_classes}); got "
      f"{labels[wrong][0]} at index {np.argmax(wrong)}"
    )
  if len(dataset.classes) != dataset.num_classes:
    raise ValueError(
      f"{name}: classes must name all {dataset.num_classes} classes; got "
      f"{len(dataset.classes)} names"
    )
  for path, leaf in leaves:
    _check_leaf(f"{name}: inputs{jax.tree_util.keystr(path)}", leaf)
  return dataset
