"""Times this library beside its peers: ``python -m experiments.benchmark``.

Every library runs in a process of its own; they take turns. Spikes and
gradients are compared before anything is timed. An absent peer is named and
skipped. Writes OUT.json and OUT.md.
"""

import pathlib

from absl import flags

from experiments.runs import launch

_ROWS = flags.DEFINE_string(
  "rows",
  "A,B,C,D,E,F,G,H,I",
  "Rows, joined by commas: A LIF layer, B small network, C VGG-11, D "
  "gradients, E first step, F growth, G seeds, H ceilings, I attacks, J "
  "suites, K convolutions.",
)
_PEERS = flags.DEFINE_string(
  "peers",
  "all",
  "Peers, joined by commas, or 'all', or '' for none: plain_torch, "
  "spikingjelly, snntorch, norse, spyx, foolbox, torchattacks.",
)
_SECONDS = flags.DEFINE_float(
  "seconds", 10.0, "Seconds of turns per task, all libraries together."
)
_LIMIT = flags.DEFINE_float(
  "limit", 3600.0, "Seconds after which no further task starts."
)
_MEMORY = flags.DEFINE_enum(
  "memory",
  "kept",
  ["kept", "default"],
  "Whether every library's process keeps freed memory, as our binaries do, "
  "or leaves that to the C library.",
)
_OUT = flags.DEFINE_string(
  "out", "results/benchmark/cpu", "The result's path, without a suffix."
)
_TINY = flags.DEFINE_bool("tiny", False, "Small sizes, to try the benchmark.")


def main() -> None:
  """Does what the flags say."""
  from experiments.benchmarks import run as benchmark

  benchmark.run(
    rows=_ROWS.value,
    peers=_PEERS.value,
    seconds=_SECONDS.value,
    limit=_LIMIT.value,
    out=pathlib.Path(_OUT.value),
    tiny=_TINY.value,
    memory=_MEMORY.value,
  )


if __name__ == "__main__":
  launch.run_plain(main)
