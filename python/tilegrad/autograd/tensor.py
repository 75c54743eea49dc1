"""The tensor: an array, where it came from, and whether gradients flow to it.

Only what the engine needs stands here; operators, indexing and methods are attached by
:mod:`tilegrad.ops`, which knows the operations.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilegrad import _native
from tilegrad.autograd import recording
from tilegrad.autograd.node import Node, Output, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = npt.NDArray[Any]


class Hook:
    """A registered hook: call it, or :meth:`remove` it."""

    __slots__ = ("function", "index", "owner")

    def __init__(self, function: Any, index: int | None) -> None:
        self.function = function
        #: Which result of the node it watches, None if there is one only.
        self.index = index
        self.owner: list[Any] = []

    def __call__(self, gradient: Any) -> Any:
        return self.function(gradient)

    def remove(self) -> None:
        """Stop calling the hook."""
        if self in self.owner:
            self.owner.remove(self)


class Tensor(_native.TensorBase):
    """An n-dimensional array that remembers how it was computed.

    Make one with :func:`tilegrad.tensor`. ``requires_grad`` marks a leaf whose ``grad`` is filled
    by :meth:`backward`; results of operations on such tensors require gradients as well.

    Inside, ``_array`` holds the entries, ``_node`` the edge that gradients take (None for a leaf,
    which is its own edge), ``_tangents`` the forward-mode tangents by level, ``_version`` the
    in-place counter of the memory block once it is shared or changed, and ``_seen`` the value of
    the counter that ``_node`` belongs to.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # operators that tilegrad.functions attaches; methods: see methods.pyi

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __float__(self) -> float: ...
        def __int__(self) -> int: ...
        def __index__(self) -> int: ...

    #: The batches it is a member of, outermost first; see :mod:`tilegrad.autograd.batching`.
    _batch: tuple[Any, ...] = ()
    #: What ``_tangents`` is where there are none.
    _no_tangents: Any = None
    #: How operations apply to a subclass whose ``_array`` is not the whole value; None: as ever.
    _interpret: Any = None

    #: NumPy's operators leave mixed expressions to the tensor.
    __array_priority__ = 1000

    # ---- what it is -------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along every dimension."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the entries."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._array.ndim

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor. Settable on leaves of floating dtype."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None and not value:
            raise RuntimeError(
                "requires_grad can be switched off on leaf tensors only; "
                "use .detach() for a copy without a graph"
            )
        if value and self._array.dtype.kind != "f":
            raise RuntimeError(
                f"only floating tensors can require gradients, this one has dtype {self.dtype}"
            )
        self._requires_grad = bool(value)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation computed this tensor."""
        return self._node is None or isinstance(self._node, Tensor)

    @property
    def grad_fn(self) -> Node | Output | None:
        """The graph node that computed this tensor, None for a leaf."""
        return None if self.is_leaf else self._node

    # ---- leaving the graph --------------------------------------------------------------------
    def detach(self) -> Tensor:
        """The same memory without history: no gradient flows through it."""
        result = Tensor(self._array)
        result._version = self._share_version()
        result._seen = result._version.value
        return result

    def numpy(self) -> Array:
        """The entries as a NumPy array that shares this tensor's memory.

        What NumPy or :mod:`tilegrad.kernels` write into it is not counted as a change of the
        tensor: between forward and backward, change tensors through their own methods.

        Raises:
            RuntimeError: the tensor requires gradients, which NumPy code would lose silently.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy() on a tensor that requires gradients: use tensor.detach().numpy()"
            )
        recording.leaving("numpy()")
        return self._array

    def item(self) -> Any:
        """The only entry, as a Python number."""
        if self._array.size != 1:
            raise ValueError(
                f"item() needs a tensor with one entry, this one has shape {self.shape}"
            )
        recording.leaving("item()")
        return self._array.item()

    def _bare(self) -> Tensor:
        """The same value without history, version or tangents."""
        return Tensor(self._array)

    # ---- copying ------------------------------------------------------------------------------
    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf with its own memory; its gradient is copied too."""
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError(
                "only leaf tensors can be deep-copied, this one was computed: its history cannot "
                "be; use .detach() or .clone()"
            )
        result = type(self)(np.array(self._array), requires_grad=self._requires_grad)
        memo[id(self)] = result
        if self.grad is not None:
            result.grad = Tensor(np.array(self.grad._array))
        return result

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild, (type(self), self._array, self._requires_grad)

    # ---- hooks ------------------------------------------------------------------------------
    def register_hook(self, hook: Any) -> Hook:
        """Call ``hook(grad)`` when this tensor's gradient is known; it may return a replacement."""
        if not self._requires_grad:
            raise RuntimeError("register_hook needs a tensor that requires gradients")
        node = self._node
        if node is None:
            if self._hooks is None:
                self._hooks = []
            hooks, entry = self._hooks, Hook(hook, None)
        else:
            owner = node.node if isinstance(node, Output) else node
            if owner.hooks is None:
                owner.hooks = []
            hooks = owner.hooks
            entry = Hook(hook, node.index if isinstance(node, Output) else None)
        hooks.append(entry)
        entry.owner = hooks
        return entry

    def retain_grad(self) -> None:
        """Fill ``grad`` of this tensor in backward although it is not a leaf."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad needs a tensor that requires gradients")
        if not self.is_leaf:
            reference = weakref.ref(self)

            def keep(gradient: Tensor) -> None:
                tensor = reference()
                if tensor is not None:
                    before = tensor.grad
                    array = gradient._array if before is None else before._array + gradient._array
                    tensor.grad = gradient if gradient._requires_grad else Tensor(np.array(array))

            self.register_hook(keep)

    # ---- in-place bookkeeping ---------------------------------------------------------------
    def _share_version(self) -> Version:
        """The counter of this memory block, made on first use."""
        if self._version is None:
            self._version = Version()
        return self._version

    def _bump_version(self) -> None:
        """Say that the memory was changed in place through this tensor."""
        recorder = recording.current()
        if recorder is not None:
            recorder.changed(self)
        version = self._share_version()
        version.value += 1
        self._seen = version.value

    def _check_current(self) -> None:
        """Raise if the memory was changed in place through another tensor since this was made."""
        version = self._version
        if version is not None and version.value != self._seen and self._node is not None:
            raise RuntimeError(
                f"a tensor of shape {self.shape} is a view of memory that was changed in place "
                f"(version {version.value}, expected {self._seen}): its history no longer fits its "
                "values. Make the view again after the change, or clone before it"
            )


def _rebuild(kind: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    """A leaf from what ``copy`` and other tools keep of it."""
    return kind(array, requires_grad=requires_grad)


def edge_of(tensor: Tensor) -> Any:
    """Where gradients for ``tensor`` go: its node, or the leaf itself; None without gradient."""
    if not tensor._requires_grad:
        return None
    node = tensor._node
    return tensor if node is None else node


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a :class:`Tensor`."""
    return isinstance(value, Tensor)


_native.set_autograd_classes(Tensor, Node)
