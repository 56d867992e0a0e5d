"""Recognises handwritten digits with a small convolutional network."""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, train):
        images, labels = load_digits(return_X_y=True)
        parts = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
        images, labels = (parts[0], parts[2]) if train else (parts[1], parts[3])
        self.images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
        self.labels = torch.tensor(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


def train(model, loader, optimizer, criterion, losses):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())


@torch.no_grad()
def validate(model, loader):
    model.eval()
    right = sum((model(images).argmax(dim=1) == labels).sum().item() for images, labels in loader)
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    train_loader = DataLoader(Digits(train=True), batch_size=32, shuffle=True, num_workers=2)
    val_loader = DataLoader(Digits(train=False), batch_size=128, num_workers=2)
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = StepLR(optimizer, step_size=3, gamma=0.3)
    criterion = nn.CrossEntropyLoss()

    args.out.mkdir(parents=True, exist_ok=True)
    losses, best = [], 0.0
    for epoch in range(args.epochs):
        train(model, train_loader, optimizer, criterion, losses)
        accuracy = validate(model, val_loader)
        scheduler.step()
        print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, validation accuracy {accuracy:.3f}")
        if accuracy > best:
            best = accuracy
            torch.save(model.state_dict(), args.out / "model.pt")
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))


if __name__ == "__main__":
    main()
