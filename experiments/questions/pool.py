"""The pool of trained networks that all questions draw on.

    DIR/networks/NAME/            a training run of `experiments.train`
    DIR/measured/NAME/            all that was measured of it
    DIR/results/networks/NAME/    what is kept of that; see `results`

A network that two questions need is trained once and measured once. Any number
of processes may fill one pool at the same time; each takes what is free.
"""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.building import build, datasets
from experiments.building.shared import Shared
from experiments.command import compilation, exits, stopping, terminal
from experiments.command.exits import UsageError
from experiments.command.progress import (
  Progress,
  duration,
  reporter,
  say,
  silent,
)
from experiments.command.stopping import ShouldStop
from experiments.configuration import study as studies
from experiments.configuration.study import Member, Study
from experiments.evaluation import assessment
from experiments.measuring import (
  attacked_gradients,
  compiled_programs,
  gradient_summary,
  survivors,
)
from experiments.measuring.named_arrays import Arrays
from experiments.measuring.subject import Subject
from experiments.planning import preflight
from experiments.questions import results
from experiments.runs import origins
from experiments.sweeping import claims
from experiments.training import programs, training_run
from snnjax import attacks
from snnjax.storage import files, workdir

NETWORKS = "networks"
RESULTS = "results"
_LOOK_AGAIN = 2.0  # seconds between looks at what others have in hand
MEASURED = "measured"


class Measurement(NamedTuple):
  """How one measurement is made.

  Attributes:
    measure: the network, and by name what was measured of it before -> all
      arrays.
    summarize: all arrays -> those that are kept for good.
  """

  measure: Callable[[Subject, Mapping[str, Arrays]], Arrays]
  summarize: Callable[[Mapping[str, np.ndarray]], Arrays]


MEASURE: Mapping[str, Measurement] = {
  "gradients": Measurement(
    lambda subject, earlier: attacked_gradients.gradients(subject),
    gradient_summary.summarized,
  ),
  "transfer": Measurement(
    lambda subject, earlier: survivors.transfer(
      subject, earlier.get("gradients", {})
    ),
    dict,
  ),
  "stronger": Measurement(
    lambda subject, earlier: survivors.stronger(subject, earlier["transfer"]),
    dict,
  ),
}


def fill(
  study: Study,
  wanted: Sequence[Member],
  path: pathlib.Path,
  shared: Shared | None = None,
) -> list[tuple[str, exits.ExitCode]]:
  """Trains and measures every network that is not yet.

  Args:
    study: the study.
    wanted: its networks, in the order to take them.
    path: the pool's folder.
    shared: of the devices that are used.

  Returns:
    What failed, why and with which exit code; the others are done.

  Raises:
    UsageError: a configuration is not allowed; nothing is written.
    Preempted: a signal asked to stop; run again to go on.
  """
  work = Work(study, path, shared)
  for own in wanted:  # all, before the first is trained
    try:
      preflight.check(own.config)
      work.devices.check(own.config)
      studies.check_radii(study, own)
    except UsageError as error:
      raise UsageError(f"{own.words}: {error}") from None
  compilation.enable_cache()
  failed: dict[str, tuple[str, exits.ExitCode]] = {}
  left = [own for own in wanted if not work.done(own)]
  say(f"pool: {len(wanted) - len(left)} of {len(wanted)} networks are measured")
  with exits.stop_on_sigterm() as should_stop, reporter() as progress:
    while left:
      stopping.stop_before(f"one of {len(left)} networks", should_stop)
      for own in work.preferred(left):
        with claims.claim(path / NETWORKS / own.name) as mine:
          if not mine:
            continue
          if not work.done(own):
            number = len(wanted) - len(left) + 1
            say(f"\nnetwork {number} of {len(wanted)}: {own.words}")
            begun = time.monotonic()
            try:
              work.run(own, progress, should_stop)
            except (workdir.Preempted, KeyboardInterrupt):
              raise
            except Exception as error:  # the other networks can go on
              code = exits.exit_code(error)
              if code is exits.ExitCode.DISK_FULL:
                raise  # there is no room for the others either
              reason = f"{own.words}: {exits.message(error)}"
              failed[own.name] = reason, code
              terminal.err(f"failed: {reason}\n")
            else:
              took = time.monotonic() - begun
              place = path / NETWORKS / own.name
              claims.write(place, own.digest, None, took)
              say(f"took {duration(took)}")
          break
      else:
        time.sleep(_LOOK_AGAIN)  # all that is left is in other hands
      left = [o for o in left if o.name not in failed and not work.done(o)]
  return list(failed.values())


