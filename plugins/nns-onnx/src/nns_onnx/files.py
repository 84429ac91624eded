"""ONNX files taken apart: a small graph without weights, which goes into zoos, and the weights.

A file may come from a stranger. It is read whole and bounded, nothing else is read for it, and what its graph may do is
what :mod:`nns.finetuning.onnx_checks` allows for exported networks.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.finetuning.onnx_checks import wrong_nodes
from nns.plugins import WeightsError
from nns.untrusted import Kind, read_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONNX = Kind("an ONNX file", 1 << 30)
MOST_GRAPH = 1 << 20
"""Bytes of a graph without its weights."""

SIDES = range(8, 1025)
DEFAULT_SIDE = 224
FLOAT = 1
"""ONNX's number for 32-bit floats."""

BEHIND_A_HEAD = {"Add", "Softmax", "LogSoftmax", "Identity", "Flatten", "Reshape", "Squeeze", "Dropout", "Sigmoid"}
"""What may stand behind the matrix product that is the head."""


@dataclass(frozen=True)
class Parts:
    """An ONNX file taken apart.

    Attributes:
        graph: The graph up to the features, compressed and as text.
        side: Side of its images in pixels.
        width: Width of the features.
        weights: Weights of the graph by their names there.
        head: Weight, (classes, width), and bias of its own head; None if it has none that is one.
    """

    graph: str
    side: int
    width: int
    weights: Mapping[str, NDArray[np.float32]]
    head: tuple[NDArray[np.float32], NDArray[np.float32]] | None


def take_apart(path: Path, side: int | None = None) -> Parts:
    """Read an ONNX file.

    Args:
        path: The file.
        side: Side of its images in pixels, where the file leaves it open.

    Raises:
        WeightsError: If it cannot be read, is no network for images, or does what such a network does not.
    """
    import onnx

    try:
        content = read_file(path, ONNX)
        model = onnx.ModelProto.FromString(content)
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except Exception as error:  # protobuf's own, which has no types
        raise WeightsError(f"{str(path)!r} is no ONNX file, or damaged") from error
    try:
        return _take_apart(model, side)
    except ValueError as error:
        raise WeightsError(f"{str(path)!r} is not used: {error}") from error


def outline(path: Path, side: int | None = None) -> Parts:
    """Take a file apart, and keep nothing of its weights but the number of classes of the head.

    Raises:
        WeightsError: As :func:`take_apart`.
    """
    parts = take_apart(path, side)
    head = parts.head and (np.empty((len(parts.head[0]), 0), np.float32), np.empty(0, np.float32))
    return replace(parts, weights={}, head=head)


def _take_apart(model: Any, side: int | None) -> Parts:
    from onnx import numpy_helper

    graph = model.graph
    # weights in other files are refused before anything looks at them: they may name any file
    tensors = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if node.op_type == "Constant")]
    if graph.sparse_initializer or any(each.data_location or each.external_data for each in tensors):
        raise ValueError("its weights are in another file")
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        if [attribute.name for attribute in node.attribute] == ["value"]:
            graph.initializer.append(node.attribute[0].t)
            graph.initializer[-1].name = node.output[0]
            graph.node.remove(node)
    if any(side < 1 for tensor in graph.initializer for side in tensor.dims if tensor.data_type == FLOAT):
        raise ValueError("it has weights of no numbers")
    known = {tensor.name: tensor for tensor in graph.initializer}
    if len(known) < len(graph.initializer):
        raise ValueError("two of its weights have one name")
    for each in [each for each in graph.input if each.name in known]:  # as old files have it
        graph.input.remove(each)
    size = _set_side(graph, side)
    head = _cut_head(graph, known)
    _keep_what_is_needed(graph)
    weights = {}
    for tensor in graph.initializer:
        if tensor.data_type == FLOAT and np.prod(tensor.dims, dtype=object) > 1:
            array = np.array(numpy_helper.to_array(tensor), np.float32)  # a ValueError if there are fewer bytes
            weights[tensor.name] = array
            for field in ("raw_data", "float_data"):
                tensor.ClearField(field)
    written = model.SerializeToString(deterministic=True)
    if len(written) > MOST_GRAPH:
        raise ValueError(f"without its 32-bit floats it has {len(written)} bytes; quantised networks are not taken")
    width = _width(model, size)
    return Parts(base64.b64encode(zlib.compress(written, 9)).decode("ascii"), size, width, weights, head)


