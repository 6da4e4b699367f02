"""Reads the pickles of the CIFAR archives without running what they say.

A pickle is a program; loading one with Python's own loader lets its author
run any code. The published batches need few of its instructions: Python 2's
byte strings, whole numbers, lists, tuples, dictionaries, and NumPy arrays of
bytes. This is an interpreter of those and of nothing else: it imports
nothing, calls nothing, and refuses every other instruction, name and type.
`pickletools`, which disassembles and never executes, splits the bytes.

References:
  A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
  2009 (the archives).
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

_MESSAGE_LETTERS = 300  # letters of what is wrong
_RECONSTRUCT = "numpy.core.multiarray _reconstruct"
_ARRAY = "numpy ndarray"
_DTYPE = "numpy dtype"
_MOST = 400_000  # instructions; the published batches have up to 200,000
_NAMES = (_RECONSTRUCT, _ARRAY, _DTYPE)


class _Mark:
  """Where a list, tuple or dictionary of several items begins."""


class _Name:
  """One of the three names of NumPy that an array's pickle holds."""

  def __init__(self, name: str) -> None:
    self.name = name


class _Bytes:
  """The dtype uint8; its state says nothing more."""


class _Blank:
  """An array before its state has come."""

  value: np.ndarray | None = None


def _constant(value: object) -> Callable[["_Machine", Any], None]:
  return lambda machine, argument: machine.stack.append(value)


def _fresh(make: Callable[[], object]) -> Callable[["_Machine", Any], None]:
  return lambda machine, argument: machine.stack.append(make())


def _tuple(size: int) -> Callable[["_Machine", Any], None]:
  def run(machine: "_Machine", argument: Any) -> None:
    items = tuple(machine.pop() for _ in range(size))
    machine.stack.append(items[::-1])

  return run


class _Machine:
  """The stack and the memory of one pickle; a method per instruction."""

  def __init__(self) -> None:
    self.stack: list[Any] = []
    self.memory: dict[int, Any] = {}

  def pop(self) -> Any:
    return self.stack.pop()

  def above_mark(self) -> list[Any]:
    items: list[Any] = []
    while not isinstance(item := self.stack.pop(), _Mark):
      items.append(item)
    return items[::-1]

  def push(self, argument: Any) -> None:
    self.stack.append(argument)

  def text(self, argument: str) -> None:
    self.stack.append(argument.encode("latin-1"))

  def put(self, argument: int) -> None:
    self.memory[argument] = self.stack[-1]

  def get(self, argument: int) -> None:
    self.stack.append(self.memory[argument])

  def make_tuple(self, argument: None) -> None:
    self.stack.append(tuple(self.above_mark()))

  def append(self, argument: None) -> None:
    self._extend([self.pop()])

  def appends(self, argument: None) -> None:
    self._extend(self.above_mark())

  def _extend(self, items: list[Any]) -> None:
    if not isinstance(self.stack[-1], list):
      raise ValueError("it appends to what is no list")
    self.stack[-1].extend(items)

  def set_item(self, argument: None) -> None:
    value = self.pop()
    self._update([self.pop(), value])

  def set_items(self, argument: None) -> None:
    self._update(self.above_mark())

  def _update(self, items: list[Any]) -> None:
    keys = items[::2]
    if not isinstance(self.stack[-1], dict) or len(items) % 2:
      raise ValueError("it sets items of what is no dictionary")
    if not all(isinstance(key, bytes) for key in keys):
      raise ValueError("a key is no string")
    self.stack[-1].update(zip(keys, items[1::2], strict=True))

  def name(self, argument: str) -> None:
    if argument not in _NAMES:
      raise ValueError(f"it asks for {argument!r}; allowed are {_NAMES}")
    self.stack.append(_Name(argument))

  def reduce(self, argument: None) -> None:
    arguments, function = self.pop(), self.pop()
    name = function.name if isinstance(function, _Name) else None
    if name == _DTYPE and arguments == (b"u1", 0, 1):
      self.stack.append(_Bytes())
    elif (
      name == _RECONSTRUCT
      and isinstance(arguments[0], _Name)
      and arguments[0].name == _ARRAY
      and arguments[1:] == ((0,), b"b")
    ):
      self.stack.append(_Blank())
    else:
      raise ValueError("it builds what is no array of unsigned bytes")

  def build(self, argument: None) -> None:
    state = self.pop()
    built = self.stack[-1]
    if isinstance(built, _Bytes):
      return  # byte order and alignment: nothing to an unsigned byte
    if not isinstance(built, _Blank):
      raise ValueError("it sets the state of what is no array")
    version, shape, dtype, by_column, content = state
    if (
      version != 1
      or not isinstance(dtype, _Bytes)
      or by_column
      or not isinstance(content, bytes)
      or not all(type(length) is int and length >= 0 for length in shape)
      or len(content) != math.prod(shape)
    ):
      raise ValueError("an array's shape does not fit its bytes")
    built.value = np.frombuffer(content, np.uint8).reshape(shape)


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
  "PROTO": lambda machine, argument: None,
  "MARK": _fresh(_Mark),
  "EMPTY_DICT": _fresh(dict),
  "EMPTY_LIST": _fresh(list),
  "EMPTY_TUPLE": _constant(()),
  "NONE": _constant(None),
  "NEWTRUE": _constant(True),
  "NEWFALSE": _constant(False),
  "BININT": _Machine.push,
  "BININT1": _Machine.push,
  "BININT2": _Machine.push,
  "BINSTRING": _Machine.text,
  "SHORT_BINSTRING": _Machine.text,
  "TUPLE": _Machine.make_tuple,
  "TUPLE1": _tuple(1),
  "TUPLE2": _tuple(2),
  "TUPLE3": _tuple(3),
  "APPEND": _Machine.append,
  "APPENDS": _Machine.appends,
  "SETITEM": _Machine.set_item,
  "SETITEMS": _Machine.set_items,
  "BINPUT": _Machine.put,
  "LONG_BINPUT": _Machine.put,
  "BINGET": _Machine.get,
  "LONG_BINGET": _Machine.get,
  "GLOBAL": _Machine.name,
  "REDUCE": _Machine.reduce,
  "BUILD": _Machine.build,
}


