"""Starts a binary: flags first, the heavy imports after them.

A binary that runs a configuration in a workdir is

    def run(config, workdir):
      from experiments.training import loop  # jax and all that, only now
      loop.run(config, workdir)

    if __name__ == "__main__":
      launch.configured(run, default="digits")

and ``python -m experiments.train --config=FILE --config.a.b=value
--workdir=DIR`` runs it. One without a configuration defines its own absl
flags and calls `launch.plain(main)`. Both end with the exit codes of
`experiments.command.exits`.
"""

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
  """Which keys of a configuration a binary reads, or groups of them.

  Attributes:
    read: what it reads.
    kept: what it only writes down, for the binaries of `later`.
    later: those.
    recorded: whether everything else is that of the run in the workdir: other
      values are refused, and of ``--config`` only what is read is taken. The
      workdir may be somebody else's: code that it names does not run.
  """

  read: tuple[str, ...]
  kept: tuple[str, ...] = ()
  later: str = ""
  recorded: bool = False


class Command(NamedTuple):
  """A command line, read.

  Attributes:
    config: with every override.
    workdir: the run's folder.
    debug: whether errors show their traceback.
  """

  config: Config
  workdir: pathlib.Path
  debug: bool


def configured(
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
  define(flags.FLAGS, default, short)

  def prepare(argv: Sequence[str]) -> tuple[Callable[[], object], bool]:
    command = parse(argv, flags.FLAGS, short, keys)
    return lambda: run(command.config, command.workdir), command.debug

  _start(prepare, default, keys)


def plain(main: Callable[[], object], devices: bool = True) -> NoReturn:
  """Runs a binary that has flags of its own and no configuration.

  Args:
    main: the work; reads its absl flags and imports what is heavy.
    devices: whether it computes on JAX's devices, which must then be there.
  """
  _define_debug(flags.FLAGS)

  def prepare(argv: Sequence[str]) -> tuple[Callable[[], object], bool]:
    _no_words(_read_flags(argv, flags.FLAGS))
    return main, flags.FLAGS.debug

  _start(prepare, None, devices=devices)


def define(
  values: flags.FlagValues, default: str | None, aliases: Mapping[str, str]
) -> None:
  """Defines the flags that `parse` reads.

  Args:
    values: where, `absl.flags.FLAGS` in a binary.
    default: as in `configured`.
    aliases: as in `configured`.
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
    values: as given to `define`.
    aliases: as given to `define`.
    keys: as in `configured`.

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
    found = _OVERRIDE.match(word)
    if found is None:
      rest.append(word)
    elif found[1] and found[3] is not None:
      raise exits.UsageError(f"{word}: a flag with 'no' takes no value")
    else:
      overrides.append((found[2], "false" if found[1] else found[3]))
  _no_words(_read_flags(rest, values))
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
  given = [key for key, _ in overrides]
  if keys and recorded is not None:
    recorded_run.refuse_code(config, (*given, *groups), keys.read, path)
  if keys and keys.recorded:
    recorded_run.refuse_unread(config, before, given, keys.read, path)
  return Command(config, path, values.debug)


def _configuration(
  values: flags.FlagValues,
  keys: Keys | None,
  recorded: Config | None,
) -> tuple[Config, tuple[str, ...]]:
  """The file of ``--config``, or what the run in the workdir had.

  With it the groups of keys that are the file's, where the rest is the run's.
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
    raise exits.UsageError(_unknown(error, values)) from None
  except flags.Error as error:
    raise exits.UsageError(str(error)) from None
  except RecursionError:  # absl looks for what a word is like, letter by letter
    raise exits.UsageError("a flag has a name of endless length") from None


def _unknown(
  error: flags.UnrecognizedFlagError, values: flags.FlagValues
) -> str:
  """Of a flag that is not known: the flags and keys that are like it."""
  near: list[str] = []
  whole = error.flagname.replace("-", "_")
  for word in (whole, whole.removeprefix("no")):  # "norm" is no negation
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
  return settings.close(word, keys) or [
    key
    for group in settings.close(word, groups)
    for key in keys
    if key.rpartition(".")[0] == group
  ]


def _no_words(words: Sequence[str]) -> None:
  if words:
    raise exits.UsageError(
      f"unexpected {settings.shown(words[0])}: every argument is --flag=value"
    )


def _help(default: str | None, keys: Keys | None) -> str:
  """The binary's docstring, its flags, and the configuration's keys."""
  module = sys.modules["__main__"]
  text = f"{module.__doc__ or ''}\nFlags:\n"
  modules = flags.FLAGS.flags_by_module_dict()
  for flag in (*modules.get(__name__, ()), *modules.get(sys.argv[0], ())):
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
  wanted = os.environ.get("JAX_PLATFORMS")
  if not wanted:
    return
  import jax

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # the latter says nothing
    why = " ".join(str(error).split())
    raise exits.UsageError(
      f"JAX_PLATFORMS={wanted}: JAX finds no such device"
      f"{f' ({why})' if why else ''}; unset it, set it to cpu, or install the "
      "extra for the device (cuda12, cuda13 or tpu)"
    ) from None


def _warn(name: str, text: Warning | str) -> None:
  terminal.err(f"{name}: warning: {text}\n")


def _start(
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

    def whole() -> None:
      if devices:
        _check_platform()
      body()

    return int(exits.guarded(whole, name, debug))

  # A person reads these; the line of source says nothing to them.
  warnings.showwarning = lambda text, *_: _warn(name, text)
  # From the first moment to the last: no phase of its own asks for less.
  with exits.stop_on_sigterm(to_the_end=True):
    app.run(run, flags_parser=parser)
  raise AssertionError("app.run exits")
