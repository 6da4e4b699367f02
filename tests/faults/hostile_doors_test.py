"""The doors of the libraries below: what a file's names and sizes open there.

`docs/security.md` lists them; a test each.
"""

import ast
import gzip
import hashlib
import inspect
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import unittest.mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.command import compilation, exits, progress, terminal
from experiments.configuration import settings
from experiments.runs import run_folders
from snnjax import plots
from snnjax.data import image_files
from snnjax.data.importers import file_trees
from snnjax.storage import (
  array_files,
  checkpoints,
  files,
  identity,
  metric_log,
  workdir,
)
from tests.faults import bombs, hostile_files_test

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
EVIL = "evil_module_there"


@pytest.fixture
def evil(tmp_path, monkeypatch):
  """A folder with a module that leaves a mark when it is imported."""
  (tmp_path / f"{EVIL}.py").write_text(MODULE)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield tmp_path
  assert not (tmp_path / "ran").exists()
  assert EVIL not in sys.modules


def resealed(place, manifest=None):
  """Makes a changed checkpoint agree with its manifest and its digest."""
  path = place / "manifest.json"
  noted = manifest or json.loads(path.read_bytes())
  for name, entry in noted["files"].items():
    content = (place / name).read_bytes()
    entry["bytes"] = len(content)
    entry["sha256"] = hashlib.sha256(content).hexdigest()
  path.write_text(json.dumps(noted))
  seal = hashlib.sha256(path.read_bytes()).hexdigest()
  (place / "manifest.json.sha256").write_text(f"{seal}  manifest.json\n")


def test_orbax_imports_nothing_that_a_checkpoint_names(evil):
  tree = {"a": jnp.ones(3)}
  place = checkpoints.save(1, tree, evil / "checkpoints")
  for name, changes in (
    ("_METADATA", {"value_type": f"{EVIL}.Thing", "key_type": 2}),
    ("_CHECKPOINT_METADATA", {"item_handlers": f"{EVIL}.Handler"}),
  ):
    path = place / "state" / name
    value = json.loads(path.read_text())

    def edit(inner, changes=changes):
      if isinstance(inner, dict):
        inner |= {key: changes[key] for key in inner if key in changes}
        for each in inner.values():
          edit(each)

    edit(value)
    value["custom_metadata"] = {
      "category": "namedtuple",
      "module": EVIL,
      "clazz": "Thing",
      "entries": [],
    }
    path.write_text(json.dumps(value))
  resealed(place)
  try:
    found = checkpoints.restore(evil / "checkpoints", tree)
    np.testing.assert_array_equal(found.tree["a"], tree["a"])
  except (checkpoints.CheckpointError, OSError) as error:
    assert EVIL in str(error) or "checkpoint" in str(error)  # noqa: PT017


def small(shape):
  """The leaf of a manifest that says an array is float32 zeros of a shape."""
  array = np.zeros(shape, np.float32)
  told = array_files.describe(array)
  return {
    "type": told,
    "stored": told,
    "random": None,
    "sha256": array_files.digest({"a": array}),
  }


def test_orbax_reads_no_array_that_the_manifest_does_not_say(tmp_path):
  place = checkpoints.save(1, {"a": jnp.zeros(1 << 22)}, tmp_path)
  manifest = json.loads((place / "manifest.json").read_bytes())
  manifest["leaves"]["a"] = small(3)
  resealed(place, manifest)
  with pytest.raises(
    checkpoints.CheckpointError, match=r"float32\[4194304\].*to orbax"
  ):
    checkpoints.restore(tmp_path, {"a": jnp.zeros(3)})


def test_an_array_that_is_only_said_has_no_elements(tmp_path):
  place = checkpoints.save(1, {"a": jnp.zeros(3), "b": jnp.zeros(0)}, tmp_path)
  manifest = json.loads((place / "manifest.json").read_bytes())
  manifest["leaves"]["b"]["stored"] = "float32[4000000000000]"
  resealed(place, manifest)
  with pytest.raises(checkpoints.CheckpointError, match="and no data"):
    checkpoints.restore(tmp_path, {"a": jnp.zeros(3), "b": jnp.zeros(0)})


def test_flax_and_its_serialization_read_no_file():
  # Its msgpack form would be one more format to bound: nothing uses it.
  banned = {"serialization", "msgpack", "msgpack_restore", "from_bytes"}
  for path in (ROOT / "snnjax").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      match node:
        case ast.ImportFrom(module=str(module), names=names):
          if module.startswith("flax"):
            found = {module.rpartition(".")[2], *(n.name for n in names)}
            assert not found & banned, path
        case ast.Import(names=names):
          assert not {n.name for n in names} & {"msgpack"}, path
        case ast.Attribute(value=ast.Name(id="flax"), attr=name):
          assert name not in banned, path


