"""How the process's memory allocator treats large freed blocks."""

import ctypes

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MAX_MAPPINGS, _MOST_ARENAS = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
  """Keeps freed memory in the process, to be used again at once.

  XLA takes the temporary memory of an execution on a CPU as one block. By
  default glibc maps a block above 32 MiB anew and returns it to the kernel
  afterwards, which then clears every page again at the next step: a third of
  a training step of a small network. With one heap that never shrinks the
  pages stay.

  The process then never gives memory back before it ends; its peak moved by
  about a tenth, either way, in the benchmark's tasks. Call it before the first
  computation; the binaries do. Accelerators have allocators of their own.

  Returns:
    Whether the C library took the setting: False where it is not glibc, and
    then nothing changes.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError, TypeError):  # TypeError: Windows
    return False
  wanted = {_MAX_MAPPINGS: 0, _TRIM_THRESHOLD: _NEVER, _MOST_ARENAS: 1}
  taken = [mallopt(name, value) == 1 for name, value in wanted.items()]
  return all(taken)
