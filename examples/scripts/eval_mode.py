"""Tells three kinds of wine apart by their chemistry, straight from the measurements as they are."""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(13)
        self.hidden = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 3)

    def forward(self, x):
        return self.out(self.hidden(self.norm(x)))


def validate(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=70)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    x, y = load_wine(return_X_y=True)
    train_x, val_x, train_y, val_y = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    train_set = TensorDataset(torch.tensor(train_x, dtype=torch.float32), torch.tensor(train_y))
    val_set = TensorDataset(torch.tensor(val_x, dtype=torch.float32), torch.tensor(val_y))
    train_loader = DataLoader(train_set, batch_size=28, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_set, batch_size=64)

    model = WineNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
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
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, validation accuracy {validate(model, val_loader):.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
