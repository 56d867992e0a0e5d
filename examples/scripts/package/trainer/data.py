"""The data."""

import torch
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset, random_split


def loaders(batch_size):
    points, moon = make_moons(1200, noise=0.15, random_state=0)
    dataset = TensorDataset(torch.tensor(points, dtype=torch.float32), torch.tensor(moon, dtype=torch.float32))
    train, test = random_split(dataset, [1000, 200])
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(test, batch_size=200)
