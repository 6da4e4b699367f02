"""Files of events: what is in them, and what is refused, format by format."""

import functools
import os
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings

from snnjax.data import events, recordings
from snnjax.data.recordings import (
  RecordingError,
  aedat_2,
  aedat_4,
  aedat_31,
  gesture_labels,
  heidelberg,
  nmnist,
  prophesee,
)
from tests.datasets import aedat_double, event_files

DVS128, DAVIS = (128, 128), (260, 346)
# name: the decoder, who writes such files, the sensor, bytes of a record.
FORMATS = {
  "nmnist": (nmnist.decode, event_files.nmnist, (34, 34), 5),
  "aedat 2, DVS128": (aedat_2.decode, event_files.aedat_2, DVS128, 8),
  "aedat 2, DAVIS": (
    aedat_2.decode,
    functools.partial(event_files.aedat_2, chip="davis.Davis346red"),
    DAVIS,
    8,
  ),
  "aedat 3.1": (aedat_31.decode, event_files.aedat_31, DVS128, 8),
  "dat": (prophesee.decode, event_files.dat, (480, 640), 8),
}


def assert_equal(one, other):
  for left, right in zip(one, other, strict=True):
    np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_reads_back(name):
  decode, write, sensor, _ = FORMATS[name]

  @settings(deadline=None, max_examples=20)
  @given(event_files.lists(sensor))
  def reads_back(listed):
    read = decode(write(listed), "x")
    assert_equal(read.events, listed)
    assert read[2:] == (0, -1, "")

  reads_back()