def seconds(path: pathlib.Path, own: Member) -> float | None:
  """Returns how long a network took; None where nobody noted it.

  Args:
    path: the pool's folder.
    own: the network.
  """
  note = claims.read(path / NETWORKS / own.name, own.digest)
  return note.seconds if note and note.seconds else None


class Work:
  """One process's part in filling a pool."""

  def __init__(
    self, study: Study, path: pathlib.Path, shared: Shared | None = None
  ) -> None:
    """Starts with nothing built.

    Args:
      study: the study.
      path: the pool's folder.
      shared: what its networks share, on the devices that are used.
    """
    self._study = study
    self._path = path
    self._shared = shared or Shared()
    self.devices = self._shared.devices
    self._last: Any = None

  def done(self, own: Member) -> bool:
    """Whether all measurements of a network are there, and are its own."""
    return results.is_whole(self._study, own, self._path / RESULTS)

  def preferred(self, left: Sequence[Member]) -> list[Member]:
    """The networks that nobody has in hand, in their order.

    Of the first seed that is left, those of the architecture that is compiled
    here come first.
    """
    free = [
      own for own in left if not claims.busy(self._path / NETWORKS / own.name)
    ]
    return sorted(
      free, key=lambda own: (own.seed, (own.data, own.inputs) != self._last)
    )

  def run(
    self, own: Member, progress: Progress, should_stop: ShouldStop
  ) -> None:
    """Trains a network and measures what is wanted of it."""
    self._last = own.data, own.inputs
    radii = studies.check_radii(self._study, own)
    place, whole = (self._path / p / own.name for p in (NETWORKS, MEASURED))
    folder = results.folder(self._path / RESULTS, own)
    for each in (whole, folder):
      each.mkdir(parents=True, exist_ok=True)
    subject: Subject | None = None
    earlier: dict[str, Arrays] = {}
    for name in own.measurements:
      if results.is_measured(self._study, own, folder, name):
        earlier[name] = results.read(self._study, own, folder, name)
        continue
      try:
        arrays = results.read(self._study, own, whole, name)
        noted = files.read_sealed(whole / f"{name}.json", results.REMEDY)
      except (OSError, ValueError):
        subject = subject or self.subject(own, radii, progress, should_stop)
        begun = time.process_time()
        arrays = MEASURE[name].measure(subject, earlier)
        noted = {
          "parameters": origins.weights(place),
          "data set": origins.training(own.config)["data"],
          "cpu seconds": round(time.process_time() - begun, 1),
          "environment": build.environment_of(own.config, self.devices.mesh),
        }
        results.write_arrays(self._study, own, whole, name, arrays)
        files.write_sealed(whole / f"{name}.json", noted)
      kept = MEASURE[name].summarize(arrays)
      results.write(self._study, own, folder, name, kept, noted)
      earlier[name] = kept

  def subject(
    self,
    own: Member,
    radii: Mapping[str, Sequence[float]],
    progress: Progress = silent,
    should_stop: ShouldStop = stopping.never,
  ) -> Subject:
    """Returns a network ready to be measured, trained if it is not yet.

    Args:
      own: who it is.
      radii: by norm, of its attacks.
      progress: told of every step.
      should_stop: asked between them.

    Raises:
      Preempted: as `should_stop` wanted; run again to go on.
    """
    config, place = own.config, self._path / NETWORKS / own.name
    training_run.run(config, place, self._shared)
    interruptible = stopping.make_interruptible(progress, should_stop)
    with exits.blame_data():
      splits = self._shared.get(
        "test data",
        programs.data_key(config, only_test=True),
        lambda: datasets.load(config, interruptible, only_test=True),
      )
    network, variables = training_run.trained(
      config, splits, place, self._shared
    )
    batch = assessment.test_batch(config, splits)
    with exits.blame_data():
      attacks.check_inputs(
        build.threat_of("linf", dict.fromkeys(own.modalities, 0.1)),
        batch.inputs,
      )
    protocol = self._study.protocol
    return Subject(
      own,
      protocol,
      radii,
      compiled_programs.programs(config, network, protocol, self._shared),
      variables,
      batch,
      interruptible,
      self.devices.mesh,
    )
