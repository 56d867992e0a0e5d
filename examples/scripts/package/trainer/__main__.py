"""Trains the network: `python -m trainer --out runs/moons`."""

import argparse
from pathlib import Path

import torch
from torch import nn

from .data import loaders
from .model import Net


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    right = sum(((model(x) > 0) == y.bool()).sum().item() for x, y in loader)
    model.train()
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(prog="python -m trainer")
    parser.add_argument("--epochs", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    train_loader, test_loader = loaders(batch_size=32)
    model = Net()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss()

    losses = []
    for epoch in range(args.epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, test accuracy {evaluate(model, test_loader):.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
