"""Small files that become large, made in no time.

Compressed formats hold several streams one after the other: a gigabyte of
zeros is one megabyte's stream a thousand times.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import scipy.io
from PIL import Image

MEGABYTE = 1 << 20
PACK = {
  "gz": lambda content: gzip.compress(content, 6, mtime=0),
  "bz2": bz2.compress,
  "xz": lzma.compress,
}
TAR_END = bytes(1024)


def zeros(pack, megabytes=1024):
  return pack(bytes(MEGABYTE)) * megabytes


def header(name="train/a/0.png", size=0, kind=tarfile.REGTYPE):
  info = tarfile.TarInfo(name)
  info.size, info.type = size, kind
  return info.tobuf(tarfile.USTAR_FORMAT)


def large_member(form):
  pack = PACK[form]
  return pack(header(size=1024 * MEGABYTE)) + zeros(pack) + pack(TAR_END)


def many_members(form):
  pack = PACK[form]
  member = pack(header(size=MEGABYTE) + bytes(MEGABYTE))
  return member * 1024 + pack(TAR_END)


def long_extension(kind):
  pack = PACK["gz"]
  start = pack(header("x", 1024 * MEGABYTE, kind))
  return start + zeros(pack) + pack(header() + TAR_END)


def sparse_member():
  """A gigabyte that is a hole: nothing of it is in the archive."""
  info = tarfile.TarInfo("train/a/0.png")
  info.pax_headers = {
    "GNU.sparse.major": "0",
    "GNU.sparse.minor": "1",
    "GNU.sparse.name": "train/a/0.png",
    "GNU.sparse.size": str(1 << 30),
    "GNU.sparse.numblocks": "0",
    "GNU.sparse.map": "0,0",
  }
  return gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + TAR_END, mtime=0)


def empty_members(count=60_000):
  raw = b"".join(header(f"train/a/{number}.png") for number in range(count))
  return gzip.compress(raw + TAR_END, 1, mtime=0)


def padded_end():
  pack = PACK["gz"]
  return pack(header() + TAR_END) + zeros(pack)


def one_long_name():
  """A file that is no image, in a class, of a name of 60,000 letters."""
  info = tarfile.TarInfo("train/a/" + "x" * 60_000)
  picture = tarfile.TarInfo("train/a/0.png")
  raw = picture.tobuf(tarfile.USTAR_FORMAT) + info.tobuf(tarfile.PAX_FORMAT)
  return gzip.compress(raw + TAR_END, mtime=0)


def large_zip(megabytes=256):
  """A zip whose one member is zeros."""
  stream = io.BytesIO()
  with (
    zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
    archive.open("train/a/0.png", "w", force_zip64=True) as member,
  ):
    for _ in range(megabytes):
      member.write(bytes(MEGABYTE))
  return stream.getvalue()


def zip_that_says_little():
  """The same, said to be of 10 bytes."""
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("train/a/0.png", bytes(256 * MEGABYTE))
    archive.filelist[0].file_size = 10
  return stream.getvalue()


def zip_of_one_member_often():
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("train/a/0.png", bytes(MEGABYTE))
    archive.filelist *= 1000
  return stream.getvalue()


def chunk(kind, content):
  check = struct.pack(">I", zlib.crc32(kind + content))
  return struct.pack(">I", len(content)) + kind + content + check


def png(width, height, *more, rows=None):
  shape = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
  if rows is None:
    rows = zlib.compress(bytes(height * (width + 1)), 1)
  return b"".join(
    [
      b"\x89PNG\r\n\x1a\n",
      chunk(b"IHDR", shape),
      *more,
      chunk(b"IDAT", rows),
      chunk(b"IEND", b""),
    ]
  )


def wide_png():
  """13,300 x 13,300: the most that Pillow opens with only a warning."""
  side = 13_300
  packer = zlib.compressobj(1)
  rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side))
  return png(side, side, rows=rows + packer.flush())


def texts_png():
  text = b"k\0\0" + zlib.compress(b"a" * 1_000_000, 9)
  return png(6, 5, *[chunk(b"zTXt", text)] * 60)


def scans_jpeg():
  """A progressive JPEG whose last scan comes two thousand times."""
  stream = io.BytesIO()
  noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), np.uint8)
  Image.fromarray(noise).save(stream, "JPEG", progressive=True, quality=5)
  content = stream.getvalue()
  last = content.rindex(b"\xff\xda")
  return content[:last] + content[last:-2][:40] * 2_000 + content[-2:]


def wide_bmp():
  return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
    "<IiiHHIIiiII", 40, 13_300, 13_300, 1, 24, 0, 0, 0, 0, 0, 0
  )


def idx(*shape):
  return bytes([0, 0, 8, len(shape)]) + b"".join(
    struct.pack(">I", length) for length in shape
  )


def idx_that_says_so():
  pack = PACK["gz"]
  return pack(idx(1024, 1024, 1024)) + zeros(pack)


def idx_that_says_little():
  pack = PACK["gz"]
  return pack(idx(2, 28, 28)) + zeros(pack)


def mat(size, element):
  """A MATLAB file of one compressed element, of which the tag says `size`."""
  packer = zlib.compressobj(6)
  packed = packer.compress(struct.pack("<2I", 14, size) + element)
  for _ in range(1024):
    packed += packer.compress(bytes(MEGABYTE))
  packed += packer.flush()
  start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
  return start + struct.pack("<2I", 15, len(packed)) + packed


def mat_of_wide_class():
  """Bytes whose class is that of doubles: eight times as large when read."""
  stream = io.BytesIO()
  scipy.io.savemat(stream, {"X": np.zeros((1, 20 << 20))}, do_compression=True)
  return stream.getvalue()


def busy_pickle():
  return b"\x80\x02" + b"]" * 5_000_000 + b"."


def far_event():
  return bytes(5) * 8_000_000 + b"\xff" * 5


def empty_packets(count=300_000, capacity=0):
  """AEDAT 3.1 of packets without events, the last one cut."""
  text = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
  packet = struct.pack("<2H6I", 1, 1, 8, 4, 0, capacity, 0, 0)
  return text + b"#!END-HEADER\r\n" + packet * count + b"\0"


def surplus_npz():
  """An npz with an array of a gigabyte that nobody asked for."""
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
    with archive.open("X.npy", "w") as member:
      np.lib.format.write_array(member, np.zeros(3))
    with archive.open("surplus.npy", "w", force_zip64=True) as member:
      shape = {"descr": "|u1", "fortran_order": False, "shape": (1 << 30,)}
      np.lib.format.write_array_header_1_0(member, shape)
      for _ in range(1024):
        member.write(bytes(MEGABYTE))
  return stream.getvalue()


def empty_npz(count=60_000):
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w") as archive:
    for number in range(count):
      archive.writestr(zipfile.ZipInfo(f"{number}.npy"), b"")
  return stream.getvalue()


def wide_safetensors():
  """An array of a gigabyte, and a kilobyte of it."""
  said = {
    "a": {"dtype": "U8", "shape": [1 << 30], "data_offsets": [0, 1 << 30]}
  }
  text = json.dumps(said).encode()
  return struct.pack("<Q", len(text)) + text + bytes(1024)


def long_safetensors():
  return struct.pack("<Q", 1 << 40) + b"{" * 1024
