"""The engine: graphs, accumulation, freeing, mutation, hooks, nested modes, custom functions."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tilegrad as tg
from tilegrad.autograd import Function, GradcheckError, gradcheck, gradgradcheck
from tilegrad.autograd import forward_mode as fm


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(np.array(values), requires_grad=True)


def array(tensor: tg.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


class TestBackward:
    def test_accumulates_over_calls_and_paths(self):
        x = leaf(1.0, 2.0)
        for _ in range(2):
            (x * x + x * 3.0).sum().backward()
        np.testing.assert_array_equal(array(x.grad), 2 * (2 * np.array([1.0, 2.0]) + 3))

    def test_leaves_never_share_a_gradient_array(self):
        x, y = leaf(1.0), leaf(2.0)
        (x + y).sum().backward()
        (x + y).sum().backward()
        assert x.grad.item() == 2.0
        assert y.grad.item() == 2.0
        assert not np.shares_memory(array(x.grad), array(y.grad))

    def test_given_gradient_is_not_aliased(self):
        x = leaf(1.0, 2.0)
        g = tg.tensor(np.ones(2))
        (x + 0.0).backward(g)
        (x + 0.0).backward(g)
        np.testing.assert_array_equal(array(g), [1.0, 1.0])
        np.testing.assert_array_equal(array(x.grad), [2.0, 2.0])

    def test_second_backward_needs_retain_graph(self):
        x = leaf(1.0)
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.item() == 4.0
        with pytest.raises(RuntimeError, match="retain_graph"):
            y.backward()

    def test_non_scalar_needs_a_gradient_of_its_shape(self):
        y = leaf(1.0, 2.0) * 2.0
        with pytest.raises(RuntimeError, match=r"scalar.*\(2,\)"):
            y.backward()
        with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
            y.backward(tg.tensor(np.ones(3)))

    def test_without_graph(self):
        with pytest.raises(RuntimeError, match="does not require"):
            (tg.tensor([1.0]) * 2.0).sum().backward()

    def test_dtype_and_shape_of_every_edge(self):
        x = tg.tensor(np.ones((3, 1), np.float32), requires_grad=True)
        y = tg.tensor(np.ones((2, 3, 4)), requires_grad=True)
        (x * y).sum().backward()
        assert x.grad.shape == (3, 1)
        assert x.grad.dtype == np.float32
        assert y.grad.dtype == np.float64
        np.testing.assert_array_equal(array(x.grad), np.full((3, 1), 8.0))

    def test_million_operations(self):
        x = leaf(1.0)
        y = x
        for _ in range(1_000_000):
            y = y + 1.0
        y.backward(tg.tensor(np.ones(1)))
        assert x.grad.item() == 1.0
        del y

    def test_graph_is_freed_by_reference_counting(self):
        gc.disable()
        try:
            x = leaf(1.0)
            y = (x * x).exp() * 2.0
            alive = weakref.ref(y.grad_fn)
            y.sum().backward()
            del y
            assert alive() is None
        finally:
            gc.enable()

    def test_threads_record_separately(self):
        seen = []

        def work():
            seen.append((leaf(1.0) * 2.0).requires_grad)

        with tg.no_grad():
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert not (leaf(1.0) * 2.0).requires_grad
        assert seen == [True]


class TestGrad:
    def test_of_intermediate_and_unused(self):
        x, unused = leaf(2.0), leaf(1.0)
        y = x * x
        z = y * y
        gx, gy = tg.autograd.grad(z, (x, y), retain_graph=True)
        assert gx.item() == 32.0
        assert gy.item() == 8.0
        assert x.grad is None
        with pytest.raises(RuntimeError, match="do not depend on input 0"):
            tg.autograd.grad(z, unused, retain_graph=True)
        assert tg.autograd.grad(z, unused, retain_graph=True, allow_unused=True) == (None,)
        (zeros,) = tg.autograd.grad(z, unused, materialize_grads=True)
        assert zeros.item() == 0.0

    def test_fourth_derivative(self):
        x = leaf(3.0)
        y = x * x * x * x
        for expected in (108.0, 108.0, 72.0, 24.0):
            (y,) = tg.autograd.grad(y, x, create_graph=True)
            assert y.item() == expected

    def test_backward_with_create_graph(self):
        x = leaf(2.0)
        (x * x * x).sum().backward(create_graph=True)
        g, x.grad = x.grad, None
        g.sum().backward()
        assert x.grad.item() == 12.0


class TestMutation:
    def test_saved_input_changed(self):
        x = leaf(1.0, 2.0)
        w = tg.tensor(np.array([3.0, 4.0]))
        y = (x * w).sum()
        w += 1.0
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()

    def test_saved_result_changed(self):
        x = leaf(1.0, 2.0)
        y = x.exp()
        y *= 2.0
        with pytest.raises(RuntimeError, match="changed in place"):
            y.sum().backward()

    def test_unsaved_input_may_change(self):
        x = leaf(1.0)
        y = x * 2.0
        z = y + 1.0
        y += 1.0
        z.sum().backward()
        assert x.grad.item() == 2.0

    def test_view_of_changed_memory(self):
        x = leaf(1.0, 2.0) * 1.0
        view = x[0]
        x *= 2.0
        with pytest.raises(RuntimeError, match="changed in place"):
            (view * 3.0).sum().backward()

    def test_leaf_in_place(self):
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match="leaf"):
            x += 1.0
        with tg.no_grad():
            x += 1.0
        assert x.item() == 2.0


class TestHooks:
    def test_order_replacement_and_removal(self):
        x = leaf(1.0)
        y = x * 2.0
        calls = []
        y.register_hook(lambda g: calls.append("y") or g * 10.0)
        handle = x.register_hook(lambda g: calls.append("x"))
        y.sum().backward(retain_graph=True)
        assert calls == ["y", "x"]
        assert x.grad.item() == 20.0
        handle.remove()
        y.sum().backward()
        assert calls == ["y", "x", "y"]

    def test_what_a_hook_returns_must_fit(self):
        for wrong, error, text in (
            (lambda g: g.reshape(2, 1), RuntimeError, r"\(2, 1\).*\(2,\)"),
            (lambda g: 3.0, TypeError, "float"),
        ):
            x = leaf(1.0, 2.0)
            x.register_hook(wrong)
            with pytest.raises(error, match=text):
                (x * 2.0).sum().backward()

    def test_retain_grad(self):
        x = leaf(3.0)
        y = x * x
        y.retain_grad()
        (y * y).sum().backward()
        assert y.grad.item() == 18.0


class TestForwardMode:
    def jvp(self, function, x, t):
        with fm.level() as number:
            out = function(fm.dual(x, t, number))
            return fm.tangent_of(out, number)

    def test_perturbations_are_not_confused(self):
        # d/dx (x * d/dy (x + y) at y = 1) at x = 1 is 1; confusing the levels gives 2.
        one = tg.tensor(np.array(1.0))
        result = self.jvp(lambda x: x * self.jvp(lambda y: x + y, one, one), one, one)
        assert result.item() == 1.0

    def test_forward_over_reverse_and_back(self):
        x = leaf(2.0, 3.0)
        ones = tg.tensor(np.ones(2))

        def gradient(v):
            return tg.autograd.grad((v * v * v).sum(), v)[0]

        np.testing.assert_array_equal(array(self.jvp(gradient, x, ones)), [12.0, 18.0])
        self.jvp(lambda v: (v * v * v).sum(), x, ones).backward()
        np.testing.assert_array_equal(array(x.grad), [12.0, 18.0])

    def test_result_saved_by_a_rule_carries_its_tangent(self):
        x = leaf(0.3)

        def gradient(v):
            return tg.autograd.grad(v.exp().sum(), v)[0]

        found = self.jvp(gradient, x, tg.tensor(np.ones(1)))
        np.testing.assert_allclose(array(found), np.exp([0.3]), rtol=1e-15)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        y = x * x * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * (y * 3.0 / x)

    @staticmethod
    def jvp(ctx, t):
        x, y = ctx.saved_tensors
        return t * (y * 3.0 / x)


class TestFunction:
    def test_any_order_both_modes(self):
        assert gradcheck(Cube.apply, leaf(1.5, 2.0))
        assert gradgradcheck(Cube.apply, leaf(1.5, 2.0))

    def test_several_results_and_missing_cotangents(self):
        class Split(Function):
            @staticmethod
            def forward(ctx, x, scale):
                ctx.scale = scale
                return x * scale, x * 2.0

            @staticmethod
            def backward(ctx, g, h):
                return g * ctx.scale + h * 2.0, None

        x = leaf(1.0)
        a, b = Split.apply(x, 5.0)
        b.sum().backward(retain_graph=True)
        assert x.grad.item() == 2.0
        a.sum().backward()
        assert x.grad.item() == 7.0

    def test_wrong_backward_is_caught(self):
        class Wrong(Cube):
            @staticmethod
            def backward(ctx, g):
                return g * 2.0

        with pytest.raises(GradcheckError, match="reverse mode"):
            gradcheck(Wrong.apply, leaf(1.5))

        class Shapeless(Cube):
            @staticmethod
            def backward(ctx, g):
                return tg.tensor(np.ones((3, 3)))

        with pytest.raises(RuntimeError, match=r"\(3, 3\).*\(2,\)"):
            Shapeless.apply(leaf(1.0, 2.0)).sum().backward()

    def test_once_differentiable(self):
        class Once(Cube):
            backward = staticmethod(tg.autograd.once_differentiable(Cube.backward))

        x = leaf(2.0)
        (g,) = tg.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
        assert g.item() == 12.0
        with pytest.raises(RuntimeError, match="once_differentiable"):
            g.sum().backward()

    def test_saved_input_changed_in_place(self):
        x = leaf(2.0) * 1.0
        y = Cube.apply(x)
        x += 1.0
        with pytest.raises(RuntimeError, match="changed in place"):
            y.sum().backward()


class TestCheckpoint:
    def test_same_gradients_to_second_order(self):
        def function(x):
            return (x * x).exp() * x

        x = leaf(0.3, 0.7)
        assert gradgradcheck(lambda v: tg.utils.checkpoint(function, v), x)
        plain = tg.autograd.grad(function(x).sum(), x)[0]
        again = tg.autograd.grad(tg.utils.checkpoint(function, x).sum(), x)[0]
        np.testing.assert_array_equal(array(plain), array(again))

    def test_gradients_reach_captured_leaves(self):
        w, x = leaf(2.0), leaf(3.0)
        tg.utils.checkpoint(lambda v: v * w * v, x).sum().backward()
        assert w.grad.item() == 9.0
        assert x.grad.item() == 12.0

    def test_memory_is_given_back(self):
        kept = []

        def function(x):
            y = x.exp()
            kept.append(weakref.ref(y._array))
            return y.exp() * y

        x = leaf(0.5)
        y = tg.utils.checkpoint(function, x)
        assert kept[0]() is None
        y.sum().backward()
        assert len(kept) == 2

    def test_runs_once_per_backward(self):
        calls = []

        def function(x):
            calls.append(1)
            return (x * x).exp()

        tg.utils.checkpoint(function, leaf(1.0)).sum().backward()
        assert len(calls) == 2


def test_gradcheck_sees_a_planted_error():
    def wrong(x):
        return (x * x).detach() + x

    with pytest.raises(GradcheckError):
        gradcheck(wrong, leaf(1.0, 2.0))
    assert not gradcheck(wrong, leaf(1.0, 2.0), raise_exception=False)


def test_modes_decorate_with_and_without_a_call():
    x = tg.tensor([1.0], requires_grad=True)

    def double() -> tg.Tensor:
        return x * 2

    for mode in (tg.no_grad, tg.inference_mode):
        assert not mode(double)().requires_grad
        assert not mode()(double)().requires_grad
        with mode():
            assert tg.enable_grad(double)().requires_grad
            assert tg.inference_mode(mode=False)(double)().requires_grad
    assert double().requires_grad


def test_no_grad_holds_for_every_step_of_a_generator():
    x = tg.ones(2, requires_grad=True)

    @tg.no_grad()
    def steps():
        try:
            got = yield x * 2
            yield got * x
        except KeyError:
            yield x * 3
        return "done"

    running = steps()
    assert not next(running).requires_grad
    assert (x * 2).requires_grad  # the caller's mode is its own
    assert not running.send(x).requires_grad
    assert not running.throw(KeyError()).requires_grad
    with pytest.raises(StopIteration, match="done"):
        next(running)
    assert tg.is_grad_enabled()


def test_gradcheck_of_a_function_without_jvp_checks_reverse_mode():
    class Cube(tg.autograd.Function):
        factor = 3.0

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @classmethod
        def backward(cls, ctx, g):
            (x,) = ctx.saved_tensors
            return g * cls.factor * x * x

    class Wrong(Cube):
        factor = 2.0

    x = tg.tensor(np.array([0.5, 2.0]), requires_grad=True)
    assert tg.autograd.gradcheck(Cube.apply, x)
    assert not tg.autograd.gradcheck(Wrong.apply, x, raise_exception=False)
