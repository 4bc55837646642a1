# A host's file system for the tests of a host that systemd manages: the files of a folder, under an overlay; what is
# written is gone afterwards. Sourced by the scripts that boot it.
# shellcheck shell=bash

skip()
{
	echo "1..0 # SKIP $1"
	exit 0
}

bail_out()
{
	echo "Bail out! $1"
	exit 1
}

# make_root FOLDER LOWER: FOLDER/root is the folder LOWER, to be changed at will. FOLDER is a tmpfs then.
make_root()
{
	mount -t tmpfs -o mode=0755 tmpfs "$1" || skip "no file system can be mounted"
	mkdir "$1"/{upper,work,root}
	mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root" || skip "no overlay can be mounted"
	: >"$1/root/etc/machine-id"
	mkdir "$1/root/opt/roost-test"
}

# install_build ROOT BUILD-FOLDER: Roost, as a distribution does it. The bus and polkit look into /usr/share alone.
install_build()
{
	local said folder

	said=$(DESTDIR=$1 /usr/bin/python3 /usr/bin/meson install -C "$2" --no-rebuild --quiet 2>&1) || bail_out "meson install: $said"
	systemd-sysusers --root="$1" roost.conf >/dev/null 2>&1 || bail_out "systemd-sysusers"
	for folder in dbus-1/system.d polkit-1/actions; do
		[ ! -d "$1/usr/local/share/$folder" ] || cp "$1/usr/local/share/$folder"/* "$1/usr/share/$folder/"
	done
}

# add_units ROOT COMMAND: what it runs when it has started, with /opt/roost-test as its folder; then the host ends.
add_units()
{
	cat >"$1/etc/systemd/system/roost-test.target" <<-END
		[Unit]
		Requires=sysinit.target dbus.socket
		Wants=roost-test.service dbus.service
		After=sysinit.target dbus.socket dbus.service
		AllowIsolate=yes
	END
	cat >"$1/etc/systemd/system/roost-test.service" <<-END
		[Unit]
		After=sysinit.target dbus.service roost-test.target
		[Service]
		Type=oneshot
		TimeoutStartSec=infinity
		WorkingDirectory=/opt/roost-test
		ExecStart=/bin/sh -c "exec $2 >/opt/roost-test/out 2>&1"
		ExecStopPost=/bin/systemctl --no-block exit \$EXIT_STATUS
	END
}
