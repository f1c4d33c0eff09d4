# Sourced by tests/run-all and tests/demo: installs what a fresh Debian 12
# or 13 lacks and builds mailhook into $build, installed below $build/root so that
# nothing outside the build directory changes.
#
# The caller sets $source (absolute) and may set $build.

build=${MAILHOOK_BUILD:-$source/build}
log=$build/log
MAILHOOK_BUILD=$build
export MAILHOOK_BUILD

packages="autoconf automake libtool pkg-config gcc make libc6-dev
	libjson-c-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev zlib1g-dev
	libevent-dev libconfuse-dev libsmartcols-dev libseccomp-dev
	libcmocka-dev dovecot-dev dovecot-imapd
	dovecot-pop3d dovecot-lmtpd dovecot-submissiond dovecot-sieve
	dovecot-managesieved openssl python3 python3-pytest python3-h2
	python3-cryptography python3-jsonschema binutils ca-certificates
	php-cli php-sqlite3 nodejs faketime strace valgrind
	mandoc"

say() {
	printf '%s\n' "$*"
}

# stage NAME COMMAND...: one progress line; the output goes to a log, whose
# tail is shown if the command fails.
stage() {
	stage_name=$1
	shift
	printf '%-34s ' "$stage_name"
	stage_start=$(date +%s)
	stage_log=$log/$(printf '%s' "$stage_name" | tr -c 'A-Za-z0-9\n' '-').log
	if "$@" >"$stage_log" 2>&1 </dev/null; then
		printf 'ok  %3d s\n' $(($(date +%s) - stage_start))
		return 0
	fi
	printf 'FAILED\n'
	tail -n 40 "$stage_log" | sed 's/^/    /'
	say "    (all of it: $stage_log)"
	return 1
}

install_packages() {
	missing=
	for package in $packages; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
			grep -q 'ok installed' || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] || {
		echo "run as root, or install first:$missing"
		return 1
	}
	# Lists may already be there and good enough.
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get -y -q \
		--no-install-recommends install $missing || {
		apt-get -q update &&
			DEBIAN_FRONTEND=noninteractive apt-get -y -q \
				--no-install-recommends install $missing
	}
}

# configure_in DIRECTORY ARGUMENTS...: for an installation below $build.
configure_in() {
	cd "$1" || return 1
	shift
	"$source/configure" --prefix="$build/root" \
		--localstatedir="$build/root/var" \
		--with-moduledir="$build/root/modules" \
		--with-settingsdir="$build/root/modules/settings" \
		--with-dovecot-libexecdir="$build/root/libexec" "$@"
}

# Everything up to an installed build, each step once.
prepare() {
	mkdir -p "$log" || return 1
	stage "Debian packages" install_packages || return 1
	stage "autogen.sh" "$source/autogen.sh" || return 1
	stage "configure" configure_in "$build" || return 1
	stage "make" make -C "$build" -j"$(nproc)" || return 1
	stage "make install (build directory)" \
		make -C "$build" install || return 1
}
