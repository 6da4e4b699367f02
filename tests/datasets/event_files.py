"""Event files as their cameras and publishers write them, and random events."""

import struct

import numpy as np
import scipy.io
from hypothesis import strategies as st

from snnjax.data import events

GAPS = (0, 1, 2, 999, 8191, 8192, 50_000)


@st.composite
def lists(draw, sensor=(34, 34), min_size=0, gaps=GAPS):
  """Events with times that repeat, rest and jump."""
  size = draw(st.integers(min_size, 40))

  def column(limit):
    values = st.integers(0, limit - 1)
    return np.array(
      draw(st.lists(values, min_size=size, max_size=size)), np.int32
    )

  waits = draw(st.lists(st.sampled_from(gaps), min_size=size, max_size=size))
  height, width = sensor
  return events.Events(
    t=np.cumsum(np.array(waits, np.int64)),
    x=column(width),
    y=column(height),
    p=column(2),
    height=height,
    width=width,
  )


def sample(sensor, size=60, seed=0):
  """The same, of a seed."""
  draw = np.random.default_rng(seed)
  height, width = sensor
  return events.Events(
    t=np.cumsum(draw.integers(0, 9000, size)),
    x=draw.integers(0, width, size).astype(np.int32),
    y=draw.integers(0, height, size).astype(np.int32),
    p=draw.integers(0, 2, size).astype(np.int32),
    height=height,
    width=width,
  )


def rows(listed):
  return zip(*(column.tolist() for column in listed[:4]), strict=True)


def nmnist(listed):
  """40-bit events, with an overflow mark wherever time needs one.

  Some cameras mark overflows early: the clock here has 13 bits.
  """
  lines, base = [], 0
  for t, x, y, p in rows(listed):
    while t - base >= 1 << 13:
      lines.append(bytes([7, 240, 0, 0, 0]))
      base += 1 << 13
    low = t - base
    lines.append(bytes([x, y, p << 7 | low >> 16, low >> 8 & 0xFF, low & 0xFF]))
  return b"".join(lines)


def aedat_2(listed, chip="retina.DVS128", others=(), end=""):
  """What jAER writes.

  Args:
    listed: the events; times are those of the clock, modulo 2^32.
    chip: of the line AEChip.
    others: (number of events before it, address) of other records.
    end: a last line of the header.
  """
  text = (
    "#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    "# Creation time: System.currentTimeMillis() 1467290835000\r\n"
    f"# AEChip: ch.unizh.ini.{chip}\r\n{end}"
  )
  words = []
  for number, (t, x, y, p) in enumerate(rows(listed)):
    clock = t % (1 << 32)
    words += [
      struct.pack(">2I", address, clock)
      for before, address in others
      if before == number
    ]
    right, below = listed.width - 1 - x, listed.height - 1 - y
    address = (
      below << 8 | right << 1 | (1 - p)
      if "DVS128" in chip
      else below << 22 | right << 12 | p << 11
    )
    words.append(struct.pack(">2I", address, clock))
  return text.encode() + b"".join(words)


def packet(kind, source, records, number=None, valid=None, overflow=0, size=8):
  """A packet of AEDAT 3.1 and the records in it."""
  number = len(records) if number is None else number
  valid = number if valid is None else valid
  capacity = len(records)
  head = struct.pack(
    "<2H6I", kind, source, size, 4, overflow, capacity, number, valid
  )
  return head + b"".join(records)


def polarity(t, x, y, p, valid=1):
  return struct.pack("<2I", x << 17 | y << 2 | p << 1 | valid, t)


def aedat_31(listed, each=7, camera="DVS128", form="RAW", beside=True):
  """What cAER writes: packets of `each` events, other kinds between them."""
  text = (
    f"#!AER-DAT3.1\r\n#Format: {form}\r\n#Source 1: {camera}\r\n"
    "#Start-Time: 2016-01-01 10:00:00 (TZ+0200)\r\n#!END-HEADER\r\n"
  )
  packets = []
  table = list(rows(listed))
  for begin in range(0, len(table), each):
    upper = table[begin][0] >> 31
    part = [row for row in table[begin : begin + each] if row[0] >> 31 == upper]
    late = table[begin + len(part) : begin + each]
    for some in filter(None, (part, late)):
      upper = some[0][0] >> 31
      packed = [polarity(t % (1 << 31), x, y, p) for t, x, y, p in some]
      packets.append(packet(1, 1, packed, overflow=upper))
    if beside:
      packets.append(packet(0, 1, [bytes(8)] * 2))
      packets.append(packet(3, 2, [bytes(36)], size=36))
  return text.encode() + b"".join(packets)


def dat(listed, told=True, version=2, kind=12, size=8):
  """What Prophesee's tools write; the sensor is told or not."""
  text = f"% Data file containing CD events\n% Version {version}\n"
  if told:
    text += f"% Width {listed.width}\n% Height {listed.height}\n"
  words = [
    struct.pack("<2I", t, p << 28 | y << 14 | x) for t, x, y, p in rows(listed)
  ]
  return text.encode() + bytes([kind, size]) + b"".join(words)


def stmnist(path, listed):
  """A MATLAB file of taxels, the events of one time in one column."""
  times = np.unique(listed.t)
  train = np.zeros((101, len(times)))
  train[-1] = times / 1e6
  place = np.searchsorted(times, listed.t)
  train[listed.y * 10 + listed.x, place] = 2 * listed.p - 1
  scipy.io.savemat(path, {"spiketrain": train}, do_compression=True)


def shd(h5py, path, spikes, labels, lengths=None):
  """An HDF5 file of lists of spikes, as Heidelberg publishes them."""
  with h5py.File(path, "w") as file:
    kinds = {"times": np.float16, "units": np.uint16}
    for number, (name, kind) in enumerate(kinds.items()):
      listed = file.create_dataset(
        f"spikes/{name}", (len(spikes),), h5py.vlen_dtype(kind)
      )
      for row, pair in enumerate(spikes):
        listed[row] = pair[number].astype(kind)
    file["labels"] = np.array(labels, np.uint16)
