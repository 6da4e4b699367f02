"""Which GPUs the kernels run on."""

import jax

_LEAST_CAPABILITY = 8.0  # of CUDA, which Pallas' Triton wants


def check_device() -> None:
  """Raises ValueError unless JAX computes on a GPU that has the kernels."""
  device = jax.devices()[0]
  capability = _capability(device)
  if capability is not None and capability >= _LEAST_CAPABILITY:
    return
  told = device.platform
  if capability is not None:
    told = f"compute capability {capability}"
  raise ValueError(
    "kernel 'fused' needs a CUDA GPU of compute capability "
    f"{_LEAST_CAPABILITY} or more; JAX computes on {device.device_kind} "
    f"({told}): take 'scan' or 'auto'"
  )


def _capability(device: jax.Device) -> float | None:
  """CUDA's compute capability; other devices have none."""
  if device.platform not in ("gpu", "cuda"):
    return None
  # Of AMD's GPUs the attribute names an architecture, such as "gfx942".
  try:
    return float(device.compute_capability)
  except (AttributeError, ValueError):
    return None
