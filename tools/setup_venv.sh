#!/bin/sh
# Creates .venv beside this checkout's Makefile and installs requirements.lock and the project into it.
#
# Cheap to call again: .venv/.installed holds a checksum of all that decides what is installed, and is written
# last. .venv/.installing holds the process id of a running set-up; found without its process, the set-up was
# interrupted and .venv is built anew. Environment: PYTHON names the interpreter to use (must be 3.10).
set -eu

cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/.installed
running=$venv/.installing
log=$venv/setup.log

say() { printf 'set-up: %s\n' "$*" >&2; }

is_310() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' >/dev/null 2>&1; }

# The path first: a copied or moved .venv would import the code of the other checkout.
wanted() { pwd -P; cat requirements.lock setup.py pyproject.toml MANIFEST.in tools/setup_venv.sh | cksum; }

pyenv_310() { # every 3.10 of pyenv, newest first
    for root in "${PYENV_ROOT:-}" "${HOME:-}/.pyenv"; do
        [ -d "$root/versions" ] || continue
        for version in $(ls "$root/versions" | grep '^3\.10\.[0-9]*$' | sort -t. -k3,3nr); do
            echo "$root/versions/$version/bin/python"
        done
    done
}

# uv's own interpreters only: it would stop at a pyenv shim that does not run, and PATH was searched before.
uv_310() {
    command -v uv >/dev/null 2>&1 || return 0
    uv python find --managed-python --no-project 3.10 2>/dev/null && return 0
    say "fetching Python 3.10 with uv"
    uv python install 3.10 >/dev/null 2>&1 || return 0
    uv python find --managed-python --no-project 3.10 2>/dev/null || return 0
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_310 "$PYTHON" && { echo "$PYTHON"; return 0; }
        say "PYTHON=$PYTHON is not a working Python 3.10; looking for another"
    fi
    # python3.10 must run: pyenv leaves a shim of that name even where no 3.10 is active.
    is_310 python3.10 && { echo python3.10; return 0; }
    for candidate in $(pyenv_310); do is_310 "$candidate" && { echo "$candidate"; return 0; }; done
    for candidate in $(uv_310); do is_310 "$candidate" && { echo "$candidate"; return 0; }; done
    say "no Python 3.10 found (paddlelite has wheels for no newer one). Install it and call again, for example:"
    say "  apt install python3.10 python3.10-venv | pyenv install 3.10 | uv python install 3.10; or set PYTHON=/path/to/python3.10"
    return 1
}

pip() { # quiet; its last lines when it fails, which leaves what was installed before as it was
    if ! "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" >>"$log" 2>&1; then
        say "pip $1 failed; the end of $log:"
        grep -v '^Requirement already satisfied' "$log" | tail -n 15 >&2
        rm -f "$running"
        exit 1
    fi
}

wait_for_other() {
    [ -s "$running" ] || return 0
    other=$(cat "$running")
    kill -0 "$other" 2>/dev/null || return 0
    say "waiting for process $other, which is installing into $venv (remove $running if that is not so)"
    while [ -e "$running" ] && kill -0 "$other" 2>/dev/null; do sleep 1; done
}

wait_for_other
usable=no
[ ! -e "$running" ] && is_310 "$venv/bin/python" && usable=yes
if [ $usable = yes ] && [ -f "$stamp" ]; then
    [ "$(cat "$stamp")" = "$(wanted)" ] && exit 0
    [ "$(head -n 1 "$stamp")" = "$(pwd -P)" ] || usable=no
fi
start=$(date +%s)
if [ $usable = no ]; then
    python=$(find_python)
    if [ -e "$venv" ]; then
        if [ ! -e "$stamp" ] && [ ! -e "$running" ]; then
            say "$venv is there but set-up did not make it, and it has no Python 3.10 that runs"
            say "remove it (rm -rf $venv) and try again"
            exit 1
        fi
        say "$venv is not usable or was left half-built; building it anew"
    fi
    say "creating $venv with $("$python" -c 'import sys; print(sys.executable)')"
    rm -rf "$venv"
    mkdir "$venv"
    echo $$ >"$running"
    "$python" -m venv "$venv" || { say "venv failed: on Debian and Ubuntu, apt install python3.10-venv"; exit 1; }
fi
echo $$ >"$running"
rm -f "$stamp"
: >"$log"
say "installing $(grep -c '^[a-z].*==' requirements.lock) locked packages (the first time some 370 MB are fetched)"
# --no-deps: paddleseg asks for opencv-python, the lock holds opencv-python-headless in its place.
pip install --require-hashes --no-deps -r requirements.lock
say "installing paddleseg_ext, editable"
pip install --no-build-isolation --no-deps -e .
wanted >"$stamp.new"
mv "$stamp.new" "$stamp"
rm -f "$running"
say "ready after $(($(date +%s) - start)) s"
