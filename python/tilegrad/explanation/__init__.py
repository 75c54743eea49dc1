"""Explaining computations: derivations by intermediate variables, gradients as matrix formulas."""

from tilegrad.explanation.explain import Explanation, explain

__all__ = ["Explanation", "explain"]
