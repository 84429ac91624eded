"""Operations of ONNX in PyTorch, each as the standard has it, in opsets 7 to 22; a float tensor has images first.

Each takes the settings of its node, and what it is given: tensors of PyTorch, and for shapes, places and bounds arrays
of NumPy, which may hold symbols where a network is exported for any number of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

Settings = Mapping[str, Any]
T = torch.Tensor
N = NDArray[Any]

MOST_NUMBERS = 1024
"""Numbers that an operation on shapes takes, at most: what has more is no shape."""


def pads_of(settings: Settings) -> tuple[int, int, int, int]:
    """Return the pads above, left, below and right."""
    pads = settings.get("pads") or [0, 0, 0, 0]
    if len(pads) != 4 or not all(0 <= pad <= 4096 for pad in pads):
        raise ValueError("pads that are no four numbers")
    return pads[0], pads[1], pads[2], pads[3]


def _pads(settings: Settings, x: T, kernel: Sequence[int]) -> tuple[int, int, int, int]:
    """Return pads as F.pad takes them, those included that follow from the size of the image."""
    auto = settings.get("auto_pad", b"NOTSET")
    if auto not in (b"SAME_UPPER", b"SAME_LOWER"):
        top, left, bottom, right = pads_of(settings)
        return left, right, top, bottom
    ends = []
    for size, side, stride, gap in zip(
        x.shape[2:], kernel, settings.get("strides", [1, 1]), settings.get("dilations", [1, 1]), strict=True
    ):
        all_ = max(0, (math.ceil(size / stride) - 1) * stride + (side - 1) * gap + 1 - size)
        ends.append((all_ // 2, all_ - all_ // 2) if auto == b"SAME_UPPER" else (all_ - all_ // 2, all_ // 2))
    return *ends[1], *ends[0]  # type: ignore[return-value]


def _conv(s: Settings, x: T, weight: T, bias: T | None = None) -> T:
    x = F.pad(x, _pads(s, x, weight.shape[2:]))
    return F.conv2d(x, weight, bias, s.get("strides", 1), 0, s.get("dilations", 1), s.get("group", 1))


def _max_pool(s: Settings, x: T) -> T:
    x = F.pad(x, _pads(s, x, s["kernel_shape"]), value=-math.inf)
    return F.max_pool2d(
        x, s["kernel_shape"], s.get("strides", [1, 1]), 0, s.get("dilations", 1), bool(s.get("ceil_mode", 0))
    )


def _average_pool(s: Settings, x: T) -> T:
    pads, kernel = _pads(s, x, s["kernel_shape"]), s["kernel_shape"]
    stride, ceil = s.get("strides", [1, 1]), bool(s.get("ceil_mode", 0))
    if not any(pads) or (pads[0] == pads[1] and pads[2] == pads[3]):
        return F.avg_pool2d(x, kernel, stride, (pads[2], pads[0]), ceil, bool(s.get("count_include_pad", 0)))
    mean = F.avg_pool2d(F.pad(x, pads), kernel, stride, 0, ceil)
    if s.get("count_include_pad", 0):
        return mean
    return mean / F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), pads), kernel, stride, 0, ceil)


def _batch_norm(s: Settings, x: T, scale: T, bias: T, mean: T, var: T) -> T:
    return F.batch_norm(x, mean, var, scale, bias, eps=s.get("epsilon", 1e-5))


def _layer_norm(s: Settings, x: T, scale: T, bias: T | None = None) -> T:
    axis = s.get("axis", -1) % x.dim()
    return F.layer_norm(x, x.shape[axis:], scale, bias, s.get("epsilon", 1e-5))


def _clip(s: Settings, x: T, low: N | None = None, high: N | None = None) -> T:
    least = s.get("min") if low is None else float(low)
    most = s.get("max") if high is None else float(high)
    return x if least is None and most is None else x.clamp(least, most)


def _gemm(s: Settings, a: T, b: T, c: T | None = None) -> T:
    made = s.get("alpha", 1.0) * ((a.T if s.get("transA") else a) @ (b.T if s.get("transB") else b))
    return made if c is None else made + s.get("beta", 1.0) * c


def _axes(s: Settings, given: N | None) -> list[int] | None:
    axes = s.get("axes") if given is None else given.tolist()
    return None if axes is None else list(axes)


def _reduce(function: Callable[..., T]) -> Callable[..., T]:
    def reduced(s: Settings, x: T, given: N | None = None) -> T:
        axes = _axes(s, given) or list(range(x.dim()))
        return function(x, dim=axes, keepdim=bool(s.get("keepdims", 1)))

    return reduced


def _flatten(s: Settings, x: T) -> T:
    axis = s.get("axis", 1)
    axis = axis % x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1) if axis else x.reshape(1, -1)


def _reshape(s: Settings, x: T, shape: N) -> T:
    sides = [x.shape[i] if side == 0 and not s.get("allowzero") else side for i, side in enumerate(shape.tolist())]
    if sides and type(sides[0]) is int and sides[0] == 1 and x.dim() > 1:
        sides[0] = x.shape[0]  # a file for one image at a time
    return x.reshape(sides)


def _squeeze(s: Settings, x: T, given: N | None = None) -> T:
    axes = _axes(s, given)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(s: Settings, x: T, given: N | None = None) -> T:
    axes = _axes(s, given) or []
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _split(s: Settings, x: T, given: N | None = None) -> tuple[T, ...]:
    axis = s.get("axis", 0)
    sides = s.get("split") if given is None else given.tolist()
    return tuple(x.split(sides, axis) if sides else x.chunk(s.get("num_outputs", 2), axis))


def _slice(s: Settings, x: T, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> T:
    starts = s["starts"] if starts is None else starts.tolist()
    ends = s["ends"] if ends is None else ends.tolist()
    along = (s.get("axes") if axes is None else axes.tolist()) or list(range(len(starts)))
    strides = [1] * len(starts) if steps is None else steps.tolist()
    for start, end, axis, stride in zip(starts, ends, along, strides, strict=True):
        before = (slice(None),) * (axis % x.dim())
        if stride > 0:
            x = x[(*before, slice(start, end, stride))]
        else:
            places = range(x.shape[axis])[start:end:stride]
            first = x.shape[axis] - 1 - (places[0] if places else 0)
            x = x.flip(axis)[(*before, slice(first, first + len(places) * -stride, -stride))]
    return x


def _gather(s: Settings, x: T, places: N) -> T:
    axis = s.get("axis", 0) % x.dim()
    index = torch.from_numpy((places.reshape(-1) % x.shape[axis]).astype(np.int64)).to(x.device)
    chosen = x.index_select(axis, index)
    return chosen.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def _shape(s: Settings, x: T) -> N:
    return np.array(list(x.shape)[s.get("start", 0) : s.get("end")], dtype=object)


def _expand(s: Settings, x: T, shape: N) -> T:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _cast(s: Settings, x: T) -> T:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}
    if s.get("to") not in kinds:
        raise ValueError(f"a cast to type {s.get('to')}")
    return x.to(kinds[s["to"]])


def _pad(s: Settings, x: T, given: N | None = None, value: N | None = None, axes: N | None = None) -> T:
    pads = list(s["pads"]) if given is None else given.tolist()
    along = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in axes.tolist()]
    ends = {axis: (pads[i], pads[i + len(along)]) for i, axis in enumerate(along)}
    flat = [end for axis in reversed(range(x.dim())) for end in ends.get(axis, (0, 0))]
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "replicate"}[s.get("mode", b"constant")]
    if mode == "constant":
        return F.pad(x, flat, value=float(value) if value is not None else s.get("value", 0.0))
    return F.pad(x, flat[: 2 * (x.dim() - 2)], mode=mode)


def _prelu(s: Settings, x: T, slope: T) -> T:
    return torch.where(x < 0, x * slope, x)


def _divide(s: Settings, a: T, b: T) -> T:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _softmax(s: Settings, x: T) -> T:
    return x.softmax(s.get("axis", -1))


def _many(function: Callable[[T, T], T]) -> Callable[..., T]:
    def folded(s: Settings, first: T, *others: T) -> T:
        for other in others:
            first = function(first, other)
        return first

    return folded


def _one(function: Callable[[T], T]) -> Callable[..., T]:
    return lambda s, x, *_: function(x)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": _many(torch.add),
    "Sub": _many(torch.sub),
    "Mul": _many(torch.mul),
    "Pow": _many(torch.pow),
    "Abs": _one(torch.abs),
    "Erf": _one(torch.erf),
    "Exp": _one(torch.exp),
    "Log": _one(torch.log),
    "Neg": _one(torch.neg),
    "Relu": _one(torch.relu),
    "Sigmoid": _one(torch.sigmoid),
    "Sqrt": _one(torch.sqrt),
    "Tanh": _one(torch.tanh),
    "Reciprocal": _one(torch.reciprocal),
    "Mish": _one(F.mish),
    "Softplus": _one(F.softplus),
    "HardSwish": _one(F.hardswish),
    **{name: _one(lambda x: x) for name in ("Dropout", "Identity")},
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda s, *parts: torch.cat(parts, s["axis"]),
    "Conv": _conv,
    "DepthToSpace": lambda s, x: F.pixel_shuffle(x, s["blocksize"]) if s.get("mode") == b"CRD" else _unknown(),
    "Div": _divide,
    "Elu": lambda s, x: F.elu(x, s.get("alpha", 1.0)),
    "Equal": lambda s, a, b: a == b,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": lambda s, x: F.gelu(x, approximate=s.get("approximate", b"none").decode("ascii")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda s, x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda s, x: x.amax((2, 3), keepdim=True),
    "HardSigmoid": lambda s, x: (x * s.get("alpha", 0.2) + s.get("beta", 0.5)).clamp(0, 1),
    "InstanceNormalization": lambda s, x, scale, bias: F.instance_norm(
        x, weight=scale, bias=bias, eps=s.get("epsilon", 1e-5)
    ),
    "LRN": lambda s, x: F.local_response_norm(
        x, s["size"], s.get("alpha", 1e-4), s.get("beta", 0.75), s.get("bias", 1.0)
    ),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda s, x: F.leaky_relu(x, s.get("alpha", 0.01)),
    "MatMul": lambda s, a, b: a @ b,
    "Max": _many(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _many(torch.minimum),
    "Not": _one(torch.logical_not),
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sum": _many(torch.add),
    "Transpose": lambda s, x: x.permute(s.get("perm") or list(reversed(range(x.dim())))),
    "Unsqueeze": _unsqueeze,
    "Where": lambda s, condition, a, b: torch.where(condition, a, b),
}


STILL = ("Clip", "Expand", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze")
STILL += ("ReduceMax", "ReduceMean", "ReduceSum")
"""Operations of which all but the first is no tensor."""


def _cut(s: Settings, x: N, starts: N, ends: N, axes: N | None = None, steps: N | None = None) -> N:
    along = range(len(starts)) if axes is None else axes.tolist()
    parts = [slice(None)] * x.ndim
    for at, axis in enumerate(along):
        parts[axis] = slice(starts[at], ends[at], None if steps is None else steps[at])
    return x[tuple(parts)]


def _as_number(s: Settings, x: N) -> N:
    return x.astype({1: np.float32, 9: np.bool_}[s["to"]]) if s.get("to") in (1, 9) else x.astype(object)


def _filled(s: Settings, shape: N) -> N:
    from onnx import numpy_helper

    sides = tuple(shape.tolist())
    if math.prod(sides) > MOST_NUMBERS:
        raise ValueError(f"{sides} equal numbers")
    return np.full(sides, numpy_helper.to_array(s["value"]).reshape(-1)[0] if "value" in s else np.float32(0))


OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "Add": lambda s, a, b: a + b,
    "Cast": _as_number,
    "Concat": lambda s, *parts: np.concatenate(parts, s["axis"]),
    "ConstantOfShape": _filled,
    "Div": lambda s, a, b: a / b if a.dtype.kind == "f" else a // b,
    "Equal": lambda s, a, b: a == b,
    "Expand": lambda s, x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "Gather": lambda s, x, places: np.take(x, places.astype(np.int64), s.get("axis", 0)),
    "Identity": lambda s, x: x,
    "Mul": lambda s, a, b: a * b,
    "Reshape": lambda s, x, shape: x.reshape(tuple(shape.tolist())),
    "Slice": _cut,
    "Squeeze": lambda s, x, given=None: np.squeeze(x, None if (axes := _axes(s, given)) is None else tuple(axes)),
    "Sub": lambda s, a, b: a - b,
    "Unsqueeze": lambda s, x, given=None: np.expand_dims(x, tuple(_axes(s, given) or ())),
    "Where": lambda s, condition, a, b: np.where(condition, a, b),
}
"""What is done to shapes; how large they may become is seen by whoever makes a tensor of them."""


def _unknown() -> T:
    raise ValueError("an order of depth that is not known")
