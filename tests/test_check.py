"""Every kernel against its twin, on the sample arguments that ``tilegrad check`` uses."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import _native
from tilegrad.cli.check import use_isa
from tilegrad.kernels import KERNELS
from tilegrad.kernels.compare import ELEMENTWISE, EXACT, SUMS, checked_call
from tilegrad.kernels.samples import DTYPES, LAYOUTS, ROWS, Maker, samples

ALIGNED = tuple(layout for layout in LAYOUTS if layout != "unaligned")

#: Native calls among the samples of kernels that leave some aligned ones to their twins; of all
#: others every aligned sample runs natively. They may grow, not shrink.
FEWEST_NATIVE = {
    "adagrad_step": 4, "adam_step": 16, "argmax": 8, "argmin": 8, "cross_entropy": 10,
    "cross_entropy_grad": 8, "gemm": 56, "log_softmax": 8, "log_softmax_grad": 8, "logsumexp": 4,
    "multi_norm": 10, "multi_scale": 2, "power": 24, "rmsprop_step": 12, "sgd_step": 14,
    "softmax": 8, "softmax_grad": 8,
}  # fmt: skip


def kernels_and_isas():
    """Native kernels on every instruction set of this machine, the others on one."""
    isas = _native.available_isas()
    return [
        (name, isa)
        for name, kernel in sorted(KERNELS.items())
        for isa in (isas if kernel.native else isas[:1])
    ]


@pytest.mark.parametrize(("name", "isa"), kernels_and_isas())
def test_kernel_agrees_with_its_twin(name, isa):
    native = aligned = 0
    with use_isa(isa):
        for dtype in DTYPES:
            for layout in LAYOUTS:
                for sample in samples(name, dtype, layout):
                    native += checked_call(KERNELS[name], sample.args, sample.kwargs).native
                    aligned += layout in ALIGNED
    if KERNELS[name].native:
        assert native >= FEWEST_NATIVE.get(name, aligned) > 0
    else:
        assert native == 0
    assert aligned >= 2 * len(DTYPES)


def test_samples_cover_every_kernel():
    assert set(KERNELS) <= set(ROWS)
    assert set(FEWEST_NATIVE) <= set(KERNELS)


def test_what_native_code_declines_is_not_counted_as_compared():
    x = np.ones((4, 3))[:, ::2]
    assert checked_call(KERNELS["exp"], (x,), {}).native
    assert KERNELS["exp"].try_native(x.astype(np.int64)) is NotImplemented
    done = checked_call(KERNELS["exp"], (x.astype(np.int64),), {})
    assert not done.native
    assert (done.result == np.exp(x)).all()
    with tg.verify() as checked:
        KERNELS["exp"](x.astype(np.int64))
        KERNELS["sin"](x)  # has no native code
        KERNELS["exp"](x)
    assert checked == {"exp": 1}


def test_rules_of_comparison_name_kernels_once():
    assert not EXACT & SUMS
    assert not EXACT & ELEMENTWISE
    assert not SUMS & ELEMENTWISE
    assert set(ROWS) >= EXACT | SUMS | ELEMENTWISE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_differ_only_in_memory(layout):
    plain, laid = Maker("float32")(6, 5), Maker("float32", layout)(6, 5)
    assert (laid == plain).all()
    assert laid.dtype == np.float32
    if layout != "contiguous":
        assert laid.strides != plain.strides or not laid.flags.aligned


def test_a_kernel_without_a_row_is_told_where_to_add_it():
    with pytest.raises(KeyError, match=r"add a row to tilegrad\.kernels\.samples\.ROWS"):
        samples("no_such_kernel", "float32")