@pytest.mark.parametrize("name", FORMATS)
def test_cut_anywhere_a_file_is_refused_or_its_prefix(name):
  decode, write, sensor, record = FORMATS[name]
  listed = event_files.sample(sensor, 12)
  content = write(listed)
  begin = len(write(recordings.records.first(listed, 0)))
  whole = 0
  for size in range(begin, len(content)):
    read = decode(content[:size], "x", strict=False)
    number = len(read.events.t)
    assert_equal(read.events, recordings.records.first(listed, number))
    assert whole <= number <= len(listed.t)
    whole = number
    if not read.dropped:
      assert_equal(decode(content[:size], "x").events, read.events)
      continue
    assert read.dropped == -(-(size - read.offset) // record)
    with pytest.raises(RecordingError) as caught:
      decode(content[:size], "x")
    error = caught.value
    assert (error.path, error.offset, error.reason) == ("x", *read[3:])
    assert str(error) == f"x: {read.reason} (at offset {read.offset:,})"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("field", ["x", "y", "t"])
def test_an_impossible_event_is_where_the_recording_ends(name, field):
  decode, write, sensor, record = FORMATS[name]
  listed = event_files.sample(sensor)
  if field == "t" and name == "nmnist":
    # Its clock cannot be set back: an event without time is put in.
    content = write(listed)
    content = content[:25] + bytes(5) + content[25:]
    expected = "t must not fall; got"
  elif field == "t":
    low = listed.t.copy()
    low[9] = 0
    content = write(listed._replace(t=low))
    expected = "t must not fall; got"
  else:
    content = write(listed)
    axis = "yx".index(field)
    sides = list(sensor)
    sides[axis] //= 2
    sensor = tuple(sides)
    expected = f"{field} must be in [0, {sensor[axis]})"
  read = decode(content, "x", sensor=sensor, strict=False)
  assert read.reason.startswith(expected)
  assert read.dropped == -(-(len(content) - read.offset) // record)
  number = len(read.events.t)
  assert number < len(listed.t)
  for left, right in zip(read.events[:4], listed[:4], strict=True):
    if field == "t" or not name.startswith("aedat 2"):  # counted from the end
      np.testing.assert_array_equal(left, right[:number])
  with pytest.raises(RecordingError, match=r"at offset [\d,]+\)$"):
    decode(content, "x", sensor=sensor)
  if name != "aedat 3.1":  # whose packets must be whole
    assert not decode(content[: read.offset], "x", sensor=sensor).dropped


def test_nmnist_times_use_all_23_bits():
  read = nmnist.decode(bytes([1, 2, 0xFF, 0xFF, 0xFF]), "x").events
  assert [c.tolist() for c in read[:4]] == [[(1 << 23) - 1], [1], [2], [1]]


def test_marks_of_the_clock_are_counted():
  listed = event_files.sample((34, 34))
  content = event_files.nmnist(listed)
  read = nmnist.decode(content, "x")
  assert read.skipped == len(content) // 5 - len(listed.t) > 0


@pytest.mark.parametrize(
  ("chip", "sensor", "address"),
  [
    ("retina.DVS128", DVS128, 0x8000),
    ("retina.DVS128", DVS128, 0x8000_0000),
    ("davis.Davis346B", DAVIS, 0x8012_3456),
    ("davis.DAViS240C", (180, 240), 0x402),
  ],
)
def test_what_is_no_event_of_aedat_2_is_skipped(chip, sensor, address):
  listed = event_files.sample(sensor)
  others = [(3, address), (3, address), (20, address)]
  content = event_files.aedat_2(listed, chip, others)
  read = aedat_2.decode(content, "x")
  assert_equal(read.events, listed)
  assert (read.skipped, read.dropped) == (3, 0)
  cut = aedat_2.decode(content[:-1], "x", strict=False)
  assert (cut.skipped, cut.dropped) == (3, 1)
  early = aedat_2.decode(content[: -8 * 50 - 1], "x", strict=False)
  assert (early.skipped, early.dropped) == (2, 1)


def test_a_corner_of_each_layout_of_aedat_2():
  """Words put together by hand from jAER's documentation."""
  head = event_files.aedat_2(event_files.sample(DVS128, 0))
  word = struct.pack(">2I", 0x7F00 | 1 << 1 | 1, 5)  # top row, one from right
  (row,) = event_files.rows(aedat_2.decode(head + word, "x").events)
  assert row == (5, 126, 0, 0)
  word = struct.pack(">2I", 259 << 22 | 2 << 12 | 1 << 11, 5)
  read = aedat_2.decode(head + word, "x", camera="DAVIS346")
  (row,) = event_files.rows(read.events)
  assert row == (5, 343, 0, 1)


def test_addresses_that_a_dvs128_never_sends_are_refused():
  listed = event_files.sample(DVS128)
  content = event_files.aedat_2(listed, others=[(11, 1 << 16)])
  read = aedat_2.decode(content, "x", strict=False)
  assert len(read.events.t) == 11
  assert read.reason.startswith("bits 16 to 30 of a DVS128's address must be 0")


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_clock_of_aedat_2_begins_anew(rounds):
  listed = event_files.sample(DVS128, 40)
  late = listed.t + rounds * (1 << 32) - listed.t[20]
  parts = [late[:20], late[20:]]
  expected = np.concatenate(parts) - (rounds - 1) * (1 << 32)
  read = aedat_2.decode(event_files.aedat_2(listed._replace(t=late)), "x")
  np.testing.assert_array_equal(read.events.t, expected)


def test_the_header_of_aedat_2():
  text = "# 35 = #\r\n#End Of ASCII Header\r\n"
  listed = event_files.sample((260, 346))
  listed.y[0], listed.x[0] = 259 - 0x23 * 4, 0  # an address that begins with #
  content = event_files.aedat_2(listed, "davis.Davis346red", end=text)
  assert content[content.index(text.encode()) + len(text) :][:1] == b"#"
  assert_equal(aedat_2.decode(content, "x").events, listed)
  told = aedat_2.header(content, "x")
  assert told[:2] == ("Davis346red", 1467290835000)
  without = event_files.aedat_2(listed, "davis.Davis346red")
  assert_equal(aedat_2.decode(without, "x").events, listed)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "the first line must be #!AER-DAT2.0"),
    (b"#!AER-DAT3.1\r\n", "the first line must be #!AER-DAT2.0"),
    (b"#!AER-DAT2.0\r\n", "the camera must be one of dvs128.*; got ''"),
    (event_files.aedat_2(event_files.sample(DVS128, 1), "Cochlea"), "Cochlea"),
    (b"#!AER-DAT2.0\r\n#" + b"a" * (1 << 20), "shorter than 1,048,576"),
  ],
)
def test_headers_of_aedat_2_that_tell_too_little(content, message):
  for strict in (True, False):
    with pytest.raises(RecordingError, match=message):
      aedat_2.decode(content, "x", strict=strict)


