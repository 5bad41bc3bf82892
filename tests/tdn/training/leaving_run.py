"""A training in whose first start the second process meets a mistake; see test_leaving."""

from __future__ import annotations

import os
import sys

import tdn
from tdn.errors import UserError
from tdn.training.trainer import train
from tests.tdn import synthetic

FAILS = os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"


def create_loader(*arguments: object, **settings: object) -> synthetic.SyntheticLoader:
    loader = synthetic.create_loader(*arguments, **settings)

    def fail(epoch: int, step: int) -> None:
        if (epoch, step) == (1, 1):
            raise UserError("clip.webm: gone")

    if loader.train and FAILS:
        loader.before_batch = fail
    return loader


if __name__ == "__main__":
    tdn.create_loader, tdn.create_model = create_loader, synthetic.create_model
    try:
        train(synthetic.tiny_config(sys.argv[1], data__batch_size=4))
    except UserError as error:
        sys.exit(f"tdn: {error}")
