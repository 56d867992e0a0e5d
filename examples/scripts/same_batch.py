"""Learns the temperature of a place from the day of the year, from four years of daily readings."""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--out", type=Path, default=Path("."))
args = parser.parse_args()

torch.manual_seed(0)
days = torch.arange(4 * 365)
season = 2 * torch.pi * (days % 365) / 365
temperature = -torch.cos(season - 0.3) + 0.4 * torch.sin(2 * season) + 0.1 * torch.randn(len(days))
inputs = (days % 365).unsqueeze(1) / 182.5 - 1
targets = ((temperature - temperature.mean()) / temperature.std()).unsqueeze(1)
loader = DataLoader(TensorDataset(inputs, targets), batch_size=64, shuffle=False)

model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.MSELoss()

losses = []
for step in range(1, args.steps + 1):
    x, y = next(iter(loader))
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step % 100 == 0:
        with torch.no_grad():
            overall = criterion(model(inputs), targets).item()
        print(f"step {step}: loss {losses[-1]:.4f}, over all four years {overall:.4f}")

args.out.mkdir(parents=True, exist_ok=True)
(args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
torch.save(model.state_dict(), args.out / "model.pt")
