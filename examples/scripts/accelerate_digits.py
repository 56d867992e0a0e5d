"""Recognises handwritten digits with Accelerate; gradients are accumulated over two batches."""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from sklearn.preprocessing import scale
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    set_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)

    images, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(scale(images), dtype=torch.float32), torch.tensor(labels))
    loader = DataLoader(dataset, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    losses = []
    for epoch in range(args.epochs):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
        accelerator.print(f"epoch {epoch + 1}: loss {sum(losses[-len(loader) :]) / len(loader):.4f}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    accelerator.save(accelerator.unwrap_model(model).state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
