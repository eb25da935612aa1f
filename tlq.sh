#!/bin/sh
# Builds the command when its sources changed, and becomes it.
set -eu
self=$0
while [ -h "$self" ]; do
	link=$(readlink "$self")
	case $link in
	/*) self=$link ;;
	*) self=$(dirname "$self")/$link ;;
	esac
done
TLQ_ROOT=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd -P)
export TLQ_ROOT
if ! command -v go >/dev/null 2>&1; then
	echo "tlq: go is not in PATH: install Go 1.26 or newer (https://go.dev/dl)" >&2
	exit 1
fi
mkdir -p "$TLQ_ROOT/.bin"
[ -x "$TLQ_ROOT/.bin/tlq" ] || echo "tlq: building (the first time takes a minute or two)" >&2

build() {
	cd "$TLQ_ROOT"
	code=$(git rev-parse HEAD 2>/dev/null || echo unknown)
	if [ "$code" != unknown ] && ! git diff --quiet HEAD -- 2>/dev/null; then code="$code+dirty"; fi
	# The NVML bindings use functions that their own header calls deprecated.
	export GOWORK=off GOEXPERIMENT=simd CGO_CFLAGS="${CGO_CFLAGS:--O2 -g -Wno-deprecated-declarations}"
	go build -buildvcs=false -ldflags "-X main.revision=$code" -o .bin/tlq ./cmd/tlq
}
# One build at a time: another run must not start a half-written binary.
if command -v flock >/dev/null 2>&1; then
	(flock 9 && build) 9>"$TLQ_ROOT/.bin/.build.lock" || exit 1
else
	(build) || exit 1
fi
exec "$TLQ_ROOT/.bin/tlq" "$@"
