"""Keys by purpose: the same in every process, and no two alike in a run."""

import ast
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.building import build
from experiments.configuration import settings
from snnjax import prng

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_SOURCES = sorted(
  path
  for folder in ("snnjax", "experiments")
  for path in (_ROOT / folder).rglob("*.py")
  if path.parent.name != "benchmarks"
)


def _calls(name):
  """Every call of ``name(...)`` or ``module.name(...)``, with its file."""
  for path in _SOURCES:
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Call):
        spelt = ast.unparse(node.func)
        if spelt == name or spelt.endswith(f".{name}"):
          yield path, node


def _purposes():
  """What experiments want keys for; a part filled in is any that it can be."""
  parts = {
    "split": ["train", "validation", "test"],
    "purpose": [
      *(call.args[0].value for _, call in _calls("subject.key")),
      *(call.args[2].value for _, call in _calls("subject.measured")),
    ],
  }
  found = []
  for _, call in (*_calls("build.key"), *_calls("build.data_key")):
    purpose = call.args[1]
    if isinstance(purpose, ast.Constant):
      found.append(purpose.value)
    else:  # an f-string of one part
      text = ast.unparse(purpose)
      (part,) = (name for name in parts if f"{{{name}}}" in text)
      found += [
        text[2:-1].replace(f"{{{part}}}", value)
        for value in dict.fromkeys(parts[part])
      ]
  return found


def _rows(keys):
  return np.asarray(jax.random.key_data(keys)).reshape(-1, 2).tolist()


def _counted(key, count=257):
  return jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(count))


class TestFoldInName:
  @pytest.mark.parametrize("shape", [(), (3,)])
  def test_is_two_marked_words_of_a_digest(self, shape):
    key = jax.random.key(7)
    keys = key if shape == () else jax.random.split(key, shape)
    # sha256(b"validation") starts so; the first word's top bit is set.
    first, second = 0x98C41DCD, 0x20B86B86
    wanted = _fold(_fold(keys, first | 1 << 31), second)
    found = prng.fold_in_name(jax.random.clone(keys), "validation")
    assert found.shape == shape
    assert _rows(found) == _rows(wanted)

  def test_is_the_same_in_another_process(self):
    code = (
      "import jax; from snnjax import prng;"
      "key = prng.fold_in_name(jax.random.key(3), 'häufig');"
      "print(*jax.random.key_data(key))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(_ROOT)}
    told = subprocess.run(
      [sys.executable, "-c", code],
      env=environment,
      capture_output=True,
      text=True,
      check=True,
    )
    here = prng.fold_in_name(jax.random.key(3), "häufig")
    assert [int(word) for word in told.stdout.split()] == _rows(here)[0]

  def test_texts_of_one_length_or_sum_differ(self):
    # "ab" and "Bc" have one sum of ord(c) 31^i; others have one length.
    texts = ["validation", "assessment", "ab", "Bc", "train", "valid"]
    key = jax.random.key(0)
    rows = [
      _rows(prng.fold_in_name(jax.random.clone(key), text))[0] for text in texts
    ]
    counts = _rows(_counted(jax.random.clone(key), 4096))
    assert len({tuple(row) for row in rows + counts}) == len(texts) + 4096

  def test_an_empty_purpose_is_refused(self):
    with pytest.raises(ValueError, match="text must say what the key is for"):
      prng.fold_in_name(jax.random.key(0), "")


class TestPurposes:
  def test_a_run_has_its_purposes_apart(self):
    purposes = _purposes()
    assert len(purposes) == len(set(purposes)) >= 8
    assert {"training", "validation", "assessment"} <= set(purposes)

  def test_no_two_purposes_share_a_key(self):
    config = settings.load("base")
    found = _rows(jax.random.key(config.seed))
    for purpose in _purposes():
      key = build.key(config, purpose)
      found += _rows(key)
      if purpose == "training":
        weights, key = jax.random.split(key)
        found += _rows(weights) + _rows(key)
        augmented = prng.fold_in_name(jax.random.clone(key), "augmentation")
        found += _rows(_counted(augmented))
      # Batches, steps or examples.
      found += _rows(_counted(jax.random.clone(key)))
    assert len({tuple(row) for row in found}) == len(found)

  def test_nothing_else_makes_keys_of_the_seed_or_of_texts(self):
    makers = [
      f"{path.name}: {ast.unparse(call)}"
      for path, call in (*_calls("random.key"), *_calls("prng.key"))
      if "seed" in ast.unparse(call) and path.parent.name != "snnjax"
    ]
    assert makers == [
      "build.py: prng.key(config.seed)",
      "build.py: prng.key(config.data.seed)",
    ]
    # A text becomes a key by `fold_in_name` alone: nothing folds in a length,
    # a checksum, a sum of letters or a number that was thought up.
    for path, call in _calls("fold_in"):
      data = ast.unparse(call.args[-1])
      for idiom in ("len(", "crc32", "ord(", "hash(", "salt", "0x", "encode"):
        assert idiom not in data, f"{path}: {ast.unparse(call)}"


def _fold(keys, word):
  return prng.fold_in(keys, np.uint32(word))
