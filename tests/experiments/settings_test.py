"""Configurations: typed overrides, near names, JSON, and the launcher."""

import dataclasses
import os
import pathlib
import resource
import subprocess
import sys

import pytest
from absl import flags

from experiments.command import exits
from experiments.configuration import schema, settings, study
from experiments.runs import launch, origins

FILE = """
from experiments.configuration.schema import *

def get_config(text="small"):
  return Config(
    seed=1,
    data=Data(name=text, validation=0.2),
    modalities=Modalities(image=Image(epsilons=Radii(linf=(0.1, 0.2)))),
    train=Train(tensorboard=True),
  )
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "conf.py"
  path.write_text(FILE)
  return path


@pytest.fixture
def config(file):
  return settings.load(str(file))


EPSILONS = "modalities.image.epsilons.linf"


@pytest.mark.parametrize(
  ("key", "text", "value"),
  [
    ("method.sr.weight", "8/255", 8 / 255),
    ("method.sr.weight", "-1e-3", -1e-3),
    ("method.sr.weight", "2", 2.0),
    ("method.sr.weight", "inf", float("inf")),
    ("seed", "-7", -7),
    ("seed", "1e4", 10_000),
    ("train.tensorboard", "false", False),
    ("train.tensorboard", "True", True),
    ("train.tensorboard", "0", False),
    ("train.tensorboard", None, True),
    ("data.name", "8/255", "8/255"),
    ("data.name", "mi-fgsm", "mi-fgsm"),
    ("model.hidden", "5", (5,)),
    ("model.hidden", "(5, 6,)", (5, 6)),
    ("model.hidden", "[5,6]", (5, 6)),
    ("model.hidden", "()", ()),
    ("modalities.image.standardize.mean", "1", (1.0,)),  # empty before
    (EPSILONS, "2/255, 4/255", (2 / 255, 4 / 255)),
    ("evaluation.rules", "mi-fgsm,pgd", ("mi-fgsm", "pgd")),
    ("evaluation.rules", "('a', \"b\")", ("a", "b")),
  ],
)
def test_a_value_is_read_as_its_keys_type(config, key, text, value):
  changed = settings.override(config, key, text)
  found = settings.flatten(changed)
  assert found[key] == value
  assert type(found[key]) is type(value)
  if isinstance(value, tuple):
    assert list(map(type, found[key])) == list(map(type, value))
  before = settings.flatten(config)
  assert before | {key: value} == found


@pytest.mark.parametrize(
  ("key", "text", "match"),
  [
    ("seed", "2.5", "config.seed must be an integer, got '2.5'"),
    ("seed", "x", "config.seed must be an integer"),
    ("seed", None, "--config.seed needs a value"),
    (
      "model.norm",
      "perhaps",
      "model.norm must be true or false, got 'perhaps'",
    ),
    ("method.sr.weight", "8/0", "a number or a fraction such as 8/255"),
    ("method.sr.weight", "nan", "config.method.sr.weight must be a number"),
    ("method.sr.weight", "1/2/3", "config.method.sr.weight must be a number"),
    ("model.hidden", "1,2.5", "config.model.hidden must be an integer"),
    ("model.hidden", None, "--config.model.hidden needs a value"),
    (
      "method.hire",
      "3",
      "method.hire is a group; set one of method.hire.periods, method.hire.noi",
    ),
  ],
)
def test_a_value_of_another_type_is_named(config, key, text, match):
  with pytest.raises(exits.UsageError) as caught:
    settings.override(config, key, text)
  assert match in str(caught.value)


@pytest.mark.parametrize(
  ("key", "hint"),
  [
    ("method.sr.wieght", "did you mean method.sr.weight"),
    ("weight", "did you mean method.sr.weight"),
    ("modalities.image.epsilon", "did you mean modalities.image.epsilons.l"),
    ("trian.epoch", "train.epochs"),
    ("sede", "did you mean seed"),
    ("seed.x", "did you mean seed or"),
    ("evaluation.attacks", "no configuration key"),
    ("x.zzz", "there are seed, precision, kernel"),
  ],
)
def test_a_misspelt_key_gets_the_nearest_names(config, key, hint):
  with pytest.raises(exits.UsageError) as caught:
    settings.override(config, key, "1")
  assert f"no configuration key {key!r}" in str(caught.value)
  assert hint in str(caught.value)


def test_a_deep_key_is_found_by_its_last_part():
  names = ["some.rather.long.group.rate", "grate"]
  assert names[0] in settings.close("rat", names)


def test_a_file_takes_a_text_and_its_configuration_does_not_change(file):
  config = settings.load(f"{file}:large")
  assert config.data.name == "large"
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.seed = 1
  with pytest.raises(TypeError, match="epocs"):
    schema.Train(epocs=1)


@pytest.mark.parametrize(
  ("content", "match"),
  [
    ("x = 1", "has no function get_config"),
    ("1 / 0", "fails: ZeroDivisionError"),
    ("def get_config():\n  1 / 0", "get_config fails: ZeroDivisionError"),
    ("def get_config():\n  return 3", "must return a Config.*; got int"),
  ],
)
def test_a_file_that_does_not_work_is_named(tmp_path, content, match):
  path = tmp_path / "bad.py"
  path.write_text(content)
  with pytest.raises(exits.UsageError, match=match) as caught:
    settings.load(str(path))
  assert str(path) in str(caught.value)


def test_a_text_nobody_takes_is_refused(tmp_path):
  path = tmp_path / "plain.py"
  path.write_text("def get_config():\n  return 3")
  with pytest.raises(exits.UsageError, match="takes no text, got 'x'"):
    settings.load(f"{path}:x")


def test_bare_names_are_those_of_the_configs_folder(
  file, tmp_path, monkeypatch
):
  monkeypatch.setattr(settings, "FOLDER", tmp_path)
  assert settings.load("conf").seed == 1
  assert settings.load("conf:big").data.name == "big"
  with pytest.raises(exits.UsageError, match=r"did you mean conf\?"):
    settings.load("cnof")


def test_json_and_back(config):
  plain = settings.to_dict(config)
  assert plain["modalities"]["image"]["epsilons"]["linf"] == [0.1, 0.2]
  assert settings.from_dict(plain) == config
  odd = settings.replaced(config, {"method.sr.weight": float("nan")})
  with pytest.raises(exits.UsageError, match=r"config\.method\.sr\.weight ="):
    settings.to_dict(odd)


def read(*words, default=None, aliases=None):
  values = flags.FlagValues()
  launch.define_flags(values, default, aliases or {})
  return launch.parse(["prog", *words], values, aliases or {})


def test_a_command_line_is_read(file):
  command = read(
    f"--config={file}",
    "--config.method.sr.weight=8/255",
    "--workdir",
    "out",
    "-config.seed=2",
    "--config.seed=3",
    "--noconfig.train.tensorboard",
    "--config.data.name=a=b",
    "--steps=7",
    "--debug",
    aliases={"steps": "model.hidden"},
  )
  assert command.config.method.sr.weight == 8 / 255
  assert command.config.model.hidden == (7,)
  assert (command.config.seed, command.config.train.tensorboard) == (3, False)
  assert command.config.data.name == "a=b"
  assert command.workdir == pathlib.Path("out")
  assert command.debug


def test_a_flag_file_may_hold_overrides(file, tmp_path):
  flagfile = tmp_path / "flags"
  flagfile.write_text(f"--config={file}\n--config.seed=9\n")
  command = read(f"--flagfile={flagfile}", "--workdir=x")
  assert command.config.seed == 9


@pytest.mark.parametrize(
  ("words", "match"),
  [
    (["--workdir=x"], "--config is needed"),
    (["--config=FILE"], "--workdir is needed"),
    (["--config=FILE", "--wrokdir=x"], "did you mean --workdir"),
    (["--config=FILE", "--workdir=x", "y"], "unexpected 'y'"),
    (["--config=FILE", "--workdir=x", "--config.sed=1"], "mean seed"),
    (["--config=FILE", "--workdir=x", "--config.seed", "1"], "unexpected '1'"),
    (
      ["--config=FILE", "--workdir=x", "--noconfig.model.norm=1"],
      "takes no value",
    ),
    (["--config=none", "--workdir=x"], "no configuration 'none'"),
  ],
)
def test_a_bad_command_line_is_refused(file, words, match):
  words = [word.replace("FILE", str(file)) for word in words]
  with pytest.raises(exits.UsageError, match=match):
    read(*words)


def test_a_key_that_came_later_changes_no_older_digest():
  """Its default is not written; another value is, and counts."""
  config = schema.Config()
  plain = settings.to_dict(config)
  known = settings.flatten(plain)
  assert not set(schema.ADDED) & set(known)
  assert {*known, *schema.ADDED, "evaluation.attacks"} >= set(schema.KEYS)
  assert settings.from_dict(plain) == config
  for key in schema.ADDED:
    value = schema.KEYS[key].allowed.names[-1]
    other = settings.override(config, key, value)
    written = settings.to_dict(other)
    assert settings.flatten(written) == known | {key: value}
    assert settings.from_dict(written) == other
    trains = not schema.covers(schema.LATER, key)
    same = origins.configuration(other) == origins.configuration(config)
    assert same != trains
    assert (study.digest(other) == study.digest(config)) != trains
  del plain["train"]["epochs"]
  with pytest.raises(exits.UsageError, match=r"train\.epochs is missing"):
    settings.from_dict(plain)


BINARY = '''
"""Says hello."""
import sys
from absl import flags
from experiments.runs import launch
flags.DEFINE_string("greeting", "hello", "What to say.")

def run(config, workdir):
  import jax
  weight = config.method.sr.weight
  sys.stdout.write(f"{flags.FLAGS.greeting} {weight} {workdir}")

if __name__ == "__main__":
  assert "jax" not in sys.modules and "numpy" not in sys.modules
  launch.run_configured(run, default=FILE, aliases={"seed": "seed"})
'''


@pytest.fixture
def binary(file, tmp_path):
  path = tmp_path / "hello.py"
  path.write_text(BINARY.replace("FILE", repr(str(file))))

  def call(*words):
    return subprocess.run(
      [sys.executable, str(path), *words],
      capture_output=True,
      text=True,
      env={**os.environ, "PYTHONPATH": str(pathlib.Path.cwd())},
    )

  return call


def test_help_answers_at_once_and_shows_every_flag(binary):
  seconds = []
  for _ in range(3):
    # CPU time, which a loaded machine does not stretch.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = binary("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds.append(
      after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    )
  assert done.returncode == 0
  assert done.stdout.startswith("Says hello.")
  for text in (
    "--config: ",
    "--workdir: ",
    "--debug: ",
    "--seed: Short for --config.seed.",
    "--greeting: What to say. (default: hello)",
    "--config.method.sr.weight=0.001",
    "7 preempted",
  ):
    assert text in done.stdout
  assert min(seconds) < 0.5


def test_a_binary_runs_or_says_in_one_line_what_is_wrong(binary):
  done = binary(
    "--workdir=out", "--config.method.sr.weight=1/8", "--greeting=hi"
  )
  assert (done.returncode, done.stdout) == (0, "hi 0.125 out")
  wrong = binary("--workdir=out", "--config.method.sr.wieght=1/8")
  assert wrong.returncode == 2
  assert wrong.stderr.splitlines() == [
    "experiments.hello: no configuration key 'method.sr.wieght'; "
    "did you mean method.sr.weight?",
    "experiments.hello: --help shows all flags",
  ]
