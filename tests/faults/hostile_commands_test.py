"""Somebody else's run folder runs nothing; endless words get one line."""

import pytest

from experiments.command.exits import DataError, UsageError
from experiments.configuration import schema, settings, validity
from experiments.evaluation import evaluation_run
from experiments.planning import preflight, suites
from experiments.reporting import report_run
from experiments.runs import launch
from snnjax.storage import files, workdir
from tests import tiny_runs

LONG = 100_000
MARK = "the file ran"
EVALUATE = launch.Keys(schema.EVALUATING, recorded=True)
REPORT = launch.Keys(schema.REPORTING, recorded=True)
SUITE = f"""
import pathlib

pathlib.Path(__file__).with_name({MARK!r}).touch()

def get_config():
  return ({{"kind": "fgsm"}},)
"""


def parsed(*words, keys=None, aliases=None):
  """A command line, read as a binary reads it."""
  values = launch.flags.FlagValues()
  aliases = {"suite": "evaluation.suite"} if aliases is None else aliases
  launch.define_flags(values, "base", aliases)
  return launch.parse(["program", *words], values, aliases, keys).config


@pytest.fixture
def suite(tmp_path):
  path = tmp_path / "suite.py"
  path.write_text(SUITE)
  return path


def received(path, changes=None):
  """A finished run's folder, with any configuration."""
  config = settings.to_dict(tiny_runs.config())
  for key, value in (changes or {}).items():
    *parents, last = key.split(".")
    holder = config
    for part in parents:
      holder = holder[part]
    holder[last] = value
  with workdir.open_with_status(path, config):
    pass
  return path


def test_a_received_folder_does_not_choose_the_file_that_runs(tmp_path, suite):
  run = received(tmp_path / "run", {"evaluation.suite": str(suite)})
  with pytest.raises(UsageError, match="code runs only from a path given in"):
    parsed(f"--workdir={run}", keys=EVALUATE)
  assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize(
  "name", ["suite.py", "./suite.py:text", "../x/suite.py", "folder/suite"]
)
def test_no_spelling_of_a_path_gets_by(tmp_path, name):
  run = received(tmp_path / "run", {"evaluation.suite": name})
  with pytest.raises(UsageError, match="suite is that of the run"):
    parsed(f"--workdir={run}", keys=EVALUATE)


def test_what_was_typed_runs_and_a_known_name_needs_no_typing(tmp_path, suite):
  run = received(tmp_path / "run", {"evaluation.suite": str(suite)})
  for word in (f"--suite={suite}", f"--config.evaluation.suite={suite}"):
    config = parsed(f"--workdir={run}", word, keys=EVALUATE)
    assert list(suites.resolved(config).evaluation.attacks) == ["fgsm"]
  # Of a configuration that was typed, all that is read is.
  typed = parsed(f"--workdir={run}", "--config=mnist", keys=EVALUATE)
  assert not settings.is_path(typed.evaluation.suite)
  known = received(tmp_path / "known", {"evaluation.suite": "quick"})
  assert parsed(f"--workdir={known}", keys=EVALUATE)


def test_a_typed_configuration_vouches_for_what_it_says_alone(tmp_path, suite):
  run = received(tmp_path / "run", {"evaluation.suite": str(suite)})
  mine = tmp_path / "mine.py"
  mine.write_text(
    "from experiments.configuration.schema import Config\n"
    "def get_config():\n  return Config(seed=1)\n"
  )
  config = parsed(f"--workdir={run}", f"--config={mine}", keys=EVALUATE)
  assert (config.evaluation.suite, config.seed) == ("quick", 0)
  assert not (tmp_path / MARK).exists()


def test_a_report_reads_such_a_folder_and_runs_nothing(tmp_path, suite):
  run = received(tmp_path / "run", {"evaluation.suite": str(suite)})
  config = parsed(f"--workdir={run}", keys=REPORT)
  with pytest.raises(DataError, match="finished evaluation"):
    report_run.run(config, run)
  assert not (tmp_path / MARK).exists()


