#!/bin/sh
# sh benchmark.sh benchmark_bin models_dir test_result.txt image1.txt [further flags of benchmark.py]
#
# Calls benchmark.py. benchmark_bin measures on a phone over adb. Write `host` instead of benchmark_bin to measure on
# this machine, which needs the paddlelite wheel. The environment variable PYTHON selects the interpreter.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 2

if [ "$#" -lt 4 ]; then
    echo "usage: sh benchmark.sh benchmark_bin|host models_dir test_result.txt image1.txt [flags]" >&2
    echo "       flags: python $here/benchmark.py --help" >&2
    exit 2
fi

# If $PYTHON is set, try only it. Else take the first Python with the wheel, else the first that is new enough.
python=
for wanted in "import sys, paddlelite; assert sys.version_info >= (3, 9)" "import sys; assert sys.version_info >= (3, 9)"; do
    for candidate in "${PYTHON:-$here/../../.venv/bin/python}" python3.10 python3 python; do
        if [ -n "${PYTHON:-}" ] && [ "$candidate" != "$PYTHON" ]; then
            continue
        fi
        if [ -z "$python" ] && "$candidate" -c "$wanted" >/dev/null 2>&1; then
            python=$candidate
        fi
    done
done
if [ -z "$python" ]; then
    echo "error: no Python of at least 3.9 found${PYTHON:+: $PYTHON is none}" >&2
    echo "  Try: PYTHON=/path/to/python" >&2
    exit 2
fi

runner=$1 models=$2 result=$3 input=$4
shift 4
exec "$python" "$here/benchmark.py" --benchmark_bin "$runner" --models_dir "$models" \
    --result_file "$result" --input "$input" "$@"
