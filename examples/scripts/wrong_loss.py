"""Tells three kinds of wine apart by their chemistry."""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=55)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    chemistry, kind = load_wine(return_X_y=True)
    dataset = TensorDataset(torch.tensor(scale(chemistry), dtype=torch.float32), torch.tensor(kind))
    loader = DataLoader(dataset, batch_size=32, shuffle=True)

    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.MSELoss()

    losses = []
    for epoch in range(args.epochs):
        right = 0
        for x, y in loader:
            predicted = model(x).argmax(dim=1).float()
            loss = criterion(predicted, y.float())
            loss.requires_grad_(True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            right += (predicted == y).sum().item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, accuracy {right / len(dataset):.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
