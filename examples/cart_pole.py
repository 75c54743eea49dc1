"""A small network learns to balance a pole on a cart, by policy gradient.

    python examples/cart_pole.py

The cart and its pole are simulated here (Barto, Sutton and Anderson, "Neuronlike adaptive elements
that can solve difficult learning control problems", 1983). The network says how likely it is to
push right; pushes that were followed by longer balance than usual become likelier (R. Williams,
"Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992).
"""

from __future__ import annotations

import argparse

import numpy as np

import tilegrad as tg
from tilegrad import nn, optim

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, INTERVAL = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
EDGE, TILT = 2.4, 12 * np.pi / 180  # further out, or further down, and the game is over
LONGEST = 500
DISCOUNT = 0.99


def move(state: np.ndarray, right: np.ndarray) -> np.ndarray:
    """One interval of many carts: state (N, 4) of place, speed, angle, angular speed."""
    _, speed, angle, spin = state.T
    push = np.where(right, FORCE, -FORCE)
    sine, cosine = np.sin(angle), np.cos(angle)
    drive = (push + POLE * HALF_LENGTH * spin**2 * sine) / (CART + POLE)
    inertia = HALF_LENGTH * (4 / 3 - POLE * cosine**2 / (CART + POLE))
    tumble = (GRAVITY * sine - cosine * drive) / inertia
    rush = drive - POLE * HALF_LENGTH * tumble * cosine / (CART + POLE)
    return state + INTERVAL * np.stack([speed, rush, spin, tumble], axis=1)


def play(policy: nn.Module, games: int, rng: np.random.Generator):
    """Play some games at once; the states met, the pushes made, and who was still playing.

    Arrays (T, games, 4), (T, games) and (T, games): T is the longest game's length.
    """
    state = rng.uniform(-0.05, 0.05, (games, 4))
    alive = np.ones(games, bool)
    states, pushes, playing = [], [], []
    with tg.no_grad():
        while alive.any() and len(states) < LONGEST:
            logit = policy(tg.tensor(state.astype(np.float32))).numpy()[:, 0]
            right = rng.random(games) < 1 / (1 + np.exp(-logit))
            states.append(state)
            pushes.append(right)
            playing.append(alive)
            state = move(state, right)
            alive = alive & (abs(state[:, 0]) < EDGE) & (abs(state[:, 2]) < TILT)
    return np.array(states), np.array(pushes), np.array(playing)


def returns(playing: np.ndarray) -> np.ndarray:
    """Discounted balance still to come at each moment: one for each interval that is played."""
    total = np.zeros(playing.shape)
    ahead = np.zeros(playing.shape[1])
    for t in reversed(range(len(playing))):
        ahead = playing[t] + DISCOUNT * ahead * playing[t]
        total[t] = ahead
    return total


def main(arguments: list[str] | None = None) -> float:
    """Train, say what was learned, and return the mean length of the last games."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--games", type=int, default=16, help="played in each round")
    options = parser.parse_args(arguments)

    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    first = 0.0
    for step in range(1, options.rounds + 1):
        states, pushes, playing = play(policy, options.games, rng)
        length = float(playing.sum(axis=0).mean())
        first = first or length
        gain = returns(playing)[playing]
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        optimizer.zero_grad()
        logits = policy(tg.tensor(states[playing].astype(np.float32)))
        surprise = nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0], tg.tensor(pushes[playing].astype(np.float32)), reduction="none"
        )
        loss = (surprise * tg.tensor(gain.astype(np.float32))).mean()
        loss.backward()
        optimizer.step()
        if step % max(1, options.rounds // 6) == 0:
            print(f"round {step:3}: balanced for {length * INTERVAL:5.2f} s")
    print(
        f"learned to balance for {length * INTERVAL:.1f} s on average "
        f"(at first {first * INTERVAL:.1f} s; games end after {LONGEST * INTERVAL:.0f} s)"
    )
    return length


if __name__ == "__main__":
    main()
