"""Runs the whole job in five minutes on two CPU cores, without a network connection: `make demo`.

Draws a data set, trains PP-MobileSeg-Tiny from scratch, validates, predicts, exports it with four output ops,
compares them, measures them under Paddle-Lite on this machine, and writes one report.html. Every step calls
the tool that a user would call, and prints its command line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from paddleseg_ext_tools.arguments import launch
from paddleseg_ext_tools.commands import export, make_scenes, predict, train, val
from paddleseg_ext_tools.paths import resource

CONFIG = "configs/pp_mobileseg/pp_mobileseg_tiny_scenes_demo.yml"
OPS = ("decoder", "argmax", "vim", "vim_exact")
BENCHMARK_INVALID = 7
SHOWN = 400
MARKER = ".made_by_the_demo"
# A scene like those of validation, with many classes: the latency of VIM depends on their number.
SCENE_SEED = 4


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save_dir", default="output/demo", help="folder for all results")
    parser.add_argument("--fast", action="store_true", help="under a minute: less data, less training, fewer runs")
    parser.add_argument("--photo", help="your own photograph, which is also predicted")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    args = parse_args(argv)
    return launch(lambda: Demo(args).run())


class Demo:
    """The steps of the demo. Each step writes its results into `folder`, where the report finds them."""

    def __init__(self, args: argparse.Namespace):
        from paddleseg_ext_runtime.command import writable_dir

        self.args = args
        self.folder = writable_dir(args.save_dir)
        self.data = self.folder / "data"
        self.config = str(resource(CONFIG))
        self.weights = str(self.folder / "train" / "best_model" / "model.pdparams")
        self.trained = [f"--config={self.config}", f"--model_path={self.weights}"]
        self.opts = [f"train_dataset.dataset_root={self.data}", f"val_dataset.dataset_root={self.data}"]
        self.seconds: dict[str, float] = {}

    def run(self) -> None:
        """All steps; the report is named last. Raises PaddleSegExtError when one fails."""
        from paddleseg_ext_runtime.reading import read_image
        from paddleseg_ext_tools.demonstration.report import write_report

        if self.args.photo:
            read_image(self.args.photo)  # a wrong path is an error now, not after minutes
        self._claim_folder()
        for stale in ("train", "labels", "predictions", "photo", "lite", "models"):
            shutil.rmtree(self.folder / stale, ignore_errors=True)
        for name, step, *given in self._steps():
            print(f"\n── {name}", flush=True)
            started = time.perf_counter()
            step(*given)
            self.seconds[name] = time.perf_counter() - started
        timings = {"steps": self.seconds, "photo": self.args.photo}
        (self.folder / "timings.json").write_text(json.dumps(timings), encoding="utf-8")
        report = write_report(self.folder, self.data)
        print(f"\nThe demo took {sum(self.seconds.values()):.0f} s. Everything is in {self.folder}; open the report:")
        print(report.resolve())

    def _steps(self) -> Iterator[tuple]:
        """Each step's name, its method, and what the method is given."""
        yield "draw the data set", self._draw
        yield "train", self._train
        yield "validate", self._validate
        yield "predict", self._predict, self.data / "images" / "validation", self.folder / "predictions"
        for op in OPS:
            yield f"export {op}", self._export, op
        yield "compare the output ops", self._compare
        yield "measure with Paddle-Lite", self._measure
        if self.args.photo:
            yield "predict your photograph", self._predict, self.args.photo, self.folder / "photo"

    def _claim_folder(self) -> None:
        """Refuses a folder with other files; removes an earlier demo's results, so they never count as new."""
        from paddleseg_ext_runtime.errors import ConfigError

        if any(self.folder.iterdir()) and not (self.folder / MARKER).exists():
            raise ConfigError(f"{self.folder} holds files that no demo made; choose another --save_dir")
        (self.folder / MARKER).touch()

    def _draw(self) -> None:
        sizes = ["--train=48", "--val=8"] if self.args.fast else []
        _call("make_scenes", make_scenes.main, [f"--save_dir={self.data}", *sizes])

    def _train(self) -> None:
        length, crops = ["--save_interval=95"], []
        if self.args.fast:
            # Batch norm statistics need some fifty iterations, so there are many small iterations.
            length = ["--iters=70", "--save_interval=70", "--batch_size=2"]
            crops = ["train_dataset.transforms.0.crop_size=[128,128]"]
        flags = [f"--config={self.config}", f"--save_dir={self.folder / 'train'}", "--do_eval", "--use_vdl"]
        flags += [f"--seed={self.args.seed}", "--keep_checkpoint_max=1", "--device=cpu"]
        _call("train", train.main, [*flags, *length, "--opts", *self.opts, *crops])

    def _validate(self) -> None:
        flags = [*self.trained, f"--save_json={self.folder / 'val.json'}", "--device=cpu", "--opts", *self.opts]
        _call("val", val.main, flags)

    def _predict(self, images: str | Path, save_dir: Path) -> None:
        from paddleseg_ext_tools.demonstration.figures import custom_colours

        flags = [*self.trained, f"--image_path={images}", f"--save_dir={save_dir}", "--device=cpu"]
        _call("predict", predict.main, [*flags, "--custom_color", *map(str, custom_colours(150))])

    def _export(self, op: str) -> None:
        flags = [*self.trained, "--input_shape", "1", "3", "512", "512"]
        _call("export", export.main, [*flags, f"--output_op={op}", f"--save_dir={self.folder / 'models' / op}"])

    def _compare(self) -> None:
        import cv2

        from paddleseg_ext.weights import load_weights
        from paddleseg_ext_tools.lab.agreement import compare_output_ops
        from paddleseg_ext_tools.lab.systems import Network

        network = Network(self.config, self.opts)
        dataset, model = network.builder.build("val_dataset"), network.model
        load_weights(model, self.weights)
        folder = self.folder / "labels"
        folder.mkdir(exist_ok=True)

        def save(index: int, labels: object) -> None:
            cv2.imwrite(str(folder / f"{Path(dataset.file_list[index][0]).stem}.png"), labels.astype("uint8"))

        results = compare_output_ops(model, dataset, on_labels=save)
        for name, result in results.items():
            kept = f"{min(result.kept)} to {max(result.kept)} of {model.num_classes} classes"
            print(f"{name:>10}: {100 * result.equal:8.4f} % of the labels are argmax's; interpolates {kept}")
        content = {"images": len(dataset), "ops": {name: result.to_dict() for name, result in results.items()}}
        (self.folder / "agreement.json").write_text(json.dumps(content), encoding="utf-8")

    def _measure(self) -> None:
        import cv2

        from paddleseg_ext_tools.scenes import make_scene

        scene, image, models = self.folder / "scene.png", self.folder / "image1.txt", self.folder / "models"
        cv2.imwrite(str(scene), make_scene(SCENE_SEED, 512, 512)[0][:, :, ::-1])
        deploy_yaml = models / "vim" / "deploy.yaml"
        _script("gen_val_txt.py", f"--image={scene}", f"--deploy_yaml={deploy_yaml}", f"--output={image}")
        runs = ["--warmup=1", "--repeats=3"] if self.args.fast else ["--warmup=3", "--repeats=15", "--rounds=2"]
        results = self.folder / "lite" / "test_result.txt"
        flags = [f"--models_dir={models}", f"--input={image}", f"--result_file={results}", *runs]
        _script("benchmark.py", *flags, tolerated=BENCHMARK_INVALID)


def _call(name: str, tool: Callable[[list[str]], int], arguments: list[str]) -> None:
    """Runs a tool in this process, where paddle is loaded already, as its command line would."""
    from paddleseg_ext_runtime.errors import PaddleSegExtError

    line = " ".join(arguments)
    print(f"$ paddleseg-ext {name} {line if len(line) < SHOWN else line[:SHOWN] + ' …'}", flush=True)
    if tool(arguments) != 0:
        raise PaddleSegExtError(f"the demo stopped: {name} failed, see above")


def _script(name: str, *arguments: str, tolerated: int = 0) -> None:
    """Runs a script of deploy/lite, which stands alone; exit code `tolerated` is reported and the demo goes on."""
    from paddleseg_ext_runtime.errors import DeviceError

    script = resource(f"deploy/lite/{name}")
    print(f"$ python {script} {' '.join(arguments)}", flush=True)
    code = subprocess.call([sys.executable, str(script), *arguments])
    if code not in (0, tolerated):
        raise DeviceError(f"the demo stopped: {name} failed with exit code {code}, see above")
    if code:
        print("Some figures are not valid, the table says why; on a busy machine, run the demo again.")
