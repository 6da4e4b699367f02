"""Named arrays: a pytree as a flat mapping ``a/b/c`` -> array, and its files.

The names are the path of each leaf, joined by slashes. Both file formats hold
plain arrays, no code: npz (see `snnjax.storage.npz`) and safetensors (the extra
of that name). Dtypes NumPy lacks, such as bfloat16, are kept: npz stores their
bits as unsigned integers with the true dtype beside them.

A file notes what its arrays were made from, and a digest over the arrays and
this note. A file without a digest is refused: it was truncated, or another
program wrote it. ``restore(..., foreign=True)`` reads files of other programs.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax.interfaces import PyTree
from snnjax.storage import files, identity, npz

_DTYPES = "__dtypes__"  # npz entry: JSON, name -> dtype NumPy lacks
_DIGEST = "snnjax_sha256"  # safetensors metadata: over arrays and _MADE_FROM
_MADE_FROM = "snnjax_made_from"  # safetensors metadata: JSON, name -> SHA-256
_REMEDY = (
  "write it again with parameters.export, or read with foreign=True what "
  "something else wrote"
)
_PROBLEMS = 8  # so many problems a message lists
_LETTERS = 200  # and so many letters of each
_SAFETENSORS = {
  "BOOL": "bool",
  "U8": "uint8",
  "I8": "int8",
  "U16": "uint16",
  "I16": "int16",
  "F16": "float16",
  "BF16": "bfloat16",
  "U32": "uint32",
  "I32": "int32",
  "F32": "float32",
  "U64": "uint64",
  "I64": "int64",
  "F64": "float64",
  "C64": "complex64",
}


@dataclasses.dataclass(frozen=True)
class Rows:
  """A leaf of a template: an array of so many rows, of any dtype and width.

  Attributes:
    count: the length of the first axis; None is any array.
  """

  count: int | None = None


@dataclasses.dataclass(frozen=True)
class Named:
  """A leaf of a template: a mapping of arrays, by whatever names they have."""


def is_key(leaf: Any) -> bool:
  """Whether `leaf` is a typed random key, whose bits only JAX can read."""
  dtype = getattr(leaf, "dtype", None)
  return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def named_leaves(tree: PyTree) -> dict[str, Any]:
  """The leaves of a pytree by name, in the order of the tree.

  Args:
    tree: any pytree; None is no leaf.

  Returns:
    Leaves by their path, such as ``params/conv/kernel``.

  Raises:
    ValueError: two leaves have the same name, or one's name is another's
      folder (a key holds a slash).
  """
  pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
  leaves = {}
  folders = set()
  for path, leaf in pairs:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name in leaves:
      raise ValueError(f"two leaves are named {name!r}: rename a key")
    leaves[name] = leaf
    parts = name.split("/")
    folders |= {"/".join(parts[:size]) for size in range(1, len(parts))}
  for name in leaves:
    if name in folders:
      raise ValueError(f"{name!r} names both a leaf and a subtree")
  return leaves


def fill(arrays: Mapping[str, np.ndarray], template: PyTree) -> PyTree:
  """Returns the tree that `named_leaves` made arrays of.

  Args:
    arrays: by name.
    template: a tree like it, with `Rows` and `Named` as its leaves.

  Raises:
    ValueError: an array is missing, not expected, or has other rows.
  """
  left, values, problems = dict(arrays), list[Any](), list[str]()
  for name, leaf in named_leaves(template).items():
    if isinstance(leaf, Named):
      below = [n for n in left if n.startswith(f"{name}/")]
      values.append({n.removeprefix(f"{name}/"): left.pop(n) for n in below})
      continue
    array = left.pop(name, None)
    values.append(array)
    if array is None:
      problems.append(f"{name}: missing")
    elif leaf.count is not None and array.shape[:1] != (leaf.count,):
      problems.append(
        f"{name}: {describe(array)} came, {leaf.count} rows are expected"
      )
  problems += [f"{name}: no such leaf is expected" for name in left]
  if problems:
    raise ValueError(f"arrays do not fit: {summarize(problems)}")
  return jax.tree.unflatten(jax.tree.structure(template), values)


def describe(leaf: Any) -> str:
  """The dtype and shape of a leaf, as in ``float32[3, 4]``."""
  if not hasattr(leaf, "dtype"):
    leaf = np.asarray(leaf)
  shape = ", ".join(str(size) for size in leaf.shape)
  return f"{leaf.dtype}[{shape}]"


def compare(stored: Mapping[str, str], expected: PyTree) -> list[str]:
  """Lists the differences between named arrays and the leaves of a tree.

  Args:
    stored: the `describe` of every array at hand, by name.
    expected: a pytree whose leaves have the wanted shapes and dtypes.

  Returns:
    One line per leaf that is missing, unexpected or different; empty where
    all fit.
  """
  needed = {n: describe(leaf) for n, leaf in named_leaves(expected).items()}
  problems = []
  for name, text in needed.items():
    if name not in stored:
      problems.append(f"{name}: missing, {text} is expected")
    elif stored[name] != text:
      problems.append(f"{name}: {stored[name]} came, {text} is expected")
  for name in stored:
    if name not in needed:
      problems.append(f"{name}: {stored[name]} came, no such leaf is expected")
  return problems


def summarize(problems: Sequence[str]) -> str:
  """Returns the problems in one line, the first few if there are many."""
  shown = "; ".join(problem[:_LETTERS] for problem in problems[:_PROBLEMS])
  more = len(problems) - _PROBLEMS
  return f"{shown} and {more} more" if more > 0 else shown


def place(array: np.ndarray, like: Any) -> Any:
  """Gives a host array the type and the devices of a template's leaf.

  Args:
    array: of the dtype and shape of `like`.
    like: a jax.Array, a jax.ShapeDtypeStruct, a NumPy array or a scalar.

  Returns:
    The array as the same kind of value, with the same sharding.
  """
  if isinstance(like, np.ndarray):
    return array
  if isinstance(like, np.generic):
    return array[()]
  if isinstance(like, bool | int | float | complex):
    return array.item()
  placed = jax.device_put(array, getattr(like, "sharding", None))
  if placed.dtype != array.dtype:
    raise ValueError(
      f"{array.dtype} came and JAX holds {placed.dtype}: "
      "set jax_enable_x64 for double precision"
    )
  return placed


def digest(tree: PyTree) -> str:
  """The SHA-256 of a tree's names, dtypes, shapes and bits.

  Args:
    tree: a pytree of arrays, such as a network's variables.

  Returns:
    64 hexadecimal digits, the same whatever file the tree went through.
  """
  leaves = named_leaves(tree)
  return identity.of_arrays({n: np.asarray(leaf) for n, leaf in leaves.items()})


def export(
  tree: PyTree,
  path: pathlib.Path | str,
  made_from: Mapping[str, str] | None = None,
) -> None:
  """Writes parameters to an npz or safetensors file, atomically.

  Args:
    tree: a pytree of arrays, for instance ``variables["params"]``.
    path: ends in ``.npz`` or ``.safetensors``; its folder exists.
    made_from: what they were made from, by name a SHA-256.

  Raises:
    ValueError: another ending; a leaf that is a random key; a dtype the
      format lacks.
    ModuleNotFoundError: safetensors is not installed.
    OSError: the file cannot be written; an older one is intact.
  """
  target = pathlib.Path(path)
  arrays = {}
  for name, leaf in named_leaves(tree).items():
    if is_key(leaf):
      raise ValueError(f"{name} is a random key: export parameters only")
    arrays[name] = np.asarray(leaf)
  if _format(target) == "npz":
    _write_npz(target, arrays, made_from)
  else:
    _write_safetensors(target, arrays, made_from)


def restore(
  path: pathlib.Path | str,
  template: PyTree,
  made_from: Mapping[str, str] | None = None,
  *,
  remedy: str = _REMEDY,
  foreign: bool = False,
) -> PyTree:
  """Reads parameters from an npz or safetensors file.

  Args:
    path: ends in ``.npz`` or ``.safetensors``.
    template: a pytree with the shapes, dtypes and names to fill, for
      instance the parameters of a fresh network.
    made_from: what they must have been made from; None asks nothing.
    remedy: what a person can do about a damaged or foreign file.
    foreign: whether another program wrote the file. It has no digest, so
      altered values are not noticed.

  Returns:
    Like `template`, with the file's values.

  Raises:
    DamagedError: a file that does not hold what `export` wrote.
    ForeignError: it was made from something else.
    ValueError: another ending; a leaf that is missing, not expected, or of
      another dtype or shape (nothing is cast).
    ModuleNotFoundError: safetensors is not installed.
    OSError: the file cannot be read.
  """
  source = pathlib.Path(path)
  file_content = _read(source, remedy, template if foreign else None)
  if made_from is not None:
    identity.check(source, file_content.made_from, made_from, remedy)
  arrays = file_content.arrays
  stored = {name: describe(array) for name, array in arrays.items()}
  problems = compare(stored, template)
  if problems:
    raise ValueError(f"{source} does not fit: {summarize(problems)}")
  leaves = named_leaves(template)
  values = [place(arrays[name], like) for name, like in leaves.items()]
  return jax.tree.unflatten(jax.tree.structure(template), values)


def read(path: pathlib.Path | str, remedy: str = _REMEDY) -> npz.Content:
  """Reads a file that `export` wrote, by name and without a template.

  Args:
    path: ends in ``.npz`` or ``.safetensors``.
    remedy: what a person can do about a damaged file.

  Returns:
    The arrays, whose `identity.of_arrays` is the `digest` of the tree, and
    what they were made from.

  Raises:
    DamagedError: the file does not hold what `export` wrote.
    ModuleNotFoundError: safetensors is not installed.
    OSError: the file cannot be read.
  """
  return _read(pathlib.Path(path), remedy, None)


def _format(path: pathlib.Path) -> str:
  if path.suffix not in (".npz", ".safetensors"):
    raise ValueError(f"path must end in .npz or .safetensors, got {path}")
  return path.suffix[1:]


def _write_npz(
  path: pathlib.Path,
  arrays: dict[str, np.ndarray],
  made_from: Mapping[str, str] | None,
) -> None:
  foreign = {}
  stored = {}
  for name, array in arrays.items():
    if name == _DTYPES:
      raise ValueError(f"no leaf may be named {_DTYPES!r}")
    if array.dtype.isbuiltin == 2:  # registered by another package
      foreign[name] = str(array.dtype)
      array = array.view(f"uint{8 * array.dtype.itemsize}")
    stored[name] = array
  if foreign:
    stored[_DTYPES] = np.asarray(json.dumps(foreign))
  files.write_arrays(path, stored, made_from)


def _read(
  path: pathlib.Path, remedy: str, foreign: PyTree | None
) -> npz.Content:
  """Reads a file.

  `foreign` is the template of a file that another program wrote, which may
  hold the template's arrays and nothing else; None for a file of `export`.
  """
  content = files.content(path)
  try:
    if _format(path) == "safetensors":
      return _read_safetensors(content, foreign is None)
    if foreign is not None:
      expected = {
        name: npz.Kind(np.dtype(leaf.dtype), tuple(leaf.shape))
        for name, leaf in named_leaves(foreign).items()
      }
      return npz.Content(npz.read_foreign(content, expected), None)
    stored = npz.read(content)
    dtypes = json.loads(str(stored.arrays.pop(_DTYPES, "{}")))
    for name, dtype in dtypes.items():
      kind = jnp.dtype(dtype)
      if kind.isbuiltin != 2:  # as on writing: registered by another package
        raise ValueError(f"{_DTYPES} names {kind}, which NumPy has")
      stored.arrays[name] = stored.arrays[name].view(kind)
    return stored
  except (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
  ) as error:
    raise identity.damaged(path, error, remedy) from None


def _safetensors() -> Any:
  try:
    import safetensors.numpy
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      "safetensors files need an extra: pip install 'snnjax[safetensors]'"
    ) from None
  return safetensors


def _write_safetensors(
  path: pathlib.Path,
  arrays: dict[str, np.ndarray],
  made_from: Mapping[str, str] | None,
) -> None:
  for name, array in arrays.items():
    if str(array.dtype) not in _SAFETENSORS.values():
      raise ValueError(
        f"{name}: safetensors holds {sorted(_SAFETENSORS.values())}, "
        f"got {array.dtype}; use npz"
      )
  contiguous = {name: np.asarray(a, order="C") for name, a in arrays.items()}
  noted = "" if made_from is None else json.dumps(made_from, sort_keys=True)
  metadata = {_DIGEST: _seal_digest(contiguous, noted)}
  if noted:
    metadata[_MADE_FROM] = noted
  content = _safetensors().numpy.save(contiguous, metadata)
  files.write_bytes(path, content)


def _seal_digest(arrays: Mapping[str, np.ndarray], noted: str) -> str:
  """The digest over arrays and what they were made from."""
  return identity.of_arrays({**arrays, _MADE_FROM: np.asarray(noted)})


def _read_safetensors(content: bytes, sealed: bool) -> npz.Content:
  module = _safetensors()
  try:
    entries = module.deserialize(content)
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    arrays = {}
    for name, entry in entries:
      dtype = jnp.dtype(_SAFETENSORS[entry["dtype"]])
      size_needed = math.prod(entry["shape"]) * dtype.itemsize
      data = bytes(entry["data"])
      if len(data) != size_needed:
        raise ValueError(f"{name!r} has {len(data)} bytes, not {size_needed}")
      arrays[name] = np.frombuffer(data, dtype).reshape(entry["shape"]).copy()
  except module.SafetensorError as error:
    raise ValueError(str(error)) from None
  if not sealed:
    return npz.Content(arrays, None)
  noted = metadata.get(_MADE_FROM, "")
  if metadata.get(_DIGEST) != _seal_digest(arrays, noted):
    said = "differs" if _DIGEST in metadata else "is missing"
    raise ValueError(f"the SHA-256 of its arrays {said}")
  return npz.Content(arrays, json.loads(noted) if noted else None)