def test_the_binary_refuses_in_one_line(tmp_path, suite):
  run = received(tmp_path / "run", {"evaluation.suite": str(suite)})
  code, out, err = tiny_runs.finished("evaluate", f"--workdir={run}")
  assert (code, out) == (2, "")
  assert "code runs only from a path given in this command" in err
  assert len(err.splitlines()) == 2  # and where the help is
  assert not (tmp_path / MARK).exists()


def test_a_file_of_the_current_folder_is_no_bare_name(tmp_path, monkeypatch):
  for name in ("base", "mnist", "quick"):
    (tmp_path / name).write_text(SUITE)
  monkeypatch.chdir(tmp_path)
  preflight.check(parsed("--workdir=x"))
  assert parsed("--workdir=x", "--config=mnist").data.name == "mnist"
  assert not (tmp_path / MARK).exists()


def test_every_key_that_may_name_a_file_to_run_is_listed():
  # A new one belongs into `schema.CODE`; ending in .py is how they are told.
  found = {
    key
    for key, known in schema.KEYS.items()
    if ".py" in known.about or "python" in known.about.lower()
  }
  assert found == set(schema.CODE)
  recorded = [EVALUATE, REPORT]
  for keys in recorded:
    assert keys.recorded


def nested(depth):
  value = 1
  for _ in range(depth):
    value = {"a": value}
  return value


@pytest.mark.parametrize(
  "content",
  [
    "[" * LONG,
    "5",
    "[]",
    {},
    {"evaluation": 5},
    {"data": {"name": {"to_dict": 1}}},
    {"to_dict": 1},
    {"get_type": {"x": 1}},
    {"seed": [[[]]]},
    {f"k{n}": 1 for n in range(20_000)},
    nested(600),
  ],
  ids=lambda content: str(content)[:30],
)
def test_any_configuration_of_a_received_folder_is_one_line(tmp_path, content):
  run = received(tmp_path / "run")
  if isinstance(content, str):
    (run / "config.json").write_text(content)
  else:  # its maker knows how to seal it
    files.write_sealed(run / "config.json", content)
  for look in (
    lambda: parsed(f"--workdir={run}", keys=EVALUATE),
    lambda: evaluation_run.trained_config(run),
  ):
    with pytest.raises(DataError) as caught:
      look()
    assert len(str(caught.value)) < 2_500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "changes",
  [
    {"leaderboard.reported": "much"},
    {"leaderboard.name": ["a"]},
    {"model.steps": 10**400},
    {"model.kind": ["cnn"]},
    {"train.epochs": 1e300},
    {"modalities.image.epsilons.linf": "x"},
    {"train.select": {"x": 1}},
    {"model.neuron": 1},
  ],
)
def test_a_value_that_is_not_allowed_is_named(tmp_path, changes):
  config = settings.to_dict(tiny_runs.config())
  for key, value in changes.items():
    *parents, last = key.split(".")
    holder = config
    for part in parents:
      holder = holder[part]
    holder[last] = value
  with pytest.raises(DataError, match=next(iter(changes)).split(".")[0]):
    validity.recorded(config, tmp_path)


def resolved_attacks(**changes):
  """A configuration as an evaluation's folder has it, one attack changed."""
  config = suites.resolved(tiny_runs.config())
  plain = settings.to_dict(config)
  name = next(iter(plain["evaluation"]["attacks"]))
  plain["evaluation"]["attacks"][name] |= changes
  return settings.from_dict(plain)


def test_the_attacks_of_an_evaluation_are_as_they_were_resolved():
  for name in ("quick", "standard", "full"):
    config = suites.resolved(tiny_runs.config({"evaluation.suite": name}))
    suites.check_recorded(config, "here")


@pytest.mark.parametrize(
  "changes",
  [
    {"kind": 5},
    {"kind": "__import__"},
    {"position": "first"},
    {"rules": 5},
    {"rules": [[]]},
    {"steps": "ten"},
    {"steps": 10**300},
    {"options": [1]},
    {"options": {"runs": 5}},
    {"loss": ["x"]},
    {"extra": 1},
  ],
)
def test_attacks_of_a_received_evaluation_are_checked(changes):
  with pytest.raises(UsageError, match="here"):
    suites.check_recorded(resolved_attacks(**changes), "here")


