"""Configurations: typed overrides, near names, JSON, and the launcher."""

import os
import pathlib
import resource
import subprocess
import sys

import ml_collections
import pytest
from absl import flags

from experiments.command import launch
from experiments.configuration import settings

FILE = """
import ml_collections

def get_config(text="small"):
  config = ml_collections.ConfigDict()
  config.name = text
  config.seed = 1
  config.save = True
  config.limit = ml_collections.config_dict.placeholder(int)
  config.note = None
  config.attack = ml_collections.ConfigDict()
  config.attack.epsilon = 0.1
  config.attack.steps = (10, 20)
  config.attack.radii = (0.1, 0.2)
  config.attack.names = ("fgsm", "pgd")
  config.attack.pairs = ((1, 2), (3, 4))
  config.attack.empty = ()
  config.attack.attack = 3
  return config
"""


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "conf.py"
  path.write_text(FILE)
  return path


@pytest.fixture
def config(file):
  return settings.load(str(file))


@pytest.mark.parametrize(
  ("key", "text", "value"),
  [
    ("attack.epsilon", "8/255", 8 / 255),
    ("attack.epsilon", "-1e-3", -1e-3),
    ("attack.epsilon", "2", 2.0),
    ("attack.epsilon", "inf", float("inf")),
    ("seed", "-7", -7),
    ("seed", "1e4", 10_000),
    ("save", "false", False),
    ("save", "True", True),
    ("save", "0", False),
    ("save", None, True),
    ("name", "8/255", "8/255"),
    ("name", "mi-fgsm", "mi-fgsm"),
    ("limit", "100", 100),
    ("note", "8/255", 8 / 255),
    ("note", "(1, -2/4, 'x', none, true)", (1, -0.5, "x", None, True)),
    ("note", "a/b-c", "a/b-c"),
    ("note", "plain text", "plain text"),
    ("attack.steps", "5", (5,)),
    ("attack.steps", "(5, 6,)", (5, 6)),
    ("attack.steps", "[5,6]", (5, 6)),
    ("attack.steps", "()", ()),
    ("attack.radii", "2/255, 4/255", (2 / 255, 4 / 255)),
    ("attack.names", "mi-fgsm,pgd", ("mi-fgsm", "pgd")),
    ("attack.names", "('a', \"b\")", ("a", "b")),
    ("attack.pairs", "((1/2, 3),)", ((0.5, 3),)),
    ("attack.empty", "1,x", (1, "x")),
    ("attack.attack", "4", 4),
  ],
)
def test_a_value_is_read_as_its_keys_type(config, key, text, value):
  settings.override(config, key, text)
  found = settings.flatten(config)[key]
  assert found == value
  assert type(found) is type(value)


@pytest.mark.parametrize(
  ("key", "text", "match"),
  [
    ("seed", "2.5", "config.seed must be an integer, got '2.5'"),
    ("seed", "x", "config.seed must be an integer"),
    ("seed", None, "--config.seed needs a value"),
    ("save", "perhaps", "config.save must be true or false, got 'perhaps'"),
    ("limit", "x", "config.limit must be an integer"),
    ("attack.epsilon", "8/0", "a number or a fraction such as 8/255"),
    ("attack.epsilon", "nan", "config.attack.epsilon must be a number"),
    ("attack.epsilon", "1/2/3", "config.attack.epsilon must be a number"),
    ("attack.steps", "1,2.5", "config.attack.steps must be"),
    (
      "attack",
      "3",
      "attack is a group; set one of attack.attack, attack.empty",
    ),
    ("note", "1/0", "config.note must be"),
  ],
)
def test_a_value_of_another_type_is_named(config, key, text, match):
  before = config.to_dict()
  with pytest.raises(settings.UsageError) as caught:
    settings.override(config, key, text)
  assert match in str(caught.value)
  assert config.to_dict() == before


@pytest.mark.parametrize(
  ("key", "hint"),
  [
    ("attack.epsilom", "did you mean attack.epsilon?"),
    ("epsilon", "did you mean attack.epsilon?"),
    ("atack.step", "attack.steps"),
    ("sede", "did you mean seed?"),
    ("seed.x", "did you mean seed?"),
    ("attack.attack.x", "attack.attack"),
    ("x.zzz", "there are attack.attack, attack.empty, attack.epsilon"),
  ],
)
def test_a_misspelt_key_gets_the_nearest_names(config, key, hint):
  with pytest.raises(settings.UsageError) as caught:
    settings.override(config, key, "1")
  assert f"no configuration key {key!r}" in str(caught.value)
  assert hint in str(caught.value)


