"""Starts a binary: flags first, the heavy imports after them.

A binary that runs a configuration in a workdir is

    def run(config, workdir):
      from experiments.training import training_run
      training_run.run(config, workdir)

    if __name__ == "__main__":
      launch.run_configured(run, default="digits")

and ``python -m experiments.train --config=FILE --config.a.b=value
--workdir=DIR`` runs it. One without a configuration defines its own absl
flags and calls `launch.run_plain(main)`. Both end with the exit codes of
`experiments.command.exits`.
"""

import difflib
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from absl import app, flags, logging

from experiments.command import exits, terminal
from experiments.configuration import schema, settings, validity
from experiments.configuration.schema import Config
from experiments.runs import recorded_run

Run = Callable[[Config, pathlib.Path], object]
_HELP = re.compile(r"--?(h|help|helpshort|helpfull)$")
_OVERRIDE = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?$", re.DOTALL)


class Keys(NamedTuple):
  """Which configuration keys, or groups of keys, a binary uses, and how.

  Attributes:
    read: the keys that change what it does.
    kept: the keys that it only records, for a later binary.
    later: the names of those later binaries, for --help.
    recorded: whether all other keys come from the run in the workdir. Then
      ``--config`` gives the keys in `read` alone, and a flag with another
      value for any other key is refused. The workdir may be somebody else's:
      code that its configuration names does not run.
  """

  read: tuple[str, ...]
  kept: tuple[str, ...] = ()
  later: str = ""
  recorded: bool = False


class Command(NamedTuple):
  """A command line after parsing.

  Attributes:
    config: with every override.
    workdir: the run's folder.
    debug: whether errors show their traceback.
  """

  config: Config
  workdir: pathlib.Path
  debug: bool


def run_configured(
  run: Run,
  default: str | None = None,
  aliases: Mapping[str, str] | None = None,
  keys: Keys | None = None,
) -> NoReturn:
  """Runs ``run(config, workdir)`` as the process's command line says.

  Args:
    run: the work; imports what is heavy in its body.
    default: the configuration without ``--config``; None demands that flag.
    aliases: short flags for keys: ``{"suite": "evaluation.suite"}`` makes
      ``--suite=full`` mean ``--config.evaluation.suite=full``.
    keys: which keys are read; all if None.
  """
  short = dict(aliases or {})
  define_flags(flags.FLAGS, default, short)

  def prepare(argv: Sequence[str]) -> tuple[Callable[[], object], bool]:
    command = parse(argv, flags.FLAGS, short, keys)
    return lambda: run(command.config, command.workdir), command.debug

  start(prepare, default, keys)


def run_plain(main: Callable[[], object], devices: bool = True) -> NoReturn:
  """Runs a binary that has flags of its own and no configuration.

  Args:
    main: the work; reads its absl flags and imports what is heavy.
    devices: whether it computes on JAX's devices, which must then be there.
  """
  _define_debug(flags.FLAGS)

  def prepare(argv: Sequence[str]) -> tuple[Callable[[], object], bool]:
    _refuse_words(_read_flags(argv, flags.FLAGS))
    return main, flags.FLAGS.debug

  start(prepare, None, devices=devices)


def define_flags(
  values: flags.FlagValues, default: str | None, aliases: Mapping[str, str]
) -> None:
  """Defines the flags that `parse` reads.

  Args:
    values: where, `absl.flags.FLAGS` in a binary.
    default: as in `run_configured`.
    aliases: as in `run_configured`.
  """
  flags.DEFINE_string(
    "config",
    default,
    "Configuration: a file, or a bare name from experiments/configs. "
    "--config.a.b=value sets one of its keys; fractions are fine.",
    flag_values=values,
  )
  flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=values)
  for name, key in aliases.items():
    text = f"Short for --config.{key}."
    flags.DEFINE_string(name, None, text, flag_values=values)
  _define_debug(values)