def test_times_of_aedat_31_have_62_bits():
  listed = event_files.sample(DVS128)
  late = listed._replace(t=listed.t + (3 << 31) - listed.t[30])
  assert_equal(aedat_31.decode(event_files.aedat_31(late), "x").events, late)


def test_filtered_events_and_other_packets_are_skipped():
  listed = event_files.sample(DVS128, 14)
  content = event_files.aedat_31(listed)  # 2 packets, behind each 2 + 1 others
  filtered = [event_files.polarity(0, 500, 500, 1, valid=0)] * 4
  last = int(listed.t[-1])
  filtered.insert(2, event_files.polarity(last, 1, 2, 1))
  content += event_files.packet(1, 1, filtered, valid=1)
  read = aedat_31.decode(content, "x")
  assert read.skipped == 2 * 3 + 4
  assert list(event_files.rows(read.events)) == [
    *event_files.rows(listed),
    (last, 1, 2, 1),
  ]
  unused = [*filtered[:3], bytes(8)]
  content += event_files.packet(1, 1, unused, number=3, valid=1)
  assert aedat_31.decode(content, "x").skipped == 2 * 3 + 4 + 2


EVENT = event_files.polarity(10**6, 1, 2, 1)


@pytest.mark.parametrize(
  ("packet", "message"),
  [
    (event_files.packet(0x8001, 1, [EVENT]), r"type must be in \[0, 13\)"),
    (event_files.packet(1, 1, [bytes(16)], size=16), "must have 8 bytes"),
    (event_files.packet(1, 1, [EVENT], number=2), "valid <= number <="),
    (event_files.packet(1, 1, [EVENT], valid=2), "valid <= number <="),
    (event_files.packet(1, 1, [EVENT], valid=0), "the 0 valid events.*has 1"),
    (event_files.packet(1, 1, [EVENT] * 2)[:-1], "2 records of 8 bytes must"),
    (event_files.packet(2, 1, [EVENT], size=0), "1 records of 0 bytes must"),
    (event_files.packet(2, 1, [EVENT], size=1 << 31), "must fit into the file"),
    (event_files.packet(1, 1, [EVENT], overflow=1 << 31), "overflow must be"),
    (event_files.packet(1, 2, [EVENT]), "must be of one camera; got 2"),
    (event_files.packet(1, 1, [EVENT])[:27], "header must have 28 bytes"),
    (
      event_files.packet(1, 1, [event_files.polarity(1 << 31, 0, 0, 0)]),
      "t must not fall; got -2147483648",
    ),
  ],
)
def test_packets_that_contradict_themselves_are_refused(packet, message):
  listed = event_files.sample(DVS128)
  content = event_files.aedat_31(listed)
  for rest in (b"", event_files.packet(0, 1, [bytes(8)])):
    if rest and len(packet) % 4:
      continue
    read = aedat_31.decode(content + packet + rest, "x", strict=False)
    assert_equal(read.events, listed)
    assert read.skipped == 27
    assert len(content) <= read.offset <= len(content) + 28
    with pytest.raises(RecordingError, match=message):
      aedat_31.decode(content + packet + rest, "x")


def test_times_before_the_clock_begins_are_refused():
  head = event_files.aedat_31(event_files.sample(DVS128, 0))
  early = event_files.polarity(1 << 31, 1, 2, 1)
  content = head + event_files.packet(1, 1, [early, EVENT])
  with pytest.raises(RecordingError, match="t must not be negative; got -2147"):
    aedat_31.decode(content, "x")
  read = aedat_31.decode(content, "x", strict=False)
  assert (len(read.events.t), read.offset) == (0, len(head) + 28)


