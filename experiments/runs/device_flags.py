"""The flags of the binaries that may use several devices."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
  from experiments.building.shared import Shared

_MESH = flags.DEFINE_string(
  "mesh",
  None,
  "data:N splits batches over N devices of this machine; all of them if left "
  "out. An evaluation's microbatch is that of one device.",
)


def shared() -> "Shared":
  """Returns what the runs of this process share, on the devices asked for.

  Raises:
    UsageError: there are no such devices.
  """
  from experiments.building import devices
  from experiments.building.shared import Shared

  return Shared(devices=devices.chosen(_MESH.value))
