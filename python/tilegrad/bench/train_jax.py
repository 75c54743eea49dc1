"""The networks of the training bench in JAX: jitted steps over the same weights.

JAX has no layers; they are read off the names and shapes of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: The rate of everyone's optimizer while losses are compared.
RATE = 0.01


def _layers(jax: Any, squash: Any) -> Callable[[Any, Any], Any]:
    """Convolutions (padded alike, pooled by 2) and affine maps, with ``squash`` in between."""
    lax, infinity = jax.lax, jax.numpy.inf
    window = (1, 1, 2, 2)

    def network(p: Any, x: Any) -> Any:
        names = sorted({int(name.split(".")[0]) for name in p})
        for i, name in enumerate(names):
            w, b = p[f"{name}.weight"], p[f"{name}.bias"]
            if w.ndim == 4:
                x = squash(lax.conv(x, w, (1, 1), "SAME") + b[:, None, None])
                x = lax.reduce_window(x, -infinity, lax.max, window, window, "VALID")
            else:
                x = x.reshape(x.shape[0], -1) @ w.T + b
                x = squash(x) if i + 1 < len(names) else x
        return x

    return network


def _lstm(jax: Any) -> Callable[[Any, Any], Any]:
    """One layer over a sequence (T, N, C), gates in torch's order."""
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid

    def network(p: Any, x: Any) -> Any:
        hidden = p["weight_hh_l0"].shape[1]
        inner = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + p["bias_hh_l0"]

        def cell(state: Any, row: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(row + h @ p["weight_hh_l0"].T, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
            h = sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        start = jnp.zeros((x.shape[1], hidden), x.dtype)
        return jax.lax.scan(cell, (start, start), inner)[1]

    return network


def _block(jax: Any, heads: int) -> Callable[[Any, Any], Any]:
    """A transformer encoder layer on (N, T, D), normalised after each half."""
    jnp = jax.numpy

    def norm(x: Any, weight: Any, bias: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias

    def split(x: Any) -> Any:
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    def network(p: Any, x: Any) -> Any:
        qkv = x @ p["self_attn.in_proj_weight"].T + p["self_attn.in_proj_bias"]
        q, k, v = map(split, jnp.split(qkv, 3, axis=-1))
        scores = q @ k.swapaxes(-1, -2) / jnp.sqrt(q.shape[-1])
        mixed = (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        mixed = mixed @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"]
        x = norm(x + mixed, p["norm1.weight"], p["norm1.bias"])
        wide = jax.nn.relu(x @ p["linear1.weight"].T + p["linear1.bias"])
        x = x + wide @ p["linear2.weight"].T + p["linear2.bias"]
        return norm(x, p["norm2.weight"], p["norm2.bias"])

    return network


def _chain(jax: Any) -> Callable[[Any, Any], Any]:
    def network(p: Any, x: Any) -> Any:
        value = p["start"]
        for _ in range(10):
            value = jax.numpy.tanh(value * 1.01 + x) * 0.99
        return value

    return network


def network_of(jax: Any, model: Any) -> Callable[[Any, Any], Any]:
    """``model`` as a function of its weights and inputs."""
    kind = type(model).__name__
    if kind == "LSTM":
        return _lstm(jax)
    if kind == "TransformerEncoderLayer":
        return _block(jax, model.self_attn.num_heads)
    if kind == "Chain":
        return _chain(jax)
    squashes = any(type(module).__name__ == "Tanh" for module in model.modules())
    return _layers(jax, jax.numpy.tanh if squashes else jax.nn.relu)


def _sgd(jax: Any) -> Any:
    tree = jax.tree_util.tree_map

    def update(p: Any, state: Any, g: Any, rate: Any) -> Any:
        momentum = tree(lambda m, g: 0.9 * m + g, state[0], g)
        return tree(lambda p, m: p - rate * m, p, momentum), (momentum,)

    return update


def _adam(jax: Any) -> Any:
    tree = jax.tree_util.tree_map

    def update(p: Any, state: Any, g: Any, rate: Any) -> Any:
        m, v, t = state
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        t = t + 1.0

        def move(p: Any, m: Any, v: Any) -> Any:
            root = jax.numpy.sqrt(v / (1 - 0.999**t))
            return p - rate * (m / (1 - 0.9**t)) / (root + 1e-8)

        return tree(move, p, m, v), (m, v, t)

    return update


def jax_step(
    jax: Any, model: Any, kind: str, weights: Mapping[str, Any], x: Any, y: Any, rate: list[float]
) -> tuple[Callable[[], Any], Callable[[], float]]:
    """A jitted step of ``kind`` (training, gradients or inference), and the loss it returns.

    ``rate`` holds one number, read at every step.
    """
    jnp = jax.numpy
    network = network_of(jax, model)
    p = {name: jnp.asarray(value) for name, value in weights.items()}
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    if kind != "training":
        mean = jax.jit(lambda p, x: network(p, x).mean())
        both = jax.jit(jax.value_and_grad(lambda p, x: network(p, x).mean()))

        def forward() -> Any:
            return mean(p, jx).block_until_ready()

        def forward_and_back() -> Any:
            return jax.block_until_ready(both(p, jx))[0]

        step = forward if kind == "inference" else forward_and_back
        return step, lambda: float(step())

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jax.nn.log_softmax(network(p, x))[jnp.arange(x.shape[0]), y].mean()

    adam = any(type(module).__name__ == "Tanh" for module in model.modules())  # the policy
    update = _adam(jax) if adam else _sgd(jax)

    def whole(p: Any, state: Any, x: Any, y: Any, rate: Any) -> Any:
        value, g = jax.value_and_grad(loss)(p, x, y)
        return value, *update(p, state, g, rate)

    jitted = jax.jit(whole, donate_argnums=(0, 1))
    zeros = [{name: jnp.zeros_like(value) for name, value in p.items()} for _ in range(2)]
    state: list[Any] = [p, (*zeros, 0.0) if adam else (zeros[0],)]

    def train() -> Any:
        value, *state[:] = jitted(*state, jx, jy, rate[0])
        return value.block_until_ready()

    return train, lambda: float(train())