def test_the_first_of_two_faults_of_aedat_31_is_told():
  """An event outside the sensor before a packet that counts wrongly."""
  head = event_files.aedat_31(event_files.sample(DVS128, 0))
  outside = [EVENT, event_files.polarity(10**6, 200, 2, 1), EVENT]
  content = head + event_files.packet(1, 1, outside)
  miscounted = event_files.packet(1, 1, [EVENT], valid=0)
  read = aedat_31.decode(content + miscounted, "x", strict=False)
  assert read.offset == len(head) + 28 + 8
  assert read.reason == "x must be in [0, 128); got 200"
  assert (len(read.events.t), read.dropped) == (1, 7)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ((b"RAW", b"PNG"), "Format: RAW; got 'PNG'"),
    ((b"DVS128", b"DYNAP9"), "known camera.*got 'DYNAP9'"),
    ((b"#!END-HEADER", b"#!END-HEADES"), "a line #!END-HEADER must end"),
    ((b"DAT3.1", b"DAT3.0"), "the first line must be #!AER-DAT3.1"),
  ],
)
def test_headers_of_aedat_31_that_tell_too_little(change, message):
  content = event_files.aedat_31(event_files.sample(DVS128))
  for strict in (True, False):
    with pytest.raises(RecordingError, match=message):
      aedat_31.decode(content.replace(*change), "x", strict=strict)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"version": 1}, "% Version 2; got '1'"),
    ({"kind": 14}, r"type 0 or 12 and 8 bytes; got \(14, 8\)"),
    ({"size": 16}, r"got \(12, 16\)"),
    ({"told": False}, "or sensor be given"),
  ],
)
def test_headers_of_dat_that_tell_too_little(options, message):
  content = event_files.dat(event_files.sample((48, 64)), **options)
  for strict in (True, False):
    with pytest.raises(RecordingError, match=message):
      prophesee.decode(content, "x", strict=strict)


def test_a_polarity_of_dat_is_one_bit_of_four():
  listed = event_files.sample((48, 64))
  listed.p[7] = 2
  read = prophesee.decode(event_files.dat(listed), "x", strict=False)
  assert (len(read.events.t), read.dropped) == (7, 53)
  assert read.reason == "p must be in [0, 2); got 2"


def test_tactile_files(tmp_path):
  listed = event_files.sample((10, 10))
  path = tmp_path / "LUT.mat"
  event_files.stmnist(path, listed)
  assert_equal(recordings.read(path).events, listed)
  train = np.zeros((101, 4))
  train[-1] = [0.1, 0.2, 0.3, 0.4]
  train[7] = [1, -1, 2, 1]
  event_files.scipy.io.savemat(path, {"spiketrain": train})
  read = recordings.read(path, strict=False)
  assert list(event_files.rows(read.events)) == [
    (100_000, 7, 0, 1),
    (200_000, 7, 0, 0),
  ]
  assert (read.dropped, read.offset) == (2, 2)
  for bad in ({"other": train}, {"spiketrain": train[1:]}):
    event_files.scipy.io.savemat(path, bad)
    with pytest.raises(RecordingError, match=r"spiketrain must be \[101, M\]"):
      recordings.read(path, strict=False)


SECONDS = np.array([0.5, 0.25, np.inf, 0.25, np.nan, 1.5], np.float16)
UNITS = np.array([3, 699, 0, 5, 9, 0], np.uint16)


def test_spoken_spikes_are_ordered_and_infinite_ones_skipped():
  read = heidelberg.decode(SECONDS, UNITS, "x")
  assert (read.skipped, read.dropped) == (2, 0)
  assert (read.events.height, read.events.width) == (1, 700)
  assert list(event_files.rows(read.events)) == [
    (250_000, 699, 0, 1),
    (250_000, 5, 0, 1),
    (500_000, 3, 0, 1),
    (1_500_000, 0, 0, 1),
  ]


