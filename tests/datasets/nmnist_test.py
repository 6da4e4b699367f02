"""Recordings of N-MNIST, alone and paired with MNIST's images."""

import hashlib
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from snnjax.data import events, manifest, registry, selection
from snnjax.data.importers import downloads, prepare
from snnjax.data.recordings import nmnist as recorded
from snnjax.storage import files
from tests.datasets.downloads import (
  nmnist_bytes,
  recording,
  write_mnist,
  write_nmnist,
)

# Of 7 + 3 images, the first 6 + 2 are recorded.
LABELS = {"train": (1, 2, 3, 4, 5, 6), "test": (1, 2)}
FIFTH = "Train/5/00005.bin"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """The downloads: N-MNIST's folder, MNIST's, and what is in them."""
  root = tmp_path_factory.mktemp("nmnist")
  images = write_mnist(root / "mnist")
  return root, images, write_nmnist(root / "N-MNIST", LABELS)


@pytest.fixture(scope="module")
def folder(source):
  """A data folder with the pairs, and with the recordings alone."""
  root, _, _ = source
  outcome = prepare.prepare(
    root / "N-MNIST", "nmnist", root / "data", images=root / "mnist"
  )
  assert outcome.fresh
  assert "nmnist/train has 6 examples; as published it has 60000" in (
    outcome.warnings
  )
  prepare.prepare(root / "N-MNIST", "alone", root / "data")
  return root / "data"


def order(size):
  return selection.permutation(size, 0, selection.Purpose.WRITING)


