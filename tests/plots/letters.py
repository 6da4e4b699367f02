"""What is written in a drawing, and where."""

import itertools


def plain(text):
  """A text on one line, with ordinary spaces."""
  return " ".join(text.replace("\u00a0", " ").split())


def beside(axes):
  """What is written in and beside a panel, in order."""
  return [text.get_text() for text in axes.texts if text.get_text()]


def written(drawing):
  """Every text that is seen, after the layout."""
  texts = [drawing._suptitle, *drawing.texts]
  for legend in drawing.legends:
    texts += legend.get_texts()
  for axes in drawing.axes:
    if not axes.get_visible():
      continue
    texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    for axis in (axes.xaxis, axes.yaxis):
      low, high = sorted(axis.get_view_interval())
      texts += [
        label
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if low <= tick.get_loc() <= high
      ]
  unique = {id(t): t for t in texts if t.get_visible() and t.get_text()}
  return list(unique.values())


def check_all_is_read(drawing):
  """Raises unless all texts lie on the paper, none of them over another."""
  drawing.draw_without_rendering()
  # A little smaller than they are: lines of text may touch.
  boxes = [
    (text.get_text(), text.get_window_extent().padded(-1.5))
    for text in written(drawing)
  ]
  assert len(boxes) > 10
  width, height = drawing.bbox.size
  for text, box in boxes:
    assert box.x0 >= 0, text
    assert box.y0 >= 0, text
    assert box.x1 <= width, text
    assert box.y1 <= height, text
  for (one, first), (other, second) in itertools.combinations(boxes, 2):
    assert not first.overlaps(second), (one, other)
  # Wider, it would be shrunk in a page until its letters are too small.
  assert drawing.get_figwidth() <= 9.5
