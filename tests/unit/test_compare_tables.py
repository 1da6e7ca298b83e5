"""The tables of configs/*/README.md are those of today's configs and published figures."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from paddleseg_ext.cvlibs.yaml_file import read_yaml
from paddleseg_ext_tools.commands import config_tables
from paddleseg_ext_tools.commands.config_tables import digest, problems, rewrite, stale_counts
from paddleseg_ext_tools.comparison import published
from paddleseg_ext_tools.comparison.published import load_catalogue, parse

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = "pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_80k.yml"


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(CONFIGS, tmp_path / "configs"))


def test_every_config_is_published_counted_and_in_its_readme():
    catalogue = load_catalogue()
    assert problems(CONFIGS, catalogue) == []
    assert stale_counts(CONFIGS, catalogue) == []
    assert rewrite(CONFIGS, catalogue, write=False) == []


def test_another_name_is_the_same_config():
    catalogue = load_catalogue()
    for path, target in catalogue.same_as.items():
        assert read_yaml(CONFIGS / path) == read_yaml(CONFIGS / target)


def test_names_and_schedules_do_not_contradict():
    for path in load_catalogue().configs:
        settings = read_yaml(CONFIGS / path)
        if match := re.search(r"_(\d+)k(_|\.)", path):
            assert settings["iters"] == 1000 * int(match[1]), path


def test_a_new_config_without_entry_is_named(copy):
    shutil.copy(copy / TINY, copy / "topformer" / "mine.yml")
    (copy / TINY).unlink()
    (copy / "lraspp" / "README.md").write_text("no table")
    wrong = problems(copy, load_catalogue())
    assert [line.split(" ")[0] for line in wrong[:1]] == ["topformer/mine.yml"]
    assert any(f"names {TINY}, which is not there" in line for line in wrong)
    assert any(line.startswith("configs/lraspp/README.md has no <!-- table") for line in wrong)


def test_what_is_stale_is_found_and_mended(copy):
    catalogue, readme = load_catalogue(), copy / "seaformer" / "README.md"
    right = readme.read_text()
    readme.write_text(right.replace("34.58 %", "99.99 %"))
    assert rewrite(copy, catalogue, write=False) == [readme]
    assert rewrite(copy, catalogue) == [readme]
    assert readme.read_text() == right
    config = copy / TINY
    config.write_text(config.read_text().replace("[32, 64, 128]", "[32, 64, 64]"))
    assert stale_counts(copy, catalogue) == [TINY]


def test_the_table_of_the_readme_is_held_too(copy):
    readme = Path(shutil.copy(CONFIGS.parent / "README.md", copy.parent))
    right = readme.read_text()
    readme.write_text(right.replace("5,943,878 · ", "5,943,879 · "))
    assert rewrite(copy, load_catalogue()) == [readme]
    assert readme.read_text() == right


def test_check_fails_for_a_stale_readme(copy, monkeypatch, capsys):
    monkeypatch.setattr(config_tables, "resource", lambda _: copy)
    assert config_tables.main(["--check"]) == 0
    readme = copy / "seaformer" / "README.md"
    text = readme.read_text().replace("34.58 %", "99.99 %")
    readme.write_text(text)
    assert config_tables.main(["--check"]) == 2
    assert "README.md is stale" in capsys.readouterr().err
    assert readme.read_text() == text
    assert config_tables.main([]) == 0
    assert config_tables.main(["--check"]) == 0


def test_the_digest_is_of_the_network_alone(copy):
    before = digest(copy / TINY)
    text = (copy / TINY).read_text()
    (copy / TINY).write_text(text.replace("upsample: intepolate", "upsample: vim") + "\niters: 3\n")
    assert digest(copy / TINY) == before
    (copy / TINY).write_text(text.replace("inj_type: AAM", "inj_type: AAMSx8"))
    assert digest(copy / TINY) != before


# As printed: rows of name, mIoU, ms, params.
TABLES = {
    "sota": """LR-ASPP 33.1 730.9 3.2 | MobileSeg-Base 33.26 391.5 2.85 | TopFormer-Base 38.28 480.6 5.13
        | SeaFormer-Tiny 35.0 459.0 1.61 | PP-MobileSeg-Tiny 36.7 215.3 1.44 | SeaFormer-Base 40.0 465.4 8.64
        | PP-MobileSeg-Base 41.5 265.5 5.62""",
    "ablation": """baseline 40.0 465.6 8.27 | + VIM 40.0 234.6 8.17 | + VIM + StrideFormer 40.96 235.1 5.54
        | + VIM + StrideFormer + AAM 41.5 265.5 5.62""",
}


@pytest.mark.parametrize("key", TABLES)
def test_the_published_tables(key):
    rows = [line.strip().rsplit(" ", 3) for line in TABLES[key].split("|")]
    expected = [(name, float(miou), float(ms), params) for name, miou, ms, params in rows]
    figures = [(row.name, row.figures) for row in load_catalogue().tables[key].rows]
    assert [(name, f.miou["single"], f.latency_ms, f.params) for name, f in figures] == expected


def broken(change):
    content = yaml.safe_load((CONFIGS / "published.yml").read_text())
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["configs"][TINY].update(latency=3), "has latency; known are"),
        (lambda c: c["configs"][TINY].update(params=1.44), "must be quoted"),
        (lambda c: c["configs"][TINY].update(notes=["nothing"]), "names nothing, which is not in the file"),
        (lambda c: c["configs"][TINY].update(miou={"double": 3}), "names double"),
        (lambda c: c["tables"]["sota"].update(source="hearsay"), "names hearsay"),
        (lambda c: c["tables"]["sota"]["rows"][0].update(config="a/b.yml"), "a/b.yml, which has no entry"),
        (lambda c: c["tables"]["sota"]["rows"][0].update(reference="Nobody"), "Nobody, which is no row"),
        (lambda c: c["configs"].update({"a/b.yml": {"same_as": "a/c.yml"}}), "a/c.yml, which has no entry"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        parse(broken(change))


def test_a_broken_file_is_one_line(monkeypatch, tmp_path):
    from paddleseg_ext_runtime.errors import ConfigError

    (tmp_path / "published.yml").write_text("configs: [1")
    monkeypatch.setattr("paddleseg_ext_tools.paths.resource", lambda _: tmp_path / "published.yml")
    with pytest.raises(ConfigError, match=published.FILE):
        load_catalogue()
