"""Every kernel against its twin, on the sample arguments that ``tilegrad check`` uses."""

from __future__ import annotations

import numpy as np
import pytest

from tilegrad import _native
from tilegrad.cli.check import use_isa
from tilegrad.kernels import KERNELS
from tilegrad.kernels.compare import ELEMENTWISE, EXACT, SUMS, checked_call
from tilegrad.kernels.samples import DTYPES, LAYOUTS, ROWS, Maker, samples

#: Sample calls per dtype and layout when this was written: they may grow, not shrink.
FEWEST_CALLS = 540



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
    with use_isa(isa):
        for dtype in DTYPES:
            for layout in LAYOUTS:
                for sample in samples(name, dtype, layout):
                    checked_call(KERNELS[name], sample.args, sample.kwargs)


def test_samples_cover_every_kernel_and_do_not_shrink():
    assert set(KERNELS) <= set(ROWS)
    assert sum(len(samples(name, "float32")) for name in KERNELS) >= FEWEST_CALLS


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
