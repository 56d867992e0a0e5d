"""Tells on which side a thunderstorm lies from the air pressure, in hectopascal, at eight stations around."""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def weather(days=1600, stations=8):
    side = torch.randint(4, (days,))
    direction = torch.pi / 2 * (side + torch.rand(days) - 0.5)
    station = 2 * torch.pi * torch.arange(stations) / stations
    depth = 3 + 2 * torch.rand(days, 1)
    noise = 2 * torch.randn(days, 1) + 0.5 * torch.randn(days, stations)
    pressure = 1013 - depth * torch.cos(direction[:, None] - station) + noise
    return TensorDataset(pressure, side)


class WeatherNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.hidden = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 32), nn.Tanh())
        self.out = nn.Linear(32, 4)

    def forward(self, x):
        return self.out(self.hidden(self.norm(x)))


def validate(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    train_set, val_set = random_split(weather(), [1344, 256])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=256)

    model = WeatherNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()

    losses = []
    print(f"before training: validation accuracy {validate(model, val_loader):.3f}")
    for epoch in range(args.epochs):
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, validation accuracy {validate(model, val_loader):.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
