"""A result as deploy/lite/benchmark.py stores it, for the tests of those who read one."""

import dataclasses

from paddleseg_lite.result import Output, Result, summarise


def stored(series_ms: tuple[float, ...], **changes: object) -> dict[str, object]:
    """The values of a stored result of these runs."""
    result = Result(
        **summarise(series_ms), key="0123", model="tiny", device="host", target="x86", series_ms=series_ms,
        measured_at="2026-01-02T03:04:05+00:00", init_ms=12.5, first_ms=9.5, round_medians_ms=(2.5,), runs=3,
        runs_per_value=1, threads=1, warmup=2, repeats=3, rounds=1, min_seconds=0.0, power_mode=0, affinity="",
        backend="x86", precision="fp32", cpu_per_wall=1.0, runtime="paddlelite", runtime_version="v2.13-rc",
        opt_version="v2.13-rc", optimized_on="host", device_facts={"Host CPU": "Some <CPU>", "Cores": "2 of 2"},
        state_before={}, state_after={}, states=(), model_file=None, param_file=None, nb_file="a.nb",
        nb_bytes=6_364_950, input_file="image1.txt", input_shape=(1, 3, 64, 64), output_op="vim",
        outputs=(Output((1, 64, 64), "int32", 8.25, 3.5, 17),), agreement=1.0, agreement_kind="equal_pixels",
        agreement_note="all", valid=True, invalid_reasons=(),
    )  # fmt: skip
    return {**dataclasses.asdict(result), **changes}
