"""The comparison's reports: published and measured told apart, ratios, failures, and a page that needs nothing else."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from unit.compare_data import RUNTIMES, comparison, latency, prepared
from unit.lite_results import stored

from paddleseg_ext_runtime.errors import ConversionError, DataError
from paddleseg_ext_tools.commands import compare
from paddleseg_ext_tools.comparison.figures import Point, front, points
from paddleseg_ext_tools.comparison.page import html
from paddleseg_ext_tools.comparison.phone import attach_phone_results
from paddleseg_ext_tools.comparison.report import as_csv, as_json, cells, markdown, problems
from paddleseg_ext_tools.comparison.rows import Failed, distinct

PICTURE = np.full((32, 48, 3), 90, "uint8")
VOID = ("meta", "img", "br")


class Page(HTMLParser):
    """The visible text, and whether the elements close as they opened."""

    def __init__(self, text):
        super().__init__()
        self.words, self.open, self.sources = [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


@pytest.fixture
def sota():
    return comparison("--table", "sota")


def by_name(found):
    return {row.name: row for row in found.rows}


def test_a_row_in_words(sota):
    row = cells(by_name(sota)["PP-MobileSeg-Tiny"], sota)
    assert row["mIoU %"] == "36.70 † (+1.70)"
    assert row["classes kept"] == "15 of 150"
    assert row["GFLOPs"] == "2.001"
    # 215.3 and 459.0 ms are printed; half of each is measured.
    assert row["Paddle-Lite, ms"] == "107.7, p90 113.2 (-53.1 %)"
    assert row["published, ms †"] == "215.3 (-53.1 %)"
    assert row["published, params (M) †"] == "1.44"
    assert row["parameters"] == "5,000,000 (+25.0 %)"
    assert "(" not in cells(by_name(sota)["LR-ASPP"], sota)["Paddle-Lite, ms"]


def test_a_note_names_its_rows_unless_it_is_the_tables(sota):
    notes = sota.notes("sota")
    assert notes[0] == sota.catalogue.notes[sota.catalogue.tables["sota"].notes[0]]
    assert f"LR-ASPP: {sota.catalogue.notes['lraspp-params']}" in notes
    assert len(notes) == len({*notes})


def test_a_measured_miou_is_not_compared_with_a_published_one(sota):
    rows = by_name(sota)
    rows["PP-MobileSeg-Tiny"].system.prepared = prepared(1_000_000, miou=37.5)
    assert cells(rows["PP-MobileSeg-Tiny"], sota)["mIoU %"] == "37.50"
    assert "The mIoU of PP-MobileSeg-Tiny was measured here, on 10 images of data." in markdown(sota)
    rows["SeaFormer-Tiny"].system.prepared = prepared(1_000_000, miou=35.25)
    assert cells(rows["PP-MobileSeg-Tiny"], sota)["mIoU %"] == "37.50 (+2.25)"


def test_failures_and_invalid_figures_have_their_reason(sota):
    rows = by_name(sota)
    rows["LR-ASPP"].system.prepared, rows["LR-ASPP"].system.latencies = None, {}
    rows["LR-ASPP"].system.failure = Failed("no config at a.yml", 2)
    rows["TopFormer-Base"].system.latencies["onnxruntime"] = Failed("no Unique", 6)
    rows["SeaFormer-Base"].system.latencies["lite_fp32"] = latency(10.0, valid=False)
    assert problems(sota) == [
        "LR-ASPP: no config at a.yml",
        "TopFormer-Base: ONNX Runtime failed: no Unique",
        "SeaFormer-Base: Paddle-Lite not valid: the machine was busy",
    ]
    assert cells(rows["LR-ASPP"], sota)["ONNX Runtime, ms"] == "failed: no config at a.yml"
    assert cells(rows["SeaFormer-Base"], sota)["Paddle-Lite, ms"] == "10.0, p90 15.6, not valid"
    assert cells(rows["PP-MobileSeg-Base"], sota)["Paddle-Lite, ms"] == "132.8, p90 138.3"  # no change against it
    untimed = replace(sota, runtimes=[])
    assert cells(rows["LR-ASPP"], untimed)["parameters"] == "failed: no config at a.yml"
    assert "failed" not in cells(rows["LR-ASPP"], sota)["parameters"]
    text = markdown(sota)
    assert "| failed: no Unique |" in text and "- LR-ASPP: no config at a.yml" in text
    page = Page(html(sota, PICTURE))
    assert "Not every figure can be used" in page.text and "failed: no Unique" in page.text
    # What is not valid supports no sentence.
    assert "PP-MobileSeg-Tiny takes 108 ms, 53 % less than SeaFormer-Tiny (Paddle-Lite, one picture)." in page.text
    assert "PP-MobileSeg-Base takes" not in page.text
    errors = [row["error"] for row in csv.DictReader(io.StringIO(as_csv(sota))) if row["error"]]
    assert errors == ["no config at a.yml", "onnxruntime: no Unique"]


def test_the_exit_code_is_that_of_the_first_failure(sota):
    rows = sota.rows
    assert compare.exit_code(rows) == 0
    rows[5].system.failure = Failed("weights", 5)
    rows[2].system.latencies["lite_fp32"] = latency(1.0, valid=False)
    assert compare.exit_code(rows) == 7
    rows[1].system.latencies["onnxruntime"] = Failed.by(ConversionError("no form:\n  because\nof this"))
    assert compare.exit_code(rows) == 6
    assert rows[1].system.latencies["onnxruntime"].message == "no form: of this"
    assert Failed.by(KeyError("x")) == Failed("KeyError: 'x'", 1)


def test_plain_numbers(sota):
    rows = list(csv.DictReader(io.StringIO(as_csv(sota))))
    assert len(rows) == 7 and rows[4]["model"] == "PP-MobileSeg-Tiny"
    assert float(rows[4]["lite_fp32_median_ms"]) == pytest.approx(107.65)
    assert (rows[4]["miou_is_measured"], rows[4]["reference"]) == ("False", "SeaFormer-Tiny")
    content = json.loads(as_json(sota))
    assert content["conditions"]["Host CPU"] == "Some <CPU>"
    assert content["rows"][4]["latencies"]["onnxruntime"]["series_ms"] == pytest.approx([85.12, 86.12, 93.12])
    assert content["rows"][4]["weights"] == "made for timing"
    alone = content["networks_alone"]["pp_mobileseg_tiny_ade20k_512x512_80k-decoder"]
    assert alone["lite_fp32"]["series_ms"] == [79.0, 80.0, 87.0]


def test_both_tables_in_one_page():
    found = comparison()
    text = html(found, PICTURE)
    page = Page(text)
    assert not page.open
    assert not re.search(r"https?://|@import|<script|<link|url\((?!#)", text)
    assert all(source.startswith(("data:image/", "#")) for source in page.sources)
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    for words in (
        "PP-MobileSeg and other models for phones on ADE20K", "What each part of PP-MobileSeg-Base brings",
        "Published: Snapdragon 855", "Some <CPU>", "+ VIM + StrideFormer + AAM", "what the output op adds",
        "based on self-trained reproduced result", "-48.2 % and -42.3 %",
    ):  # fmt: skip
        assert words in page.text, words
    assert "Not every figure" not in page.text


def test_nothing_measured():
    found = replace(comparison("--table", "ablation"), runtimes=[], decoders={})
    for system in distinct(found.rows):
        system.latencies = {}
    page = Page(html(found, PICTURE))
    assert "Where the time goes" not in page.text and "Published: Snapdragon 855" in page.text
    assert "Published figures beside what can be counted." in page.text
    assert "Paddle-Lite, ms" not in markdown(found)


def test_the_points_of_the_picture(sota):
    by_name(sota)["PP-MobileSeg-Base"].system.prepared = prepared(1_000_000, miou=41.0)
    published, lite = points(sota, "sota", "published"), points(sota, "sota", "lite_fp32")
    assert len(published) == len(lite) == 7
    assert [p.measured for p in published] == [0] * 7
    assert [(p.miou, p.measured) for p in lite[-2:]] == [(40.0, 1), (41.0, 2)]
    assert [p.name for p in front(published)] == ["PP-MobileSeg-Tiny", "PP-MobileSeg-Base"]
    assert {p.name for p in published if p.is_ours} == {"PP-MobileSeg-Tiny", "PP-MobileSeg-Base"}


def test_the_front():
    def point(ms, miou, valid=True):
        return Point(f"{ms}", ms, miou, 0, False, 0, valid)

    a, b, c, d = point(1, 5), point(2, 5), point(3, 9), point(0.5, 99, valid=False)
    assert front([c, b, d, a]) == [a, c]


PHONE = {
    "device": "adb", "target": "arm", "median_ms": 260.25, "p90_ms": 263.0, "warmup": 20, "repeats": 2,
    "runtime": "benchmark_bin", "runtime_version": "e79b4b6", "device_facts": {"Model": "MI 9"},
}  # fmt: skip


def write(folder, **changes):
    result = stored((260.0, 260.5), **{**PHONE, **changes})
    (folder / f"{result['model']}-{result['output_op']}.json").write_text(json.dumps(result))


def test_phone_results_find_their_row(sota, tmp_path):
    stem = "pp_mobileseg_base_ade20k_512x512_80k"
    write(tmp_path, model=f"{stem}-vim", output_op="vim")
    write(tmp_path, model="topformer_base_ade20k_512x512_160k", output_op="argmax", median_ms=480.0)
    write(tmp_path, model=stem, output_op="argmax", median_ms=900.0)  # not the op of the row
    write(tmp_path, model=f"{stem}-vim", output_op="decoder", device="host")
    attach_phone_results(distinct(sota.rows), tmp_path)
    column = "Paddle-Lite on MI 9, 1 thread, ms"
    found = {row.name: cells(row, sota)[column] for row in sota.rows}
    assert {name: text for name, text in found.items() if text != "–"} == {
        "TopFormer-Base": "480.0", "PP-MobileSeg-Base": "260.2",
    }  # fmt: skip
    text = markdown(sota)
    assert f"| {column} |" in text
    assert "thread: Model MI 9; benchmark_bin e79b4b6, 1 x 2 runs after 20; 2026-01-02 03:04" in text
    assert "MI 9" in Page(html(sota, PICTURE)).text
    phones = [row["phone"] for row in json.loads(as_json(sota))["rows"]]
    assert phones[6][0]["series_ms"] == [260.0, 260.5] and phones[0] == []


def test_a_phone_result_that_is_not_valid_says_so(sota, tmp_path):
    stem = "pp_mobileseg_base_ade20k_512x512_80k"
    write(tmp_path, model=f"{stem}-vim", output_op="vim", valid=False, invalid_reasons=["throttled"])
    attach_phone_results(distinct(sota.rows), tmp_path)
    assert cells(sota.rows[6], sota)["Paddle-Lite on MI 9, 1 thread, ms"] == "260.2, not valid"
    assert problems(sota) == ["PP-MobileSeg-Base: Paddle-Lite on MI 9, 1 thread not valid: throttled"]


def test_of_several_phone_results_the_newest_valid_one_counts(sota, tmp_path):
    stem = "pp_mobileseg_base_ade20k_512x512_80k"
    for name, day, ms, valid in (("a", 3, 250.0, True), ("b", 2, 240.0, True), ("c", 4, 100.0, False)):
        (tmp_path / name).mkdir()
        given = {"measured_at": f"2026-01-0{day}T10:00:00", "median_ms": ms, "valid": valid, "invalid_reasons": ["hot"]}
        write(tmp_path / name, model=f"{stem}-vim", output_op="vim", **given)
    write(tmp_path, model=stem, output_op=None, median_ms=1.0)
    attach_phone_results(distinct(sota.rows), tmp_path)
    assert cells(sota.rows[6], sota)["Paddle-Lite on MI 9, 1 thread, ms"] == "250.0"


@pytest.mark.parametrize("content", [None, "[1]", '{"model": "a"}', "{"])
def test_what_is_no_phone_result(sota, tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match="no result of deploy/lite"):
        attach_phone_results(distinct(sota.rows), tmp_path)


def test_older_names_of_runtimes():
    assert compare.parse_args(["--runtimes", "lite", "onnx", "paddle"]).runtimes == list(compare.RUNTIMES)
    assert [title for _, title in RUNTIMES] == ["Paddle-Lite", "ONNX Runtime", "Paddle Inference"]