def test_a_deep_key_is_found_by_its_last_part():
  tree = {"some": {"rather": {"long": {"group": {"rate": 1}}}}, "grate": 2}
  with pytest.raises(settings.UsageError, match=r"some\.rather\.long\.group"):
    settings.override(ml_collections.ConfigDict(tree), "rat", "1")


def test_a_file_takes_a_text_and_its_configuration_is_locked(file):
  assert settings.load(f"{file}:large").name == "large"
  with pytest.raises(AttributeError):
    settings.load(str(file)).new = 1


@pytest.mark.parametrize(
  ("content", "match"),
  [
    ("x = 1", "has no function get_config"),
    ("1 / 0", "fails: ZeroDivisionError"),
    ("def get_config():\n  1 / 0", "get_config fails: ZeroDivisionError"),
    ("def get_config():\n  return 3", "get_config returned int"),
  ],
)
def test_a_file_that_does_not_work_is_named(tmp_path, content, match):
  path = tmp_path / "bad.py"
  path.write_text(content)
  with pytest.raises(settings.UsageError, match=match) as caught:
    settings.load(str(path))
  assert str(path) in str(caught.value)


def test_a_text_nobody_takes_is_refused(tmp_path):
  path = tmp_path / "plain.py"
  path.write_text("def get_config():\n  return 3")
  with pytest.raises(settings.UsageError, match="takes no text, got 'x'"):
    settings.load(f"{path}:x")


def test_bare_names_are_those_of_the_configs_folder(
  file, tmp_path, monkeypatch
):
  monkeypatch.setattr(settings, "FOLDER", tmp_path)
  assert settings.load("conf").seed == 1
  assert settings.load("conf:big").name == "big"
  with pytest.raises(settings.UsageError, match=r"did you mean conf\?"):
    settings.load("cnof")


def test_json_and_back(config):
  plain = settings.to_dict(config)
  assert plain["attack"]["steps"] == [10, 20]
  back = settings.from_dict(plain)
  assert back.to_dict() == config.to_dict()
  assert back.is_locked
  config.note = float("nan")
  with pytest.raises(settings.UsageError, match=r"config\.note = nan"):
    settings.to_dict(config)


def test_references_are_followed():
  steps = ml_collections.config_dict.FieldReference(10)
  config = ml_collections.ConfigDict({"steps": steps, "half": steps // 2})
  settings.override(config, "steps", "30")
  assert settings.to_dict(config) == {"steps": 30, "half": 15}


def read(*words, default=None, aliases=None):
  values = flags.FlagValues()
  launch.define(values, default, aliases or {})
  return launch.parse(["prog", *words], values, aliases or {})


def test_a_command_line_is_read(file):
  command = read(
    f"--config={file}",
    "--config.attack.epsilon=8/255",
    "--workdir",
    "out",
    "-config.seed=2",
    "--config.seed=3",
    "--noconfig.save",
    "--config.name=a=b",
    "--steps=7",
    "--debug",
    aliases={"steps": "attack.steps"},
  )
  assert command.config.attack.epsilon == 8 / 255
  assert command.config.attack.steps == (7,)
  assert (command.config.seed, command.config.save) == (3, False)
  assert command.config.name == "a=b"
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
    (["--config=FILE", "--workdir=x", "--noconfig.save=1"], "takes no value"),
    (["--config=none", "--workdir=x"], "no configuration 'none'"),
  ],
)
def test_a_bad_command_line_is_refused(file, words, match):
  words = [word.replace("FILE", str(file)) for word in words]
  with pytest.raises(settings.UsageError, match=match):
    read(*words)


BINARY = '''
"""Says hello."""
import sys
from absl import flags
from experiments.command import launch
flags.DEFINE_string("greeting", "hello", "What to say.")

def run(config, workdir):
  import jax
  sys.stdout.write(f"{flags.FLAGS.greeting} {config.attack.epsilon} {workdir}")

if __name__ == "__main__":
  assert "jax" not in sys.modules and "numpy" not in sys.modules
  launch.configured(run, default=FILE, aliases={"seed": "seed"})
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
    "--config.attack.epsilon=0.1",
    "7 preempted",
  ):
    assert text in done.stdout
  assert min(seconds) < 0.5


def test_a_binary_runs_or_says_in_one_line_what_is_wrong(binary):
  done = binary("--workdir=out", "--config.attack.epsilon=1/8", "--greeting=hi")
  assert (done.returncode, done.stdout) == (0, "hi 0.125 out")
  wrong = binary("--workdir=out", "--config.attack.epsilom=1/8")
  assert wrong.returncode == 2
  assert wrong.stderr.splitlines() == [
    "experiments.hello: no configuration key 'attack.epsilom'; "
    "did you mean attack.epsilon?",
    "experiments.hello: --help shows all flags",
  ]
