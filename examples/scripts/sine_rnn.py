"""A recurrent network that continues noisy sines."""

import argparse
from pathlib import Path

import torch
from series import batches
from torch import nn


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, series):
        states, _ = self.rnn(series)
        return self.out(states[:, -1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=330)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.MSELoss()

    losses = []
    for step, (inputs, targets) in enumerate(batches(args.steps), start=1):
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step}: mean squared error {sum(losses[-50:]) / 50:.4f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
