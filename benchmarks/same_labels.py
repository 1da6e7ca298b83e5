"""Compares every runtime with predict.py, for each family of models and each output op that gives labels.

    make cpp
    python benchmarks/same_labels.py --save_json docs/figures/same_labels.json

The pictures are three photographs of odd sizes, one of them a JPEG, and a small validation set; all are drawn. Each
family is exported for the size of each photograph, because Paddle-Lite takes one size; then nothing is resized, and
every runtime should give the labels of predict.py. In the rows "any size" one export of open size serves all three,
without Paddle-Lite. In the rows "resized" one export of another size serves them, and the reference is predict.py
with --output_op and --input_shape. Weights are made so that fifteen classes win somewhere
(paddleseg_ext_tools/lab/probe.py).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import paddle
from PIL import Image

from paddleseg_ext.export.static_graph import check_input_shape
from paddleseg_ext_runtime.output_ops import LABEL_OPS
from paddleseg_ext_runtime.prediction import PSEUDO_COLOR
from paddleseg_ext_tools.commands import predict
from paddleseg_ext_tools.lab.forms import CPP_PROGRAM, FORM, Counts, chosen_forms
from paddleseg_ext_tools.lab.systems import Network, read_picture
from paddleseg_ext_tools.scenes import make_scene

FAMILIES = {
    "PP-MobileSeg-Tiny": "configs/pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_80k.yml",
    "TopFormer-Tiny": "configs/topformer/topformer_tiny_ade20k_512x512_160k.yml",
    "SeaFormer-Tiny": "configs/seaformer/seaformer_tiny_ade20k_512x512_160k.yml",
    "PP-LiteSeg-T": "configs/pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale1.0_160k.yml",
    "MobileSeg": "configs/mobileseg/mobileseg_mobilenetv3_ade20k_512x512_160k.yml",
    "LR-ASPP": "configs/lraspp/lraspp_mobilenetv3_ade20k_512x512_160k_os32.yml",
}
LITE = "lite_fp32"
FORMS = [key for key, form in FORM.items() if not form.is_lossy and key not in ("paddle_static", "paddle_native")]
# Seeds of scenes by their size (height, width): three photographs, then the validation set.
PHOTOGRAPHS = {(203, 317): (4,), (251, 187): (74,), (333, 451): (201,)}
VALIDATION = {(240, 320): tuple(range(500_000, 500_008))}
RESIZED, ANY_SIZE = (192, 256), (-1, -1)
JPEG = 201  # the seed that is stored as one
PYTHON_AND_CPP = "cpp = paddle_inference"  # the same arithmetic: every pixel
NORMALIZE = [{"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}]
OPTS = [f"val_dataset.transforms={json.dumps(NORMALIZE)}", "test_config=null"]


def main(argv: list[str] | None = None) -> int:
    """Compares and prints the table; 1 when more than 0.1 % of the pixels disagree, or one of C++ and Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--output_op", nargs="+", choices=LABEL_OPS, default=list(LABEL_OPS))
    parser.add_argument("--formats", nargs="+", choices=FORM, default=FORMS)
    parser.add_argument("--cpp", type=Path, default=CPP_PROGRAM, help="deploy/cpp's program")
    parser.add_argument("--save_json", help="where the figures go as well")
    args = parser.parse_args(argv)
    rows = []
    for family in args.families:
        with tempfile.TemporaryDirectory(prefix="same-") as name:
            for row in compare_family(family, args, Path(name)):
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
                if args.save_json:
                    Path(args.save_json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(markdown(rows, args.formats))
    least = {PYTHON_AND_CPP: 1.0}
    return int(any(value < least.get(key, 0.999) for row in rows for key, value in row["equal"].items()))


def compare_family(family: str, args: argparse.Namespace, work: Path) -> Iterator[dict]:
    """For each op, on the photographs and on the validation set, each form's share of equal pixels."""
    network = Network(FAMILIES[family], OPTS)
    network.make_weights(network.normalised(read_picture(None, (512, 512))))
    paddle.save(network.model.state_dict(), str(work / "model.pdparams"))
    for op in args.output_op:
        for name, groups, fixed in (
            ("photographs", PHOTOGRAPHS, None),
            ("photographs, any size", PHOTOGRAPHS, ANY_SIZE),
            ("photographs, resized", PHOTOGRAPHS, RESIZED),
            ("validation", VALIDATION, None),
        ):
            keys = [key for key in args.formats if not (fixed == ANY_SIZE and key == LITE)]
            keys += [PYTHON_AND_CPP] if {"cpp", "paddle_inference"} <= {*keys} else []
            pixels, equal = 0, dict.fromkeys(keys, 0)
            for size, seeds in groups.items():
                folder = work / f"{op}-{name[-7:]}-{size[0]}x{size[1]}".replace(" ", "")
                found = labels_by_form(network, op, size, seeds, fixed, args, folder)
                pixels += found["predict"].size
                for key in found.keys() - {"predict"}:
                    equal[key] += int((found[key] == found["predict"]).sum())
                if PYTHON_AND_CPP in equal:
                    equal[PYTHON_AND_CPP] += int((found["cpp"] == found["paddle_inference"]).sum())
            shares = {key: count / pixels for key, count in equal.items()}
            images = sum(map(len, groups.values()))
            yield {"family": family, "output_op": op, "on": name, "images": images, "pixels": pixels, "equal": shares}


def labels_by_form(
    network: Network,
    op: str,
    size: tuple,
    seeds: Sequence[int],
    fixed: tuple | None,
    args: argparse.Namespace,
    work: Path,
) -> dict[str, np.ndarray]:
    """Labels [N, H, W] of the scenes of one size by predict.py and by each form, through a graph of `fixed` size."""
    pictures = work / "pictures"
    pictures.mkdir(parents=True)
    paths = [pictures / f"{seed:06d}.{'jpg' if seed == JPEG else 'png'}" for seed in seeds]
    for path, seed in zip(paths, seeds, strict=True):
        cv2.imwrite(str(path), make_scene(seed, *size)[0][:, :, ::-1])
    flags = {
        "config": network.config.path,
        "model_path": work.parent / "model.pdparams",
        "save_dir": work / "predicted",
    }
    flags |= {"image_path": pictures, "device": "cpu"}
    command = [str(part) for key, value in flags.items() for part in (f"--{key}", value)]
    shape = [1, 3, *(fixed or size)]
    if fixed == RESIZED:
        command += ["--output_op", op, "--input_shape", *map(str, shape)]
    if code := predict.main([*command, "--opts", *OPTS]):
        raise SystemExit(code)
    found = {"predict": np.stack([_mask(work / "predicted" / PSEUDO_COLOR / f"{path.stem}.png") for path in paths])}
    folder = work / "model"
    network.export(op, check_input_shape(shape), folder)
    formats = [key for key in args.formats if not (fixed == ANY_SIZE and key == LITE)]
    for one in chosen_forms(formats, folder, work, args.cpp):
        one.prepare()
        found[one.key] = np.stack(list(one.labels(paths, Counts())))
    return found


def _mask(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file).astype("int32")


def markdown(rows: Sequence[dict], formats: Sequence[str]) -> str:
    """The table: percent of the pixels that predict.py labels the same."""
    columns = [key for key in [*formats, PYTHON_AND_CPP] if any(key in row["equal"] for row in rows)]
    names = [FORM[key].title if key in FORM else "C++ = Python, Paddle Inference" for key in columns]
    lines = [f"| model | output op | on | {' | '.join(names)} |", f"|{'---|' * (len(columns) + 3)}"]
    for row in rows:
        shares = [f"{100 * row['equal'][key]:.4f}" if key in row["equal"] else "–" for key in columns]
        images = f"{row['images']} {row['on']}"
        lines.append(f"| {row['family']} | `{row['output_op']}` | {images} | {' | '.join(shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
