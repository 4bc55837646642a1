# Which Debian packages are needed, and how to get them: sourced by ./run, ./check and ./bench.
# shellcheck shell=bash disable=SC2034

# To build and to run.
packages_to_run=(
	gcc libc6-dev meson ninja-build pkg-config libsystemd-dev libglib2.0-dev libjson-glib-dev
	qemu-system-x86 dbus-daemon systemd libglib2.0-bin # the last two for busctl and gdbus
	cpio xz-utils                                      # for the guest
	ovmf qemu-utils                                    # UEFI firmware; qemu-img
)

# For the tests, beside those.
packages_to_test=(
	clang-14 clang-format-14 libclang-rt-14-dev spin python3
	gjs python3-gi gir1.2-glib-2.0 # clients
	mtools systemd-boot-efi        # a disk that UEFI boots from
	polkitd dbus passwd            # the system bus: pkttyagent, its configuration, useradd
	systemd-container dbus-user-session # a host of its own
	build-essential debhelper gettext lintian # the Debian package, made and looked at
	man-db groff-base              # what is wrong with manual pages
)

# For ./check --long, beside those.
packages_to_test_long=(
	mmdebstrap # a fresh Debian, to install the package on
)

# For ./bench, beside those to run.
packages_to_bench=(python3 python3-gi gir1.2-glib-2.0)

# What it compares with: fetched, not installed.
packages_of_peer=(libvirt-daemon libvirt-daemon-driver-qemu libvirt-dbus dbus-broker)

# packages_missing PACKAGE...: prints those that are not installed.
packages_missing()
{
	local package

	for package; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
	done
}

# packages_install PACKAGE...: installs those that are missing, or says how. 0; 2 when some are missing still.
packages_install()
{
	local missing log

	command -v dpkg-query >/dev/null || {
		echo "This is not Debian: see tests/packages.sh for what is needed, or use --no-install." >&2
		return 2
	}
	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		printf 'Some packages are missing. This installs them:\n\n    sudo apt-get install --no-install-recommends %s\n\n' \
			"${missing[*]}" >&2
		return 2
	fi
	log=$(mktemp)
	echo "Installing ${missing[*]}"
	# The lists may be missing or old: they are fetched if it does not work without.
	if ! packages_apt install "${missing[@]}" >"$log" 2>&1; then
		echo "Fetching apt's lists"
		if ! packages_apt update >>"$log" 2>&1 || ! packages_apt install "${missing[@]}" >"$log" 2>&1; then
			tail -n 15 "$log" >&2
			echo "apt-get could not install ${missing[*]}: $log has all it said" >&2
			return 2
		fi
	fi
	rm -f "$log"
}

# packages_fetch DIR PACKAGE...: downloads these, and what they depend on and is not installed, into DIR.
packages_fetch()
{
	local dir=$1 log=$1/log
	shift

	command -v apt-get >/dev/null || return 1
	mkdir -p "$dir/partial" || return 1
	echo "Fetching $*"
	if ! packages_download "$dir" "$@" >"$log" 2>&1; then
		packages_apt update >>"$log" 2>&1
		packages_download "$dir" "$@" >>"$log" 2>&1 || {
			tail -n 5 "$log" >&2
			return 1
		}
	fi
}

packages_download()
{
	packages_apt install --download-only -o Debug::NoLocking=1 -o "Dir::Cache::archives=$1" "${@:2}"
}

packages_apt()
{
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o APT::Install-Recommends=false "$@" </dev/null
}
