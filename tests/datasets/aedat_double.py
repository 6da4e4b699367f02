"""A stand-in for the package `aedat`, with the interface that it documents.

It reads AEDAT 4 files in plain Python, LZ4 frames and flatbuffers included, so
that what is made of its packets can be tested where the package is not.
"""

import struct
from xml.etree import ElementTree

import numpy as np

EVENT = np.dtype(
  {
    "names": ["t", "x", "y", "on"],
    "formats": ["<u8", "<u2", "<u2", "?"],
    "offsets": [0, 8, 10, 12],
    "itemsize": 16,
  }
)
KINDS = {"EVTS": "events", "IMUS": "imus", "TRIG": "triggers"}


def unpack_block(block, out):
  """Appends what one LZ4 block holds."""
  at = 0
  while at < len(block):
    token = block[at]
    at += 1
    literals = token >> 4
    if literals == 15:
      while block[at] == 255:
        literals, at = literals + 255, at + 1
      literals, at = literals + block[at], at + 1
    out += block[at : at + literals]
    at += literals
    if at >= len(block):
      return
    back = block[at] | block[at + 1] << 8
    at += 2
    length = token & 15
    if length == 15:
      while block[at] == 255:
        length, at = length + 255, at + 1
      length, at = length + block[at], at + 1
    length += 4
    start = len(out) - back
    if not 0 <= start < len(out):
      raise ValueError("a match outside the block")
    if back >= length:
      out += out[start : start + length]
    else:
      for place in range(start, start + length):
        out.append(out[place])


def unpack_frame(frame):
  """Returns what one LZ4 frame holds."""
  magic, flags = struct.unpack_from("<IB", frame)
  if magic != 0x184D2204:
    raise ValueError(f"{magic:#x} is no LZ4 frame")
  at = 7 + 8 * (flags >> 3 & 1) + 4 * (flags & 1)
  out = bytearray()
  while True:
    (size,) = struct.unpack_from("<I", frame, at)
    at += 4
    if not size:
      return bytes(out)
    packed, size = not size >> 31, size & 0x7FFF_FFFF
    block = frame[at : at + size]
    if len(block) < size:
      raise ValueError("a block is cut")
    at += size + 4 * (flags >> 4 & 1)
    if packed:
      unpack_block(block, out)
    else:
      out += block


def field(buffer, table, number):
  """Where a field of a flatbuffer's table lies; 0 if it is not there."""
  fields = table - struct.unpack_from("<i", buffer, table)[0]
  (size,) = struct.unpack_from("<H", buffer, fields)
  place = 4 + 2 * number
  if place + 2 > size:
    return 0
  (offset,) = struct.unpack_from("<H", buffer, fields + place)
  return table + offset if offset else 0


def follow(buffer, at):
  return at + struct.unpack_from("<I", buffer, at)[0]


class Decoder:
  def __init__(self, path):
    with open(path, "rb") as stream:
      self.content = stream.read()
    self.begin = 18 + struct.unpack_from("<I", self.content, 14)[0]
    header = self.content[18 : self.begin]
    root = follow(header, 0)
    ends = field(header, root, 1)
    (self.end,) = struct.unpack_from("<q", header, ends) if ends else (-1,)
    if self.end < 0:
      self.end = len(self.content)
    at = follow(header, field(header, root, 2))
    (size,) = struct.unpack_from("<I", header, at)
    tree = ElementTree.fromstring(header[at + 4 : at + 4 + size].decode())
    self.streams = {}
    for node in tree.iterfind("./node[@name='outInfo']/node"):
      told = {a.get("key"): a.text for a in node.iter("attr")}
      stream = {"type": KINDS[told["typeIdentifier"]]}
      if stream["type"] == "events":
        stream["width"] = int(told["sizeX"])
        stream["height"] = int(told["sizeY"])
      self.streams[int(node.get("name"))] = stream

  def id_to_stream(self):
    return self.streams

  def __iter__(self):
    at = self.begin
    while at < self.end:
      number, size = struct.unpack_from("<2i", self.content, at)
      buffer = unpack_frame(self.content[at + 8 : at + 8 + size])[4:]
      at += 8 + size
      vector = follow(buffer, field(buffer, follow(buffer, 0), 0))
      (length,) = struct.unpack_from("<I", buffer, vector)
      kind = self.streams[number]["type"]
      if kind == "events":
        inside = np.frombuffer(buffer, EVENT, length, vector + 4)
      else:
        inside = np.zeros(length, [("t", "<u8")])
      yield {"stream_id": number, kind: inside}
