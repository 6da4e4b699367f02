"""npz files of ours: any bit, any header, any surplus is found."""

import io
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from snnjax.storage import npz

ARRAYS = {
  "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
  "text": np.array("PGD"),
  "none": np.zeros((0, 3), bool),
}


def written(arrays=ARRAYS, made_from=None):
  stream = io.BytesIO()
  npz.write(stream, arrays, made_from)
  return stream.getvalue()


def test_what_is_written_is_read():
  made_from = {"data": "0f" * 32}
  content = npz.read(written(made_from=made_from))
  assert content.made_from == made_from
  assert list(content.arrays) == list(ARRAYS)
  for name, array in ARRAYS.items():
    assert content.arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(content.arrays[name], array)


def test_numpy_reads_it_too():
  with np.load(io.BytesIO(written()), allow_pickle=False) as archive:
    np.testing.assert_array_equal(archive["a/b"], ARRAYS["a/b"])


def test_no_flipped_bit_gives_other_values():
  whole = written(made_from={"data": "0f" * 32})
  same = 0
  for bit in range(0, 8 * len(whole), 3):
    content = bytearray(whole)
    content[bit // 8] ^= 1 << bit % 8
    try:
      found = npz.read(bytes(content))
    except ValueError:
      continue
    same += 1  # of the archive's own fields, such as dates
    assert found.made_from == {"data": "0f" * 32}
    for name, array in ARRAYS.items():
      assert found.arrays[name].tobytes() == array.tobytes()
  assert same < len(whole)


@pytest.mark.parametrize("step", [1, 7])
def test_no_cut_gives_other_values(step):
  whole = written()
  for length in range(0, len(whole), step):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
      npz.read(whole[:length])


def forged(header, data=b"", compression=zipfile.ZIP_STORED, name="a.npy"):
  """An archive of one member with this header and data."""
  stream = io.BytesIO()
  text = header.encode().ljust(117) + b"\n"
  with zipfile.ZipFile(stream, "w", compression) as archive:
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    archive.writestr(name, head + text + data)
  return stream.getvalue()


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
  ("content", "match"),
  [
    (forged(HEADER.format("<f4", "(1000000000000,)"), b"1234"), "takes 4000"),
    (forged(HEADER.format("<f4", "(1,)"), b"12345"), "has 5 bytes of data"),
    (forged(HEADER.format("<f4", "(1,)"), b"123"), "has 3 bytes of data"),
    (forged(HEADER.format("|O", "(1,)"), b"1234"), "not an array's"),
    (forged(HEADER.format("<f4", "(-1,)"), b"1234"), "not an array's"),
    (forged("{" * 110), "not an array's"),
    (forged("-" * 60_000), "not begin as an array"),
    (forged(HEADER.format("<f4", "(1,)"), b"1234", name="a.txt"), "no array"),
    (forged(HEADER.format("<f4", "(1,)"), b"1234"), "has no __sha256__"),
    (
      forged(HEADER.format("|u1", f"({10**7},)"), bytes(10**7), 8),
      "is compressed",
    ),
    (b"", "it has 0 bytes"),
    (b"PK\5\6" + b"\xff" * 18, "it does not end|claims|is not where"),
  ],
)
def test_forged_headers_are_refused_within_bounds(content, match):
  tracemalloc.start()
  begun = time.process_time()
  with pytest.raises(ValueError, match=match):
    npz.read(content)
  assert time.process_time() - begun < 5
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 10 * len(content) + (5 << 20)


def test_names_and_dtypes_of_its_own_are_refused():
  for arrays in ({"__sha256__": np.ones(1)}, {"a": np.array([{}], object)}):
    with pytest.raises(ValueError, match=r"may be named|Object"):
      npz.write(io.BytesIO(), arrays)