def parse(
  argv: Sequence[str],
  values: flags.FlagValues,
  aliases: Mapping[str, str],
  keys: Keys | None = None,
) -> Command:
  """Reads a command line.

  Args:
    argv: the program's name, then its arguments.
    values: as given to `define_flags`.
    aliases: as given to `define_flags`.
    keys: as in `run_configured`.

  Returns:
    The configuration and the workdir.

  Raises:
    DataError: the workdir's own configuration is damaged.
    UsageError: a flag, key or value that is not known, or none where one is
      needed.
    DataError: the workdir's own configuration is damaged.
  """
  rest: list[str] = [argv[0]]
  overrides: list[tuple[str, str | None]] = []
  for word in _with_files(argv[1:], values):
    override = _OVERRIDE.match(word)
    if override is None:
      rest.append(word)
    elif override[1] and override[3] is not None:
      raise exits.UsageError(f"{word}: a flag with 'no' takes no value")
    else:
      overrides.append((override[2], "false" if override[1] else override[3]))
  _refuse_words(_read_flags(rest, values))
  if values.config is None:
    raise exits.UsageError("--config is needed: a file or a known name")
  if not values.workdir:
    raise exits.UsageError("--workdir is needed: the folder of the run")
  overrides += [
    (key, values[name].value)
    for name, key in aliases.items()
    if values[name].value is not None
  ]
  path = pathlib.Path(values.workdir)
  recorded = recorded_run.read(path) if keys and keys.recorded else None
  config, groups = _configuration(values, keys, recorded)
  before = settings.flatten(config)
  for key, text in overrides:
    config = settings.override(config, key, text)
  typed_keys = [key for key, _ in overrides]
  if keys and recorded is not None:
    recorded_run.refuse_code(config, (*typed_keys, *groups), keys.read, path)
  if keys and keys.recorded:
    recorded_run.refuse_unread(config, before, typed_keys, keys.read, path)
  return Command(config, path, values.debug)


def _configuration(
  values: flags.FlagValues,
  keys: Keys | None,
  recorded: Config | None,
) -> tuple[Config, tuple[str, ...]]:
  """Returns the configuration before any ``--config.a.b`` flag.

  Returns:
    The file of ``--config``; without that flag the configuration recorded in
    the workdir; with both, the recorded one in which the keys that the binary
    reads are the file's. And the keys taken from the file in the last case.
  """
  if keys is None or recorded is None:
    return settings.load(values.config), ()
  if not values["config"].present:
    return recorded, ()
  file = settings.load(values.config)
  return settings.taken(recorded, file, keys.read), keys.read


def _with_files(words: Sequence[str], values: flags.FlagValues) -> list[str]:
  """The words of a command line, and those of its ``--flagfile``s."""
  try:
    return list(values.read_flags_from_files(list(words), force_gnu=False))
  except flags.Error as error:
    raise exits.UsageError(" ".join(str(error).split())) from None


def _define_debug(values: flags.FlagValues) -> None:
  flags.DEFINE_bool(
    "debug", False, "Print the traceback of any error.", flag_values=values
  )


