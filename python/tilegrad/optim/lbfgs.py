"""L-BFGS with torch's interface and its strong Wolfe line search."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.autograd.modes import enable_grad, no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.optim.optimizer import Optimizer, at_least, number

Array = np.ndarray[Any, Any]
#: (loss, gradient) at ``x + t d``.
Probe = Callable[[float], tuple[float, Array]]


def cubic_minimum(
    x1: float, f1: float, g1: float, x2: float, f2: float, g2: float,
    bounds: tuple[float, float] | None = None,
) -> float:  # fmt: skip
    """Where the cubic through two points with these slopes is least, within bounds."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if square < 0 or math.isnan(square):
        return (low + high) / 2
    d2 = math.sqrt(square)
    if x1 <= x2:
        least = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        least = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(least, low), high)


def strong_wolfe(
    probe: Probe, t: float, d: Array, f: float, g: Array, slope: float, c1: float = 1e-4,
    c2: float = 0.9, tolerance_change: float = 1e-9, max_ls: int = 25,
) -> tuple[float, Array, float, int]:  # fmt: skip
    """A step with sufficient decrease and curvature: Nocedal and Wright, algorithms 3.5 and 3.6.

    Returns:
        The loss, the gradient, the step and how often the function was evaluated.
    """
    d_norm = float(np.abs(d).max())
    g = g.copy()
    f_new, g_new = probe(t)
    evaluations = 1
    slope_new = float(g_new @ d)
    t_prev, f_prev, g_prev, slope_prev = 0.0, f, g, slope
    done = False
    iteration = 0
    while iteration < max_ls:
        if f_new > f + c1 * t * slope or (iteration > 1 and f_new >= f_prev):
            bracket = [(t_prev, f_prev, g_prev, slope_prev), (t, f_new, g_new.copy(), slope_new)]
            break
        if abs(slope_new) <= -c2 * slope:
            bracket = [(t, f_new, g_new, slope_new)]
            done = True
            break
        if slope_new >= 0:
            bracket = [(t_prev, f_prev, g_prev, slope_prev), (t, f_new, g_new.copy(), slope_new)]
            break
        least, most = t + 0.01 * (t - t_prev), t * 10
        before = t
        t = cubic_minimum(t_prev, f_prev, slope_prev, t, f_new, slope_new, (least, most))
        t_prev, f_prev, g_prev, slope_prev = before, f_new, g_new.copy(), slope_new
        f_new, g_new = probe(t)
        evaluations += 1
        slope_new = float(g_new @ d)
        iteration += 1
    if iteration == max_ls:
        bracket = [(0.0, f, g, slope), (t, f_new, g_new, slope_new)]
    insufficient = False
    # the bracket's lower end has the lower loss
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not done and iteration < max_ls:
        ends = [point[0] for point in bracket]
        if abs(ends[1] - ends[0]) * d_norm < tolerance_change:
            break
        a, b = bracket
        t = cubic_minimum(a[0], a[1], a[3], b[0], b[1], b[3])
        # points too near an end of the bracket make no progress
        margin = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < margin:
            if insufficient or t >= max(ends) or t <= min(ends):
                at_high = abs(t - max(ends)) < abs(t - min(ends))
                t = max(ends) - margin if at_high else min(ends) + margin
                insufficient = False
            else:
                insufficient = True
        else:
            insufficient = False
        f_new, g_new = probe(t)
        evaluations += 1
        slope_new = float(g_new @ d)
        iteration += 1
        point = (t, f_new, g_new.copy(), slope_new)
        if f_new > f + c1 * t * slope or f_new >= bracket[low][1]:
            bracket[high] = point
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(slope_new) <= -c2 * slope:
                done = True
            elif slope_new * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
    best = bracket[low] if len(bracket) > 1 else bracket[0]
    return best[1], best[2], best[0], evaluations


