"""What a file in ONNX format may do, before anything runs it: it may come from a stranger."""

from __future__ import annotations

import math
from typing import Any

MOST_NODES = 20_000
MOST_ELEMENTS = 2**25
"""Numbers in a tensor of one image: 128 MiB as floats."""
MOST_KERNEL = 4096

_NAMES = """
Abs Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv DepthToSpace DequantizeLinear
Div Dropout Elu Equal Erf Exp Expand Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool GroupNormalization
HardSigmoid HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Log MatMul Max MaxPool Min Mish
Mul Neg Not PRelu Pad Pow QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape Shape Sigmoid Slice
Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
"""
OPERATIONS = frozenset(_NAMES.split())
"""What networks for images need."""


def what_is_wrong(content: bytes, size: int, classes: int) -> str:
    """Say why a file is not run; empty if it may be.

    Args:
        content: The file.
        size: Side of the images that it must take, in pixels.
        classes: Logits that it must give.
    """
    import onnx

    try:
        model = onnx.ModelProto.FromString(content)
    except Exception:  # noqa: BLE001 - protobuf's own, which has no types
        return "it is no ONNX file, or damaged"
    graph = model.graph
    if reason := wrong_nodes(model):
        return reason
    if len(graph.input) != 1 or _dims(graph.input[0])[1:] != [3, size, size]:
        return f"it does not take images of {size} pixels"
    if len(graph.output) != 1 or _dims(graph.output[0])[1:] != [classes]:
        return f"it does not give the logits of {classes} classes"
    return _wrong_shapes(model)


def wrong_nodes(model: Any) -> str:
    """Say which of its operations are none to be run; empty if all may be. How large things become it does not say."""
    graph = model.graph
    if model.functions or model.training_info:
        return "it has operations of its own"
    if len(graph.node) > MOST_NODES:
        return f"it has {len(graph.node)} operations"
    if graph.sparse_initializer or any(_is_outside(tensor) for tensor in graph.initializer):
        return "its weights are in another file"
    return next(filter(None, map(_wrong_node, graph.node)), "")


def _wrong_node(node: Any) -> str:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATIONS:
        return f"it has an operation {node.op_type[:40]!r}, which networks for images do not need"
    for attribute in node.attribute:
        if (
            attribute.HasField("g")
            or attribute.graphs
            or attribute.HasField("sparse_tensor")
            or attribute.ref_attr_name
        ):
            return "it has a graph within its graph"
        if any(_is_outside(tensor) for tensor in (attribute.t, *attribute.tensors)):
            return "its weights are in another file"
        if attribute.name == "kernel_shape" and not 0 < math.prod(attribute.ints) <= MOST_KERNEL:
            return "it has a kernel of impossible size"
    return ""


def _wrong_shapes(model: Any) -> str:
    """See that the shape of each tensor is known for one image, and not large."""
    import onnx

    for info in (model.graph.input[0], model.graph.output[0]):
        for dim in info.type.tensor_type.shape.dim[:1]:
            dim.dim_value = 1
    del model.graph.value_info[:]  # what the file says of itself is not asked
    try:
        found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # noqa: BLE001 - its own, or protobuf's
        return f"its shapes do not fit ({str(error)[:100]})"
    known = {info.name: _dims(info) for info in (*found.graph.value_info, *found.graph.output)}
    for node in model.graph.node:
        for name in filter(None, node.output):
            dims = known.get(name)
            sides = None if dims is None else [dim for dim in dims if dim is not None]
            if dims is None or sides is None or len(sides) < len(dims):
                return f"the shape of {name[:40]!r} cannot be told beforehand"
            if math.prod(sides) > MOST_ELEMENTS:
                return f"{name[:40]!r} would have {sides} numbers"
    return ""


def _is_outside(tensor: Any) -> bool:
    return bool(tensor.data_location or tensor.external_data)


def _dims(info: Any) -> list[int | None]:
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in info.type.tensor_type.shape.dim]
