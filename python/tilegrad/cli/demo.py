"""``tilegrad demo``: train a small network to read handwritten digits."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilegrad.cli import arguments
from tilegrad.cli.failure import Failure, need

if TYPE_CHECKING:
    from tilegrad.demo.digits import Digits
    from tilegrad.demo.training import History

HELP = """\
Train a small convolutional network on scikit-learn's 1,797 real handwritten digits, a fifth of them
held out; show the confusion table on the held-out ones, and draw the loss and some wrongly read
digits. Takes seconds on two cores and reaches 98 % and more.

With --data it reads MNIST instead: a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte,
t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, as they are or gzipped.

The packages it needs come with: pip install "tilegrad[demo]" """


#: Endings of the pictures that the demo draws.
PICTURES = (".png", ".pdf", ".svg", ".jpg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder with MNIST's IDX files")
    parser.add_argument(
        "--epochs", type=arguments.count, metavar="N", help="default: 15, and 2 with --data"
    )
    parser.add_argument(
        "--batch-size", type=arguments.count, default=32, metavar="N", help="default: 32"
    )
    parser.add_argument(
        "--seed", type=arguments.seed, default=1, metavar="N", help="of weights, split and order: 1"
    )
    parser.add_argument(
        "--output",
        type=arguments.output_file,
        default=Path("tilegrad-demo.png"),
        metavar="FILE.png",
        help="the picture; default: tilegrad-demo.png",
    )


def run(options: argparse.Namespace) -> int:
    tqdm = need("tqdm", "tqdm", "demo").tqdm
    need("matplotlib", "matplotlib", "demo")
    if options.output.suffix.lower() not in PICTURES:
        raise Failure(f"{options.output}: expected a file that ends in one of {' '.join(PICTURES)}")
    data = _load(options)

    import tilegrad as tg
    from tilegrad.demo.report import confusion, confusion_table
    from tilegrad.demo.training import network, read, train

    tg.manual_seed(options.seed)
    epochs = options.epochs or (15 if options.data is None else 2)
    model = network(*data.train_images.shape[2:])
    _introduce(data, model)
    with tqdm(
        total=epochs * math.ceil(len(data.train_labels) / options.batch_size),
        desc="training",
        unit="step",
        file=sys.stdout,
        mininterval=0.1,
    ) as bar:

        def show(history: History) -> None:
            accuracy = f"{history.accuracies[-1]:.2%}" if history.accuracies else "-"
            bar.set_postfix(loss=f"{history.losses[-1]:.4f}", accuracy=accuracy, refresh=False)
            bar.update()

        history = train(
            model,
            data,
            epochs=epochs,
            batch_size=options.batch_size,
            seed=options.seed,
            on_step=show,
        )
        show_last = f"{history.accuracies[-1]:.2%}"
        bar.set_postfix(loss=f"{history.losses[-1]:.4f}", accuracy=show_last)

    seen, sureness = read(model, data.test_images)
    print("\n" + confusion_table(confusion(data.test_labels, seen)))
    right, count = int((seen == data.test_labels).sum()), len(seen)
    print(
        f"\n{right} of {count} held-out digits read rightly: {right / count:.2%} "
        f"after {epochs} epochs in {history.seconds:.1f} s"
    )
    _draw(options.output, data, seen, sureness, history)
    return 0


def _load(options: argparse.Namespace) -> Digits:
    from tilegrad.data import DataError
    from tilegrad.demo import digits

    if options.data is None:
        need("sklearn", "scikit-learn", "demo")
        return digits.from_scikit_learn(options.seed)
    try:
        return digits.from_folder(options.data)
    except (DataError, FileNotFoundError) as error:
        raise Failure(str(error)) from error


def _introduce(data: Digits, model: Any) -> None:
    from tilegrad import _native

    height, width = data.train_images.shape[2:]
    weights = sum(p.numel() for p in model.parameters())
    print(
        f"{data.source}: {len(data.train_labels):,} images of {height} x {width} pixels to learn "
        f"from, {len(data.test_labels):,} held out\n"
        f"network of {weights:,} parameters; {_native.get_isa()}, "
        f"{_native.get_num_threads()} threads\n"
    )


def _draw(path: Path, data: Digits, seen: Any, sureness: Any, history: History) -> None:
    from tilegrad.demo.report import Reading, picture

    readings = [
        Reading(image[0], int(written), int(read), float(sure))
        for image, written, read, sure in zip(
            data.test_images, data.test_labels, seen, sureness, strict=True
        )
    ]
    title = f"{data.source}: {history.accuracies[-1]:.2%} of held-out digits read rightly"
    try:
        picture(path, history.losses, history.accuracies, readings, title)
    except (OSError, ValueError) as error:  # ValueError: a format that matplotlib does not know
        raise Failure(f"{path}: the picture cannot be written ({error})") from error
    print(f"loss curve and the hardest digits: {path}")
