#!/bin/sh
# Makes ./configure from a checkout. A release tarball already has it.
set -e
cd "$(dirname "$0")"
for tool in autoreconf automake libtoolize pkg-config; do
	command -v "$tool" >/dev/null 2>&1 && continue
	case $tool in
	autoreconf) package=autoconf ;;
	libtoolize) package=libtool ;;
	*) package=$tool ;;
	esac
	echo "autogen.sh: $tool is missing; on Debian: apt-get install $package" >&2
	exit 1
done
exec autoreconf --install --force