@pytest.mark.parametrize(
  "value",
  [
    f"@{EVIL}.thing",
    f"!!python/object:{EVIL}.Thing",
    "${oc.env:HOME}",
    "__import__('os')",
  ],
)
def test_a_configuration_takes_texts_as_texts(evil, value):
  config = settings.override(settings.load("base"), "leaderboard.title", value)
  assert config.leaderboard.title == value
  assert settings.from_dict(settings.to_dict(config)) == config


NAMES = [
  r"$\frac$",
  r"\$\frac$",
  "$" * 50,
  r"$\sqrt{" * 400,
  r"\input{/etc/passwd}",
  "a\nb",
  "\x07bell",
]


@pytest.mark.parametrize("name", NAMES)
def test_matplotlib_draws_names_and_reads_no_formula(name):
  every = [
    plots.spike_raster({name: np.ones((3, 3))}, caption="x"),
    plots.accuracy_against_epsilon(
      {name: {name: plots.Curve([0.0, 0.1], [9, 5], 10)}}, caption="x"
    ),
    plots.gradient_maps(
      {name: np.ones((1, 4, 4, 1))}, labels=[name], caption="x"
    ),
  ]
  for figure in every:
    assert figure.png.startswith(b"\x89PNG")


def test_matplotlib_starts_no_tex_and_no_backend(tmp_path):
  # A received folder may hold its settings, and be the current one.
  (tmp_path / "matplotlibrc").write_text(
    f"text.usetex: True\nbackend: module://{EVIL}\n"
  )
  (tmp_path / f"{EVIL}.py").write_text(MODULE)
  program = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "import subprocess, numpy as np, matplotlib\n"
    "from snnjax import plots\n"
    "assert matplotlib.rcParams['text.usetex']\n"
    "def refuse(*a, **k): raise AssertionError('a program is started')\n"
    "subprocess.Popen = subprocess.check_output = refuse\n"
    "plots.spike_raster({'a': np.ones((3, 3))}, caption='x')\n"
    f"assert {EVIL!r} not in sys.modules\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", program],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "EPS", "ICO", "WEBP"])
def test_pillow_opens_three_formats_and_no_other(kind):
  # EPS is a program for Ghostscript; each format is a decoder more.
  stream = io.BytesIO()
  Image.fromarray(np.zeros((16, 16), np.uint8)).convert("RGB").save(
    stream, kind
  )
  picture = image_files.Picture("a", "a.png", stream.getvalue)
  with pytest.raises(ValueError, match="must be a whole image"):
    image_files.decode(picture, None)


def test_the_compilation_cache_is_the_users_own(tmp_path, monkeypatch):
  # What lies there is machine code: a run's folder must not bring it.
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  monkeypatch.setattr(compilation.jax.config, "update", lambda *a: None)
  monkeypatch.chdir(tmp_path)
  assert compilation.enable_cache().is_relative_to(
    tmp_path / "cache" / "snnjax"
  )


def test_every_door_has_its_line_and_its_test():
  text = (ROOT / "docs/security.md").read_text()
  tests = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "tests").rglob("*_test.py")
  }
  rows = [
    line
    for line in text.splitlines()
    if line.startswith("|") and "_test.py" in line
  ]
  assert len(rows) >= 12
  for row in rows:
    file, _, name = row.rsplit("`", 2)[1].partition("::")
    found = tests[file]
    assert f"def {name}(" in found, row


def test_the_bounds_of_the_tests_are_those_of_the_document():
  text = (ROOT / "docs/security.md").read_text()
  assert "ten times its size" in text
  assert (hostile_files_test.TIMES, hostile_files_test.SPARE) == (10, 50 << 20)


CONTROL = "\x1b]0;owned\x07\x1b[2J\r\u202eabc"


def test_a_terminal_is_told_nothing_but_text(capsys):
  terminal.out(f"{CONTROL}\n")
  terminal.err(f"{CONTROL}\t\n")
  progress.say(CONTROL)
  body = unittest.mock.Mock(side_effect=exits.DataError(CONTROL))
  exits.run_guarded(body, "name", False)
  out, err = capsys.readouterr()
  for text in (out, err):
    assert r"\x1b]0;owned\x07\x1b[2J\r\u202eabc" in text
    assert set(text) & set(CONTROL) <= set("]0;owned[2Jabc")
  assert terminal.plain("übung: 5 % ok\n\tx") == "übung: 5 % ok\n\tx"


def test_binaries_write_by_that_way_alone():
  for path in (ROOT / "experiments").rglob("*.py"):
    if path.name in ("terminal.py", "progress.py"):  # the bar is our own
      continue
    if path.parent.name == "benchmarks":  # parts of which speak by pipes
      continue
    text = path.read_text()
    assert "stdout.write" not in text, path
    assert "stderr.write" not in text, path


