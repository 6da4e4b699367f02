"""Mutates files of events, and tells what their readers made of them.

    python -m tests.faults.fuzz_recordings --count=2000

The files are the recorded ones beside the checkout, where it has them, and one
of each format as `tests.datasets.event_files` writes it. Allowed is a sound
recording, or a RecordingError in one line with the file, an offset inside it
and a reason; read without `strict`, what comes before the fault and how much
was left out. All within a second of the processor and little memory.
"""

import argparse
import collections
import functools
import pathlib
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

from snnjax.data import events, recordings
from tests.datasets import aedat_double, event_files
from tests.faults import fuzz

WHOLE, REFUSED, PREFIX, WRONG = "whole", "refused", "prefix", "WRONG"
SECONDS = 1.0
TIMES, SPARE = 10, 50 << 20  # bytes of memory: as often the file, and more
PACKETS = 6  # of AEDAT 4, which the stand-in for `aedat` unpacks in Python


class Form(NamedTuple):
  """A file to mutate.

  Attributes:
    name: of it.
    content: of it, whole.
    suffix: of its name.
    read: path and `strict` -> recording.
  """

  name: str
  content: bytes
  suffix: str
  read: Callable[..., recordings.Recording] = recordings.read


def mutate(content: bytes, choose: random.Random) -> bytes:
  """Returns other bytes; also blocks swapped, and a number at its limit."""
  size = len(content)
  match choose.randrange(4):
    case 0 if size > 16:
      width = choose.choice((1, 5, 8, 28, 64))
      one, other = sorted(choose.randrange(size - width) for _ in range(2))
      other = max(other, one + width)
      blocks = content[one : one + width], content[other : other + width]
      changed = content[:one] + blocks[1] + content[one + width : other]
      return changed + blocks[0] + content[other + width :]
    case 1 if size > 16:
      near = choose.choice((64, size))
      at = choose.randrange(min(near, size) - 4)
      number = choose.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
      return content[:at] + number + content[at + 4 :]
  return fuzz.mutate(content, choose)


def forms(folder: pathlib.Path, shared: pathlib.Path | None) -> list[Form]:
  """Returns all files, the recorded ones only where they are."""
  written = [
    Form(
      "AEDAT 2, DVS128",
      event_files.aedat_2(
        event_files.sample((128, 128), 2000), others=[(9, 0x8000)]
      ),
      ".aedat",
    ),
    Form(
      "AEDAT 2, DAVIS",
      event_files.aedat_2(
        event_files.sample((260, 346), 2000),
        "davis.Davis346red",
        [(9, 1 << 31)] * 40,
      ),
      ".aedat",
    ),
    Form(
      "AEDAT 3.1",
      event_files.aedat_31(event_files.sample((128, 128), 2000), 60),
      ".aedat",
    ),
    Form("DAT", event_files.dat(event_files.sample((480, 640), 2000)), ".dat"),
    Form(
      "N-MNIST",
      event_files.nmnist(event_files.sample((34, 34), 2000)),
      ".bin",
    ),
  ]
  tactile = folder / "tactile.mat"
  event_files.stmnist(tactile, event_files.sample((10, 10), 200))
  written.append(Form("ST-MNIST", tactile.read_bytes(), ".mat"))
  return written + ([] if shared is None else _recorded(shared))


def _recorded(shared: pathlib.Path) -> list[Form]:
  def form(name: str, **options: Any) -> Form:
    path = shared / "data" / "events" / name
    return Form(name, path.read_bytes(), path.suffix, **options)

  cars = functools.partial(recordings.read, sensor=(100, 120))
  return [
    form("sample_nmnist.bin"),
    form("sample_ncars.dat", read=cars),
    form("sample_aedat_header.aedat"),
    form("sample_stmnist.mat"),
    form("sample.aedat4", read=walked),
    first_packets(form("sample.aedat4")),
  ]


def walked(path: pathlib.Path, *, strict: bool) -> recordings.Recording:
  """Finds the packets of AEDAT 4, and unpacks none."""
  _, fault = recordings.aedat_4.walk(path.read_bytes(), str(path))
  if fault is not None and strict:
    raise recordings.RecordingError(str(path), *fault)
  none = event_files.sample((1, 1), 0)
  return recordings.Recording(none, 0, *((1, *fault) if fault else (0, -1, "")))


