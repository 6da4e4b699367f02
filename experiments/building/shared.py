"""What the runs of one process share: programs by architecture, and data.

A compiled program belongs to the function that was traced for it. A run that
builds its functions anew compiles everything anew, however equal they are. So
whoever runs several configurations has one `Shared`, and every run takes from
it what another one built for the same key:

    shared = Shared()
    for seed in range(3):
      training_run.run(config_of(seed), path / str(seed), shared)

A key holds all that shapes what is built, as far as the configuration tells.
What may differ between two runs that share a program (seeds, weights, radii,
learning rates) is an argument of the program: a key that forgot one of these
would build it in.
"""

import collections
import gc
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

from experiments.building.devices import ALONE, Devices

T = TypeVar("T")

# By kind, how many are kept. One data set may fill the memory; a program of
# the attacks takes some megabytes, and a sweep goes from one architecture to
# the next.
LIMITS: Mapping[str, int] = {
  "network": 16,
  "training": 8,
  "shapes": 8,
  "attacks": 4,
  "gradients": 4,
  "spikes": 16,
  "questions": 2,
  "data": 1,
  "test data": 1,
}
# Their programs are compiled by functions of the library, which keep them
# under the attack's name: dropping the attack frees nothing.
_IN_LIBRARY = ("attacks", "questions")


class Shared:
  """Keeps what was built last, some of each kind; the oldest use goes first."""

  def __init__(
    self,
    limits: Mapping[str, int] = LIMITS,
    devices: Devices = ALONE,
  ) -> None:
    """Starts with nothing.

    Args:
      limits: by kind, how many are kept, at least 1.
      devices: which all programs are for.

    Raises:
      ValueError: a limit is below 1.
    """
    for kind, limit in limits.items():
      if limit < 1:
        raise ValueError(f"limits[{kind!r}] must be at least 1; got {limit}")
    self.devices = devices
    self._limits = dict(limits)
    self._kept: dict[str, collections.OrderedDict[str, Any]] = {
      kind: collections.OrderedDict() for kind in limits
    }

  def get(self, kind: str, key: Any, build: Callable[[], T]) -> T:
    """Returns what was built for a key before, or builds it now.

    Args:
      kind: one of the limits' names.
      key: all that shapes it, of what JSON holds.
      build: makes it; where it raises, nothing is kept.

    Raises:
      What `build` raises.
    """
    kept, text = self._kept[kind], spelt(key)
    if text not in kept:
      # Before, so that two data sets are never in memory at once.
      while len(kept) >= self._limits[kind]:
        self._drop(kind)
      kept[text] = build()
    kept.move_to_end(text)
    built: T = kept[text]
    return built

  def has(self, kind: str, key: Any) -> bool:
    """Returns whether something is kept for a key."""
    return spelt(key) in self._kept[kind]

  def _drop(self, kind: str) -> None:
    """Forgets what was not used for longest, and frees its memory."""
    self._kept[kind].popitem(last=False)
    if kind in _IN_LIBRARY:
      jax.clear_caches()  # of the others too: they are compiled again
    gc.collect()  # functions that know each other, programs and all


def spelt(key: Any) -> str:
  """Returns a key as a text: equal for equal keys, whatever their order."""
  return json.dumps(key, sort_keys=True)
