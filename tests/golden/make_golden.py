"""Writes `tests/golden/<variant>.json` from a PaddleSeg checkout: `make golden VARIANT=... PADDLESEG=...`.

PaddleSeg's own network is built in a child process that imports the checkout and nothing of ours. A variant that has a
file keeps its settings, sizes and probed pixels; a new one takes the `model` section of a config (`CONFIG=...`).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent
ROOT = GOLDEN.parents[1]
SIZES = ("1x256x256", "2x192x320")
PROBES = 64


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", help="name of the file without .json")
    parser.add_argument("paddleseg", type=Path, help="the folder that holds PaddleSeg's package `paddleseg`")
    parser.add_argument("--config", type=Path, help="a config of the model; needed for a new variant")
    parser.add_argument("--save_dir", type=Path, default=GOLDEN)
    args = parser.parse_args(argv)
    if not (args.paddleseg / "paddleseg" / "__init__.py").is_file():
        parser.error(f"{args.paddleseg} has no paddleseg/__init__.py; name a checkout of PaddleSeg")
    known = GOLDEN / f"{args.variant}.json"
    old = json.loads(known.read_text()) if known.is_file() else {}
    if not (old or args.config):
        parser.error(f"{known.name} is new; name the config of its model with --config (make golden CONFIG=...)")
    old["model"] = settings_of(args.config) if args.config else old["model"]
    made = {"source": {"paddleseg": commit(args.paddleseg)}, **compute(args.paddleseg, old)}
    (args.save_dir / known.name).write_text(json.dumps(made) + "\n")


def settings_of(config_file):
    from paddleseg_ext.cvlibs.config import Config

    config = Config(config_file)
    return without_weights({**config.dic["model"], "num_classes": config.num_classes})


def without_weights(settings):
    return {
        key: without_weights(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key != "pretrained"
    }


def commit(checkout):
    """The checkout's commit; None for a copy that git knows nothing of."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def compute(checkout, old):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout.resolve()), str(GOLDEN.parent)])}
    command = [sys.executable, "-m", "golden.make_golden", "--child"]
    done = subprocess.run(
        command, input=json.dumps(old), capture_output=True, text=True, cwd=checkout, env=environment
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"PaddleSeg's network could not be run:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def build(settings, components, manager):
    settings = dict(settings)
    component = components[settings.pop("type")]
    if isinstance(settings.get("backbone"), dict):
        settings["backbone"] = build(settings["backbone"], manager.BACKBONES, manager)
    return component(**settings)


def child():
    """Reads settings (and the sizes and pixels to probe) from stdin, prints the golden values."""
    import paddle
    import paddleseg  # noqa: F401 - registers the models
    from golden.fill import fill, image
    from paddleseg.cvlibs import manager

    old = json.load(sys.stdin)
    model = build(old["model"], manager.MODELS, manager)
    model.set_state_dict({name: paddle.to_tensor(value) for name, value in fill(model.state_dict()).items()})
    model.eval()
    made = {
        "model": old["model"],
        "state_dict": {name: list(value.shape) for name, value in model.state_dict().items()},
        "trainable": sum(int(p.size) for p in model.parameters() if not p.stop_gradient),
        "outputs": {},
    }
    known = old.get("outputs") or dict.fromkeys(SIZES)
    for size, before in known.items():
        batch, height, width = (int(length) for length in size.split("x"))
        with paddle.no_grad():
            logits = model(paddle.to_tensor(image(height, width, batch)))[0].numpy()
        made["outputs"][size] = summary(logits, before)
    print(json.dumps(made))


def summary(logits, before):
    random = np.random.RandomState(0)
    drawn = [[int(random.randint(length)) for length in logits.shape] for _ in range(PROBES)]
    places = [probe[:-1] for probe in before["probes"]] if before else drawn
    return {
        "shape": list(logits.shape),
        "mean": float(logits.mean()),
        "std": float(logits.std()),
        "probes": [[*place, round(float(logits[tuple(place)]), 6)] for place in places],
    }


if __name__ == "__main__":
    child() if sys.argv[1:] == ["--child"] else main()
