"""The libraries of the benchmark, and the neuron that each one runs."""

from typing import NamedTuple

_SAME = "multiplicative LIF, hard reset, reset differentiated"


class Library(NamedTuple):
  """One library.

  Attributes:
    name: in tables and flags.
    module: its worker's code.
    packages: distributions whose versions are named.
    neuron: the neuron it runs, and in which form.
    detached: whether it can only hold the reset constant in gradients; it is
      then compared with our own library doing the same.
    comparable: whether its neuron is that of the others.
  """

  name: str
  module: str
  packages: tuple[str, ...]
  neuron: str
  detached: bool = False
  comparable: bool = True


_FOLDER = "experiments.benchmarks"
_TORCH = f"{_FOLDER}.torch_tasks"
LIBRARIES = {
  library.name: library
  for library in (
    Library("snnjax", f"{_FOLDER}.own_tasks", ("jax", "jaxlib", "flax"), _SAME),
    Library(
      "plain_torch",
      _TORCH,
      ("torch",),
      f"{_SAME}; SR's released formulation: the image repeated over time, "
      "time merged into the batch, a loop over the neurons' steps",
    ),
    Library(
      "spikingjelly",
      _TORCH,
      ("spikingjelly", "torch"),
      f"{_SAME}; LIFNode in multi-step mode, torch backend (all a CPU has)",
    ),
    Library(
      "snntorch",
      _TORCH,
      ("snntorch", "torch"),
      "Leaky, reset to zero: the same spikes, but the reset is always held "
      "constant in gradients; time-batched layers",
      detached=True,
    ),
    Library(
      "norse",
      _TORCH,
      ("norse", "torch"),
      f"{_SAME}; boxed LIF of half the current, its inputs doubled once; "
      "time-batched layers",
    ),
    Library(
      "spyx",
      f"{_FOLDER}.spyx_tasks",
      ("spyx", "jax", "flax"),
      "LIF with a soft reset and the spike one step late: another neuron, "
      "so nothing is compared; layers run inside the scan",
      comparable=False,
    ),
    Library(
      "foolbox",
      f"{_FOLDER}.attack_peers",
      ("foolbox", "eagerpy", "torch"),
      "none: attacks on a torch network",
    ),
    Library(
      "torchattacks",
      f"{_FOLDER}.attack_peers",
      ("torchattacks", "torch"),
      "none: attacks on a torch network",
    ),
  )
}
