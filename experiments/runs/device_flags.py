"""The flags of the binaries that may use several devices."""

from typing import TYPE_CHECKING

from absl import flags

from experiments.command.exits import UsageError

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

  return Shared(devices=devices.choose(_MESH.value))


def all_processes(place: str | None) -> "Shared":
  """Returns `shared` on all devices of several processes, as one of them.

  Args:
    place: which one; see `devices.join`.

  Raises:
    UsageError: ``--mesh`` asks for some, or the others are not found.
  """
  from experiments.building import devices
  from experiments.building.shared import Shared

  if _MESH.value is not None:
    raise UsageError(
      "--distributed takes all devices of all processes: leave out "
      f"--mesh={_MESH.value}"
    )
  return Shared(devices=devices.join(place))
