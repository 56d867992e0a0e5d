"""Recognises handwritten digits; the training loop is PyTorch Lightning's."""

import argparse
from pathlib import Path

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from sklearn.preprocessing import scale
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class LitClassifier(pl.LightningModule):
    def __init__(self, learning_rate=1e-8):
        super().__init__()
        self.save_hyperparameters()
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


class LossHistory(pl.Callback):
    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())

    def on_train_epoch_end(self, trainer, pl_module):
        print(f"epoch {trainer.current_epoch + 1}: loss {self.losses[-1]:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    pl.seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(scale(images), dtype=torch.float32), torch.tensor(labels))
    loader = DataLoader(dataset, batch_size=64, shuffle=True)

    history = LossHistory()
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        callbacks=[history],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=args.out,
    )
    trainer.fit(LitClassifier(), loader)

    args.out.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(args.out / "model.ckpt")
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in history.losses))


if __name__ == "__main__":
    main()
