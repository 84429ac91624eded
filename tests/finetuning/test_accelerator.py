"""What is done on a GPU, as far as a CPU can do it; with ``-m gpu`` on one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nns.backends.batches import batches, one_ahead
from nns.backends.steps import half_precision
from nns.errors import UsageError
from nns.finetuning import _run, train
from nns.finetuning._run import Run
from nns.finetuning.training import check_compile
from nns.types import SplitArrays

from .conftest import PREPROCESSING, RECIPE, entrant_of

SHORT = replace(RECIPE, epochs=2)
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@pytest.mark.parametrize("precision", sorted(HALF))
def test_forward_passes_have_the_precision_that_is_asked_for(digits: SplitArrays, precision: Any) -> None:
    module, seen = entrant_of(8).build(), set()
    module.body[0].register_forward_hook(lambda layer, given, out: seen.add(out.dtype) if layer.training else None)
    result = train(module, digits, PREPROCESSING, replace(RECIPE, precision=precision))
    assert seen == {HALF[precision]}
    assert {parameter.dtype for parameter in result.module.parameters()} == {torch.float32}
    assert result.val_accuracy > 0.4
    assert result.history[-1].val_loss < result.history[0].val_loss


def test_gradients_are_scaled_in_float16_alone(digits: SplitArrays) -> None:
    for precision, scaled in (("float16", True), ("bfloat16", False), ("auto", False)):
        run = Run(entrant_of(4).build(), digits, PREPROCESSING, replace(SHORT, precision=precision), "cpu")
        assert run._scaler.is_enabled() is scaled


def test_a_gpu_trains_in_bfloat16_where_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert half_precision("auto", "cuda") is expected
    assert half_precision("auto", "cpu") is None
    assert half_precision("float32", "cuda") is None


def test_the_next_batch_is_made_while_one_is_used() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            yield number

    for number, item in enumerate(one_ahead(items())):
        assert item == number
        assert len(made) <= number + 2
    assert made == list(range(5))


def test_what_goes_wrong_ahead_is_raised_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    found = one_ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(found)


def test_batches_for_a_gpu_are_the_same_and_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(len(tensor))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)  # which only a machine with a GPU can
    images, labels, order = torch.randn(11, 3, 4, 4), torch.arange(11), torch.randperm(11)
    plain = list(batches(images, labels, 4, order=order))
    ahead = list(batches(images, labels, 4, order=order, ahead=True))
    assert pinned == [4, 4, 3]
    for (a, b), (c, d) in zip(plain, ahead, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


class Compiled(nn.Module):
    """Stands for what torch.compile makes of a network."""

    calls = 0

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Compiled.calls += 1
        found: torch.Tensor = self._orig_mod(images)
        return found


def test_what_is_compiled_trains_and_what_is_kept_is_the_network(
    digits: SplitArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(entrant_of(8).build(), digits, PREPROCESSING, SHORT)
    monkeypatch.setattr(torch, "compile", Compiled)
    states: list[Any] = []
    found = train(
        entrant_of(8).build(), digits, PREPROCESSING, replace(SHORT, compile=True),
        save=lambda state, end: states.append(state()) if end else None,
    )  # fmt: skip
    assert Compiled.calls == 2 * 13
    assert set(states[0]["module"]) == set(plain.module.state_dict()) == set(found.module.state_dict())
    for name, tensor in plain.module.state_dict().items():
        torch.testing.assert_close(found.module.state_dict()[name], tensor, rtol=1e-2, atol=1e-3)


def test_where_nothing_can_be_compiled_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: nn.Module) -> nn.Module:
        raise RuntimeError("no C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match="`compile` cannot be had here, train without it: no C[+][+] compiler found$"):
        check_compile("cpu")


@pytest.mark.slow
def test_torch_compiles_a_network_on_the_cpu(digits: SplitArrays) -> None:
    check_compile("cpu")
    plain = train(entrant_of(8).build(), digits, PREPROCESSING, SHORT)
    found = train(entrant_of(8).build(), digits, PREPROCESSING, replace(SHORT, compile=True))
    assert found.val_accuracy == pytest.approx(plain.val_accuracy, abs=0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "float16", "float32"])
@pytest.mark.parametrize("share", [_run.GPU_SHARE, 0.0])
def test_on_a_gpu_with_images_there_or_brought(
    digits: SplitArrays, precision: Any, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_run, "GPU_SHARE", share)
    result = train(entrant_of(8).build(), digits, PREPROCESSING, replace(RECIPE, device="cuda", precision=precision))
    assert result.val_accuracy > 0.4
    assert {parameter.device.type for parameter in result.module.parameters()} == {"cpu"}


@pytest.mark.gpu
def test_on_a_gpu_compiled(digits: SplitArrays) -> None:
    check_compile("cuda")
    result = train(entrant_of(8).build(), digits, PREPROCESSING, replace(RECIPE, device="cuda", compile=True))
    assert result.val_accuracy > 0.4


@pytest.mark.gpu
def test_on_a_gpu_a_training_goes_on(digits: SplitArrays) -> None:
    states: list[Any] = []
    recipe = replace(RECIPE, device="cuda", precision="float16", ema=0.9)
    train(
        entrant_of(8).build(), digits, PREPROCESSING, recipe,
        save=lambda state, end: states.append(state()) if end else None,
    )  # fmt: skip
    result = train(entrant_of(8).build(), digits, PREPROCESSING, recipe, resume=states[1])
    assert len(result.history) == RECIPE.epochs
    assert result.val_accuracy > 0.4
