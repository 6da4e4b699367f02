"""Files from somebody else cost little to refuse.

Within a second of the processor, and ten times the file and 50 MB of memory.
"""

import re
import struct
import tarfile

import pytest

from tests.faults import bombs, reader

# Seconds of processor time: a bomb costs minutes, a slow machine a few times
# what a quiet one does.
TIMES, SPARE, SECONDS = 10, 50 << 20, 5.0
REFUSALS = ("ValueError", "TooLargeError", "DamagedError", "RecordingError")
CASES = {
  # name: what is made, how the file is called, what reads it, what it says.
  **{
    f"a member of a gigabyte, {form}": (
      lambda form=form: bombs.large_member(form),
      f"images.tar.{form}",
      "images",
      "must not unpack to more than",
    )
    for form in bombs.PACK
  },
  **{
    f"a thousand members of a megabyte, {form}": (
      lambda form=form: bombs.many_members(form),
      f"images.tar.{form}",
      "images",
      "must not unpack to more than",
    )
    for form in ("gz", "xz")
  },
  "a zip of zeros": (
    bombs.large_zip,
    "images.zip",
    "images",
    "must not unpack to more than",
  ),
  "a zip that says little": (
    bombs.zip_that_says_little,
    "images.zip",
    "images",
    "damaged, truncated or encrypted",
  ),
  "a zip of one member, a thousand times": (
    bombs.zip_of_one_member_often,
    "images.zip",
    "images",
    "must not unpack|Overlapped|there once",
  ),
  "a gigabyte of extended header": (
    lambda: bombs.long_extension(tarfile.XHDTYPE),
    "images.tar.gz",
    "images",
    "are the most",
  ),
  "a gigabyte of name": (
    lambda: bombs.long_extension(tarfile.GNUTYPE_LONGNAME),
    "images.tar.gz",
    "images",
    "are the most",
  ),
  "a gigabyte of hole": (
    bombs.sparse_member,
    "images.tar.gz",
    "images",
    "must not unpack|sparse",
  ),
  "60,000 empty members": (
    bombs.empty_members,
    "images.tar.gz",
    "images",
    "more than .* files",
  ),
  "a gigabyte behind the end": (
    bombs.padded_end,
    "images.tar.gz",
    "images",
    "must not unpack to more than",
  ),
  "a name of 60,000 letters": (
    bombs.one_long_name,
    "images.tar.gz",
    "images",
    "must be an image",
  ),
  "a wide PNG": (bombs.wide_png, "train/a/0.png", "images", "claims 13300 x"),
  "a PNG of texts": (
    bombs.texts_png,
    "train/a/0.png",
    "images",
    "60 packed texts",
  ),
  "a JPEG of scans": (bombs.scans_jpeg, "train/a/0.jpg", "images", "scans"),
  "a wide BMP": (bombs.wide_bmp, "train/a/0.bmp", "images", "claims 13300 x"),
  "IDX of a gigabyte": (
    bombs.idx_that_says_so,
    "a-idx3-ubyte.gz",
    "idx",
    "must not unpack to more",
  ),
  "IDX that says little": (
    bombs.idx_that_says_little,
    "a-idx3-ubyte.gz",
    "idx",
    "trailing bytes",
  ),
  "IDX that claims all": (
    lambda: bombs.idx(*[2**32 - 1] * 3),
    "a-idx3-ubyte",
    "idx",
    "is truncated",
  ),
  "IDX of 255 axes": (
    lambda: bombs.idx(*[1] * 255) + b"\0",
    "a-idx3-ubyte",
    "idx",
    "255 axes",
  ),
  "MATLAB of a gigabyte": (
    lambda: bombs.mat(1 << 30, b""),
    "a.mat",
    "matlab",
    "must not unpack to",
  ),
  "MATLAB that says little": (
    lambda: bombs.mat(64, b""),
    "a.mat",
    "matlab",
    "is damaged",
  ),
  "MATLAB of a wide class": (
    bombs.mat_of_wide_class,
    "a.mat",
    "matlab",
    "must not unpack to more than",
  ),
  "a pickle of five million lists": (
    bombs.busy_pickle,
    "data_batch_1",
    "pickle",
    "more than 400,000",
  ),
  "a pickle that claims a gigabyte": (
    lambda: b"\x80\x02T" + struct.pack("<i", 1 << 30) + b"x",
    "data_batch_1",
    "pickle",
    "damaged or foreign",
  ),
  "a pickle of a long name": (
    lambda: b"\x80\x02c" + b"x" * 100_000 + b"\ny\n.",
    "data_batch_1",
    "pickle",
    "it asks for",
  ),
  "npz with a gigabyte that is surplus": (
    bombs.surplus_npz,
    "a.npz",
    "npz",
    "is compressed",
  ),
  "npz of 60,000 empty members": (
    bombs.empty_npz,
    "a.npz",
    "npz",
    "claims 60000 arrays",
  ),
  "safetensors that claims a gigabyte": (
    bombs.wide_safetensors,
    "a.safetensors",
    "parameters",
    "damaged",
  ),
  "safetensors of a long header": (
    bombs.long_safetensors,
    "a.safetensors",
    "parameters",
    "damaged",
  ),
  "40 MB of events, one outside": (
    bombs.far_event,
    "a.bin",
    "events",
    "x must be in",
  ),
  "AEDAT 2 of half a million lines": (
    lambda: b"#!AER-DAT2.0\n" + b"#\n" * (1 << 20),
    "a.aedat",
    "events",
    "header must be shorter",
  ),
  "AEDAT 3.1 of 300,000 empty packets": (
    bombs.empty_packets,
    "a.aedat",
    "events",
    "header must have 28 bytes",
  ),
  "AEDAT 3.1 that claims a gigabyte": (
    lambda: bombs.empty_packets(1, 1 << 27),
    "a.aedat",
    "events",
    "134217728 records of 8 bytes must fit",
  ),
  "AEDAT 4 that claims a gigabyte": (
    lambda: b"#!AER-DAT4.0\r\n\0\0\0\x40\x18\0\0\0IOHE" + bytes(100),
    "a.aedat4",
    "events",
    "a header of 1073741824 bytes must fit",
  ),
}


@pytest.fixture(scope="module")
def measuring():
  with reader.started() as process:
    yield process


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_at_little_cost(measuring, tmp_path, name):
  make, called, reads, said = CASES[name]
  path = tmp_path / "given" / called
  path.parent.mkdir(parents=True)
  content = make()
  path.write_bytes(content)
  whole = reads == "images" and not called.endswith(
    (".gz", ".bz2", ".xz", ".zip")
  )
  found = measuring.read(reads, tmp_path / "given" if whole else path)
  assert found.error in REFUSALS, found
  cheap(found, len(content))
  assert re.search(said, found.message), found.message


def cheap(found, size):
  told = f"{found.seconds:.2f} s, {found.bytes >> 20} MB of {size:,} bytes"
  assert found.seconds < SECONDS, told
  assert found.bytes < TIMES * size + SPARE, told
  assert len(found.message) < 2_000
