"""Stage 4: Paddle-Lite's own benchmark_bin, on a phone or wherever a Device is.

Its exit code is 0 even after bad flags or with a missing input. So a run counts only if it prints `avg`, if it prints
the conditions that were asked for, and if its printed output statistics fit the output file.
"""

from __future__ import annotations

import hashlib
import math
import posixpath
import re
import secrets
import tempfile
from pathlib import Path

from paddleseg_lite import errors
from paddleseg_lite.device import Device, Measurement, Settings
from paddleseg_lite.parse import LogEntry, parse_log
from paddleseg_lite.plan import Case
from paddleseg_lite.process import Deadline, Finished, last_words
from paddleseg_lite.runner import Runner
from paddleseg_lite.tensors import Tensor, decode_printed, to_text

_LARGEST_PULL = 64 * 1024 * 1024  # bytes of text; for a larger output only the printed statistics are compared
_SYMPTOMS = (
    (r"no space left", errors.DeviceFull, "free some space on the phone"),
    (r"read-only file system", errors.DeviceReadOnly, "another --remote_dir"),
    (r"CANNOT LINK|cannot open shared object|library \S+ not found", errors.MissingLibrary,
     "put the library beside benchmark_bin: every .so there is pushed with it"),
    (r"exec format error|wrong ELF class|not executable: \d+-bit ELF|has unexpected e_machine|cannot execute binary",
     errors.WrongAbi, "the benchmark_bin built for this phone's ABI"),
    (r"permission denied|not permitted", errors.DeviceReadOnly,
     "--remote_dir in /data/local/tmp, where programs may run"),
    (r"'calib' is not supported|not support.*fp16", errors.RunnerFailed,
     "a benchmark_bin built with --with_arm82_fp16=ON and an opt of its version, or --optimize device"),
)  # fmt: skip


class BenchmarkBin(Runner):
    """`program` is the benchmark_bin built for the device; shared libraries beside it are pushed too."""

    name = "benchmark_bin"

    def __init__(self, device: Device, program: Path) -> None:
        """Raises OSError if `program` cannot be read."""
        self._content = program.read_bytes()
        libraries = sorted(program.absolute().parent.glob("*.so"))
        shared = b"".join(library.read_bytes() for library in libraries)
        self.device, self._program, self._libraries = device, program, libraries
        self.fingerprint = hashlib.sha256(self._content + shared).hexdigest()

    def carries(self, version: str) -> bool:
        """True if the program or a library beside it holds `version`, as the runtime of an .nb file should."""
        wanted = version.encode()
        return wanted in self._content or any(wanted in library.read_bytes() for library in self._libraries)

    def measure_case(
        self, case: Case, nb_file: Path | None, input_file: Path, tensor: Tensor, settings: Settings, deadline: Deadline
    ) -> Measurement:
        """See `Runner.measure_case`; without `nb_file` benchmark_bin optimises the program itself."""
        folder = f"bin-{self.fingerprint[:16]}"
        program = self.device.push(self._program, deadline, f"{folder}/benchmark_bin", executable=True)
        for library in self._libraries:
            self.device.push(library, deadline, f"{folder}/{library.name}")
        source = self._push_input(input_file, tensor, deadline)
        output = posixpath.join(self.device.workplace(), f"output-{secrets.token_hex(4)}.txt")
        try:
            flags = self._model_flags(case, nb_file, deadline) + self._flags(case, source, output, settings)
            place = {"LD_LIBRARY_PATH": posixpath.dirname(program)}
            self._check_threads(settings)
            mask = self.device.affinity_mask(settings.affinity)
            bound = ["taskset", f"{mask:x}"] if mask else []
            finished = self.device.run([*bound, program, *flags], deadline, self.device.workplace(), place)
            entry = check_run(case.model_name, finished, self._conditions(settings))
            return self._measurement(case, entry, finished, output, deadline)
        finally:
            self.device.remove(output)

    def _check_threads(self, settings: Settings) -> None:
        """Refuse too many threads: Paddle-Lite would use fewer, but print the number asked for."""
        cores = self.device.bound_cores(settings.power_mode, settings.affinity)
        if cores is not None and settings.threads > cores:
            where = f"--affinity {settings.affinity}" if settings.affinity else f"--power_mode {settings.power_mode}"
            raise errors.DeviceError(
                f"{settings.threads} threads asked for; {where} gives them {cores} cores",
                f"at most {cores} threads",
                "--power_mode 2 takes all cores",
            )

    def _push_input(self, input_file: Path, tensor: Tensor, deadline: Deadline) -> str:
        if input_file.suffix != ".npy":
            return self.device.push(input_file, deadline)
        with tempfile.TemporaryDirectory(prefix="lite-") as work:
            text = Path(work) / "input.txt"
            text.write_text(to_text(tensor), encoding="ascii")
            digest = hashlib.sha256(text.read_bytes()).hexdigest()[:16]
            return self.device.push(text, deadline, f"{digest}/input.txt")

    def _model_flags(self, case: Case, nb_file: Path | None, deadline: Deadline) -> list[str]:
        if nb_file is not None:
            return [f"--optimized_model_file={self.device.push(nb_file, deadline)}"]
        name = re.sub(r"[^\w.-]", "_", case.model_name)
        folder = f"{name}-{case.content_hash()[:12]}"
        model = self.device.push(case.model_file, deadline, f"{folder}/model.pdmodel")
        params = self.device.push(case.param_file, deadline, f"{folder}/model.pdiparams")
        # If benchmark_bin converts, it writes its .nb file under this name, and deletes an older file first.
        made = posixpath.join(posixpath.dirname(model), "opt.nb")
        return [f"--model_file={model}", f"--param_file={params}", f"--optimized_model_file={made}"]

    def _flags(self, case: Case, source: str, output: str, settings: Settings) -> list[str]:
        flags = {
            "input_shape": ",".join(map(str, case.input_shape or ())),
            "input_data_path": source,
            "output_data_path": output,
            **self._conditions(settings),
        }
        return [f"--{name}={value}" for name, value in flags.items()]

    def _conditions(self, settings: Settings) -> dict[str, str]:
        """The flags that benchmark_bin prints, so that they can be checked."""
        named = {
            "backend": settings.backend or self.device.target,
            "cpu_precision": "fp16" if settings.precision == "fp16" else "fp32",
            "threads": settings.threads,
            "power_mode": settings.power_mode,
            "warmup": settings.warmup,
            "repeats": settings.repeats,
        }
        return {key: str(value) for key, value in named.items()}

    def _measurement(
        self, case: Case, entry: LogEntry, finished: Finished, output: str, deadline: Deadline
    ) -> Measurement:
        notes: list[str] = []
        tensor = self._output(case, entry, output, deadline, notes)
        times = entry.times_ms
        return Measurement(
            init_ms=times["init"],
            first_ms=times["first"],
            series_ms=(times["avg"],),
            outputs=(tensor,) if tensor else (),
            runtime=self.name,
            runtime_version=entry.sections["Runtime"].get("benchmark_bin version", "unknown"),
            runs=int(entry.sections["Runtime"]["repeats"]),
            min_ms=times["min"],
            max_ms=times["max"],
            output_statistics=(entry.output_mean, entry.output_std),
            notes=tuple(notes),
        )

    def _output(self, case: Case, entry: LogEntry, output: str, deadline: Deadline, notes: list[str]) -> Tensor | None:
        """Output 0 from the tool's file, checked against its printed statistics; None if it cannot be read."""
        if case.output_dtype == "int64" or entry.sections["Model"].get("output tensor num") != "1":
            notes.append("benchmark_bin writes one float32 or int32 output; this model's is not compared")
            return None
        count = int(entry.sections["Model"].get("output tensor 0 elem num", "0"))
        if count * 16 > _LARGEST_PULL:
            notes.append(f"an output of {count} numbers stays on the device")
            return None
        with tempfile.TemporaryDirectory(prefix="lite-") as work:
            local = Path(work) / "output.txt"
            self.device.pull(output, local, deadline)
            try:
                tensor = decode_printed(local.read_text(encoding="ascii", errors="replace"), case.output_dtype)
            except errors.DataError as error:
                raise errors.BadOutput(f"{case.model_name}: {error.got}") from error
        shape = entry.output_shape or (count,)
        if len(tensor.values) != count or math.prod(shape) != count:
            raise errors.BadOutput(
                f"{case.model_name}: {len(tensor.values)} numbers in the output file, {count} printed"
            )
        mean, std = tensor.mean_std()
        printed = entry.output_mean
        if mean is not None and printed is not None and abs(mean - printed) > 1e-3 * (abs(mean) + std) + 1e-6:
            raise errors.BadOutput(f"{case.model_name}: printed mean {printed:g}, but the output file's is {mean:g}")
        return tensor.reshape(shape)


