"""Kaylee's network: 40 hidden layers of sigmoids that should read handwritten digits, and do not learn."""

from torch import Tensor, nn, tensor

from unstick import Case, CaseError

DEPTH = 40
WIDTH = 64


def network() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(64, WIDTH), nn.Sigmoid()]
    for _ in range(DEPTH - 1):
        layers += [nn.Linear(WIDTH, WIDTH), nn.Sigmoid()]
    layers += [nn.Linear(WIDTH, 10)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return nn.Sequential(*layers)


def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 8 x 8 pixels, each pixel standardised, and the digit that each shows."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise CaseError("the reference case needs scikit-learn's digits: pip install 'unstick[demo]'") from None
    images, labels = load_digits(return_X_y=True)
    spread = images.std(axis=0)
    spread[spread == 0] = 1  # pixels at the edge that are the same in every image stay at zero
    return tensor((images - images.mean(axis=0)) / spread).float(), tensor(labels)


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    return (outputs.argmax(1) == labels).float().mean().item()


def kaylee() -> Case:
    return Case(model=network, data=digits(), loss=nn.CrossEntropyLoss(), metric=accuracy, name="kaylee")
