#!/bin/sh
# The first cell of every notebook runs this in the kernel's program folder. It
# replaces the go.mod there: cells become a package of this module, with the
# module's own requirements at its own checksums, and import the checkout's
# packages, internal ones too. Nothing is downloaded; the checkout stays as it is.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
path=$(cd "$root" && GOWORK=off go list -m)
cp "$root/go.mod" go.mod
cp "$root/go.sum" go.sum
chmod u+w go.mod go.sum
go mod edit -module="$path/gonbcell" -require="$path@v0.0.0" -replace="$path=$root"
echo "cells use $path from $root"
