import os
import sys

# Paddle logs every executor it starts; and its threads would fight with pytest's for two cores.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

import paddle
import pytest

from paddleseg_ext_tools.scenes import write_dataset


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A small data set in ADE20K's layout."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_dataset(root, train=8, val=4, size=(128, 128))
    return root


@pytest.fixture(autouse=True)
def seeded():
    """Paddle draws another seed in every process."""
    paddle.seed(0)


@pytest.fixture
def python():
    return sys.executable
