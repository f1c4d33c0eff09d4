# Sourced by tests/run-all after prepare.sh: runs a command in a Debian 13
# root, which has Dovecot 2.4.
#
# The root is made by debootstrap from this machine's own Debian mirror, with
# the packages that prepare.sh names, and kept as an archive outside the
# source: $MAILHOOK_CACHE or /var/cache/mailhook-tests. Another suite or list
# of packages is another archive; remove the file to have it made afresh.
# Unpacking takes seconds, making it some minutes.
#
# $root13 is the unpacked root, for one run. $why13 says why there is none.

root13=
why13=
suite13=trixie

# What another machine would need from this one to be the same root.
archive13() {
	key=$(printf '%s\n' "$suite13" "$packages" "$(dpkg --print-architecture)" |
		tr -s ' \t\n' '\n' | sort | sha256sum | cut -c 1-16)
	printf '%s/debian13-%s.tar.zst\n' \
		"${MAILHOOK_CACHE:-/var/cache/mailhook-tests}" "$key"
}

# The mirror that apt uses here; never that of security updates alone.
mirror13() {
	apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null | grep -v security |
		sort -r | sed -n '/^Debian /s///p; s/^ //p' | head -n 1
}

in_root13() {
	chroot "$root13" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		DEBIAN_FRONTEND=noninteractive \
		${http_proxy:+http_proxy="$http_proxy"} \
		${https_proxy:+https_proxy="$https_proxy"} "$@"
}

# Makes the archive. Its errors are reasons, not failures: no mirror, no test.
# Only a package that Debian 13 does not have is a mistake of ours.
make_archive13() {
	packages="debootstrap debian-archive-keyring zstd" install_packages || {
		why13="debootstrap cannot be installed"
		return 1
	}
	mirror=$(mirror13)
	[ -n "$mirror" ] || {
		why13="apt knows no Debian mirror here"
		return 1
	}
	eval "$(apt-config shell http_proxy Acquire::http::Proxy \
		https_proxy Acquire::https::Proxy)"
	export http_proxy https_proxy
	debootstrap --variant=minbase --include=ca-certificates "$suite13" \
		"$root13" "$mirror" || {
		why13="debootstrap got no $suite13 from this machine's mirror"
		return 1
	}
	# Nothing starts in there by itself.
	printf '#!/bin/sh\nexit 101\n' >"$root13/usr/sbin/policy-rc.d" &&
		chmod 755 "$root13/usr/sbin/policy-rc.d"
	cp /etc/resolv.conf "$root13/etc/resolv.conf"
	printf '127.0.0.1 localhost\n127.0.1.1 debian13\n' >"$root13/etc/hosts"
	# shellcheck disable=SC2086
	in_root13 apt-get -q update &&
		in_root13 apt-get -q -s --no-install-recommends install $packages \
			>/dev/null || {
		why13="apt-get in the Debian 13 root does not know all packages"
		return 1
	}
	# shellcheck disable=SC2086
	in_root13 apt-get -y -q --no-install-recommends install $packages || {
		why13="apt-get could not fetch the packages of Debian 13"
		return 1
	}
	in_root13 apt-get clean
	rm -rf "$root13"/var/lib/apt/lists/* "$root13/etc/resolv.conf"
	mkdir -p "$(dirname "$1")" &&
		tar -C "$root13" --one-file-system -cf - . |
		zstd -q -3 -T0 -o "$1.$$" -f && mv "$1.$$" "$1" || {
		rm -f "$1.$$"
		echo "the root could not be kept in $1"
	}
}

# Sets $root13, or $why13.
make_root13() {
	archive=$(archive13)
	unshare --mount --pid --fork --net true || {
		why13="this machine does not let root make namespaces (unshare)"
		return 1
	}
	root13=$(mktemp -d "${TMPDIR:-/var/tmp}/mailhook-debian13-XXXXXX") ||
		return 1
	chmod 755 "$root13"
	if [ -f "$archive" ]; then
		packages=zstd install_packages &&
			zstd -q -d -c "$archive" |
			tar -C "$root13" --numeric-owner -xpf - && return 0
		why13="$archive cannot be unpacked: remove it"
	else
		make_archive13 "$archive" && return 0
		: "${why13:=the Debian 13 root could not be made}"
	fi
	remove_root13
	return 1
}

remove_root13() {
	[ -z "$root13" ] || rm -rf --one-file-system "$root13"
	root13=
}

# run_in_root13 COMMAND...: with the source read-only below /source, in
# namespaces of its own. Mounts, left-over servers and the loopback network
# are gone when it ends.
run_in_root13() {
	mkdir -p "$root13/source"
	root13=$root13 source=$source unshare --mount --propagation private \
		--pid --net --fork --kill-child sh -c '
		mount --bind "$root13" "$root13" &&
			mount --bind "$source" "$root13/source" &&
			mount -o remount,bind,ro "$root13/source" &&
			mount -t proc proc "$root13/proc" &&
			mkdir -p "$root13/dev/shm" &&
			mount -t tmpfs -o mode=1777 tmpfs "$root13/dev/shm" &&
			cd "$root13" || exit 125
		# Terminals, where that is allowed.
		mkdir -p dev/pts && mount -t devpts -o ptmxmode=0666 devpts \
			dev/pts && ln -sf pts/ptmx dev/ptmx
		# There is no ip(8) in there: SIOCSIFFLAGS, IFF_UP.
		chroot . /usr/bin/python3 -c "import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sh22x\", b\"lo\", 1))" ||
			exit 125
		chroot . /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			"$@"' sh "$@"
}