def _run(content: bytes) -> object:
  machine = _Machine()
  end = 0
  for count, (opcode, argument, position) in enumerate(
    pickletools.genops(content)
  ):
    if count == _MOST:
      raise ValueError(f"it has more than {_MOST:,} instructions")
    end = int(position or 0) + 1
    if opcode.name == "STOP":
      break
    instruction = _INSTRUCTIONS.get(opcode.name)
    if instruction is None:
      raise ValueError(f"instruction {opcode.name} is not allowed")
    instruction(machine, argument)
  if end != len(content):
    raise ValueError("bytes follow its end")
  (result,) = machine.stack
  return result


def loads(content: bytes, name: str) -> dict[str, Any]:
  """Reads one pickled dictionary of plain values.

  Args:
    content: the whole pickle, as Python 2 wrote it.
    name: the file's name, for messages.

  Returns:
    The dictionary. Its keys are str; strings inside are bytes, as Python 2
    had them; arrays are uint8 and cannot be written to.

  Raises:
    ValueError: if the pickle is damaged or truncated, is no dictionary, or
      holds anything but strings, whole numbers, lists, tuples, dictionaries
      and arrays of unsigned bytes.
  """
  try:
    result = _run(content)
    if not isinstance(result, dict):
      raise ValueError(f"it holds a {type(result).__name__}, no dictionary")
    values = {key.decode("ascii"): value for key, value in result.items()}
  except (ValueError, TypeError, KeyError, IndexError) as error:
    raise ValueError(
      f"{name} must be a pickled dictionary of strings, whole numbers, lists "
      f"and arrays of bytes, as published; it is damaged or foreign: "
      f"{str(error)[:_MESSAGE_LETTERS]}"
    ) from error
  for key, value in values.items():
    if isinstance(value, _Blank):
      if value.value is None:
        raise ValueError(
          f"{name}: the array {key[:_MESSAGE_LETTERS]!r} has no content"
        )
      values[key] = value.value
  return values
