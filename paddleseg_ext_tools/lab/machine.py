"""What a report says of the machine and of what is installed on it."""

from importlib import metadata


def package_version(package: str) -> str:
    """The version of an installed package, or that there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