def first_packets(form: Form) -> Form:
  """A short file of the first packets, whose header says where they end."""
  offsets, _ = recordings.aedat_4.walk(form.content, form.name)
  end = offsets[PACKETS]
  (size,) = struct.unpack_from("<i", form.content, offsets[-1] + 4)
  told = struct.pack("<q", offsets[-1] + 8 + size)
  assert form.content.count(told) == 1
  content = form.content[:end].replace(told, struct.pack("<q", end))
  return form._replace(name=f"{form.name}, {PACKETS} packets", content=content)


def run(
  form: Form, count: int, seed: int, folder: pathlib.Path
) -> tuple[collections.Counter, list[str], tuple[float, float]]:
  """Mutates one file.

  Returns:
    The outcomes counted, the wrong ones described, and the most that one read
    took: seconds of the processor and, where memory is traced, megabytes.
  """
  choose = random.Random(f"{form.name} {seed}")
  path = folder / f"mutated{form.suffix}"
  counts: collections.Counter = collections.Counter()
  wrong, most = [], (0.0, 0.0)
  for number in range(count):
    changed = mutate(form.content, choose)
    path.write_bytes(changed)
    strict = number % 2 == 0
    outcome, told, cost = _outcome(form, path, strict, len(changed))
    most = (max(most[0], cost[0]), max(most[1], cost[1]))
    counts[outcome] += 1
    if outcome == WRONG:
      wrong.append(f"{form.name}, mutation {number}: {told}")
  return counts, wrong, most


def _outcome(
  form: Form, path: pathlib.Path, strict: bool, size: int
) -> tuple[str, str, tuple[float, float]]:
  before = 0
  if tracemalloc.is_tracing():
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
  begun = time.process_time()
  outcome, told = _read(form, path, strict, size)
  spent = time.process_time() - begun
  taken = 0
  if tracemalloc.is_tracing():
    taken = tracemalloc.get_traced_memory()[1] - before
  cost = (spent, taken / (1 << 20))
  if spent > SECONDS:
    return WRONG, f"{told}: it took {spent:.1f} s", cost
  if taken > TIMES * size + SPARE:
    return WRONG, f"{told}: it took {taken >> 20} MB for {size} bytes", cost
  return outcome, told, cost


def _read(
  form: Form, path: pathlib.Path, strict: bool, size: int
) -> tuple[str, str]:
  try:
    read = form.read(path, strict=strict)
    events.check_events(read.events)
  except recordings.RecordingError as error:
    told = str(error)
    line = "\n" not in told and len(told) < 1000 and str(path) in told
    inside = 0 <= error.offset <= size
    return (REFUSED if line and inside and error.reason else WRONG), told
  except Exception as error:
    return WRONG, f"{type(error).__name__}: {error}"
  if not read.reason:
    sound = (read.dropped, read.offset) == (0, -1)
    return (WHOLE if sound else WRONG), f"{read[1:]}"
  sound = not strict and read.dropped > 0 and 0 <= read.offset <= size
  return (PREFIX if sound else WRONG), f"{read[1:]}"


def main() -> int:
  """Mutates all files and writes the table; 1 where an outcome is wrong."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--count", type=int, default=2000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
  options = parser.parse_args()
  sys.modules.setdefault("aedat", aedat_double)
  shared = pathlib.Path(__file__).resolve().parents[3] / "shared"
  every: list[str] = []
  sys.stdout.write(
    "\n| file | bytes | whole | refused | prefix | wrong | s, most | MB, most |"
    "\n|---|---|---|---|---|---|---|---|\n"
  )
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    tracemalloc.start()
    for form in forms(folder, shared if shared.is_dir() else None):
      if not any(part in form.name for part in options.only):
        continue
      counts, wrong, most = run(form, options.count, options.seed, folder)
      every += wrong
      told = [counts[key] for key in (WHOLE, REFUSED, PREFIX, WRONG)]
      cells = [form.name, len(form.content), *told]
      cells += [f"{most[0]:.2f}", f"{most[1]:.1f}"]
      sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
      sys.stdout.flush()
  sys.stdout.write("".join(f"{line}\n" for line in every))
  return int(bool(every))


if __name__ == "__main__":
  sys.exit(main())
