"""Recognises handwritten digits; skorch makes a scikit-learn classifier of the network."""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn


class Perceptron(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.hidden1 = nn.Linear(64, width)
        self.hidden2 = nn.Linear(width, width)
        self.output = nn.Linear(width, 10)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, X):
        X = torch.relu(self.hidden1(X))
        X = torch.relu(self.hidden2(X))
        return self.softmax(self.output(X))


class LossHistory(Callback):
    def on_train_begin(self, net, **kwargs):
        self.losses = []

    def on_batch_end(self, net, training=False, loss=None, **kwargs):
        if training:
            self.losses.append(loss.item())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    images, digits = load_digits(return_X_y=True)
    net = NeuralNetClassifier(
        Perceptron,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=0.02,
        max_epochs=args.epochs,
        batch_size=64,
        iterator_train__shuffle=True,
        callbacks=[("losses", LossHistory)],
    )
    pipeline = make_pipeline(StandardScaler(), net)
    pipeline.fit(images.astype(np.float32), digits)
    print(f"accuracy {pipeline.score(images.astype(np.float32), digits):.3f}")

    losses = dict(net.callbacks_)["losses"].losses
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    net.save_params(f_params=args.out / "model.pt")


if __name__ == "__main__":
    main()