def _read_flags(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
  try:
    return list(values(list(argv)))[1:]
  except flags.UnrecognizedFlagError as error:
    raise exits.UsageError(_describe_unknown(error, values)) from None
  except flags.Error as error:
    raise exits.UsageError(str(error)) from None
  except RecursionError:  # absl looks for what a word is like, letter by letter
    raise exits.UsageError("a flag has a name of endless length") from None


def _describe_unknown(
  error: flags.UnrecognizedFlagError, values: flags.FlagValues
) -> str:
  """The message for an unknown flag, with flags and keys of similar names."""
  near: list[str] = []
  word_typed = error.flagname.replace("-", "_")
  for word in (
    word_typed,
    word_typed.removeprefix("no"),
  ):  # "norm" is no negation
    if near:
      break
    near = [f"--{name}" for name in settings.close(word, list(values))]
    if "config" in values:
      near = [f"--config.{key}" for key in _keys_like(word)] + near
  hint = f"; did you mean {' or '.join(near)}?" if near else ""
  return f"unknown flag --{error.flagname}{hint}"


def _keys_like(word: str) -> list[str]:
  """The keys whose last part is like a word, or those of a group that is."""
  keys = list(schema.KEYS)
  groups = list(dict.fromkeys(key.rpartition(".")[0] for key in keys))
  near, near_groups = (settings.close(word, names) for names in (keys, groups))
  if near and (_likeness(word, near) >= _likeness(word, near_groups)):
    return near
  return [
    key
    for group in near_groups
    for key in keys
    if key.rpartition(".")[0] == group
  ]


def _likeness(word: str, names: Sequence[str]) -> float:
  """How like a word the last part of one of some names is, at most 1."""
  tails = (name.rpartition(".")[2] for name in names)
  return max(
    (difflib.SequenceMatcher(None, word, tail).ratio() for tail in tails),
    default=0.0,
  )


def _refuse_words(words: Sequence[str]) -> None:
  if words:
    raise exits.UsageError(
      f"unexpected {settings.shown(words[0])}: every argument is --flag=value"
    )


def _help(default: str | None, keys: Keys | None) -> str:
  """The binary's docstring, its flags, and the configuration's keys."""
  module = sys.modules["__main__"]
  text = f"{module.__doc__ or ''}\nFlags:\n"
  modules = flags.FLAGS.flags_by_module_dict()
  # Those of absl are not ours; those that binaries share are in modules.
  own = [name for name in modules if name.startswith("experiments.")]
  for flag in [
    f for name in (*own, sys.argv[0]) for f in modules.get(name, ())
  ]:
    text += f"  --{flag.name}: {flag.help}"
    text += f" (default: {flag.default})\n" if flag.default else "\n"
  if default is not None:
    text += f"\nKeys, with the values of --config={default}:\n"
    config = settings.load(default)
    kept = keys.kept if keys else ()
    read = keys.read if keys else tuple(schema.KEYS)
    text += validity.lines(config, read, kept)
    if keys and kept:
      text += (
        f"\nKeys of {', '.join(kept)} are checked and kept for "
        f"{keys.later}; their --help tells of them.\n"
      )
  codes = ", ".join(f"{c.value} {c.name.lower()}" for c in exits.ExitCode)
  return f"{text}\nExit codes: {codes.replace('_', ' ')}.\n"


def _check_platform() -> None:
  """Raises where JAX_PLATFORMS asks for what this machine does not have."""
  platform = os.environ.get("JAX_PLATFORMS")
  if not platform:
    return
  import jax

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # the latter says nothing
    why = " ".join(str(error).split())
    raise exits.UsageError(
      f"JAX_PLATFORMS={platform}: JAX finds no such device"
      f"{f' ({why})' if why else ''}; unset it, set it to cpu, or install the "
      "extra for the device (cuda12, cuda13 or tpu)"
    ) from None


def _warn(name: str, text: Warning | str) -> None:
  terminal.err(f"{name}: warning: {text}\n")


def start(
  prepare: Callable[[Sequence[str]], tuple[Callable[[], object], bool]],
  default: str | None,
  keys: Keys | None = None,
  devices: bool = True,
) -> NoReturn:
  """Reads the flags, runs the body and exits."""
  name = f"experiments.{pathlib.Path(sys.argv[0]).stem}"

  def parser(argv: list[str]) -> tuple[Callable[[], object], bool]:
    if any(_HELP.match(word) for word in argv[1:]):
      terminal.out(_help(default, keys))
      sys.exit(exits.ExitCode.DONE)
    try:
      return prepare(argv)
    except exits.UsageError as error:
      terminal.err(f"{name}: {error}\n")
      terminal.err(f"{name}: --help shows all flags\n")
      sys.exit(exits.ExitCode.USAGE)
    except exits.DataError as error:
      terminal.err(f"{name}: {error}\n")
      sys.exit(exits.ExitCode.BAD_DATA)

  def run(prepared: tuple[Callable[[], object], bool]) -> int:
    body, debug = prepared
    from snnjax import malloc  # brings jax, too slow for --help

    malloc.keep_freed_memory()
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # JAX and orbax inform at length

    def check_and_run() -> None:
      # What joins other processes asks for devices after that.
      joins = "distributed" in flags.FLAGS and flags.FLAGS["distributed"].value
      if devices and not joins:
        _check_platform()
      body()

    return int(exits.run_guarded(check_and_run, name, debug))

  # A person reads these; the line of source says nothing to them.
  warnings.showwarning = lambda text, *_: _warn(name, text)
  # From the first moment to the last: no phase of its own asks for less.
  with exits.stop_on_sigterm(to_the_end=True):
    app.run(run, flags_parser=parser)
  raise AssertionError("app.run exits")