def test_folders_of_any_depth_end(tmp_path):
  place = tmp_path / "runs"
  (place / "/".join("a" * 300)).mkdir(parents=True)
  limit = sys.getrecursionlimit()
  try:  # fewer than there are folders
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    assert run_folders.find(place) == []
  finally:
    sys.setrecursionlimit(limit)
  with pytest.raises(ValueError, match="folders deep"):
    file_trees.of_folder(place)


def test_links_that_double_end(tmp_path):
  deep = tmp_path / "links"
  for level in range(40):
    (deep / f"{level}").mkdir(parents=True)
    for name in "ab":
      (deep / f"{level}" / name).symlink_to(deep / f"{level + 1}")
  (deep / "40").mkdir()
  assert run_folders.find(deep) == []
  with pytest.raises(ValueError, match="by more than 16 ways"):
    file_trees.of_folder(deep)


def test_a_tar_of_endless_folders_is_refused(tmp_path):
  info = tarfile.TarInfo("a/" * 30_000 + "0.png")
  path = tmp_path / "deep.tar.gz"
  path.write_bytes(
    gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bombs.TAR_END)
  )
  with pytest.raises(ValueError, match="folders deep"):
    file_trees.of_archive(path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize(
  "read",
  [
    files.read_json,
    files.read_arrays,
    files.sha256,
    metric_log.read,
    lambda path: array_files.restore(path, {}),
    lambda path: workdir.read_config(path.parent),
    lambda path: workdir.read_status(path.parent),
    lambda path: checkpoints.verify(1, path.parents[1]) or 1 / 0,
  ],
)
def test_what_need_not_end_is_not_read(tmp_path, kind, read):
  make = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": pathlib.Path.mkdir,
  }[kind]
  place = tmp_path / "00000001"
  place.mkdir()
  for name in ("config.json", "status.json", "a.npz", "manifest.json"):
    make(place / name)
  try:
    said = read(place / "a.npz")
  except identity.DamagedError as error:
    said = str(error)
  assert "it is a pipe, a device or a folder" in said or "missing" in said


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_does_not_fit_is_one_line(tmp_path, suffix):
  path = tmp_path / f"parameters{suffix}"
  arrays = {f"{'x' * 900}{n}": np.zeros(1, np.float32) for n in range(3_000)}
  array_files.export(arrays, path)
  with pytest.raises(ValueError, match=r"does not fit: .* more") as caught:
    array_files.restore(path, {"a": np.zeros(3, np.float32)})
  assert len(str(caught.value)) < 2_500


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("__dtypes__", '{"a": "O"}'),
    ("__dtypes__", '{"a": "float32"}'),
    ("__dtypes__", '{"a": "(9,)i4,i4"}'),
    ("__dtypes__", "[" * 10_000),
    ("__dtypes__", '{"a": "evil_module.Type"}'),
  ],
)
def test_dtypes_of_a_file_are_those_that_we_write(tmp_path, name, text):
  path = tmp_path / "a.npz"
  files.write_arrays(
    path, {"a": np.zeros(2, np.uint64), name: np.asarray(text)}
  )
  with pytest.raises(identity.DamagedError):
    array_files.restore(path, {"a": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
  "edit",
  [
    lambda noted: noted["leaves"]["key"].update(random="evil_module.impl"),
    lambda noted: noted["leaves"]["key"].update(random=[1]),
    lambda noted: noted["leaves"]["empty"].update(stored="float32"),
    lambda noted: noted["leaves"]["empty"].update(stored="evil[0]"),
    lambda noted: noted["leaves"]["empty"].update(stored=5),
    lambda noted: noted["leaves"].update(a=5),
    lambda noted: noted.update(leaves=[]),
    lambda noted: noted.update(step="first"),
    lambda noted: noted["leaves"]["a"].pop("sha256"),
  ],
)
def test_a_manifest_of_a_checkpoint_says_what_we_write(tmp_path, edit):
  tree = {"a": jnp.zeros(3), "empty": jnp.zeros(0), "key": jax.random.key(0)}
  place = checkpoints.save(1, tree, tmp_path)
  noted = json.loads((place / "manifest.json").read_bytes())
  edit(noted)
  resealed(place, noted)
  with pytest.raises(checkpoints.CheckpointError) as caught:
    checkpoints.restore(tmp_path, tree)
  assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_json_is_damage(tmp_path):
  place = checkpoints.save(1, {"a": jnp.zeros(3)}, tmp_path)
  for text in ("{", "[" * 10_000, "5"):
    (place / "manifest.json").write_text(text)
    seal = hashlib.sha256(text.encode()).hexdigest()
    (place / "manifest.json.sha256").write_text(f"{seal}  manifest.json\n")
    with pytest.raises(checkpoints.CheckpointError):
      checkpoints.restore(tmp_path, {"a": jnp.zeros(3)})
