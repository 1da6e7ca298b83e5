"""Build paddleseg-ext: the library, what runs exported models, and the tools with the configs and scripts.

Metadata that needs a look at other files is here (version, requirements, the copied trees); settings of the
development tools are in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
TOOLS, RUNTIME, LITE = "paddleseg_ext_tools", "paddleseg_ext_runtime", "paddleseg_lite"
# Copied into the tools' package; its paths.py finds them there, or in the checkout of an editable install.
SHIPPED = {
    "configs": ("*.yml", "*.yaml", "*.json", "*.md"),
    "deploy/lite": ("*.py", "*.sh", "*.md"),
    "deploy/python": ("*.py", "*.md"),
    "deploy/serving": ("*.py", "*.html", "*.md"),
}


def version() -> str:
    """Read `__version__` without importing the package, which would import paddle."""
    text = (ROOT / "paddleseg_ext" / "version.py").read_text(encoding="utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def requirements() -> list[str]:
    """requirements.txt without its comments and without OpenCV.

    paddleseg's metadata asks for opencv-python, so pip installs that one here whatever we say; the headless
    wheel beside it would own the same `cv2` folder. The locked environment has the headless one alone
    (docs/decisions.md). The marker lets pip meet another Python with python_requires: it would else complain
    of a missing paddlelite wheel first, after fetching paddlepaddle.
    """
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split("#")[0].strip() for line in lines]
    return [f'{name}; python_version == "3.10"' for name in names if name and not name.startswith("opencv")]


class BuildWithShippedTrees(build_py):
    """build_py that also copies the trees of SHIPPED, except for an editable install."""

    def run(self) -> None:
        """Build the packages, then copy. An earlier build's files are removed: they would ship as well."""
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        for tree, patterns in SHIPPED.items():
            for source in sorted(path for pattern in patterns for path in (ROOT / tree).rglob(pattern)):
                if LITE in source.parts:
                    continue  # a package of its own
                target = Path(self.build_lib) / TOOLS / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(
    name="paddleseg-ext",
    version=version(),
    description="Mobile and real-time segmentation for PaddleSeg, from config to latency under Paddle-Lite",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.11",
    install_requires=requirements(),
    packages=[*find_packages(include=["paddleseg_ext", "paddleseg_ext.*", RUNTIME, TOOLS, f"{TOOLS}.*"]), LITE],
    package_dir={LITE: f"deploy/lite/{LITE}"},
    package_data={TOOLS: ["*/*.jinja"], RUNTIME: ["*.jpg"]},
    cmdclass={"build_py": BuildWithShippedTrees},
    entry_points={"console_scripts": [f"paddleseg-ext = {TOOLS}.__main__:main"]},
    zip_safe=False,
)
