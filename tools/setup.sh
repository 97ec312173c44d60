#!/bin/sh
# Makes an environment, or leaves it alone where it is up to date:
#   tools/setup.sh          .venv, from requirements.txt
#   tools/setup.sh theano   .venv-theano, from requirements-theano.txt (classic Theano 1.0.5)
#   tools/setup.sh lock     .cache/lock, with the tool that writes those two files
# PYTHON names the interpreter; without it, the first on PATH that fits is taken.
# Exits with 3 where the machine lacks something: a fitting Python, a compiler, its headers.

case ${1:-} in
'') env=.venv requirements=requirements.txt newest=314
    needs='Python 3.11 to 3.14' size='1 GB' ;;
theano) env=.venv-theano requirements=requirements-theano.txt newest=311
    needs='Python 3.11 (for classic Theano)' size='600 MB' ;;
lock) env=.cache/lock requirements=tools/requirements-lock.txt newest=314
    needs='Python 3.11 to 3.14' size='60 MB' ;;
*) echo "usage: tools/setup.sh [theano|lock]" >&2; exit 2 ;;
esac
oldest=311
log=.cache/setup.log

# Nothing of the caller's own Python may reach the environment; a pip.conf may ask for --user.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_USER=0

cd "$(dirname "$0")/.." || exit 1
here=$(pwd)

say() { echo "$*" >&2; }
die() { say "$*"; exit 1; }
lacks() { say "$*"; exit 3; }

# Prints version and home of an interpreter; nothing where it cannot run, as an idle pyenv shim.
identify() {
    "$1" -ESc 'import os, sys; home = os.path.realpath(getattr(sys, "base_prefix", sys.prefix))
print("%d.%d.%d %s" % (sys.version_info[:3] + (home,)))' 2>/dev/null
}

requirements_done() {
    key="$(identify "${PYTHON:-$env/bin/python}") in $here, $(cksum <$requirements)"
    [ "$(cat $env/.requirements 2>/dev/null)" = "$key" ]
}

library_done() {
    [ "$env" = .cache/lock ] || [ "$(cat $env/.library 2>/dev/null)" = "$(cksum <pyproject.toml)" ]
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
        problem="PYTHON=$PYTHON cannot be run."
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11 python
        problem='No Python found.'
    fi
    misfit='' unready=''
    for name; do
        identity=$(identify "$name") || continue
        version=${identity%% *}
        minor=${version#*.} minor=${minor%%.*}
        number=$((${version%%.*} * 100 + minor))
        if [ $number -lt $oldest ]; then
            : "${misfit:=Python $version is too old.}"
        elif [ $number -gt 314 ]; then
            : "${misfit:=Python $version is too new: PyTensor has no wheel for it yet.}"
        elif [ $number -gt $newest ]; then
            : "${misfit:=Python $version is too new.}"
        elif ! "$name" -ESc 'import ensurepip, venv' 2>/dev/null; then
            : "${unready:=Python $version has no venv module: install it (Debian, Ubuntu: apt install python3.$minor-venv).}"
        else
            # Not the python of a venv, which may be the one about to be replaced.
            python=$("$name" -ESc 'import sys; print(sys._base_executable)')
            return
        fi
    done
    [ -z "$unready" ] || lacks "$unready"
    lacks "${misfit:-$problem} Install $needs, or name one: make PYTHON=/path/to/python ..."
}

# A lock on a file that this shell and its children hold open: whatever kills them, the system
# releases it with the last of them, so that there is no stale lock.
lock() { "$python" -ESc "import fcntl; fcntl.flock(9, fcntl.LOCK_EX | $1)" 2>/dev/null; }

# In the background, for a shell runs no trap before its foreground child has ended.
run() {
    "$@" >>$log 2>&1 &
    child=$!
    wait $child
}

pip_install() {
    mkdir -p $env/tmp
    run env TMPDIR="$here/$env/tmp" $env/bin/python -m pip --disable-pip-version-check \
        --no-input install --no-warn-script-location "$@"
}

# The stamp goes first: what is left of an interrupted removal is no environment.
remove() { rm -f $env/.requirements && rm -rf $env; }

failed() {
    [ -e $env/.requirements ] || remove
    if grep -Eq 'connection broken by|NewConnectionError|timed out|Network is unreachable' $log; then
        die "The package index cannot be reached: check the network, then call make again (log: $log)."
    elif grep -q 'No space left on device' $log; then
        die "The disk is full: make room for $size, then call make again."
    fi
    tail -n 15 $log >&2
    die "Making $env failed, for the reason above (all of it: $log). Solve it, then call make again."
}

stop() {
    trap '' INT TERM HUP
    kill $child 2>/dev/null
    wait
    [ -e $env/.requirements ] || remove
    say "Stopped; the next call starts again."
    exit 130
}

# Written last, aside and renamed, with everything before it on the disk.
stamp() {
    rm -rf $env/tmp
    sync
    { printf '%s\n' "$2" >$env/.stamp && mv $env/.stamp "$env/$1"; } || failed
}

requirements_done && library_done && exit 0

mkdir -p .cache || exit 1
find_python
if [ "$env" = .venv-theano ]; then
    command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        lacks "Classic Theano needs a C++ compiler: install one (Debian, Ubuntu: apt install g++)."
    "$python" -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null ||
        lacks "Classic Theano needs Python's headers: install them" \
            "(Debian, Ubuntu: apt install python3.11-dev)."
fi

exec 9>.cache/setup.lock
lock fcntl.LOCK_NB || {
    say "Another call is setting up: waiting for it to end ..."
    lock 0
}
child=
trap stop INT TERM HUP
: >$log

requirements_done || {
    say "Making $env with Python $version ..."
    remove
    run "$python" -m venv $env || failed
    say "Installing the pinned requirements ($size, at most a few minutes) ..."
    # Wheels only: nobody needs a compiler. Classic Theano is the exception, pure Python but
    # published as source alone; it is built with the setuptools that is pinned beside it.
    if [ "$env" = .venv-theano ]; then
        pip_install "$(grep '^setuptools==' $requirements)" || failed
        pip_install --no-build-isolation --use-pep517 \
            --only-binary :all: --no-binary theano -r $requirements || failed
    else
        pip_install --only-binary :all: -r $requirements || failed
    fi
    key="$(identify $env/bin/python) in $here, $(cksum <$requirements)"
    stamp .requirements "$key"
}
library_done || {
    pip_install --no-index --no-deps --no-build-isolation -e . || failed
    stamp .library "$(cksum <pyproject.toml)"
}