class LBFGS(Optimizer):
    """Limited-memory BFGS: Nocedal and Wright, "Numerical optimization", algorithm 7.4.

    Args:
        params: tensors, one group only.
        lr: the first step, and every step without a line search.
        max_iter: iterations per call of :meth:`step`.
        max_eval: evaluations per call, 1.25 ``max_iter`` by default.
        tolerance_grad: stop at this largest entry of the gradient.
        tolerance_change: stop at this change of parameters or loss.
        history_size: how many pairs of steps and gradient changes are kept.
        line_search_fn: None or "strong_wolfe".
    """

    def __init__(
        self, params: Any, lr: float = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        at_least("LBFGS", 0.0, lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(
                f"LBFGS: line_search_fn must be None or 'strong_wolfe', not {line_search_fn!r}"
            )
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                "history_size": history_size, "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: parameter groups with options of their own are not supported")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _flat_gradient(self) -> Array:
        parts = [
            np.zeros(p._array.size, p.dtype) if p.grad is None else p.grad._array.ravel()
            for p in self._params
        ]
        return np.concatenate(parts)

    def _move(self, t: float, d: Array) -> None:
        start = 0
        for p in self._params:
            stop = start + p._array.size
            p._array += t * d[start:stop].reshape(p.shape)
            p._bump_version()
            start = stop

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate; the closure computes the loss and its gradients and returns it."""
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that computes the loss again")
        with no_grad():
            return self._iterate(closure)

    def _evaluate(self, closure: Callable[[], Any]) -> float:
        with enable_grad():
            return float(closure())

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, search = number(group["lr"]), group["line_search_fn"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        with enable_grad():
            first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        g = self._flat_gradient()
        if np.abs(g).max(initial=0.0) <= group["tolerance_grad"]:
            return first_loss
        d, t = _array(state.get("d")), state.get("t")
        ys = [_array(v) for v in state.get("old_dirs", [])]
        ss = [_array(v) for v in state.get("old_stps", [])]
        rhos = [float(_array(v)) for v in state.get("ro", [])]
        diagonal = float(_array(state.get("H_diag", 1.0)))
        g_before, loss_before = _array(state.get("prev_flat_grad")), state.get("prev_loss")
        iteration = 0
        while iteration < group["max_iter"]:
            iteration += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d, ys, ss, rhos, diagonal = -g, [], [], [], 1.0
            else:
                y, s = g - g_before, d * t
                curvature = float(y @ s)
                if curvature > 1e-10:
                    if len(ys) == group["history_size"]:
                        del ys[0], ss[0], rhos[0]
                    ys.append(y)
                    ss.append(s)
                    rhos.append(1.0 / curvature)
                    diagonal = curvature / float(y @ y)
                d = _two_loops(g, ys, ss, rhos, diagonal)
            g_before, loss_before = g.copy(), loss
            t = min(1.0, 1.0 / float(np.abs(g).sum())) * lr if state["n_iter"] == 1 else lr
            slope = float(g @ d)
            if slope > -group["tolerance_change"]:
                break
            calls = 0
            if search is not None:
                start = [p._array.copy() for p in self._params]

                def probe(
                    step: float, start: list[Array] = start, d: Array = d
                ) -> tuple[float, Array]:
                    self._move(step, d)
                    value = self._evaluate(closure)
                    gradient = self._flat_gradient()
                    for p, values in zip(self._params, start, strict=True):
                        p._array[...] = values
                    return value, gradient

                loss, g, t, calls = strong_wolfe(
                    probe, t, d, loss, g, slope, max_ls=group["max_eval"] - evaluations
                )
                self._move(t, d)
                flat = np.abs(g).max(initial=0.0) <= group["tolerance_grad"]
            else:
                self._move(t, d)
                flat = False
                if iteration != group["max_iter"]:
                    loss = self._evaluate(closure)
                    g = self._flat_gradient()
                    flat = np.abs(g).max(initial=0.0) <= group["tolerance_grad"]
                    calls = 1
            evaluations += calls
            state["func_evals"] += calls
            if iteration == group["max_iter"] or evaluations >= group["max_eval"] or flat:
                break
            if np.abs(d * t).max(initial=0.0) <= group["tolerance_change"]:
                break
            if abs(loss - loss_before) < group["tolerance_change"]:
                break
        state.update(
            d=Tensor(d), t=t, old_dirs=[Tensor(v) for v in ys], old_stps=[Tensor(v) for v in ss],
            ro=list(rhos), H_diag=diagonal, prev_flat_grad=Tensor(g_before), prev_loss=loss_before,
        )  # fmt: skip
        return first_loss


def _array(value: Any) -> Any:
    return value._array if isinstance(value, Tensor) else value


def _two_loops(
    g: Array, ys: list[Array], ss: list[Array], rhos: list[float], diagonal: float
) -> Array:
    """``-H g`` with the inverse Hessian that the history implies."""
    q = -g
    alphas = [0.0] * len(ys)
    for i in range(len(ys) - 1, -1, -1):
        alphas[i] = float(ss[i] @ q) * rhos[i]
        q = q - alphas[i] * ys[i]
    d = q * diagonal
    for y, s, rho, alpha in zip(ys, ss, rhos, alphas, strict=True):
        d = d + s * (alpha - float(y @ d) * rho)
    return np.asarray(d)
