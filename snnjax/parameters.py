"""Named arrays: a pytree as a flat mapping ``a/b/c`` -> array, and its files.

The names are the path of each leaf, joined by slashes. Both file formats hold
plain arrays, no code: npz (read with ``allow_pickle=False``) and safetensors
(the extra of that name). Dtypes NumPy lacks, such as bfloat16, are kept: npz
stores their bits as unsigned integers with the true dtype beside them.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnjax import files
from snnjax.types import PyTree

_DTYPES = "__dtypes__"  # npz entry: JSON, name -> dtype NumPy lacks
_DIGEST = "snnjax_sha256"  # safetensors metadata: `digest` of the arrays
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


def describe(leaf: Any) -> str:
  """The dtype and shape of a leaf, as in ``float32[3, 4]``."""
  if not hasattr(leaf, "dtype"):
    leaf = np.asarray(leaf)
  shape = ", ".join(str(size) for size in leaf.shape)
  return f"{leaf.dtype}[{shape}]"


def compare(found: Mapping[str, str], expected: PyTree) -> list[str]:
  """What keeps named arrays from filling a tree.

  Args:
    found: the `describe` of every array at hand, by name.
    expected: a pytree whose leaves have the wanted shapes and dtypes.

  Returns:
    One line per leaf that is missing, unexpected or different; empty where
    all fit.
  """
  wanted = {n: describe(leaf) for n, leaf in named_leaves(expected).items()}
  problems = []
  for name, text in wanted.items():
    if name not in found:
      problems.append(f"{name}: missing, {text} is expected")
    elif found[name] != text:
      problems.append(f"{name}: {found[name]} came, {text} is expected")
  for name in found:
    if name not in wanted:
      problems.append(f"{name}: {found[name]} came, no such leaf is expected")
  return problems


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


def digest(arrays: Mapping[str, np.ndarray]) -> str:
  """The SHA-256 of names, dtypes, shapes and bits of arrays, in any order."""
  total = hashlib.sha256()
  for name in sorted(arrays):
    array = arrays[name]
    total.update(f"{name}\0{describe(array)}\0".encode())
    total.update(array.tobytes())
  return total.hexdigest()


def export(tree: PyTree, path: pathlib.Path | str) -> None:
  """Writes parameters to an npz or safetensors file, atomically.

  Args:
    tree: a pytree of arrays, for instance ``variables["params"]``.
    path: ends in ``.npz`` or ``.safetensors``; its folder exists.

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
    _write_npz(target, arrays)
  else:
    _write_safetensors(target, arrays)


def restore(path: pathlib.Path | str, template: PyTree) -> PyTree:
  """Reads parameters from an npz or safetensors file.

  Args:
    path: ends in ``.npz`` or ``.safetensors``.
    template: a pytree with the shapes, dtypes and names to fill, for
      instance the parameters of a fresh network.

  Returns:
    Like `template`, with the file's values.

  Raises:
    ValueError: another ending; a damaged file; a leaf that is missing, not
      expected, or of another dtype or shape (nothing is cast).
    ModuleNotFoundError: safetensors is not installed.
    OSError: the file cannot be read.
  """
  source = pathlib.Path(path)
  read = _read_npz if _format(source) == "npz" else _read_safetensors
  arrays = read(source)
  found = {name: describe(array) for name, array in arrays.items()}
  problems = compare(found, template)
  if problems:
    raise ValueError(f"{source} does not fit: " + "; ".join(problems))
  leaves = named_leaves(template)
  values = [place(arrays[name], like) for name, like in leaves.items()]
  return jax.tree.unflatten(jax.tree.structure(template), values)


def _format(path: pathlib.Path) -> str:
  if path.suffix not in (".npz", ".safetensors"):
    raise ValueError(f"path must end in .npz or .safetensors, got {path}")
  return path.suffix[1:]


def _write_npz(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
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
  files.write_arrays(path, stored)


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
  arrays = files.read_arrays(path)
  try:
    foreign = json.loads(str(arrays.pop(_DTYPES, "{}")))
    for name, dtype in foreign.items():
      arrays[name] = arrays[name].view(jnp.dtype(dtype))
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f"{path}: {_DTYPES} is damaged: {error}") from None
  return arrays


def _safetensors() -> Any:
  try:
    import safetensors.numpy
  except ModuleNotFoundError:
    raise ModuleNotFoundError(
      "safetensors files need an extra: pip install 'snnjax[safetensors]'"
    ) from None
  return safetensors


def _write_safetensors(
  path: pathlib.Path, arrays: dict[str, np.ndarray]
) -> None:
  for name, array in arrays.items():
    if str(array.dtype) not in _SAFETENSORS.values():
      raise ValueError(
        f"{name}: safetensors holds {sorted(_SAFETENSORS.values())}, "
        f"got {array.dtype}; use npz"
      )
  whole = {name: np.asarray(a, order="C") for name, a in arrays.items()}
  content = _safetensors().numpy.save(whole, {_DIGEST: digest(arrays)})
  files.write_bytes(path, content)


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  module = _safetensors()
  content = path.read_bytes()
  try:
    entries = module.deserialize(content)
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    arrays = {}
    for name, entry in entries:
      dtype = jnp.dtype(_SAFETENSORS[entry["dtype"]])
      flat = np.frombuffer(bytes(entry["data"]), dtype)
      arrays[name] = flat.reshape(entry["shape"]).copy()
  except (module.SafetensorError, ValueError, KeyError) as error:
    raise ValueError(f"{path} is damaged or foreign: {error!r}") from None
  if _DIGEST in metadata and metadata[_DIGEST] != digest(arrays):
    raise ValueError(f"{path} is damaged: the arrays' SHA-256 differs")
  return arrays
