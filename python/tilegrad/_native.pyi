from collections.abc import Callable
from typing import Any, Self

import numpy.typing as npt

__version__: str

class Kernel:
    """A kernel: native where an implementation takes the arguments, or else its twin."""

    def __new__(cls, twin: Callable[..., Any]) -> Kernel: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def call_native(self, *args: Any, **kwargs: Any) -> Any: ...
    @property
    def native(self) -> bool: ...
    @property
    def twin(self) -> Callable[..., Any]: ...
    __name__: str
    __wrapped__: Callable[..., Any]

Hook = Callable[[Kernel, tuple[Any, ...], dict[str, Any]], Any]

def set_dispatch_hook(hook: Hook | None, /) -> Hook | None: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
def available_isas() -> list[str]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> str: ...
def cpu() -> dict[str, Any]: ...
class Packed:
    """A right operand laid out for the tiles."""

    source: Any
    shape: tuple[int, int]
    stale: bool

def pack(b: Any) -> Any: ...
def mark_written(array: Any, /) -> None: ...
def set_batch_invariant(on: bool) -> bool: ...
def blocking(
    m: int,
    n: int,
    k: int,
    item: int,
    a_rows: bool,
    b_rows: bool,
    a_stride: int,
    l1: int,
    l2: int,
    l3: int,
) -> dict[str, Any]: ...
def override_blocking(
    kc: int = 0, mc: int = 0, nc: int = 0, pack_a: int = 0, pack_b: int = 0
) -> None: ...
def fma_peak(dtype: str, threads: int = 1) -> float: ...

class Version:
    """Counts the in-place changes of one memory block."""

    value: int

class TensorBase:
    """The struct under :class:`tilegrad.autograd.tensor.Tensor`."""

    _array: npt.NDArray[Any]
    _node: Any
    grad: Any
    _tangents: dict[int, Any] | None
    _version: Version | None
    _hooks: Any
    _base: Any
    _seen: int
    _requires_grad: bool

    def __new__(cls, array: Any, requires_grad: bool = False, node: Any = None) -> Self: ...

class NodeBase:
    """The struct under :class:`tilegrad.autograd.node.Node`."""

    op: Any
    edges: tuple[Any, ...]
    inputs: Any
    attrs: dict[str, Any]
    out: Any
    shape: Any
    dtype: Any
    versions: tuple[int, ...] | None
    out_version: Any
    hooks: list[Any] | None
    tensor_mode: bool
    released: bool
    sequence: int

    def __new__(
        cls,
        op: Any,
        edges: tuple[Any, ...],
        inputs: Any,
        attrs: dict[str, Any],
        out: Any,
        shape: Any,
        dtype: Any,
    ) -> Self: ...

class OpBase:
    """The native call of :class:`tilegrad.autograd.op.Op`."""

    forward: Callable[..., Any]
    defaults: dict[str, Any]
    attributes: tuple[str, ...]
    arity: int
    discrete: bool
    view: bool
    saves_out: bool
    saves_inputs: bool
    _promotes: bool
    _saved_bits: int
    _rule_bits: int
    _native_rules: tuple[Any, ...] | None

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

class Operator:
    """A Python operator made of a function of two operands; NotImplemented for foreign ones."""

    def __new__(cls, function: Callable[..., Any], reflected: bool = False) -> Self: ...
    def __call__(self, *args: Any) -> Any: ...

def is_grad_enabled() -> bool: ...
def set_grad_enabled(mode: bool, /) -> bool: ...
def next_sequence_number() -> int: ...
def set_autograd_classes(tensor: type, node: type, /) -> None: ...
def set_op_observer(function: Callable[..., Any] | None, /) -> Callable[..., Any] | None: ...
def backward_pass(
    roots: tuple[tuple[Any, Any], ...],
    targets: tuple[Any, ...] | None,
    create_graph: bool,
    retain_graph: bool,
    /,
) -> list[Any]: ...
def reachable(edges: tuple[Any, ...], /) -> list[Any]: ...
def set_engine_helpers(helpers: Any, output: type, freed: Any, /) -> None: ...

class Recording:
    """Native calls kept as data, and their replay."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def listen(self, on: bool, /) -> bool: ...
    def truncate(self, size: int, /) -> None: ...
    def arrays(self, step: int, /) -> list[tuple[int, int, int, int, bool]]: ...
    def relocate(self, step: int, array: int, address: int, /) -> None: ...
    def run(self, first: int, last: int, /) -> None: ...

def gather_gradients(
    parameters: list[Any], /
) -> tuple[list[Any], list[Any], list[Any]] | None: ...
def bump_versions(tensors: list[Any], /) -> None: ...
def advance_steps(states: list[dict[str, Any]], /) -> int | None: ...

class Replay:
    """A recorded step with all that it relied on; see cpp/bindings/replay.cpp."""

    def __init__(self, recording: Recording, inputs: list[Any], grad_mode: bool, /) -> None: ...
    def refer(self, kind: str, container: Any, key: Any, value: Any, plain: bool, /) -> None: ...
    def capture(self, tensor: Any, /) -> None: ...
    def without_grad(self, leaf: Any, /) -> None: ...
    def add_native(self, first: int, last: int, /) -> None: ...
    def add_call(self, call: Callable[[], None], /) -> None: ...
    def add_gradient(self, leaf: Any, shared: Any, uses: list[tuple[int, int, int]], /) -> None: ...
    def fits(self, arguments: tuple[Any, ...], /) -> bool: ...
    def holds(self) -> bool: ...
    def run(self, arguments: tuple[Any, ...], /) -> None: ...

def is_watched() -> bool: ...
