"""The switch of the forms for CPUs: ``SNNJAX_CPU_KERNELS=0`` turns them off."""

import os

_VARIABLE = "SNNJAX_CPU_KERNELS"


def enabled() -> bool:
  """Returns whether the forms for CPUs are used; they are by default.

  Their thresholds are those of one jaxlib on one machine: row K of
  `experiments.benchmark` says where one has stopped paying. Without them
  `convolve` is `jax.lax`'s, and `isolated` leaves a function as it is. Results
  then differ by rounding.

  It is asked when a program is traced: what was compiled stays as it is.

  Raises:
    ValueError: the variable is neither 0 nor 1.
  """
  value = os.environ.get(_VARIABLE, "1")
  if value not in ("0", "1"):
    raise ValueError(f"{_VARIABLE} must be 0 or 1; got {value!r}")
  return value == "1"
