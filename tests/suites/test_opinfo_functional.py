"""PyTorch's OpInfo samples of ``nn.functional``: values and gradients in float64."""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad as tg

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
opinfo = pytest.importorskip("test_opinfo")

#: What is not compared, and why.
LEFT_OUT = {
    "fractional_max_pool2d": "draws its windows",
    "fractional_max_pool3d": "draws its windows",
    "hardsigmoid": "torch's derivative is 1/6 in float32",
    "max_unpool1d": "torch gives gradients to entries that others overwrote; .grad has none",
    "max_unpool2d": "torch gives gradients to entries that others overwrote; .grad has none",
    "max_unpool3d": "torch gives gradients to entries that others overwrote; .grad has none",
    "multi_head_attention_forward": "drops at random",
    "triplet_margin_with_distance_loss": "hands a torch module to us",
}
#: Samples that torch alone takes: an empty vector has neither a batch nor channels.
WITHOUT_AXES = {"batch_norm": {3, 4}}
#: Thousands of samples each.
SLOW = {"max_pool1d", "max_pool2d", "max_pool3d"}

opinfo.REORDERED["nn.functional.embedding"] = lambda weight, index, **options: (
    tg.nn.functional.embedding(index, weight, **options)
)


def _short(info: Any) -> str:
    return opinfo._name(info).removeprefix("nn.functional.")


INFOS = [info for info in opinfo._infos("nn.functional.") if _short(info) not in LEFT_OUT]
AGREED: dict[str, int] = {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "info",
    [pytest.param(i, marks=pytest.mark.slow if _short(i) in SLOW else ()) for i in INFOS],
    ids=[_short(info) for info in INFOS],
)
def test_samples_agree(info: Any):
    agreed, failures = opinfo.run(info)
    skipped = WITHOUT_AXES.get(_short(info), set())
    failures = [text for text in failures if int(text.split()[1][:-1]) not in skipped]
    assert not failures, "\n".join(failures)
    AGREED[_short(info)] = agreed


def test_enough_samples_were_run(request: pytest.FixtureRequest):
    chosen = sum("functional.py::test_samples" in item.nodeid for item in request.session.items)
    if chosen < len(INFOS) - len(SLOW):
        pytest.skip("only part of the suite was selected")
    assert len(INFOS) >= 94
    assert sum(n for name, n in AGREED.items() if name not in SLOW) >= 1930
