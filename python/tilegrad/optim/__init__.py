"""Optimizers and learning-rate schedules; names, options and state dicts are torch's."""

from __future__ import annotations

from typing import Any

from tilegrad.optim.adam import Adam, AdamW
from tilegrad.optim.optimizer import Optimizer
from tilegrad.optim.rmsprop import Adagrad, RMSprop
from tilegrad.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]


def __getattr__(name: str) -> Any:
    if name in ("BHHHResult", "bhhh"):  # it brings the transforms along
        import importlib

        module = importlib.import_module("tilegrad.optim.likelihood")
        globals().update(BHHHResult=module.BHHHResult, bhhh=module.bhhh)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
