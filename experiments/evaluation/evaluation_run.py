"""Evaluates the network of one workdir, from where it stopped."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.building import build, datasets, examples
from experiments.building.shared import Shared
from experiments.command import compilation, exits, stopping
from experiments.command.progress import reporter, say
from experiments.configuration import schema, settings, validity
from experiments.configuration.schema import Config
from experiments.evaluation import assessment, evaluation_folders
from experiments.planning import preflight, suites
from experiments.runs import origins, run_folders
from experiments.training import programs, training_run
from snnjax import models
from snnjax.interfaces import LogitsFn
from snnjax.storage import workdir

Tell = Callable[[Sequence[assessment.Assessed]], str]


def run(
  config: Config,
  path: pathlib.Path,
  shared: Shared | None = None,
  tell: Tell | None = None,
) -> None:
  """Runs the evaluate binary on the run in `path`.

  Args:
    config: its ``evaluation`` says how, by which suite, and its
      ``data.data_dir`` where the data lie now; the rest is that of the run.
    path: the folder of a finished training run.
    shared: what other runs of this process built; programs and data are taken
      from it, and left in it.
    tell: what to say of the result beside where it is; see
      `experiments.reporting.console.networks`.

  Raises:
    UsageError: the evaluation is not allowed; nothing is written.
    DataError: the folder has no finished training run.
  """
  compilation.enable_cache()
  whole = preflight.resolved(
    settings.taken(trained_config(path), config, schema.EVALUATING)
  )
  with exits.blame_data():
    known = origins.assessment(whole, path)
  folder = evaluation_folders.folder(path, whole)
  with (
    evaluation_folders.open_folder(folder, whole, known) as opened,
    exits.stop_on_sigterm() as should_stop,
    reporter() as progress,
  ):
    if opened.outcome is workdir.Outcome.FINISHED:
      said = _describe_result(path, opened, known, tell)
      say(f"{folder} is finished; nothing to do{said}")
      return
    with exits.blame_data():
      made_from = origins.evaluation(whole, path)
      interruptible = stopping.make_interruptible(progress, should_stop)
      shared = shared or Shared()
      splits = shared.get(
        "test data",
        programs.data_key(whole, only_test=True),
        lambda: datasets.load(whole, interruptible, only_test=True),
      )
      splits = _add_fitted(splits, path, made_from)
      network, variables = training_run.trained(whole, splits, path, shared)
      others = stand_ins(whole, splits)
    examples.tell(datasets.evaluated(whole, splits), ("test",))
    with exits.blame_configuration():
      bench = assessment.bench(
        whole,
        network,
        others,
        shared,
        {
          name: made_from[name]
          for name in ("data", *(f"stand-in {run}" for run in others))
        },
      )
    assessment.assess(
      whole,
      bench,
      variables,
      splits,
      opened,
      made_from,
      progress,
      should_stop,
    )
    say(f"evaluated: {folder}{_describe_result(path, opened, known, tell)}")


def _describe_result(
  path: pathlib.Path,
  folder: workdir.Workdir,
  known: Mapping[str, str],
  tell: Tell | None,
) -> str:
  """What a finished evaluation found, after an empty line."""
  if tell is None:
    return ""
  whole = settings.from_dict(folder.config)
  (name,) = run_folders.names(path, [path])
  with exits.blame_data():
    assessed = assessment.load(name, whole, folder, known)
  return f"\n\n{tell([assessed])}"


def _add_fitted(
  splits: datasets.Splits, path: pathlib.Path, made_from: Mapping[str, str]
) -> datasets.Splits:
  """The splits, with what the run in `path` was fitted to."""
  fitted = examples.load(path, origins.training_part(made_from)).parts
  parts = {name: fitted[name] for name in examples.FITTED if name in fitted}
  used = splits.used
  return splits._replace(used=used._replace(parts={**parts, **used.parts}))


def stand_ins(whole: Config, splits: datasets.Splits) -> dict[str, LogitsFn]:
  """Loads the networks that a suite's attacks transfer from, by folder.

  Args:
    whole: the configuration, its suite resolved.
    splits: the data, for the shapes of the inputs.

  Raises:
    DataError: a folder has no finished training run.
  """
  networks = {}
  for run in suites.transferred(whole):
    run_config = trained_config(pathlib.Path(run))
    network, variables = training_run.trained(
      run_config, splits, pathlib.Path(run)
    )
    networks[run] = models.classifier(
      network, variables, rule=build.rule(run_config, run_config.model.rule)
    )
  return networks


def trained_config(path: pathlib.Path) -> Config:
  """Returns the configuration of a finished training run.

  Raises:
    DataError: the folder has none, or its configuration is damaged.
  """
  with exits.blame_data():
    status, reason = workdir.read_status(path)
  if status is not workdir.Status.DONE:
    state = "no run" if status is None else f"a run that is {status.value}"
    raise exits.DataError(
      f"{path} must hold a finished training run; it holds {state}"
      f"{f' ({reason})' if reason else ''}. Run: python -m experiments.train "
      f"--workdir={path}"
    )
  with exits.blame_data():
    return validity.recorded(workdir.read_config(path), path)
