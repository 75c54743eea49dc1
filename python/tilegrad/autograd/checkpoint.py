"""Checkpointing: give back the memory of a part of the graph, compute it again in backward.

The graph of the part is recorded as ever, so edges, hooks and leaves are what they would be; only
the values that its nodes saved are dropped. The first time one is missed, the part runs again and
its nodes, which come in the same order, hand their saved values over.

Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", arXiv 1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.autograd import engine
from tilegrad.autograd.modes import enable_grad, is_grad_enabled
from tilegrad.autograd.node import Missing, Node, next_sequence_number
from tilegrad.autograd.tensor import Tensor, edge_of


class _Recomputation(Missing):
    """Runs the part again for all of its nodes, once."""

    def __init__(self, run: Callable[[], Any], nodes: list[Node]) -> None:
        self.run = run
        self.nodes = nodes

    def restore(self, node: Node) -> None:
        """Run the part and hand the saved values of its nodes over."""
        start = next_sequence_number()
        with enable_grad():
            again = _nodes_since(start, self.run())
        if [n.op for n in again] != [n.op for n in self.nodes]:
            raise RuntimeError(
                "checkpoint: the function recorded other operations when it ran again; it must "
                "depend on its arguments only"
            )
        for old, new in zip(self.nodes, again, strict=True):
            if isinstance(old.inputs, _Recomputation):
                old.inputs, old.versions = new.inputs, new.versions
            if isinstance(old.out, _Recomputation):
                old.out, old.out_version = new.out, new.out_version


def _nodes_since(start: int, outputs: Any) -> list[Node]:
    outs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    edges = [edge_of(out) for out in outs if isinstance(out, Tensor)]
    nodes = engine.reachable(edge for edge in edges if edge is not None)
    return [node for node in nodes if node.sequence > start]


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, whose intermediate values are computed again in backward.

    Args:
        function: must do the same every time it is called. Random numbers drawn inside are drawn
            again alike.
        args, kwargs: its arguments. torch's ``use_reentrant``, ``preserve_rng_state`` and
            ``determinism_check`` are accepted and change nothing.

    >>> import tilegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = tg.utils.checkpoint(lambda x: (x * x) * x, x)
    >>> y.backward(tg.tensor([1.0, 1.0]))
    >>> x.grad.numpy()
    array([ 3., 12.], dtype=float32)
    """
    for name in ("use_reentrant", "preserve_rng_state", "determinism_check"):
        kwargs.pop(name, None)
    if not is_grad_enabled():
        return function(*args, **kwargs)
    restore_state = _random_state()
    start = next_sequence_number()
    outputs = function(*args, **kwargs)
    nodes = _nodes_since(start, outputs)

    def run() -> Any:
        with restore_state():
            return function(*args, **kwargs)

    again = _Recomputation(run, nodes)
    for node in nodes:
        if type(node.inputs) is tuple and any(v is not None for v in node.inputs):
            node.inputs = again
        if node.out is not None and not isinstance(node.out, Missing):
            node.out = again
    return outputs


#: Takes the state of the random generator and returns a context manager that sets it for a while;
#: the module that owns the generator replaces it.
class _NoState:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> None:
        return None


_random_state: Callable[[], Callable[[], Any]] = lambda: _NoState  # noqa: E731


def set_random_state(capture: Callable[[], Callable[[], Any]]) -> None:
    """Let ``capture`` save the random state before a checkpointed part runs."""
    global _random_state
    _random_state = capture
