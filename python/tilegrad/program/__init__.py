"""Recorded steps: what ``tg.compile`` makes of a function."""

from tilegrad.program.step import CompiledStep, compile

__all__ = ["CompiledStep", "compile"]
