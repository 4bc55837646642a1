"""Roost, as one of those compared."""

import os

from gi.repository import GLib

from world import end

NAME = 'org.roost1'
PATH = '/org/roost1'
MANAGER = 'org.roost1.Manager'
VM = 'org.roost1.VM'


def text(value):
    return GLib.Variant('s', value)


class Roost:
    column = 'Roost'

    def __init__(self, world, stand_in=False):
        self.world = world
        self.dir = os.path.join(world.dir, 'roost')
        self.stand_in = stand_in
        self.paths = {}
        self.process = None
        self.start_service()

    @property
    def pids(self):
        return [self.process.pid]

    def start_service(self):
        options = self.world.options
        self.process = self.world.spawn('roostd', [
            options.roostd, f'--bus={self.world.address}', f'--state-dir={self.dir}/state',
            f'--runtime-dir={self.dir}/run', f'--qemu={options.stand_in if self.stand_in else options.qemu}',
            '--log-level=warning'])
        self.world.wait_for_name(NAME, self.process, 'roostd')

    def stop_service(self):
        end(self.process)

    def manage(self, member, arguments=None):
        return self.world.call(NAME, PATH, MANAGER, member, arguments)

    def call(self, name, member, arguments=None):
        return self.world.call(NAME, self.paths[name], VM, member, arguments)

    def get(self, name, key):
        return self.world.call(NAME, self.paths[name], 'org.freedesktop.DBus.Properties', 'Get',
                               GLib.Variant('(ss)', (VM, key)))[0]

    # VMs ----
    def define(self, name, script=None, qmp=False, arguments=(), **keys):
        """`script`: what its stand-in does; `qmp`: with a socket for somebody else (qmp_path)."""
        config = {'Name': text(name), 'Memory': GLib.Variant('t', 64 << 20), 'Accelerator': text('tcg')}
        words = list(arguments)
        if qmp:
            words += ['-qmp', f'unix:{self.qmp_path(name)},server=on,wait=off']
        if words:
            config['QemuArguments'] = GLib.Variant('as', words)
        if script is not None:
            config['Kernel'] = text(self.world.write('kernel', 'no kernel'))
            config['KernelCommandLine'] = text('mock=' + self.world.write(f'{name}.script', script))
        config.update(keys)
        self.paths[name] = self.manage('DefineVM', GLib.Variant('(a{sv})', (config,)))[0]

    def qmp_path(self, name):
        return os.path.join(self.world.dir, f'roost-{name}.qmp')

    def start(self, name):
        self.call(name, 'Start', GLib.Variant('(a{sv})', ({},)))

    def kill(self, name):
        self.call(name, 'Kill')

    def pid(self, name):
        return self.get(name, 'PID')

    def command_line(self, name):
        with open(f'/proc/{self.pid(name)}/cmdline', encoding='utf-8') as file:
            return file.read().rstrip('\0').split('\0')

    # What the load generator is told ----
    def of_manager(self, member):
        return {'dest': NAME, 'path': PATH, 'interface': MANAGER, 'member': member}

    def of_vm(self, name, member):
        return {'dest': NAME, 'path': self.paths[name], 'interface': VM, 'member': member}

    def property_of(self, name):
        """A target and its arguments: reads the property that everybody reads."""
        return {'dest': NAME, 'path': self.paths[name], 'interface': 'org.freedesktop.DBus.Properties',
                'member': 'Get', 'signature': 'ss'}, (VM, 'State')

    def event_settings(self, name):
        target = self.of_vm(name, 'StateChanged')
        return target, {'qmp': self.qmp_path(name), 'stops': ' running paused ', 'conts': ' paused running '}

    def close(self):
        end(self.process)
