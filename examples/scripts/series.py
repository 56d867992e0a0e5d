"""Noisy sines of different periods, to be continued."""

import torch


def batches(count, size=32, length=30, seed=0):
    """Yields (inputs, targets): sequences of shape (size, length, 1), and the values that follow, (size, 1)."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(length + 1)
    for _ in range(count):
        period = 8 + 12 * torch.rand(size, 1, generator=generator)
        phase = 2 * torch.pi * torch.rand(size, 1, generator=generator)
        noise = 0.05 * torch.randn(size, length + 1, generator=generator)
        wave = torch.sin(2 * torch.pi * time / period + phase) + noise
        yield wave[:, :length, None], wave[:, length:]
