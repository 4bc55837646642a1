"""What is measured in: a message bus of its own, and on it the services that are compared.

All of it runs in namespaces that ./bench has made (mounts, processes), with a /run and a /var of their own: nothing of the
host's is seen or touched, and nothing outlives the one who measures.
"""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import gi

gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib  # noqa: E402

BUS_CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
'''
JOURNAL = '/run/systemd/journal/socket'
PATIENCE = 60  # seconds, for what must come


class Trouble(Exception):
    """Something can't be had, or did not work; the text says what."""


def wait_for(what, condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise Trouble(f'waited {seconds} s in vain for {what}')


# ---- processes ----
def ended(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process, seconds=10):
    if process is None or process.poll() is not None:
        return
    process.terminate()
    if not ended(process, seconds):
        process.kill()
        process.wait()


def alive(pid):
    """False for a zombie, too."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def status_of(pid, key):
    with open(f'/proc/{pid}/status', encoding='utf-8', errors='replace') as file:
        for line in file:
            if line.startswith(key + ':'):
                return int(line.split()[1])
    raise Trouble(f'/proc/{pid}/status: no {key}')


def rss_mib(*pids):
    return sum(status_of(pid, 'VmRSS') for pid in pids) / 1024


def cpu_usec(*pids):
    """What these processes have used so far: the kernel's clock of another process (clock_getcpuclockid(3))."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids) * 1e6


# ---- the bus, and who is on it ----
class World:
    """A bus, with a connection for what need not be fast; what is started in it ends with it."""

    def __init__(self, options):
        if not os.environ.get('ROOST_BENCH_INSIDE') or not os.path.isdir('/run/bench'):
            raise Trouble('only in the namespaces that ./bench makes')
        self.options = options
        self.dir = tempfile.mkdtemp(prefix='w', dir=options.dir)
        self.processes = []
        self.address = f'unix:path={self.dir}/bus'
        self.environment = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address, LC_ALL='C')
        self.roost = self.peer = self.floor = None
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.bus = self.start_bus()
        self.control = self.connect()

    def start_bus(self):
        config = self.write('bus.conf', BUS_CONFIG.format(path=f'{self.dir}/bus'))
        if self.options.bus == 'dbus-broker':
            # It wants to log, and somebody to be there.
            self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            if os.path.exists(JOURNAL):
                os.unlink(JOURNAL)
            self.journal.bind(JOURNAL)
            # It takes its socket from whoever starts it, as from systemd.
            words = ['systemd-socket-activate', '-E', 'DBUS_SYSTEM_BUS_ADDRESS', '-l', f'{self.dir}/bus',
                     'dbus-broker-launch', '--scope', 'system', f'--config-file={config}']
        else:
            words = ['dbus-daemon', f'--config-file={config}', '--nofork', '--nopidfile', '--nosyslog']
        process = self.spawn('bus', words)
        wait_for('the bus', lambda: os.path.exists(f'{self.dir}/bus') or process.poll() is not None)
        if process.poll() is not None:
            raise Trouble(f'the bus did not start: {self.said("bus")}')
        return process

    def connect(self):
        flags = (Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
                 | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION)
        return Gio.DBusConnection.new_for_address_sync(self.address, flags, None, None)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    def spawn(self, name, words, **more):
        with open(os.path.join(self.dir, name + '.log'), 'ab') as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=self.environment, **more)
        self.processes.append(process)
        return process

    def said(self, name):
        with open(os.path.join(self.dir, name + '.log'), encoding='utf-8', errors='replace') as file:
            return file.read()[-2000:]

    def call(self, destination, path, interface, member, arguments=None, seconds=PATIENCE):
        if isinstance(arguments, str):
            arguments = GLib.Variant.parse(None, arguments, None, None)
        reply = self.control.call_sync(destination, path, interface, member, arguments, None,
                                       Gio.DBusCallFlags.NONE, int(seconds * 1000), None)
        return reply.unpack()

    def owned(self, name):
        return self.call('org.freedesktop.DBus', '/', 'org.freedesktop.DBus', 'NameHasOwner',
                         GLib.Variant('(s)', (name,)))[0]

    def wait_for_name(self, name, process, log):
        wait_for(name, lambda: self.owned(name) or process.poll() is not None)
        if process.poll() is not None:
            raise Trouble(f'{name} has ended: {self.said(log)}')

    # The load generator ----
    def load_words(self, way, target, *arguments, **settings):
        words = [self.options.load, way, f'--bus={self.address}']
        words += [f'--{key}={value}' for key, value in target.items()]
        words += [f'--{key.replace("_", "-")}={value}' for key, value in settings.items()]
        return words + ['--'] + list(arguments)

    def load(self, way, target, *arguments, **settings):
        """Runs it to its end; what it tells, times in microseconds."""
        words = self.load_words(way, target, *arguments, **settings)
        result = subprocess.run(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, check=False)
        if result.returncode != 0:
            raise Trouble(result.stderr.strip() or f'bench-load {way} failed')
        answer = json.loads(result.stdout)
        answer['said'] = result.stderr.strip()
        return answer

    def load_behind(self, way, target, *arguments, **settings):
        """Starts it beside what follows; `finish()` has the result."""
        words = self.load_words(way, target, *arguments, **settings)
        with open(os.path.join(self.dir, 'behind.log'), 'ab') as log:
            process = subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True)
        self.processes.append(process)
        return process

    @staticmethod
    def finish(process, seconds=PATIENCE):
        output, _ = process.communicate(timeout=seconds)
        return json.loads(output)

    def close(self):
        for subject in (self.floor, self.peer, self.roost):
            if subject:
                subject.close()
        end_qemus(self.options)
        self.control.close_sync(None)
        for process in reversed(self.processes):
            end(process)
        shutil.rmtree(self.dir, ignore_errors=True)


class Floor:
    """The empty service."""

    target = {'dest': 'org.roost1.Floor', 'path': '/floor', 'interface': 'org.roost1.Floor'}

    def __init__(self, world):
        self.world = world
        self.process = world.spawn('floor', [world.options.floor, world.address])
        world.wait_for_name('org.roost1.Floor', self.process, 'floor')
        self.pids = [self.process.pid]

    def call(self, member, arguments=None):
        return self.world.call('org.roost1.Floor', '/floor', 'org.roost1.Floor', member, arguments)

    def close(self):
        end(self.process)


# ---- QEMUs ----
def end_qemus(options):
    """All that run here: in these namespaces there are none but ours."""
    ours = {os.path.realpath(options.qemu), os.path.realpath(options.stand_in)}
    end_pids([int(pid) for pid in filter(str.isdigit, os.listdir('/proc')) if program_of(pid) in ours])


def program_of(pid):
    try:
        return os.readlink(f'/proc/{pid}/exe')
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def end_pids(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for('QEMUs to end', lambda: not any(alive(pid) for pid in pids))
