"""A host that systemd manages, with Roost on its system bus, as the scripts see it that test in it: programs, systemd, the journal, the
bus, VMs, and TAP.

Everything here waits for a condition, never for a time.
"""
import ctypes
import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import time
import traceback

SECONDS = 90
NAME, MANAGER, VM = "org.roost1", "org.roost1.Manager", "org.roost1.VM"
DROP_IN = pathlib.Path("/run/systemd/system/roost.service.d/test.conf")


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def note(text):
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


# ---- running things ----
def run(*words, fails=False):
    """Standard output. With `fails` it must not succeed, and it is standard error."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False)
    if (done.returncode != 0) != fails:
        raise Failed(f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def wait(condition, what):
    until = time.monotonic() + SECONDS
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > until:
            raise Failed(f"waited in vain for: {what}")
        time.sleep(0.02)


def systemctl(*words):
    return run("systemctl", "--no-pager", *words).strip()


def show(unit, key):
    return systemctl("show", "--property", key, "--value", unit)


def journal(*matches):
    run("journalctl", "--sync")
    text = run("journalctl", "--boot", "--output=json", "--quiet", "--no-pager", *matches)
    return [json.loads(line) for line in text.splitlines()]


# ---- the bus ----
def call(path, interface, member, *args):
    text = run("busctl", "--json=short", "--timeout=60", "call", NAME, path, interface, member, *args)
    return json.loads(text)["data"] if text.strip() else []


def refused(path, interface, member, *args):
    return run("busctl", "--timeout=60", "call", NAME, path, interface, member, *args, fails=True)


def get(path, name, interface=VM):
    return json.loads(run("busctl", "--json=short", "get-property", NAME, path, interface, name))["data"]


def owner():
    """The process that has the name; 0: none."""
    done = subprocess.run(["busctl", "--json=short", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus",
                           "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s", NAME],
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    return json.loads(done.stdout)["data"][0] if done.returncode == 0 else 0


def define(name, *keys):
    """keys: as busctl wants them, three words each."""
    words = ["Name", "s", name, "Memory", "t", str(64 << 20), "Accelerator", "s", "tcg", *keys]
    return call("/org/roost1", MANAGER, "DefineVM", "a{sv}", str(len(words) // 3), *words)[0]


def start(path):
    call(path, VM, "Start", "a{sv}", "1", "Paused", "b", "true")


def undefine(*paths):
    for path in paths:
        call(path, VM, "Kill")
        call(path, VM, "Undefine", "a{sv}", "0")


def units():
    """The VMs' units that systemd knows, dead or alive."""
    text = systemctl("list-units", "--all", "--plain", "--no-legend", "roost-vm-*.service")
    return {line.split()[0] for line in text.splitlines()}


def no_units_left():
    wait(lambda: not units(), "the units of VMs that are off to be gone")


def is_alive(pid):
    return pathlib.Path(f"/proc/{pid}/exe").exists() and status_of(pid)["State"][0] != "Z"


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split(":", 1)[1].split() for line in lines}


def configure(*lines):
    """A drop-in for roost.service; none: as it comes."""
    if lines:
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text("\n".join(lines) + "\n")
    else:
        DROP_IN.unlink(missing_ok=True)
    systemctl("daemon-reload")
    systemctl("restart", "roost.service")


def assert_goes_on(path, pid, unit):
    """The VM, and roostd's knowledge of it, whichever roostd that is."""
    check(is_alive(pid), f"process {pid} has ended")
    wait(lambda: get(path, "Responsive"), "roostd to reach QEMU")
    for name, wanted in (("State", "paused"), ("PID", pid), ("Unit", unit)):
        check(get(path, name) == wanted, f"{name} is {get(path, name)}, not {wanted}")
    check(show(unit, "MainPID") == str(pid), f"systemd has another process in {unit}")


def restarted(before):
    wait(lambda: show("roost.service", "ActiveState") == "active" and int(show("roost.service", "MainPID")) not in (0, before)
         and owner() == int(show("roost.service", "MainPID")), "another roostd")


def as_user(user, *words):
    """A child that asks roostd as a user with no rights and no session."""
    return subprocess.Popen(["setpriv", "--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups", "busctl",
                             "--json=short", "--timeout=60", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def answer_of(child):
    text, error = child.communicate(timeout=SECONDS)
    check(child.returncode == 0, error)
    return json.loads(text)["data"]


def n_roostds():
    return sum("Serving" in entry["MESSAGE"] for entry in journal("_COMM=roostd"))


# ---- a hang ----
class Held:
    """A thread that does not move, by ptrace(2), as long as the process that holds it lives."""

    def __init__(self, tid):
        reader, writer = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            libc = ctypes.CDLL(None, use_errno=True)
            seize, interrupt = 0x4206, 0x4207
            good = libc.ptrace(seize, tid, None, None) == 0 and libc.ptrace(interrupt, tid, None, None) == 0
            os.write(writer, b"y" if good else b"n")
            # Its end is told to us before it is told to its parent.
            wall = 0x40000000
            while not os.WIFSIGNALED(os.waitpid(tid, wall)[1]):
                pass
            os._exit(0)
        os.close(writer)
        check(os.read(reader, 1) == b"y", "the thread can't be held")
        os.close(reader)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


def thread_of(pid, name):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise Failed(f"no thread {name} in {pid}")


# ---- TAP ----
class Shared:
    pass


def main(known):
    shared, failed = Shared(), 0
    only = pathlib.Path(__file__).with_name("only").read_text().split()
    tests = [test for test in known if not only or test.__name__ in only]
    print(f"1..{len(tests)}", flush=True)
    for number, test in enumerate(tests, 1):
        begin = time.monotonic()
        try:
            test(*[shared] * test.__code__.co_argcount)
            good = True
        except Exception as error:  # whatever it is, the next one has its turn
            good = False
            note(error if isinstance(error, Failed) else traceback.format_exc())
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {test.__doc__} ({time.monotonic() - begin:.1f} s)", flush=True)
    if failed:
        note(run("journalctl", "--boot", "--no-pager", "--lines=200", "--output=short-precise"))
    return failed > 0