@pytest.mark.parametrize(
  ("change", "dropped", "message"),
  [
    ((5, 0.5, 700), 1, "got 700 at 0.5 s"),
    ((3, -0.5, 1), 3, "got 1 at -0.5 s"),
    ((2, np.inf, 701), 4, "got 701 at inf s"),
  ],
)
def test_impossible_spikes_are_refused(change, dropped, message):
  place, time, unit = change
  seconds, units = SECONDS.copy(), UNITS.copy()
  seconds[place], units[place] = time, unit
  read = heidelberg.decode(seconds, units, "x", strict=False)
  assert (read.dropped, read.offset) == (dropped, place)
  assert len(read.events.t) + read.skipped == place
  with pytest.raises(RecordingError, match=message):
    heidelberg.decode(seconds, units, "x")


def test_lists_of_spikes_that_do_not_fit_together():
  read = heidelberg.decode(SECONDS, UNITS[:-2], "x", strict=False)
  assert (len(read.events.t), read.dropped, read.offset) == (3, 2, 4)
  for pair in ((UNITS, UNITS), (SECONDS, SECONDS), (SECONDS[None], UNITS)):
    with pytest.raises(RecordingError, match="times must be floats"):
      heidelberg.decode(*pair, "x", strict=False)


def test_hdf5_files(tmp_path):
  h5py = pytest.importorskip("h5py", reason="the extra `events` is missing")
  path = tmp_path / "shd.h5"
  spikes = [(SECONDS, UNITS), (SECONDS[:0], UNITS[:0]), (SECONDS, UNITS[::-1])]
  event_files.shd(h5py, path, spikes, [19, 0, 3])
  with heidelberg.opened(path) as spoken:
    assert spoken.labels.tolist() == [19, 0, 3]
    for row, pair in enumerate(spikes):
      read = spoken.read(row)
      assert_equal(read.events, heidelberg.decode(*pair, "x").events)
    with pytest.raises(ValueError, match=r"row must be in \[0, 3\); got 3"):
      spoken.read(3)
  with pytest.raises(RecordingError, match=r"heidelberg\.opened"):
    recordings.read(path)
  content = path.read_bytes()
  for size in (8, len(content) // 2):
    path.write_bytes(content[:size])
    with pytest.raises(RecordingError, match=r"shd\.h5"):
      heidelberg.opened(path).__enter__()
  for labels, message in (([1, 2], "as many"), ([[1], [2], [3]], "a list")):
    event_files.shd(h5py, path, spikes, labels)
    with pytest.raises(RecordingError, match=message):
      heidelberg.opened(path).__enter__()
  with h5py.File(path, "w") as file:
    file["labels"] = h5py.ExternalLink("other.h5", "labels")
    file["spikes/times"] = file["spikes/units"] = np.zeros(3)
  with pytest.raises(RecordingError, match="labels must be no link"):
    heidelberg.opened(path).__enter__()


@pytest.mark.parametrize(
  ("module", "opens", "remedy"),
  [
    (
      "h5py",
      lambda path: heidelberg.opened(path).__enter__(),
      r"pip install 'snnjax\[events\]'",
    ),
    ("aedat", recordings.read, "pip install aedat"),
  ],
)
def test_a_missing_package_is_named(
  tmp_path, monkeypatch, module, opens, remedy
):
  monkeypatch.setitem(sys.modules, module, None)
  path = tmp_path / "a"
  path.write_bytes(aedat_4_file([]))
  with pytest.raises(ModuleNotFoundError, match=remedy) as caught:
    opens(path)
  assert "\n" not in str(caught.value)


def aedat_4_file(packets, end=None, size=None):
  """A file of AEDAT 4; its header tells the end of the packets and no more."""
  # The table of fields, the table, and in it the end.
  header = struct.pack(
    "<I4sHHHHiq", 16, b"IOHE", 8, 12, 0, 4, 8, 0 if end is None else end
  )
  size = len(header) if size is None else size
  body = b"".join(packets)
  if end is None:
    start = len(aedat_4.MAGIC) + 4 + len(header)
    header = header[:-8] + struct.pack("<q", start + len(body))
  return aedat_4.MAGIC + struct.pack("<I", size) + header + body


def aedat_4_packet(stream, content, size=None):
  size = len(content) if size is None else size
  return struct.pack("<2i", stream, size) + content


def test_packets_of_aedat_4_are_walked_before_they_are_unpacked():
  packets = [aedat_4_packet(0, b"abc"), aedat_4_packet(2, b"")]
  content = aedat_4_file(packets)
  begin = len(aedat_4_file([]))
  assert aedat_4.walk(content + b"table", "x") == ([begin, begin + 11], None)
  assert aedat_4.walk(aedat_4_file(packets, -1), "x").fault is None
  for bad in (
    aedat_4_packet(0, b"abc", 1 << 30),
    aedat_4_packet(0, b"abc", -1),
    aedat_4_packet(-1, b"abc"),
    b"1234567",
  ):
    walked = aedat_4.walk(aedat_4_file([*packets, bad]), "x")
    assert walked.offsets == [begin, begin + 11]
    assert walked.fault.offset == begin + 19
    assert "a packet must have a stream" in walked.fault.reason
  walked = aedat_4.walk(aedat_4_file(packets, 1 << 40), "x")
  assert walked.offsets == [begin, begin + 11]
  assert "packets must end inside the file" in walked.fault.reason


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (aedat_4_file([])[:13], "must begin with"),
    (aedat_4_file([]).replace(b"IOHE", b"EVTS"), "must begin with"),
    (aedat_4_file([], size=1 << 31), "header of 2147483648 bytes must fit"),
    (aedat_4_file([], size=20), "the header must be whole"),
  ],
)
def test_headers_of_aedat_4_that_are_damaged(content, message):
  with pytest.raises(RecordingError, match=message):
    aedat_4.walk(content, "x")


