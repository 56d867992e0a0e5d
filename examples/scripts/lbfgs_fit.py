"""Fits a curve through noisy points with a small network and L-BFGS."""

import argparse
from pathlib import Path

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--out", type=Path, default=Path("."))
args = parser.parse_args()

torch.manual_seed(0)
x = torch.linspace(-3, 3, 200).unsqueeze(1)
y = torch.sin(2 * x) * torch.exp(-0.2 * x**2) + 0.05 * torch.randn_like(x)

model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=10, line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    return loss


losses = []
for step in range(args.steps):
    losses.append(optimizer.step(closure).item())
    if step % 5 == 4:
        print(f"step {step + 1}: loss {losses[-1]:.5f}")

args.out.mkdir(parents=True, exist_ok=True)
(args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