@pytest.mark.parametrize("attacks", [5, {"a": 5}, {"a": {}}, {"A b": {}}])
def test_what_is_no_group_of_attacks_is_refused(attacks):
  plain = settings.to_dict(tiny_runs.config())
  plain["evaluation"]["attacks"] = attacks
  with pytest.raises(UsageError, match="here"):
    suites.check_recorded(settings.from_dict(plain), "here")


KEY = "--config.modalities.image.standardize.mean="


@pytest.mark.parametrize(
  "word",
  [
    KEY + "-" * LONG,
    KEY + "(" * LONG,
    KEY + "[" * 300,
    KEY + "1/" * LONG + "1",
    KEY + "9" * 5_000,
    KEY + "b'x'",
    KEY + "...",
    KEY + "3j",
    KEY + "1e999",
    KEY + "-(1,)",
    KEY + "'a",
    "--config.seed=" + "9" * 400,
    "--config.seed=1e300",
    "--config.train.epochs=1e308",
    "--config.method.sr.weight=" + "9" * 400,
    "--config.modalities.image.epsilons.linf=" + "1," * LONG,
    "--config." + "x." * LONG + "=1",
    "--config.=1",
    "--config=" + "y" * 300,
    "--config=" + "y" * 300 + ".py",
    "--config=\udcff.py",
    "--flagfile=/none",
    "--flagfile=/",
    "--flagfile",
    "--" + "z" * LONG,
    "z" * LONG,
    "--suite=" + "y" * LONG,
    "--suite=" + "y" * LONG + ".py",
    "--suite=/",
    "--suite=quick:text",
  ],
)
def test_endless_and_odd_words_are_one_usage_line(word):
  with pytest.raises(UsageError) as caught:
    preflight.check(parsed("--workdir=x", word))
  assert len(str(caught.value)) < 2_000
  assert "\n" not in str(caught.value)


def test_a_workdir_that_cannot_be_is_one_line():
  with pytest.raises(UsageError, match="workdir cannot be read") as caught:
    parsed("--workdir=" + "y" * 300, keys=EVALUATE)
  assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
  "attacks",
  [
    5,
    ({"kind": []},),
    ({"kind": {}},),
    ({"kind": "pgd", 5: 1, "x": 2},),
    ({"kind": "pgd", "options": 5},),
    ({"kind": "pgd", "options": {5: 1, "x": 2}},),
    ({"kind": "transfer", "options": {"runs": (5,)}},),
    ({"kind": "spsa", "options": {"width": float("inf")}},),
    ({"kind": "spsa", "options": {"pairs": 10**400}},),
    ({"kind": "pgd", "rules": ([],)},),
    ({"kind": "pgd", "rules": 5},),
    ({"kind": "pgd", "loss": []},),
    ({"kind": "pgd", "mix": {}},),
    ({"kind": "pgd", "targets": ([],)},),
    ({"kind": "pgd", "levels": ("0",)},),
    ({"kind": "pgd", "levels": (10**400,)},),
    ({"kind": "pgd", "steps": 10**400},),
    ({"kind": "pgd", "steps": True},),
    ({"kind": "pgd", "name": 5},),
    ({"kind": "pgd", "name": []},),
    ({"kind": "pgd", "name": "x" * LONG + "!"},),
    (5,),
    ("-" * LONG,),
  ],
)
def test_odd_suites_are_one_usage_line(tmp_path, attacks):
  path = tmp_path / "odd.py"
  path.write_text(
    f"inf = float('inf')\ndef get_config():\n  return {attacks!r}\n"
  )
  config = tiny_runs.config({"evaluation.suite": str(path)})
  with pytest.raises(UsageError) as caught:
    suites.resolved(config)
  assert len(str(caught.value)) < 1_500
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  "content",
  ["get_config = 5", "def get_config(a, b):\n  pass", "def get_config(:"],
)
def test_a_file_without_a_working_function_is_one_line(tmp_path, content):
  path = tmp_path / "odd.py"
  path.write_text(content)
  with pytest.raises(UsageError) as caught:
    settings.load(str(path))
  assert "\n" not in str(caught.value)


def test_json_of_any_depth_is_damage(tmp_path):
  path = tmp_path / "deep.json"
  for text in ("[" * LONG, '{"a":' * LONG):
    path.write_text(text)
    with pytest.raises(ValueError, match="damaged"):
      files.read_json(path)