def test_the_recorded_aedat_4_sample(shared, monkeypatch, tmp_path):
  """111,954 events of one stream; 475 samples of motion are passed over."""
  monkeypatch.setitem(sys.modules, "aedat", aedat_double)
  path = shared / "data" / "events" / "sample.aedat4"
  content = path.read_bytes()
  read = recordings.read(path)
  assert (len(read.events.t), read.skipped, read.dropped) == (111_954, 475, 0)
  assert (read.events.height, read.events.width) == (240, 320)
  offsets = aedat_4.walk(content, "x").offsets
  damaged = bytearray(content)
  damaged[offsets[4] + 8] ^= 1  # the mark of a packed frame
  copy = tmp_path / "damaged.aedat4"
  copy.write_bytes(damaged)
  with pytest.raises(RecordingError, match="a packet must be whole; aedat: "):
    recordings.read(copy)
  part = recordings.read(copy, strict=False)
  assert part.offset == offsets[4]
  number = len(part.events.t)
  assert 0 < number < len(read.events.t) // 10
  assert_equal(part.events, recordings.records.first(read.events, number))


def test_the_package_aedat_reads_the_same(shared, monkeypatch):
  pytest.importorskip("aedat", reason="the package aedat is not installed")
  path = shared / "data" / "events" / "sample.aedat4"
  read = recordings.read(path)
  monkeypatch.setitem(sys.modules, "aedat", aedat_double)
  assert_equal(read.events, recordings.read(path).events)


def test_the_recorded_nmnist_sample(shared):
  read = recordings.read(shared / "data" / "events" / "sample_nmnist.bin")
  listed = read.events
  assert (len(listed.t), *read[1:]) == (4325, 0, 0, -1, "")
  assert (listed.t[0], listed.t[-1]) == (654, 311_175)
  assert (listed.height, listed.width) == (34, 34)
  frames = events.to_frames(listed, 10)
  assert frames.sum() == 4325
  assert frames[..., 0].sum() == listed.p.sum()


