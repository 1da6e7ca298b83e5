"""Finds the files that ship with the tools: `configs/` and the scripts of `deploy/`, in a checkout or installed.

setup.py copies these trees next to this file when it builds a wheel. In a checkout they lie beside this package.
"""

from __future__ import annotations

from pathlib import Path

SHIPPED = ("configs", "deploy/lite", "deploy/python", "deploy/serving")
_HERE = Path(__file__).resolve().parent


def resource(relative: str) -> Path:
    """Return the absolute path of a shipped file or folder.

    Args:
        relative: its path in a checkout, such as `configs/pp_mobileseg/demo.yml`.

    Raises:
        FileNotFoundError: neither checkout nor installed package has it, or it is of no shipped tree.
    """
    asked = Path(relative)
    is_shipped = any(Path(tree) in (asked, *asked.parents) for tree in SHIPPED)
    if is_shipped and ".." not in asked.parts:
        for root in _roots():
            path = root / relative
            if path.exists():
                return path
    looked = ", ".join(str(root) for root in _roots())
    raise FileNotFoundError(
        f"{relative}: no such file comes with paddleseg_ext; looked for {' and '.join(SHIPPED)} in {looked}"
    )


def _roots() -> tuple[Path, ...]:
    """The checkout first, if this package lies in one; after an installation only the package itself."""
    checkout = _HERE.parent
    return (checkout, _HERE) if (checkout / "setup.py").is_file() else (_HERE,)