def _width(model: Any, side: int) -> int:
    """Return the width of the features, found out without memory: by the very operations that will run.

    Raises:
        ValueError: If the graph is not to be run, or cannot be.
    """
    from nns_onnx.network import rehearse

    if reason := wrong_nodes(model):
        raise ValueError(reason)
    try:
        return rehearse(model, side)
    except (KeyError, TypeError, IndexError, AttributeError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise ValueError(f"it does not work ({type(error).__name__}: {error!s:.100})") from error


def _set_side(graph: Any, side: int | None) -> int:
    """Make the input one of square images of a known side."""
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ValueError(f"it has {len(graph.input)} inputs and {len(graph.output)} outputs, not one of each")
    kind = graph.input[0].type.tensor_type
    dims = kind.shape.dim
    if kind.elem_type != FLOAT or len(dims) != 4 or dims[1].dim_value not in (0, 3):
        raise ValueError("its input is not (images, 3, height, width) in 32-bit floats")
    height, width = dims[2].dim_value or dims[3].dim_value, dims[3].dim_value or dims[2].dim_value
    size = height or side or DEFAULT_SIDE
    if height != width or size not in SIDES or side not in (None, size):
        raise ValueError(f"it takes images of {width} x {height} pixels, not square ones of {side or '8 to 1024'}")
    for dim, value in zip(dims, (1, 3, size, size), strict=True):
        dim.Clear()
        dim.dim_value = value
    return int(size)


def _cut_head(graph: Any, known: Mapping[str, Any]) -> Any:
    """Make the features the output, and return the weights of the head; None if what gives the logits is none."""
    from onnx import numpy_helper

    makers = {name: node for node in graph.node for name in node.output}
    name, bias = graph.output[0].name, None
    for _ in range(len(graph.node)):
        node = makers.get(name)
        if node is None:
            break
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in known:
            settings = {attribute.name: attribute for attribute in node.attribute}
            if any(settings[key].f != 1 for key in ("alpha", "beta") if key in settings) or _is_set(settings, "transA"):
                break
            weight = np.array(numpy_helper.to_array(known[node.input[1]]), np.float32)
            if weight.ndim != 2:
                break
            weight = weight if _is_set(settings, "transB") else weight.T
            own = known.get(node.input[2]) if len(node.input) > 2 else bias
            shift = np.zeros(len(weight)) if own is None else numpy_helper.to_array(own)
            _set_output(graph, node.input[0])
            return np.ascontiguousarray(weight), np.array(np.broadcast_to(shift.reshape(-1), len(weight)), np.float32)
        if node.op_type not in BEHIND_A_HEAD:
            break
        if node.op_type == "Add":
            bias = next((known[each] for each in node.input if each in known), None)
            if bias is None:
                break
        name = next((each for each in node.input if each not in known), "")
    before = _before_a_convolution(graph, makers, known)
    if before:
        _set_output(graph, before)
    return None


def _before_a_convolution(graph: Any, makers: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Find what a last convolution of 1 x 1 looks at that makes logits at each place, as SqueezeNet's does."""
    name = graph.output[0].name
    behind = {*BEHIND_A_HEAD, "Relu", "GlobalAveragePool", "AveragePool", "ReduceMean"}
    pooled = False
    for _ in range(len(graph.node)):
        node = makers.get(name)
        if node is None:
            return ""
        kernel = known[node.input[1]].dims[2:] if node.op_type == "Conv" and node.input[1] in known else ()
        if pooled and list(kernel) == [1, 1]:
            return str(node.input[0])
        if node.op_type not in behind:
            return ""
        pooled = pooled or "Pool" in node.op_type or node.op_type == "ReduceMean"
        name = next((each for each in node.input if each not in known), "")
    return ""


def _is_set(settings: Mapping[str, Any], key: str) -> bool:
    return key in settings and settings[key].i != 0


def _set_output(graph: Any, name: str) -> None:
    graph.output[0].Clear()
    graph.output[0].name = name
    graph.output[0].type.tensor_type.elem_type = FLOAT


def _keep_what_is_needed(graph: Any) -> None:
    """Leave out what does not lead to the output, and names that are for people."""
    needed, kept = {graph.output[0].name}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            node.name = node.doc_string = ""
            node.ClearField("metadata_props")
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in (("node", kept[::-1]), ("initializer", weights)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    for field in ("value_info", "doc_string", "metadata_props", "quantization_annotation"):
        graph.ClearField(field)
    if graph.input[0].name not in needed:
        raise ValueError("what it gives does not come from its input")


def read_graph(graph: object, side: object) -> Any:
    """Return the graph that a zoo has; it may have been written by anybody.

    Raises:
        ValueError: If it is none, or not to be run.
    """
    return _read_graph(graph, side) if isinstance(graph, str) and type(side) is int else _refuse()


def _refuse() -> Any:
    raise ValueError("its settings have no graph and side of images")


@lru_cache(maxsize=8)
def _read_graph(graph: str, side: int) -> Any:
    import onnx

    if len(graph) > 2 * MOST_GRAPH or side not in SIDES:
        raise ValueError(f"a graph of {len(graph)} characters for images of {side} pixels")
    unpacked = zlib.decompressobj()
    try:
        content = unpacked.decompress(base64.b64decode(graph, validate=True), MOST_GRAPH)
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # zlib's, binascii's, or protobuf's own, which has no types
        raise ValueError("its graph is damaged") from error
    given = [dim.dim_value for each in model.graph.input for dim in each.type.tensor_type.shape.dim]
    if unpacked.unconsumed_tail or given != [1, 3, side, side] or len(model.graph.output) != 1:
        raise ValueError("its graph is damaged, or for other images")
    _width(model, side)
    return model
