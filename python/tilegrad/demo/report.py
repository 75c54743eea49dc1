"""What the training came to: a confusion table for the terminal, a picture for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SHOWN = 10  # digits in the picture


@dataclass(frozen=True)
class Reading:
    """One digit: its image (H, W), what is written, what was read, and how sure the reader was."""

    image: Array
    written: int
    read: int
    sureness: float

    @property
    def wrong(self) -> bool:
        return self.written != self.read


def hardest(readings: Sequence[Reading]) -> list[Reading]:
    """The wrongly read digits, then the least sure of the others, as many as the picture shows."""
    return sorted(readings, key=lambda reading: (not reading.wrong, reading.sureness))[:SHOWN]


def confusion(labels: Array, read: Array, classes: int = 10) -> Array:
    """How often each label (row) was read as each digit (column): (classes, classes) integers.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, read), 1)
    return counts


def confusion_table(counts: Array) -> str:
    """The counts as text, zeros as dots, with the share of each digit that was read rightly."""
    width = max(4, len(str(counts.max())) + 1)
    digits = "".join(f"{digit:>{width}}" for digit in range(len(counts)))
    lines = [f"written\\read{digits}   right"]
    for digit, row in enumerate(counts):
        cells = "".join(f"{count or '.':>{width}}" for count in row)
        share = f"{row[digit] / row.sum():.1%}" if row.sum() else "-"
        lines.append(f"{digit:>12}{cells}  {share:>6}")
    return "\n".join(lines)


def picture(
    path: Path,
    losses: Sequence[float],
    accuracies: Sequence[float],
    readings: Sequence[Reading],
    title: str,
) -> None:
    """Draw the loss of every step, the accuracy after every epoch, and the hardest digits.

    Args:
        path: the PNG to write.
        losses: one for each step.
        accuracies: held-out accuracy, one for each epoch.
        readings: of all held-out digits; those read wrongly are shown first, with red titles.
        title: above the plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.2, 1])
    curves, gallery = parts
    axes = curves.subplots()
    axes.plot(losses, color="tab:blue", alpha=0.3, linewidth=1)
    axes.plot(_smoothed(losses), color="tab:blue", label="training loss")
    axes.set(title=title, xlabel="step", ylabel="cross-entropy, labels smoothed")
    axes.set(yscale="log", xlim=(0, len(losses)))
    right = axes.twinx()
    ends = np.linspace(0, len(losses), len(accuracies) + 1)[1:]
    right.plot(ends, accuracies, "o-", color="tab:orange", markersize=3, label="held-out accuracy")
    right.set(ylabel="accuracy", ylim=(min(0.9, *accuracies), 1))
    lines = [*axes.get_lines()[1:], *right.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], loc="center right")
    axes.grid(alpha=0.3)
    mistakes = sum(reading.wrong for reading in readings)
    gallery.suptitle(f"the hardest digits; {mistakes or 'none'} of {len(readings)} read wrongly")
    for panel, reading in zip(gallery.subplots(1, SHOWN), hardest(readings), strict=False):
        panel.imshow(reading.image, cmap="gray_r")
        panel.set(xticks=[], yticks=[])
        panel.set_title(
            f"{reading.written} read as {reading.read}\n{reading.sureness:.0%} sure",
            fontsize=8,
            color="tab:red" if reading.wrong else "black",
        )
    figure.savefig(path, dpi=120)


def _smoothed(losses: Sequence[float], span: int = 25) -> Array:
    """The mean of the last ``span`` losses at each step."""
    total = np.cumsum(np.concatenate([[0.0], losses]))
    last = np.arange(1, len(losses) + 1)
    first = np.maximum(0, last - span)
    return np.asarray((total[last] - total[first]) / (last - first))
