"""One sentence that sums up alarms, the same in every report."""

import enum
from collections.abc import Iterable
from typing import NamedTuple

from snnjax.checks.alarms import Alarm, State


class Tone(enum.Enum):
  """Whether a sentence about alarms is bad news, open or good news."""

  FIRED = "fired"
  OPEN = "open"
  CLEAR = "clear"


class Verdict(NamedTuple):
  """Alarms summed up in words.

  Attributes:
    tone: fired, clear, or open: nothing fired, and not all was decided.
    sentence: the same in words, for the first line.
    counts: how many checks stand where, in words.
  """

  tone: Tone
  sentence: str
  counts: str

  @property
  def text(self) -> str:
    """The sentence and the counts, as one line."""
    return " ".join(part for part in (self.sentence, self.counts) if part)


def verdict(alarms: Iterable[Alarm]) -> Verdict:
  """Returns the sentence that sums up alarms.

  "No alarm fired" alone is said where every check that applies has passed,
  and at least one did. What was not measured, or on too few examples to tell,
  is mentioned in the same sentence.

  Args:
    alarms: of one network or many, from `check`.
  """
  states = [alarm.state for alarm in alarms]
  number = {state: states.count(state) for state in State}
  fired, passed = number[State.FIRED], number[State.PASSED]
  open_ones = number[State.UNDECIDED] + number[State.NOT_CHECKED]
  counts = (
    f"Of {_checks(len(states))} {fired} fired, {passed} passed, "
    f"{number[State.UNDECIDED]} could not be decided with so few examples, "
    f"{number[State.NOT_CHECKED]} could not be measured and "
    f"{number[State.NOT_APPLICABLE]} did not apply."
  )
  if fired:
    sentence = "1 alarm fired." if fired == 1 else f"{fired} alarms fired."
    return Verdict(Tone.FIRED, sentence, counts)
  if not (passed or open_ones) or len(states) == number[State.NOT_CHECKED]:
    return Verdict(Tone.OPEN, "Nothing was checked.", counts if states else "")
  if open_ones:
    sentence = (
      f"No alarm fired, but {_checks(open_ones)} did not come to a result."
    )
    return Verdict(Tone.OPEN, sentence, counts)
  return Verdict(Tone.CLEAR, "No alarm fired.", counts)


def _checks(number: int) -> str:
  return "1 check" if number == 1 else f"{number} checks"
