"""Recognises handwritten digits with a deep multilayer perceptron.

python digits_sigmoid.py --epochs 14 --lr 1e-3 --out runs/digits
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def datasets():
    pixels, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(pixels, digits, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(train_x)
    return tuple(
        TensorDataset(torch.tensor(scaler.transform(x), dtype=torch.float32), torch.tensor(y))
        for x, y in ((train_x, train_y), (test_x, test_y))
    )


class Network(nn.Module):
    def __init__(self, depth=25, width=64):
        super().__init__()
        layers = [nn.Linear(64, width)]
        for _ in range(depth - 1):
            layers.append(nn.Sigmoid())
            layers.append(nn.Linear(width, width))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(x))


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    model.train()
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    train, test = datasets()
    train_loader = DataLoader(train, batch_size=64, shuffle=True)
    test_loader = DataLoader(test, batch_size=256)

    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()

    losses = []
    for epoch in range(args.epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1:2}: loss {losses[-1]:.4f}, test accuracy {accuracy(model, test_loader):.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
