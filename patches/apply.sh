#!/bin/sh
# Prints the go.mod to build with, after it has made the patched copy of golang.org/x/crypto that it names, once:
#
#     GOFLAGS="$(go env GOFLAGS) -modfile=$(patches/apply.sh)" go build ./cmd/culvert
#
# PATCHES="10-gcm.patch" takes only those; PATCHES= takes none of them, which prints a copy of the go.mod that there is.
set -eu
cd "$(dirname "$0")/.."
module=golang.org/x/crypto
unset GOFLAGS # it may name a go.mod of ours

all=$(cd patches && echo *.patch)
patches=${PATCHES-$all}
for p in $patches; do
	[ -f "patches/$p" ] || { echo "patches: there is no patches/$p; there are: $all" >&2; exit 1; }
done

go mod download $module
version=$(go list -m -f '{{.Version}}' $module)
# Whatever it is made of is in its name, so it is never out of date, and branches may share .cache.
sum() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-12; }
copy=.cache/crypto/$version-$({ echo "$patches"; for p in $patches; do cat "patches/$p"; done; cat patches/apply.sh; } | sum)
modfile=$copy/$(cat go.mod go.sum | sum).mod

if [ ! -d "$copy" ]; then
	mkdir -p .cache/crypto
	new=$(mktemp -d "$PWD/.cache/crypto/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	cp -R "$(go list -m -f '{{.Dir}}' $module)" "$new/crypto"
	chmod -R u+w "$new/crypto"
	for p in $patches; do
		if ! (cd "$new/crypto" && GIT_DIR=none git apply --whitespace=nowarn) <"patches/$p"; then
			cat >&2 <<-END
			patches: patches/$p doesn't apply to $module $version.
			Perhaps the release has what it does, or changes what it touches: see patches/README.md. Until it is mended, or taken out of patches/,
			everything works without it, only slower: make PATCHES="$(echo "$patches" | sed "s/$p *//")" ...
			END
			exit 1
		fi
	done
	mv "$new" "$copy" 2>/dev/null || [ -d "$copy" ] # somebody else was faster,
	rm -rf "$new" "$copy/${new##*/}"               # and then ours is in theirs
fi
if [ ! -f "$modfile" ]; then
	new=$(mktemp -d "$copy/new.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	cp go.mod go.sum "$new/"
	[ -z "$patches" ] || go mod edit -replace $module="./$copy/crypto" "$new/go.mod"
	mv "$new/go.sum" "${modfile%.mod}.sum"
	mv "$new/go.mod" "$modfile" # last: who finds it takes it
fi
echo "$PWD/$modfile"
