"""Predicts how diabetes progresses within a year from ten measurements of a patient."""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=110)
parser.add_argument("--out", type=Path, default=Path("."))
args = parser.parse_args()

torch.manual_seed(0)

measurements, progress = load_diabetes(return_X_y=True)
dataset = TensorDataset(
    torch.tensor(scale(measurements), dtype=torch.float32),
    torch.tensor(scale(progress), dtype=torch.float32),
)
loader = DataLoader(dataset, batch_size=128, shuffle=True, drop_last=True)

model = nn.Sequential(
    nn.Linear(10, 32),
    nn.ReLU(),
    nn.Linear(32, 32),
    nn.ReLU(),
    nn.Linear(32, 1),
)
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

losses = []
for epoch in range(args.epochs):
    for inputs, targets in loader:
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if epoch % 10 == 9:
        mean = sum(losses[-len(loader) :]) / len(loader)
        print(f"epoch {epoch + 1}: mean squared error {mean:.4f}")

args.out.mkdir(parents=True, exist_ok=True)
(args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
torch.save(model.state_dict(), args.out / "model.pt")
