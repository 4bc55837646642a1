# shellcheck shell=bash
# A host's file system for the tests of a host that systemd manages: the machine's own files, under an overlay; what is
# written is gone afterwards. Sourced by the scripts that boot it.

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

# The bus and polkit look into /usr/share alone.
install_into_usr_share()
{
	local folder

	for folder in dbus-1/system.d polkit-1/actions; do
		[ ! -d "$1/usr/local/share/$folder" ] || cp "$1/usr/local/share/$folder"/* "$1/usr/share/$folder/"
	done
}

# install_units ROOT SCRIPT: it is run once the bus is there, and then the host ends.
install_units()
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
		ExecStart=/bin/sh -c "exec /usr/bin/python3 /opt/roost-test/$2 >/opt/roost-test/out 2>&1"
		ExecStopPost=/bin/systemctl --no-block exit \$EXIT_STATUS
	END
}

# make_root FOLDER BUILD-FOLDER SCRIPT: FOLDER/root, with Roost installed as a distribution does it. FOLDER is a tmpfs then.
make_root()
{
	local said root=$1/root

	mount -t tmpfs -o mode=0755 tmpfs "$1" || skip "no file system can be mounted"
	mkdir "$1"/{upper,work,root}
	mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root" || skip "no overlay can be mounted"
	: >"$root/etc/machine-id"
	said=$(DESTDIR=$root /usr/bin/python3 /usr/bin/meson install -C "$2" --no-rebuild --quiet 2>&1) || bail_out "meson install: $said"
	systemd-sysusers --root="$root" roost.conf >/dev/null 2>&1 || bail_out "systemd-sysusers"
	install_into_usr_share "$root"
	install_units "$root" "$3"
	mkdir "$root/opt/roost-test"
}