def test_the_recorded_dat_sample(shared):
  path = shared / "data" / "events" / "sample_ncars.dat"
  read = recordings.read(path, sensor=(100, 120))
  listed = read.events
  assert (len(listed.t), *read[1:]) == (2009, 0, 0, -1, "")
  assert (listed.t[0], listed.t[-1]) == (0, 99_952)
  assert (listed.x.max(), listed.y.max(), listed.p.sum()) == (77, 41, 1350)
  with pytest.raises(RecordingError, match="or sensor be given"):
    recordings.read(path)


def test_the_recorded_tactile_sample(shared):
  read = recordings.read(shared / "data" / "events" / "sample_stmnist.mat")
  listed = read.events
  assert (len(listed.t), *read[1:]) == (2346, 0, 0, -1, "")
  assert (listed.t[0], listed.t[-1], listed.p.sum()) == (196_626, 895_745, 1601)


def test_the_recorded_aedat_header(shared):
  path = shared / "data" / "events" / "sample_aedat_header.aedat"
  told = aedat_2.header(path.read_bytes(), str(path))
  assert told == ("Davis346red", 1695355587880, 599)
  read = recordings.read(path)
  assert (len(read.events.t), read.events.height, read.events.width) == (
    0,
    260,
    346,
  )


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.dat", b"anything", r"must be AEDAT 2\.0.*begins with b'anything'"),
    ("a.h5", heidelberg.MAGIC, r"recordings\.heidelberg\.opened"),
  ],
)
def test_files_of_no_known_format_are_refused(tmp_path, name, content, message):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(RecordingError, match=message):
    recordings.read(path)


def test_what_is_no_file_is_refused(tmp_path):
  os.mkfifo(tmp_path / "pipe.bin")
  for path in (tmp_path, tmp_path / "pipe.bin"):
    with pytest.raises(RecordingError, match="must be a file"):
      recordings.read(path)
  with pytest.raises(FileNotFoundError, match=r"none\.bin"):
    recordings.read(tmp_path / "none.bin")


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"camera": "DVS128"}, "camera must be left out for .*, which is N-MNIST"),
    ({"sensor": (0, 34)}, r"sensor must be \(rows, columns\), each from 1"),
    ({"sensor": (34,)}, r"sensor must be \(rows, columns\), each from 1"),
  ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, options, message):
  path = tmp_path / "a.bin"
  path.write_bytes(bytes(5))
  with pytest.raises(ValueError, match=message):
    recordings.read(path, **options)


LABELS = b"class,startTime_usec,endTime_usec\r\n"


def test_the_gestures_of_a_recording():
  lines = b"1,80,95\r\n11,90,120\r\n8,300,400\n"
  spans = gesture_labels.decode(LABELS + lines, "x")
  assert spans == ((0, 80, 95), (10, 90, 120), (7, 300, 400))
  column = np.zeros(5, np.int32)
  listed = events.Events(
    np.array([0, 80, 94, 95, 350]), column, column, column, *DVS128
  )
  parts = gesture_labels.parts(listed, spans, "x")
  assert [p.t.tolist() for p in parts] == [[80, 94], [94, 95], [350]]
  with pytest.raises(RecordingError, match="events from 96 to 99 us") as caught:
    gesture_labels.parts(listed, (*spans, gesture_labels.Span(0, 96, 99)), "x")
  assert caught.value.offset == 3


@pytest.mark.parametrize(
  "line",
  [
    "0,1,2",
    "12,1,2",
    "1,2,2",
    "1,9,2",
    "1,2",
    "1,1.5,2",
    "a,1,2",
    "1,5,9\n1,4,9",
  ],
)
def test_impossible_gestures_are_refused(line):
  content = LABELS + b"1,1,9\n" + line.encode()
  with pytest.raises(RecordingError, match="a line must be a class") as caught:
    gesture_labels.decode(content, "x")
  assert caught.value.offset == content.rindex(line.split("\n")[-1].encode())


@pytest.mark.parametrize("content", [b"", LABELS, b"1,2,3\n", bytes(1 << 21)])
def test_files_without_gestures_are_refused(content):
  with pytest.raises(RecordingError, match="must"):
    gesture_labels.decode(content, "x")
