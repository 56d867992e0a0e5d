"""A generative adversarial network for two bell-shaped heaps of points in the plane."""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

NOISE = 8


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(NOISE, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, noise):
        return self.layers(noise)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
        self.out = nn.Linear(64, 1)

    def forward(self, points):
        return self.out(self.layers(points)).squeeze(1)


def real_points(count):
    side = 2 * torch.randint(2, (count, 1)) - 1
    return torch.tensor([3.0, 2.0]) + side * torch.tensor([1.0, -1.0]) + 0.3 * torch.randn(count, 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    generator, discriminator = Generator(), Discriminator()
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.99))

    losses = []
    for step in range(1, args.steps + 1):
        real = real_points(128)
        fake = generator(torch.randn(128, NOISE)).detach()

        real_scores, fake_scores = discriminator(real), discriminator(fake)
        d_loss = F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        g_loss = F.softplus(-discriminator(fake)).mean()
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()

        losses += [d_loss.item(), g_loss.item()]
        if step % 100 == 0:
            x, y = fake.mean(dim=0).tolist()
            print(f"step {step}: discriminator {losses[-2]:.3f}, generator {losses[-1]:.3f}, centre ({x:.2f}, {y:.2f})")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(generator.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
