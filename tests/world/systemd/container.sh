# A container with systemd as its first process, over the files of a folder, in which a script tests: sourced by `run` and
# `run-package`. What is written is gone afterwards.
# shellcheck shell=bash

# shellcheck source=tests/world/systemd/root.sh
. "$(dirname "${BASH_SOURCE[0]}")/root.sh"

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
	mountpoint -q "$top" && umount -l "$top"
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
	trap clean_up EXIT
	make_root "$top" "$1"
}

# container_run SECONDS COMMAND [OPTION...]: boots it, with more options of systemd-nspawn, and prints what the command
# printed. Its status.
container_run()
{
	local seconds=$1 status

	add_units "$top/root" "$2"
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