def check_run(name: str, finished: Finished, asked: dict[str, str]) -> LogEntry:
    """Check a run and return its log entry; `asked` are the flags that it must print.

    Raises:
        LiteError: the kind of RunnerFailed (or DeviceFull, DeviceReadOnly) that fits its output.
    """
    text = finished.stderr + "\n" + finished.stdout
    if finished.returncode != 0:
        raise _crash(name, finished, text)
    entries = parse_log(finished.stdout)
    unread = re.search(r"^.*Open input image .*error.*$", text, re.MULTILINE)
    if unread:
        raise errors.BadOutput(f"{name}: benchmark_bin could not read its input: {unread[0].strip()}")
    if len(entries) != 1 or not entries[0].complete:
        why = last_words(finished.stderr)
        raise errors.BadOutput(
            f"{name}: benchmark_bin ended with exit code 0 and without its times: {why}", "init to avg"
        )
    entry = entries[0]
    printed = {**entry.sections.get("Runtime", {}), **entry.sections.get("Backend", {})}
    for key, value in asked.items():
        found = printed.get(key.replace("cpu_precision", "cpu precision"))
        if found != value:
            raise errors.BadOutput(f"{name}: benchmark_bin ran with {key} {found}", f"{key} {value}, as asked for")
    times = entry.times_ms
    if not times["min"] - 0.001 <= times["avg"] <= times["max"] + 0.001:  # three digits are printed
        raise errors.BadOutput(f"{name}: min {times['min']}, avg {times['avg']}, max {times['max']} cannot be")
    if not entry.sections.get("Model", {}).get("output tensor 0 elem num", "").isdigit():
        raise errors.BadOutput(f"{name}: benchmark_bin printed no output tensor")
    return entry


def _crash(name: str, finished: Finished, text: str) -> errors.LiteError:
    for words, kind, hint in _SYMPTOMS:
        found = re.search(f"^.*(?:{words}).*$", text, re.IGNORECASE | re.MULTILINE)
        if found:
            return kind(f"{name}: benchmark_bin failed: {found[0].strip()[:300]}", hint=hint)
    unsupported = re.search(r"^.*ops are not supported on.*$", text, re.MULTILINE)
    reason = unsupported[0].strip() if unsupported else last_words(finished.stderr or finished.stdout)
    hint = "convert here with --optimize host to see what opt says, and use an opt of benchmark_bin's version"
    return errors.RunnerFailed(f"{name}: benchmark_bin failed ({finished.cause()}): {reason[:300]}", hint=hint)
