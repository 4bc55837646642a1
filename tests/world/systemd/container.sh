# A container with systemd as its first process, over the files of a folder, in which a script tests: sourced by `run` and
# `run-package`. What is written is gone afterwards.
# shellcheck shell=bash

skip()
{
	echo "1..0 # SKIP $1"
	exit 0
}

# A cgroup of its own, where the machine has no systemd to make one: else two at a time would share one.
enter_cgroup()
{
	local hierarchy

	for hierarchy in systemd unified; do
		[ -w "/sys/fs/cgroup/$hierarchy/cgroup.procs" ] || continue
		mkdir "/sys/fs/cgroup/$hierarchy/$name" && echo "$BASHPID" >"/sys/fs/cgroup/$hierarchy/$name/cgroup.procs"
	done
}

leave_cgroup()
{
	local hierarchy

	for hierarchy in systemd unified; do
		[ -d "/sys/fs/cgroup/$hierarchy/$name" ] || continue
		find "/sys/fs/cgroup/$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null
	done
}

clean_up()
{
	mountpoint -q "$top/root" && umount -l "$top/root"
	umount -l "$top"
	rmdir "$top"
	leave_cgroup
}

# container_make LOWER: $top/root is the folder LOWER, to be changed at will.
container_make()
{
	name=roost-test-$$
	[ "$(id -u)" = 0 ] || skip "needs root"
	command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed (systemd-container)"
	top=$(mktemp -d)
	mount -t tmpfs -o mode=0755 tmpfs "$top" || skip "no file system can be mounted"
	trap clean_up EXIT
	mkdir "$top"/{upper,work,root}
	mount -t overlay overlay -o "lowerdir=$1,upperdir=$top/upper,workdir=$top/work" "$top/root" ||
		skip "no overlay can be mounted"
	: >"$top/root/etc/machine-id"
	mkdir "$top/root/opt/roost-test"
}

# container_add_units COMMAND: what it runs when it has started, with /opt/roost-test as its folder.
container_add_units()
{
	cat >"$top/root/etc/systemd/system/roost-test.target" <<-END
		[Unit]
		Requires=sysinit.target dbus.socket
		Wants=roost-test.service dbus.service
		After=sysinit.target dbus.socket dbus.service
		AllowIsolate=yes
	END
	cat >"$top/root/etc/systemd/system/roost-test.service" <<-END
		[Unit]
		After=sysinit.target dbus.service roost-test.target
		[Service]
		Type=oneshot
		TimeoutStartSec=infinity
		WorkingDirectory=/opt/roost-test
		ExecStart=/bin/sh -c "exec $1 >/opt/roost-test/out 2>&1"
		ExecStopPost=/bin/systemctl --no-block exit \$EXIT_STATUS
	END
}

# container_run SECONDS COMMAND [OPTION...]: boots it, with more options of systemd-nspawn, and prints what the command
# printed. Its status.
container_run()
{
	local seconds=$1 status

	container_add_units "$2"
	shift 2
	(
		enter_cgroup
		exec timeout --kill-after=10 "$seconds" systemd-nspawn -q -M "$name" -D "$top/root" --register=no --keep-unit -b \
			--console=pipe "$@" systemd.unit=roost-test.target systemd.log_target=journal
	) </dev/null >"$top/console" 2>&1
	status=$?
	if [ -s "$top/root/opt/roost-test/out" ]; then
		cat "$top/root/opt/roost-test/out"
	else
		echo "Bail out! nothing was tested (status $status): $(tail -n 5 "$top/console")"
		return 1
	fi
	return "$status"
}
