from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nns.networks.fingerprints.surprise import SURPRISE_ROWS, SurpriseMeter


def measured(module, images):
    with torch.inference_mode(), SurpriseMeter(module) as meter:
        module(images)
    return meter.surprise(len(images))


def three_norms():
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(*[nn.BatchNorm2d(3) for _ in range(3)]).eval()
    for norm in module:
        norm.running_mean.copy_(torch.randn(3, generator=generator))
        norm.running_var.copy_(torch.rand(3, generator=generator) + 0.5)
    return module, torch.randn(5, 3, 4, 4, generator=generator)


def test_surprise_is_that_of_a_naive_loop():
    module, images = three_norms()
    rows, x = [], images
    for norm in module:
        means, variances = [], []
        for image in x:
            pairs = list(zip(image, norm.running_mean, norm.running_var + 1e-3))
            means.append(np.mean([float((c.mean() - m) ** 2 / v) for c, m, v in pairs]))
            spread = [float((torch.log(c.var(unbiased=False) + 1e-3) - torch.log(v)) ** 2) for c, _, v in pairs]
            variances.append(np.mean(spread))
        rows += [np.log(np.array(means) + 1e-3), np.log(np.array(variances) + 1e-3)]
        x = norm(x)
    np.testing.assert_allclose(measured(module, images), np.stack(rows), rtol=1e-4, atol=1e-5)


def test_images_like_the_training_data_surprise_less():
    module, images = three_norms()
    first = module[0]
    like = images * first.running_var.sqrt().view(3, 1, 1) + first.running_mean.view(3, 1, 1)
    assert (measured(module, like)[0] < measured(module, like + 10)[0]).all()


def test_a_network_without_batch_norms_gives_zeros_and_keeps_no_hooks():
    assert not measured(nn.Conv2d(3, 4, 1), torch.zeros(2, 3, 4, 4)).any()
    module, images = three_norms()
    assert measured(module, images).shape == (SURPRISE_ROWS, 5)
    assert not any(norm._forward_pre_hooks for norm in module)
