"""libvirtd and libvirt-dbus, as one of those compared: Debian's own, with Debian's settings but for what only works under
systemd (control groups, namespaces) or what would cost it time here (security drivers)."""

import os
import shutil
import signal
import uuid

from gi.repository import GLib

from world import Trouble, end_pids, wait_for

NAME = 'org.libvirt'
PATH = '/org/libvirt/QEMU'
CONNECT = 'org.libvirt.Connect'
DOMAIN = 'org.libvirt.Domain'
STATS_STATE = 1

QEMU_CONF = '''security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
seccomp_sandbox = 0
'''
LIBVIRTD_CONF = 'auth_unix_rw = "none"\n'
TUNED_CONF = 'max_workers = 128\nmax_client_requests = 1000\nprio_workers = 16\n'

DOMAIN_XML = '''<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type></os>
  <on_crash>preserve</on_crash>
  <devices><emulator>{qemu}</emulator>{devices}</devices>
  <qemu:commandline>{arguments}</qemu:commandline>
</domain>'''
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"


class Peer:
    column = 'libvirt'

    def __init__(self, world):
        self.world = world
        if shutil.which('libvirtd') is None or shutil.which('libvirt-dbus') is None:
            raise Trouble('libvirt is not to be had here')
        self.paths = {}
        self.definitions = {}
        self.daemon = self.bridge = None
        self.start_service()

    @property
    def pids(self):
        return [self.daemon.pid, self.bridge.pid]

    def start_service(self):
        tuned = self.world.options.tuned_peer
        for name, content in (('qemu.conf', QEMU_CONF), ('libvirtd.conf', LIBVIRTD_CONF + (TUNED_CONF if tuned else ''))):
            with open(f'/etc/libvirt/{name}', 'w', encoding='utf-8') as file:
                file.write(content)
        self.daemon = self.world.spawn('libvirtd', ['libvirtd'])
        wait_for('libvirtd', lambda: os.path.exists('/run/libvirt/libvirt-sock') or self.daemon.poll() is not None)
        if self.daemon.poll() is not None:
            raise Trouble(f'libvirtd has ended: {self.world.said("libvirtd")}')
        words = ['libvirt-dbus', '--system'] + (['--threads=64'] if tuned else [])
        self.bridge = self.world.spawn('libvirt-dbus', words)
        self.world.wait_for_name(NAME, self.bridge, 'libvirt-dbus')
        # Its first call connects to libvirtd.
        wait_for('libvirt-dbus', self.answers)

    def answers(self):
        try:
            self.manage('ListDomains', GLib.Variant('(u)', (0,)))
        except GLib.Error:
            return False
        return True

    def manage(self, member, arguments=None):
        return self.world.call(NAME, PATH, CONNECT, member, arguments)

    def call(self, name, member, arguments=None):
        return self.world.call(NAME, self.paths[name], DOMAIN, member, arguments)

    # Domains ----
    def define(self, name, qmp=False, arguments=(), machine='q35', devices=RNG):
        self.definitions[name] = {'qmp': qmp, 'arguments': arguments, 'machine': machine, 'devices': devices}
        words = list(arguments)
        if qmp:
            words += ['-qmp', f'unix:{self.qmp_path(name)},server=on,wait=off']
        xml = DOMAIN_XML.format(name=name, uuid=uuid.uuid4(), machine=machine, devices=devices,
                                qemu=self.world.options.qemu,
                                arguments=''.join(f"<qemu:arg value='{word}'/>" for word in words))
        self.paths[name] = self.manage('DomainDefineXML', GLib.Variant('(s)', (xml,)))[0]

    def qmp_path(self, name):
        return os.path.join(self.world.dir, f'peer-{name}.qmp')

    def start(self, name):
        self.call(name, 'Create', GLib.Variant('(u)', (0,)))

    def kill(self, name):
        self.call(name, 'Destroy', GLib.Variant('(u)', (0,)))

    def pid(self, name):
        with open(f'/run/libvirt/qemu/{name}.pid', encoding='utf-8') as file:
            return int(file.read())

    def pid_or_none(self, name):
        try:
            return self.pid(name)
        except (FileNotFoundError, ValueError):
            return None

    # What the load generator is told ----
    def of_manager(self, member):
        return {'dest': NAME, 'path': PATH, 'interface': CONNECT, 'member': member}

    def of_vm(self, name, member):
        return {'dest': NAME, 'path': self.paths[name], 'interface': DOMAIN, 'member': member}

    def property_of(self, name):
        return {'dest': NAME, 'path': self.paths[name], 'interface': 'org.freedesktop.DBus.Properties',
                'member': 'Get', 'signature': 'ss'}, (DOMAIN, 'Name')

    def state_of(self, name):
        return dict(self.of_vm(name, 'GetState'), signature='u'), ('0',)

    def event_settings(self, name):
        path = self.paths[name]
        return self.of_manager('DomainEvent'), {
            'qmp': self.qmp_path(name), 'stops': f' {path} 3 ', 'conts': f' {path} 4 '}

    def close(self):
        for process in (self.bridge, self.daemon):
            if process and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
        end_pids([pid for pid in map(self.pid_or_none, self.paths) if pid])
        for folder in ('/run/libvirt', '/var/lib/libvirt', '/var/log/libvirt', '/etc/libvirt/qemu', '/var/run/libvirt'):
            for entry in os.listdir(folder) if os.path.isdir(folder) else ():
                path = os.path.join(folder, entry)
                if os.path.isdir(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    os.unlink(path)