def counted(listed, frames):
  """Counts event by event, by the definition of `events.to_frames`."""
  counts = np.zeros((frames, 34, 34, 2), np.uint8)
  first, last = int(listed[0, 0]), int(listed[-1, 0])
  for t, x, y, p in listed.tolist():
    frame = min((t - first) * frames // (last - first), frames - 1)
    counts[frame, y, x, 1 - p] += 1
  return counts


def copied(source, tmp_path):
  root, _, _ = source
  for name in ("N-MNIST", "mnist"):
    shutil.copytree(root / name, tmp_path / name)
  return tmp_path


@pytest.mark.parametrize("frames", [1, 4, 7])
def test_image_and_events_are_one_instance(source, folder, frames):
  _, images, recordings = source
  for split, labels in LABELS.items():
    data = registry.open_dataset(
      "nmnist", split, folder, wanted=("events", "image"), frames=frames
    )
    for row, number in enumerate(order(len(labels))):
      assert data.labels[row] == labels[number]
      np.testing.assert_array_equal(
        data.inputs["image"][row], images[split][0][number]
      )
      np.testing.assert_array_equal(
        data.inputs["events"][row], counted(recordings[split][number], frames)
      )
    assert data.inputs["events"].dtype == np.uint8


def test_a_set_says_what_it_has_and_gives_nothing_else(folder):
  assert registry.modalities("nmnist", folder) == ("events", "image")
  assert registry.modalities("alone", folder) == ("events",)
  assert registry.modalities("digits") == ("image",)
  plain = registry.open_dataset("nmnist", "test", folder)
  assert plain.inputs.shape == (2, 28, 28, 1)
  for name, wanted, frames, match in (
    ("alone", None, None, r"some of \['events'\], which alone holds"),
    ("alone", ("image", "events"), 4, r"some of \['events'\]"),
    ("digits", ("events",), 4, r"some of \['image'\], which digits holds"),
    ("nmnist", ("events",), None, "frames must be at least 1 for the events"),
    ("nmnist", ("events",), 0, "frames must be at least 1 for .*; got 0"),
    ("nmnist", (), 4, "wanted must be some of"),
    ("nmnist", ("events",), 1 << 20, "must have 1 to"),
  ):
    with pytest.raises(ValueError, match=match):
      registry.open_dataset(name, "test", folder, wanted=wanted, frames=frames)
  both = {"wanted": ("events",), "frames": 3}
  alone, paired = (
    registry.open_dataset(name, "train", folder, **both)
    for name in ("alone", "nmnist")
  )
  np.testing.assert_array_equal(alone.inputs["events"], paired.inputs["events"])


def test_provenance_covers_the_events(source, folder, tmp_path):
  known = registry.provenance("nmnist", folder)
  assert known["source"]["layout"] == "N-MNIST recordings with their images"
  assert known["source"]["count"] == 6 + 2 + 4
  assert {"images/train-images-idx3-ubyte", FIFTH} <= set(
    known["source"]["files"]
  )
  assert known["modalities"] == {"events": [34, 34, 2], "image": [28, 28, 1]}
  root = copied(source, tmp_path)

  def again(**how):
    return prepare.prepare(
      root / "N-MNIST", "nmnist", root / "data", images=root / "mnist", **how
    )

  again()
  same = registry.digest("nmnist", folder)
  assert registry.digest("nmnist", root / "data") == same
  assert not again().fresh
  moved = recording([0, 5])
  moved[20, 3] ^= 1
  (root / "N-MNIST" / FIFTH).write_bytes(nmnist_bytes(moved))
  with pytest.raises(ValueError, match="was made from other files"):
    again()
  again(overwrite=True)
  assert registry.digest("nmnist", root / "data") != same
  other = registry.provenance("nmnist", root / "data")
  assert other["source"]["sha256"] != known["source"]["sha256"]
  assert other["examples"]["train"] != known["examples"]["train"]
  assert other["examples"]["test"] == known["examples"]["test"]


def stored(source):
  return {
    split: [
      [array.tobytes() for array in examples.read(row).values()]
      for row in range(examples.size)
    ]
    for split, load in source.splits.items()
    for examples in [load()]
  }


def test_archives_read_as_the_folder_does(source, tmp_path):
  root, _, _ = source
  opened = downloads.recognise(root / "N-MNIST", "x", root / "mnist")
  with tarfile.open(tmp_path / "all.tar.xz", "w:xz") as archive:
    archive.addfile(tarfile.TarInfo("N-MNIST/README"))
    archive.add(root / "N-MNIST", "N-MNIST")
  (tmp_path / "two").mkdir()
  for split in ("Train", "Test"):
    with tarfile.open(tmp_path / f"two/{split}.tar.gz", "w:gz") as archive:
      for digit in sorted(os.listdir(root / "N-MNIST" / split)):
        archive.add(root / "N-MNIST" / split / digit, digit)
  with zipfile.ZipFile(tmp_path / "all.zip", "w", 8) as archive:
    for file in sorted((root / "N-MNIST").rglob("*")):
      archive.write(file, file.relative_to(root))
  for path in ("all.tar.xz", "two", "all.zip"):
    packed = downloads.recognise(tmp_path / path, "x", root / "mnist")
    assert stored(packed) == stored(opened)
    assert len(packed.images) == 4
    assert (path == "two") is (len(packed.files) == 2)
  assert set(downloads.recognise(root / "N-MNIST" / "Train", "x").splits) == {
    "train"
  }
  beside = downloads.recognise(tmp_path / "all.tar.xz", "x")
  assert beside.left_out == {"N-MNIST/": 1}
  (tmp_path / "two/README").touch()
  assert downloads.recognise(tmp_path / "two", "x").left_out == {"README": 1}
  shutil.copytree(root / "N-MNIST", tmp_path / "two/open")
  both = downloads.recognise(tmp_path / "two", "x")
  assert both.left_out == {"README": 1, "Test.tar.gz": 1, "Train.tar.gz": 1}
  assert len(both.files) == 8


def cut(root):
  path = root / "N-MNIST" / FIFTH
  path.write_bytes(path.read_bytes()[:-2])


def emptied(root):
  (root / "N-MNIST" / FIFTH).write_bytes(b"")


def outside(root):
  listed = recording([0, 5])
  listed[11, 1] = 34
  (root / "N-MNIST" / FIFTH).write_bytes(nmnist_bytes(listed))


def lost(root):
  (root / "N-MNIST" / FIFTH).unlink()


def swapped(root):
  train = root / "N-MNIST" / "Train"
  (train / "5").rename(train / "x")
  (train / "6").rename(train / "5")
  (train / "x").rename(train / "6")


def beyond(root):
  place = root / "N-MNIST/Train/7"
  place.mkdir()
  shutil.copy(root / "N-MNIST" / FIFTH, place / "00007.bin")
  place = root / "N-MNIST/Train/8"
  place.mkdir()
  shutil.copy(root / "N-MNIST" / FIFTH, place / "00008.bin")


def twice(root):
  shutil.copy(root / "N-MNIST" / FIFTH, root / "N-MNIST/Train/4/00005.bin")


def zero(root):
  shutil.copy(root / "N-MNIST" / FIFTH, root / "N-MNIST/Train/4/00000.bin")


def foreign(root):
  (root / "N-MNIST/Train/4/notes.txt").write_text("x")


def loose(root):
  (root / "N-MNIST/Train/00009.bin").write_bytes(b"x")


def second(root):
  shutil.copytree(root / "N-MNIST/Train", root / "N-MNIST/old/Train")


def without_images(root):
  shutil.rmtree(root / "mnist")


def without_labels(root):
  (root / "mnist/train-labels-idx1-ubyte").unlink()


def without_recordings(root):
  shutil.rmtree(root / "N-MNIST")
  write_mnist(root / "N-MNIST")


@pytest.mark.parametrize(
  ("damage", "match"),
  [
    (cut, rf"{FIFTH}: events must be whole, of 5 bytes; 3 bytes are"),
    (emptied, rf"{FIFTH} must hold events at two times or more; it has 0"),
    (outside, rf"{FIFTH}: x must be in \[0, 34\); got 34 \(at offset 55\)"),
    (lost, r"00005\.bin is missing from the split of .*6/00006\.bin"),
    (swapped, r"Train/6/00005\.bin must lie in the folder 5: image 5"),
    (beyond, r"Train/8/00008\.bin must be of an image .* train has 7"),
    (twice, r"00005\.bin has it too"),
    (zero, r"4/00000\.bin must not be there: recordings are numbered from 1"),
    (foreign, r"4/notes\.txt must be a recording"),
    (loose, r"Train/00009\.bin must not lie there"),
    (second, "must lie in one folder train"),
    (without_images, "images must be the folder of MNIST's IDX files.* none"),
    (without_labels, "must hold train-labels-idx1-ubyte"),
    (without_recordings, "must hold N-MNIST's recordings"),
  ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(
  source, tmp_path, damage, match
):
  root = copied(source, tmp_path)
  damage(root)
  with pytest.raises((ValueError, FileNotFoundError), match=match) as caught:
    prepare.prepare(
      root / "N-MNIST", "nmnist", root / "data", images=root / "mnist"
    )
  assert "\n" not in str(caught.value)
  assert not list((root / "data").rglob("*")), "something half-written"


def test_a_pixel_of_too_many_events_is_told_and_more_frames_help(
  source, tmp_path
):
  root = copied(source, tmp_path)
  listed = recording([0, 5], 300)
  listed[:, 1:] = (3, 4, 1)
  (root / "N-MNIST" / FIFTH).write_bytes(nmnist_bytes(listed))
  prepare.prepare(root / "N-MNIST", "hot", root / "data")
  opened = {"data_dir": root / "data", "wanted": ("events",)}
  with pytest.raises(ValueError, match=r"hot/train\[\d\]: .* got 300 in one"):
    registry.open_dataset("hot", "train", **opened, frames=1)
  data = registry.open_dataset("hot", "train", **opened, frames=4)
  assert data.inputs["events"].sum(axis=(1, 2, 3, 4)).max() == 300


def test_damaged_recordings_are_not_read(folder, tmp_path):
  shutil.copytree(folder, tmp_path / "data")
  (shard,) = (tmp_path / "data/nmnist").rglob("*train.array_record*")
  content = bytearray(shard.read_bytes())
  content[len(content) // 2] ^= 1
  shard.write_bytes(content)
  with pytest.raises(ValueError, match="has changed since it was prepared"):
    registry.open_dataset(
      "nmnist", "train", tmp_path / "data", wanted=("events",), frames=4
    )


def test_events_outside_the_sensor_that_a_set_claims_are_damage(
  folder, tmp_path
):
  shutil.copytree(folder / "alone", tmp_path / "alone")
  described = tmp_path / "alone/1.0.0" / manifest.FILE
  noted = files.read_sealed(described, "")
  noted["modalities"]["events"] = [20, 20, 2]
  files.write_sealed(described, noted)
  with pytest.raises(ValueError, match=r"alone.* is damaged.*be in \[0, 20\)"):
    registry.open_dataset(
      "alone", "train", tmp_path, wanted=("events",), frames=4
    )
  assert registry.digest("alone", tmp_path) != registry.digest("alone", folder)


def test_a_set_that_lost_its_manifest_has_images_alone(folder, tmp_path):
  shutil.copytree(folder / "nmnist", tmp_path / "nmnist")
  (tmp_path / "nmnist/1.0.0" / manifest.FILE).unlink()
  assert registry.modalities("nmnist", tmp_path) == ("image",)
  with pytest.raises(ValueError, match=r"some of \['image'\]"):
    registry.open_dataset(
      "nmnist", "test", tmp_path, wanted=("events",), frames=4
    )
  assert len(registry.open_dataset("nmnist", "test", tmp_path).labels) == 2


def test_sets_of_images_are_what_they_were(source, tmp_path):
  root, images, _ = source
  prepare.prepare(root / "mnist", "mnist", tmp_path)
  (described,) = tmp_path.rglob(manifest.FILE)
  noted = files.read_sealed(described, "")
  at = order(3)
  pairs = zip(*(array[at] for array in images["test"]), strict=True)
  content = b"".join(
    image.tobytes() + int(label).to_bytes(4, "little") for image, label in pairs
  )
  assert noted["examples"]["test"] == hashlib.sha256(content).hexdigest()
  known = registry.digest("mnist", tmp_path)
  del noted["modalities"]  # as it was written before
  files.write_sealed(described, noted)
  assert registry.modalities("mnist", tmp_path) == ("image",)
  assert registry.digest("mnist", tmp_path) == known
  assert len(registry.open_dataset("mnist", "test", tmp_path).labels) == 3


def edges(image):
  """How strong the edges of an image are, in the middle of the sensor."""
  padded = np.pad(image[..., 0].astype(float), 3)
  return np.hypot(*np.gradient(padded))


def likeness(one, other):
  """The largest correlation of two maps [34, 34] over shifts of up to 3."""
  one, other = (each - each.mean() for each in (one, other))
  return max(
    np.sum(np.roll(one, (down, right), (0, 1)) * other)
    for down in range(-3, 4)
    for right in range(-3, 4)
  ) / np.sqrt(np.sum(one**2) * np.sum(other**2))


def test_real_recordings_are_those_of_their_images(shared):
  path = shared / "data" / "nmnist1k" / "nmnist1k.tar.xz"
  images = shared / "data" / "mnist"
  if not (path.is_file() and images.is_dir()):
    pytest.skip(f"no {path}, or no {images}")
  source = downloads.recognise(path, "nmnist", images)
  assert {split: load().size for split, load in source.splits.items()} == {
    "train": 1000,
    "test": 100,
  }
  examples = source.splits["train"]()
  pairs = [examples.read(row) for row in range(0, 1000, 50)]
  maps = [
    events.to_frames(
      recorded.decode(pair["events"].tobytes(), "x").events, 1
    ).sum(axis=(0, 3), dtype=float)
    for pair in pairs
  ]
  alike = np.array(
    [[likeness(edges(pair["image"]), seen) for pair in pairs] for seen in maps]
  )
  # A recording is likest to its own image among twenty: of these, 17.
  assert np.sum(alike.argmax(axis=1) == np.arange(20)) >= 15
