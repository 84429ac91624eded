from __future__ import annotations

import base64
import json
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from nns_onnx import FOLDER, OnnxBackend, networks
from nns_onnx.files import read_graph, take_apart
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nns import Zoo
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.plugins import ArchitectureSpec, load_plugins
from nns.testing import BackendContract, tiny_image_folder

HEAD = "file,classes,data,image_size,mean,std,license,accuracy\n"
ROW = "{},{},things,{},0.5 0.5 0.5,0.25 0.25 0.25,MIT,0.8\n"
SIDE = 32


class Small(nn.Module):
    """Convolutions with batch norm, a squeeze-and-excitation, and a linear head."""

    def __init__(self, classes=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, groups=8, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.head = nn.Linear(16, classes)

    def forward(self, images):
        x = self.stem(images)
        return self.head(self.deep(x * self.gate(x)).mean((2, 3))).softmax(1)


def written(path, module, side=SIDE):
    """Export as most files in the world were."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    dynamic = {"images": {0: "n"}}
    options = {"dynamo": False, "input_names": ["images"], "output_names": ["scores"], "dynamic_axes": dynamic}
    torch.onnx.export(
        module.eval(), (torch.zeros(1, 3, side, side),), path, training=torch.onnx.TrainingMode.EVAL, **options
    )
    return path


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    return written(tmp_path_factory.mktemp("onnx") / "small.onnx", Small())


@pytest.fixture
def folder(tmp_path, monkeypatch, user, small):
    """A folder with one network, listed with its classes and without."""
    share = tmp_path / "share"
    share.mkdir()
    for name in ("small.onnx", "bare.onnx"):
        (share / name).write_bytes(small.read_bytes())
    (share / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    (share / "networks.csv").write_text(
        HEAD + ROW.format("small.onnx", "names.txt", SIDE) + ROW.format("bare.onnx", "", "")
    )
    monkeypatch.setenv(FOLDER, str(share))
    return share


class TestOnnxBackend(BackendContract):
    pattern = "small"
    image_size = SIDE

    @pytest.fixture
    def backend(self, folder):
        return OnnxBackend()

    def test_pretrained_elsewhere(self, backend, tmp_path):
        """As the contract has it; but what is fetched is an ONNX file."""
        for offer in backend.pretrained():
            assert backend.weights_host(offer.weights.name) == f"the folder {tmp_path / 'share'}"
            state = backend.read_weights(offer.spec, tmp_path / "share" / f"{offer.spec.name}.onnx")
            assert backend.load(offer.spec, state, len(offer.classes)).head.out_features == len(offer.classes)


def session_of(path):
    return onnxruntime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])


def check_same(path, side, head=True, atol=1e-4):
    """Compare with onnxruntime on three images."""
    backend = OnnxBackend()
    (spec,) = [offer.spec for offer in backend.pretrained() if offer.spec.name == path.stem]
    classes = len(next(offer for offer in backend.pretrained() if offer.spec.name == path.stem).classes)
    module = backend.load(spec, backend.read_weights(spec, path), classes)
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    session = session_of(path)
    expected = np.concatenate(
        [session.run(None, {session.get_inputs()[0].name: images[i : i + 1].numpy()})[0] for i in range(3)]
    )
    with torch.inference_mode():
        found = module(images) if head else backend.features(module, images)
    if head and np.allclose(expected.sum(1), 1, atol=1e-4):
        found = found.softmax(1)
    np.testing.assert_allclose(found.numpy(), expected.reshape(len(expected), -1), atol=atol)


def test_it_is_found_by_its_entry_point():
    assert isinstance(load_plugins().backend("onnx"), OnnxBackend)


def test_without_a_folder_it_offers_nothing(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    assert OnnxBackend().pretrained() == []
    with pytest.raises(UnknownNameError, match=FOLDER):
        OnnxBackend().offers()


def test_it_computes_what_onnxruntime_does(folder):
    check_same(folder / "small.onnx", SIDE)


def test_what_is_said_of_it(folder):
    small, bare = OnnxBackend().pretrained()
    assert (small.classes, small.dataset, small.accuracy) == (("ant", "bee", "cat", "dog"), "things", 0.8)
    assert (bare.classes, bare.spec.config["head"]) == ((), False)
    assert OnnxBackend().license(small.spec) == "MIT"
    assert OnnxBackend().preprocessing(small.spec, 224).size == SIDE
    assert len(json.dumps(small.spec.config)) < 5000, "a graph without its weights"


def test_only_the_head_learns(folder):
    module = OnnxBackend().build(OnnxBackend().offers("small")[0], 3)
    assert {name for name, each in module.named_parameters() if each.requires_grad} == {"head.weight", "head.bias"}
    module.train()
    assert module.head.training
    assert not any(each.training for each in module.body.modules())


def test_it_is_counted_as_the_network_that_it_was(folder):
    from nns.networks import count_cost

    backend = OnnxBackend()
    spec = backend.offers("small")[0]
    cost = count_cost(backend, backend.build(spec, 4), backend.preprocessing(spec), 4)
    norms = 0  # the exporter folds batch norms into convolutions
    convolutions = sum(p.numel() for m in Small().modules() if isinstance(m, nn.Conv2d) for p in m.parameters())
    assert cost.body_params == convolutions + 16 + norms
    assert cost.body_macs == 16 * 16 * 8 * 27 + 8 * 8 + 8 * 8 * 16 * 9
    assert cost.feature_dim == 16


@pytest.mark.parametrize("copy", [False, True], ids=["by reference", "copied"])
def test_from_a_file_to_a_fine_tuned_network(nns, folder, tmp_path, copy):
    zoo, data, out = tmp_path / "zoo.h5", tiny_image_folder(tmp_path / "data"), tmp_path / "out"
    done = nns("zoo", "add", zoo, "--offered", "onnx", "--json", *["--copy"] * copy)
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["networks"]) == 2
    if copy:  # then a machine needs the plugin, and no folder
        (folder / "networks.csv").unlink()
        (folder / "networks.csv").write_text(HEAD + ROW.format("gone.onnx", "", ""))
    with Zoo(zoo) as opened:
        assert {network.on_disk for network in opened.networks()} == {copy}
    done = nns("finetune", data, "--zoo", zoo, "--epochs", 2, "--try", 1, "-o", out, "--json")
    assert done.code == 0, done.err
    assert nns("predict", out, next(data.rglob("*.png"))).code == 0
    assert nns("export", out, "--format", "onnx").code == 0
    assert nns("zoo", "verify", zoo).code == 0


def test_a_single_file(nns, folder, tmp_path):
    about = ["--backend", "onnx", "--architecture", "small", "--data", "things", "--classes", folder / "names.txt"]
    done = nns("zoo", "add", tmp_path / "zoo.h5", folder / "small.onnx", *about)
    assert done.code == 0, done.err
    with Zoo(tmp_path / "zoo.h5") as opened:
        assert opened.networks()[0].load().head.out_features == 4
    (tmp_path / "evil.onnx").write_bytes(changed(folder / "small.onnx", external))
    refused = nns("zoo", "add", tmp_path / "zoo.h5", tmp_path / "evil.onnx", *about)
    assert (refused.code, "another file" in refused.err) == (2, True)


# operations, against onnxruntime

X = (2, 6, 8, 8)
ints = lambda *values: np.array(values, np.int64)  # noqa: E731
PLAIN = ("Abs", "Erf", "Exp", "HardSigmoid", "Identity", "Mish", "Neg", "Relu", "Sigmoid", "Softplus", "Tanh")
OF_TWO = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Sub", "Sum")
OPS = [
    *[(name, {}, []) for name in PLAIN],
    *[(name, {}, [(6, 1, 1)]) for name in OF_TWO],
    ("HardSwish", {}, []), ("Elu", {"alpha": 0.5}, []), ("LeakyRelu", {"alpha": 0.2}, []), ("Softmax", {"axis": 1}, []),
    ("Gelu", {}, []), ("Gelu", {"approximate": "tanh"}, []), ("Clip", {}, [np.float32(-0.5), np.float32(0.5)]),
    ("GlobalAveragePool", {}, []), ("GlobalMaxPool", {}, []), ("Flatten", {}, []), ("Flatten", {"axis": 2}, []),
    ("ReduceMean", {"keepdims": 0}, [ints(2, 3)]), ("ReduceMax", {}, [ints(-1)]), ("ReduceSum", {}, [ints(1)]),
    ("Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}, [(4, 6, 3, 3), (4,)]),
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [(4, 6, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [(4, 6, 3, 3)]),
    ("Conv", {"pads": [0, 0, 1, 1], "group": 3}, [(6, 2, 3, 3)]),
    ("Conv", {"dilations": [2, 2]}, [(4, 6, 3, 3)]),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, []),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, []),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, []),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, []),
    ("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, []),
    ("BatchNormalization", {"epsilon": 0.01}, [(6,), (6,), (6,), np.full(6, 2, np.float32)]),
    ("LayerNormalization", {"axis": -1}, [(8,), (8,)]), ("InstanceNormalization", {}, [(6,), (6,)]),
    ("LRN", {"size": 3, "alpha": 0.1}, []), ("MatMul", {}, [(8, 5)]), ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    ("Reshape", {}, [ints(0, -1, 4)]), ("Squeeze", {}, [ints(0)]), ("Unsqueeze", {}, [ints(1, -1)]),
    ("Concat", {"axis": 1}, [(2, 3, 8, 8)]), ("Slice", {}, [ints(1), ints(-1), ints(1), ints(2)]),
    ("Slice", {}, [ints(0, 2), ints(1, 99)]), ("Slice", {}, [ints(-1), ints(-99), ints(2), ints(-3)]),
    ("Slice", {}, [ints(5), ints(1), ints(3), ints(-2)]),
    ("Gather", {"axis": 1}, [ints(3, -1)]), ("Gather", {"axis": 2}, [np.int64(1)]),
    ("Pad", {}, [ints(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0.5)]),
    ("Pad", {"mode": "reflect"}, [ints(0, 0, 1, 2, 0, 0, 0, 1)]),
    ("Expand", {}, [ints(2, 2, 6, 8, 8)]), ("Pow", {}, [np.float32(2)]), ("Shape", {}, []),
    ("DepthToSpace", {"blocksize": 1, "mode": "CRD"}, []),
    ("Split", {"axis": 1, "num_outputs": 2}, []), ("Split", {"axis": 1}, [ints(2, 4)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "more"), OPS, ids=lambda value: str(value)[:40])
def test_operations_are_those_of_the_standard(name, settings, more):
    from nns_onnx.operations import OPERATIONS, STILL

    rng = np.random.default_rng(0)
    shape = (1, *X[1:]) if name == "Squeeze" else X
    given = [rng.normal(size=shape).astype(np.float32)]
    given += [
        rng.normal(size=each).astype(np.float32) if isinstance(each, tuple) else np.asarray(each) for each in more
    ]
    names = [f"x{i}" for i in range(len(given))]
    outputs = ["y", "z"][: 2 if name == "Split" else 1]
    node = helper.make_node(name, names, outputs, **settings)
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    inputs = [
        helper.make_tensor_value_info(n, kinds[each.dtype], each.shape) for n, each in zip(names, given, strict=True)
    ]
    out = TensorProto.INT64 if name == "Shape" else TensorProto.FLOAT
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info(each, out, None) for each in outputs])
    opset = 22 if name == "HardSwish" else 20
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, dict(zip(names, given, strict=True)))
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    last = 1 if name in STILL else len(given)
    taken = [torch.from_numpy(each.copy()) if at < last else each for at, each in enumerate(given)]
    found = OPERATIONS[name](attributes, *taken)
    for theirs, ours in zip(expected, found if isinstance(found, tuple) else (found,), strict=True):
        np.testing.assert_allclose(np.asarray(ours, theirs.dtype), theirs, atol=2e-5)


def test_every_operation_that_is_known_is_allowed():
    from nns_onnx.operations import OF_NUMBERS, OPERATIONS

    from nns.finetuning.onnx_checks import OPERATIONS as ALLOWED

    assert {*OPERATIONS, *OF_NUMBERS} <= ALLOWED


# real networks


def listed(folder, name, module, side=64, classes=1000):
    written(folder / f"{name}.onnx", module, side)
    (folder / "many.txt").write_text("\n".join(f"class {i}" for i in range(classes)))
    (folder / "networks.csv").write_text(HEAD + ROW.format(f"{name}.onnx", "many.txt", side))
    return folder / f"{name}.onnx"


@pytest.mark.parametrize(
    "name",
    ["shufflenet_v2_x0_5", *[pytest.param(each, marks=pytest.mark.slow) for each in (
        "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "googlenet", "mnasnet0_5",
        "regnet_y_400mf", "convnext_tiny",
    )]],
)  # fmt: skip
def test_networks_of_torchvision(folder, name):
    from torchvision import models

    more = {"init_weights": False} if name == "googlenet" else {}
    check_same(listed(folder, name, models.get_model(name, weights=None, **more)), 64, atol=1e-3)


def test_a_head_that_is_a_convolution_comes_off(folder, caplog):
    from torchvision import models

    path = listed(folder, "squeezenet1_1", models.squeezenet1_1())
    (offer,) = OnnxBackend().pretrained()
    assert offer.classes == ()
    assert offer.spec.config["width"] == 512
    assert "comes without a head" in caplog.text
    module = OnnxBackend().load(offer.spec, OnnxBackend().read_weights(offer.spec, path), 0)
    assert module.body(torch.randn(2, 3, 64, 64)).shape == (2, 512)


@pytest.mark.slow
def test_a_transformer(folder):
    import timm

    check_same(listed(folder, "vit", timm.create_model("vit_tiny_patch16_224", img_size=64)), 64, atol=1e-3)


# files of strangers


def changed(small, change):
    model = onnx.ModelProto.FromString(small.read_bytes())
    change(model)
    return model.SerializeToString()


def external(model, location="/etc/passwd"):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def external_constant(model):
    tensor = numpy_helper.from_array(np.zeros(4, np.float32))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["evil"], value=tensor))


def huge(model):
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 20, 1 << 20])


def negative(model):
    model.graph.initializer[0].dims[0] = -1


def two_inputs(model):
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def wide(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 64


def big(model):
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 100_000


def bytes_in(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def looped(model):
    body = helper.make_graph([], "b", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", body))


def operation(name, domain=""):
    def change(model):
        model.graph.node[0].op_type, model.graph.node[0].domain = name, domain

    return change


def function(model):
    model.functions.add(name="f", domain="x")


def kernel(model):
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "kernel_shape":
            attribute.ints[0] = 1 << 40


def still(model):
    """A convolution that takes steps of nothing: torch divides by them."""
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "strides":
            attribute.ints[0] = 0


def names_twice(model):
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])


def numbers(model):
    """Shapes that would be made of ever more numbers."""
    names = []
    for index, shape in enumerate(((1, 30000), (30000, 1))):
        model.graph.initializer.append(numpy_helper.from_array(ints(*shape), f"s{index}"))
        names.append(f"filled{index}")
        value = numpy_helper.from_array(ints(1))
        model.graph.node.insert(0, helper.make_node("ConstantOfShape", [f"s{index}"], [names[-1]], value=value))
    model.graph.node.insert(2, helper.make_node("Mul", names, ["huge"]))
    first = model.graph.node[3]
    model.graph.node.insert(3, helper.make_node("Reshape", [first.input[0], "huge"], ["same"]))
    model.graph.node[4].input[0] = "same"


def exploding(model):
    side = numpy_helper.from_array(ints(1, 3, 1 << 14, 1 << 14), "sides")
    model.graph.initializer.append(side)
    first = model.graph.node[0]
    model.graph.node.insert(0, helper.make_node("Expand", [first.input[0], "sides"], ["large"]))
    model.graph.node[1].input[0] = "large"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (external, "another file"), (external_constant, "another file"),
        (huge, "is not used"), (negative, "no numbers"),
        (two_inputs, "2 inputs"), (wide, "not square"), (big, "not square"), (bytes_in, "32-bit floats"),
        (looped, "graph within"), (operation("If"), "operation 'If'"), (operation("Loop"), "operation 'Loop'"),
        (operation("Conv", "evil.ops"), "operation 'Conv'"), (function, "of its own"), (kernel, "impossible size"),
        (still, "does not work"),
        (names_twice, "one name"), (exploding, "is not used"), (numbers, "equal numbers"),
        (operation("Equal"), "is not used"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)  # fmt: skip
def test_files_of_strangers_are_refused(folder, small, caplog, change, why):
    (folder / "small.onnx").write_bytes(changed(small, change))
    with pytest.raises(WeightsError, match=why):
        OnnxBackend().read_weights(OnnxBackend().pretrained()[-1].spec, folder / "small.onnx")
    assert [each.name for each, _ in networks()] == ["bare"], "the others can be used"
    assert "small.onnx" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"PK\x03\x04", os.urandom(1000)], ids=["empty", "zeros", "zip", "noise"]
)
def test_what_is_no_onnx_file(folder, tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(WeightsError):
        take_apart(tmp_path / "x.onnx")


def test_a_pipe_a_device_and_a_file_of_holes(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    with (tmp_path / "holes.onnx").open("wb") as file:
        file.truncate(40 << 30)
    for name in ("pipe", "zero", "holes"):
        with pytest.raises(WeightsError, match="cannot be read"):
            take_apart(tmp_path / f"{name}.onnx")


def test_a_table_that_leads_out_of_the_folder(nns, folder):
    (folder / "networks.csv").write_text(HEAD + ROW.format("../../secret.onnx", "", ""))
    done = nns("architectures", "onnx")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "not below the folder" in done.err


def test_only_what_is_in_a_table_is_fetched(folder, tmp_path):
    (folder / "other.onnx").write_bytes(b"x")
    for name in ("0123/other.onnx", "0123/../../etc/passwd"):
        with pytest.raises(WeightsError, match="in its table"):
            OnnxBackend().fetch_weights(name, tmp_path / "x")


def test_a_zoo_may_say_anything(folder):
    spec = OnnxBackend().offers("small")[0]
    bomb = base64.b64encode(zlib.compress(b"\0" * (1 << 26))).decode()
    plain = read_graph(spec.config["graph"], SIDE)
    evil = onnx.ModelProto()
    evil.CopyFrom(plain)
    evil.graph.node[0].op_type = "Loop"
    many = onnx.ModelProto()
    many.CopyFrom(plain)
    many.graph.initializer[0].dims[0] = 1 << 40
    packed = [base64.b64encode(zlib.compress(each.SerializeToString())).decode() for each in (evil, many)]
    changes = [{"graph": each} for each in (bomb, "", "!", 7, None, *packed)]
    changes += [{"image_size": each} for each in (16, 10**9, "x", None)]
    changes += [{"width": each} for each in (0, 10**12, "x", None)]
    for change in changes:
        with pytest.raises(UsageError):
            OnnxBackend().build(replace(spec, config={**spec.config, **change}), 3)
    for change in ({"mean": [1, 2]}, {"std": None}, {"image_size": None}):
        with pytest.raises(UsageError):
            OnnxBackend().preprocessing(replace(spec, config={**spec.config, **change}))
    with pytest.raises(UsageError):
        OnnxBackend().build(ArchitectureSpec("onnx", "x"), 3)
