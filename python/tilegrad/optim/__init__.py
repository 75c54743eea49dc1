"""Optimizers and learning-rate schedules; names, options and state dicts are torch's."""

from tilegrad.optim import lr_scheduler
from tilegrad.optim.adadelta import Adadelta, Adamax
from tilegrad.optim.adam import Adam, AdamW
from tilegrad.optim.lbfgs import LBFGS
from tilegrad.optim.likelihood import bhhh
from tilegrad.optim.optimizer import Optimizer
from tilegrad.optim.rmsprop import Adagrad, RMSprop
from tilegrad.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Optimizer",
    "RMSprop",
    "bhhh",
    "lr_scheduler",
]
