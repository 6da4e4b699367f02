"""Files of event cameras and of spiking audio sets, one module per format.

`read` opens any of them. Every decoder returns a `Recording` of checked events
or raises a `RecordingError`, which says the file, the byte and the reason.
"""

from snnjax.data.recordings.reading import read
from snnjax.data.recordings.records import Recording, RecordingError
from snnjax.submodules import lazily

__all__ = [
  "Recording",
  "RecordingError",
  "aedat_2",
  "aedat_4",
  "aedat_31",
  "aedat_header",
  "gesture_labels",
  "heidelberg",
  "nmnist",
  "prophesee",
  "read",
  "reading",
  "records",
  "stmnist",
]

_NAMES = ("Recording", "RecordingError", "read")
__getattr__, __dir__ = lazily(
  __name__, [name for name in __all__ if name not in _NAMES], _NAMES
)
