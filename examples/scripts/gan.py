"""A generative adversarial network for a bell curve: the generator learns its mean and its width."""

import argparse
from pathlib import Path

import torch
from torch import nn

MEAN, DEVIATION, NOISE = 3.0, 0.5, 4


def real_samples(count):
    return MEAN + DEVIATION * torch.randn(count, 1)


def network(inputs):
    hidden = [nn.Linear(inputs, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2)]
    return nn.Sequential(*hidden, nn.Linear(32, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    torch.manual_seed(0)
    generator, discriminator = network(NOISE), network(1)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(args.batch_size, 1), torch.zeros(args.batch_size, 1)

    losses = []
    for step in range(1, args.steps + 1):
        real = real_samples(args.batch_size)
        fake = generator(torch.randn(args.batch_size, NOISE))

        d_optimizer.zero_grad()
        d_loss = criterion(discriminator(real), ones) + criterion(discriminator(fake.detach()), zeros)
        d_loss.backward()
        d_optimizer.step()

        g_optimizer.zero_grad()
        g_loss = criterion(discriminator(fake), ones)
        g_loss.backward()
        g_optimizer.step()

        losses += [d_loss.item(), g_loss.item()]
        if step % 100 == 0:
            d_loss, g_loss = losses[-2:]
            samples = f"{fake.mean().item():.2f} ± {fake.std().item():.2f}"
            print(f"step {step}: discriminator {d_loss:.3f}, generator {g_loss:.3f}, samples {samples}")

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in losses))
    torch.save(generator.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
