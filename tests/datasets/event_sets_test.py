"""CIFAR10-DVS and DVS128 Gesture, written as published, prepared and read."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings

from snnjax.data import events, registry
from snnjax.data.importers import downloads, prepare, split_names
from snnjax.data.recordings import RecordingError, nmnist
from tests.datasets import event_files

SENSOR = (128, 128)
GESTURES = ((3, 100, 90_000), (11, 80_000, 150_000), (3, 160_000, 200_000))
PEOPLE = {"train": ("user01_led", "user02_lab"), "test": ("user24_led",)}


def from_zero(listed):
  return listed._replace(t=listed.t - listed.t[0])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Both downloads, and what is in them."""
  root, written = tmp_path_factory.mktemp("downloads"), {}
  for label, name in ((1, "automobile"), (8, "ship")):
    folder = root / "cifar" / name
    folder.mkdir(parents=True)
    for number in range(10):
      listed = event_files.sample(SENSOR, 50, 10 * label + number)
      path = folder / f"cifar10_{name}_{number}.aedat"
      path.write_bytes(event_files.aedat_2(listed))
      written[label, number] = listed
  (root / "cifar" / "README.txt").touch()
  folder = root / "DvsGesture"
  folder.mkdir()
  for split, people in PEOPLE.items():
    names = "".join(f"{name}.aedat\n" for name in people)
    (folder / f"trials_to_{split}.txt").write_text(names)
    for person in people:
      listed = event_files.sample(SENSOR, 60, len(written))
      written[person] = listed
      (folder / f"{person}.aedat").write_bytes(event_files.aedat_31(listed))
      lines = ["class,startTime_usec,endTime_usec"]
      lines += [",".join(map(str, line)) for line in GESTURES]
      (folder / f"{person}_labels.csv").write_text("\r\n".join(lines))
  return root, written


def framed(listed):
  return events.to_frames(listed, 4)


def as_set(frames):
  return sorted(frame.tobytes() for frame in np.asarray(frames, np.uint8))


def test_cifar10_dvs_is_prepared_and_read(source, tmp_path):
  root, written = source
  done = prepare.prepare(root / "cifar", "cifar10_dvs", tmp_path, hold_out=0.2)
  assert [w for w in done.warnings if "README" in w]
  sets = {
    split: registry.open_dataset(
      "cifar10_dvs", split, tmp_path, wanted=("events",), frames=4
    )
    for split in ("train", "test")
  }
  assert {split: len(data.labels) for split, data in sets.items()} == {
    "train": 16,
    "test": 4,
  }
  for label in (1, 8):
    read = np.concatenate(
      [data.inputs["events"][data.labels == label] for data in sets.values()]
    )
    expected = [framed(written[label, number]) for number in range(10)]
    assert as_set(read) == as_set(expected)


def test_cifar10_dvs_has_no_test_split(source, tmp_path):
  with pytest.raises(split_names.SplitsError, match="--hold_out"):
    prepare.prepare(source[0] / "cifar", "cifar10_dvs", tmp_path)


def test_gestures_are_prepared_and_read(source, tmp_path):
  root, written = source
  prepare.prepare(root / "DvsGesture", "dvs_gesture", tmp_path)
  for split, people in PEOPLE.items():
    data = registry.open_dataset(
      "dvs_gesture", split, tmp_path, wanted=("events",), frames=4
    )
    assert data.classes[2] == "left hand wave"
    for label in (2, 10):
      expected = [
        framed(events.between(written[person], start, end))
        for person in people
        for number, start, end in GESTURES
        if number - 1 == label
      ]
      read = data.inputs["events"][data.labels == label]
      assert as_set(read) == as_set(expected)


def test_a_recording_of_another_class_is_refused(source, tmp_path):
  folder = tmp_path / "cifar"
  shutil.copytree(source[0] / "cifar", folder)
  moved = folder / "ship" / "cifar10_automobile_3.aedat"
  (folder / "automobile" / "cifar10_automobile_3.aedat").rename(moved)
  with pytest.raises(ValueError, match=r"mobile_3.* a folder automobile.*ship"):
    downloads.recognise(folder, "cifar10_dvs")
  twin = folder / "other" / "automobile" / "cifar10_automobile_4.aedat"
  twin.parent.mkdir(parents=True)
  moved.rename(twin)
  with pytest.raises(ValueError, match="must be there once"):
    downloads.recognise(folder, "cifar10_dvs")


@pytest.mark.parametrize(
  ("name", "damage", "message"),
  [
    ("user01_led.aedat", lambda c: c[:-1], r"user01_led\.aedat: .*must fit"),
    ("user02_lab_labels.csv", lambda c: c[:-3], r"labels\.csv: a line must be"),
    ("trials_to_test.txt", lambda c: c + b"a.aedat", r"names 'a\.aedat'"),
    ("trials_to_test.txt", lambda c: b"../x.aedat", "must name recordings"),
    ("trials_to_test.txt", lambda c: c + c, "must be listed once"),
  ],
)
def test_damaged_gestures_are_named(source, tmp_path, name, damage, message):
  folder = tmp_path / "DvsGesture"
  shutil.copytree(source[0] / "DvsGesture", folder)
  path = folder / name
  path.write_bytes(damage(path.read_bytes()))

  def read_all():
    found = downloads.recognise(folder, "dvs_gesture")
    for load in found.splits.values():
      examples = load()
      for row in range(examples.size):
        examples.read(row)

  with pytest.raises(ValueError, match=message):
    read_all()


def test_gestures_without_their_spans_are_missing(source, tmp_path):
  folder = tmp_path / "DvsGesture"
  shutil.copytree(source[0] / "DvsGesture", folder)
  (folder / "user02_lab_labels.csv").unlink()
  with pytest.raises(FileNotFoundError, match="user02_lab_labels"):
    downloads.recognise(folder, "dvs_gesture")


@settings(deadline=None, max_examples=40)
@given(
  event_files.lists((240, 256), 2, gaps=(0, 1, 8191, 8_388_607, 8_388_608))
)
def test_events_of_other_cameras_fit_into_nmnists_words(listed):
  listed.t[-1] += 1
  words = nmnist.encode(listed._replace(t=listed.t + 10**12), "x")
  read = nmnist.decode(words.tobytes(), "x", sensor=(240, 256))
  for left, right in zip(read.events, from_zero(listed), strict=True):
    np.testing.assert_array_equal(left, right)
  assert read.skipped == len(words) - len(listed.t)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"height": 241}, "at most 240 rows and 256 columns"),
    ({"width": 257}, "at most 240 rows and 256 columns"),
    ({"t": np.array([5, 5])}, "at two times or more"),
    ({"t": np.array([0, 1 << 40])}, "within 12 days"),
    ({"t": np.array([1, 0])}, "t must not fall"),
  ],
)
def test_events_that_do_not_fit_are_refused(change, message):
  listed = event_files.sample(SENSOR, 2)._replace(**change)
  with pytest.raises(ValueError, match=message):
    nmnist.encode(listed, "x")


def test_the_fault_of_a_recording_is_one_of_data(source, tmp_path):
  folder = tmp_path / "cifar"
  shutil.copytree(source[0] / "cifar", folder)
  path = folder / "ship" / "cifar10_ship_7.aedat"
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(RecordingError, match=r"ship_7\.aedat: events must be"):
    prepare.prepare(folder, "cifar10_dvs", tmp_path, hold_out=0.2)
