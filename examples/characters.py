"""A recurrent network learns to write, one character at a time.

    python examples/characters.py [--text FILE]

An LSTM reads the text in windows and learns which character comes next; then it goes on by itself
from a beginning it is given. Without --text it reads six sonnets by Shakespeare.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import nn, optim

SONNETS = Path(__file__).with_name("sonnets.txt")


class Writer(nn.Module):
    """From characters (T, N) to scores of the next ones (T, N, characters)."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.recurrent = nn.LSTM(width, width)
        self.scores = nn.Linear(width, characters)

    def forward(self, text, state=None):
        hidden, state = self.recurrent(self.embedding(text), state)
        return self.scores(hidden), state


def windows(text: np.ndarray, length: int, count: int, rng: np.random.Generator):
    """Random pieces of the text and, one character on, what follows: two (T, N) arrays."""
    starts = rng.integers(0, len(text) - length, count)
    pieces = text[starts + np.arange(length + 1)[:, None]]
    return pieces[:-1], pieces[1:]


def write(model: Writer, beginning: list[int], length: int, rng: np.random.Generator) -> list[int]:
    """Go on from the beginning: each character is drawn as the network's scores say."""
    written, state = list(beginning), None
    fresh = np.array(beginning)[:, None]
    with tg.no_grad():
        for _ in range(length):
            scores, state = model(tg.tensor(fresh), state)
            weights = np.exp(2 * scores[-1, 0].numpy().astype(np.float64))  # likely ones favoured
            written.append(int(rng.choice(len(weights), p=weights / weights.sum())))
            fresh = np.array(written[-1:])[:, None]
    return written


def main(arguments: list[str] | None = None) -> float:
    """Train, let it write, and return the last loss in bits a character."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, default=SONNETS, help="a file to learn from")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--width", type=int, default=96)
    options = parser.parse_args(arguments)

    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    text = options.text.read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(c) for c in text])

    model = Writer(len(alphabet), options.width)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    bits = np.log2(len(alphabet))
    print(f"{len(text)} characters, {len(alphabet)} different: {bits:.2f} bits each for a guesser")
    for step in range(1, options.steps + 1):
        now, following = windows(codes, 50, 16, rng)
        optimizer.zero_grad()
        scores, _ = model(tg.tensor(now))
        loss = nn.functional.cross_entropy(
            scores.reshape(-1, len(alphabet)), tg.tensor(following.reshape(-1))
        )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        bits = loss.item() / np.log(2)
        if step % max(1, options.steps // 6) == 0:
            print(f"step {step:4}: {bits:.2f} bits")

    beginning = [alphabet.index(c) for c in text[:12]]
    written = "".join(alphabet[i] for i in write(model, beginning, 240, rng))
    print(f"learned to guess each character to {bits:.2f} bits; left alone, it writes:\n")
    print(written)
    return bits


if __name__ == "__main__":
    main()
