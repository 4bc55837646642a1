#!/usr/bin/python3
"""A client in Python: GDBus by introspection, nothing generated. It defines a VM, starts it, and watches it to its end.

Runs by with-roostd, on a bus where nobody else is; prints TAP. The cases are steps of one story: each goes on where the
one before has ended.
"""
import json
import socket
import sys
import textwrap
import traceback

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

NAME, PATH, MANAGER, VM = "org.roost1", "/org/roost1", "org.roost1.Manager", "org.roost1.VM"
PROPERTIES, OBJECTS = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
WAIT_SECONDS = 60


class Watcher:
    """Everything that comes, signals and replies, in the order in which it comes."""

    def __init__(self, bus):
        self.bus = bus
        self.log = []
        # One match rule for all of Roost's signals. GDBus does not make rules for a namespace of paths itself.
        rule = f"type='signal',sender='{NAME}',path_namespace='{PATH}'"
        bus.call_sync("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch",
                      GLib.Variant("(s)", (rule,)), None, Gio.DBusCallFlags.NONE, -1, None)
        bus.signal_subscribe(None, None, None, None, None, Gio.DBusSignalFlags.NO_MATCH_RULE, self.on_signal)

    def on_signal(self, _bus, _sender, path, interface, member, args):
        self.log.append((path, f"{interface}.{member}", args.unpack()))

    def call(self, path, interface, member, args=None, then=None):
        """Calls, and waits: the position of the reply in the log, and the reply. `then` is called as it comes."""
        reply = []

        def done(bus, result):
            try:
                reply.append(bus.call_finish(result))
            except GLib.Error as error:
                reply.append(error)
            if then:
                then()
            self.log.append(("reply", member, None))

        self.bus.call(NAME, path, interface, member, args, None, Gio.DBusCallFlags.NONE, -1, None, done)
        self.wait(lambda: reply, f"the reply of {member}")
        position = max(i for i, row in enumerate(self.log) if row[:2] == ("reply", member))
        if isinstance(reply[0], GLib.Error):
            raise reply[0]
        return position, reply[0].unpack()

    def wait(self, condition, what):
        late = []
        source = GLib.timeout_add_seconds(WAIT_SECONDS, late.append, True)
        while not condition():
            if late:
                raise AssertionError(f"{WAIT_SECONDS} s have passed without {what}; there was: {self.log}")
            GLib.MainContext.default().iteration(True)
        if not late:
            GLib.source_remove(source)

    def find(self, path, member, test=lambda args: True, start=0):
        """Where it stands in the log."""
        for i in range(start, len(self.log)):
            row = self.log[i]
            if row[0] == path and row[1] == member and test(row[2]):
                return i
        raise AssertionError(f"no {member} of {path} in {self.log[start:]}")

    def await_signal(self, path, member, test=lambda args: True, start=0):
        def is_there():
            try:
                self.find(path, member, test, start)
                return True
            except AssertionError:
                return False

        self.wait(is_there, member)
        return self.find(path, member, test, start)


def is_change(**values):
    return lambda args: all(args[1].get(key) == value for key, value in values.items())


def refused(name, call, *args):
    """It must fail with this error; the text of it."""
    try:
        call(*args)
    except GLib.Error as error:
        assert Gio.DBusError.is_remote_error(error), error
        found = Gio.DBusError.get_remote_error(error)
        assert found == name, f"{found}, not {name}"
        return error.message.removeprefix(f"GDBus.Error:{name}: ")
    raise AssertionError(f"no {name}")


class Story:
    def __init__(self):
        self.bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
        self.watcher = Watcher(self.bus)
        self.vm = self.proxy = self.console = None

    def manager(self, member, args=None):
        return self.watcher.call(PATH, MANAGER, member, args)

    def call(self, member, args=None, then=None):
        return self.watcher.call(self.vm, VM, member, args, then)

    def cached(self, name):
        return self.proxy.get_cached_property(name).unpack()

    def step(self, member, args, state, change):
        """A method that changes the state: the new value, then the signal, then the reply; and who has the reply
        reads the new value from the proxy."""
        read = []
        start = len(self.watcher.log)
        reply, _ = self.call(member, args, lambda: read.append(self.cached("State")))
        installed = self.watcher.find(self.vm, f"{PROPERTIES}.PropertiesChanged", is_change(State=state), start)
        changed = self.watcher.find(self.vm, f"{VM}.StateChanged", lambda args: args == change, start)
        assert installed < changed < reply, self.watcher.log[start:]
        assert read == [state], read

    # ---- the steps ----
    def define(self):
        config = {
            "Name": GLib.Variant("s", "python"),
            "Memory": GLib.Variant("t", 64 << 20),
            "Accelerator": GLib.Variant("s", "tcg"),
            "Consoles": GLib.Variant("aa{sv}", [{"Name": GLib.Variant("s", "serial")}]),
        }
        reply, (self.vm,) = self.manager("DefineVM", GLib.Variant("(a{sv})", (config,)))
        added = self.watcher.find(PATH, f"{OBJECTS}.InterfacesAdded", lambda args: args[0] == self.vm)
        new = self.watcher.find(PATH, f"{MANAGER}.VMNew", lambda args: args == ("python", self.vm))
        assert added < new < reply
        assert self.manager("ListVMs")[1] == ([("python", "off", self.vm)],)

    def objects(self):
        client = Gio.DBusObjectManagerClient.new_sync(
            self.bus, Gio.DBusObjectManagerClientFlags.NONE, NAME, PATH, None, None, None)
        assert [o.get_object_path() for o in client.get_objects()] == [self.vm]
        interface = client.get_interface(self.vm, VM)
        assert interface.get_cached_property("Name").unpack() == "python"

    def read(self):
        self.proxy = Gio.DBusProxy.new_sync(self.bus, Gio.DBusProxyFlags.NONE, None, NAME, self.vm, VM, None)
        text = self.watcher.call(self.vm, "org.freedesktop.DBus.Introspectable", "Introspect")[1][0]
        info = Gio.DBusNodeInfo.new_for_xml(text).lookup_interface(VM)
        assert sorted(self.proxy.get_cached_property_names()) == sorted(p.name for p in info.properties)
        for prop in info.properties:
            assert self.proxy.get_cached_property(prop.name).get_type_string() == prop.signature, prop.name
        assert (self.cached("Name"), self.cached("State"), self.cached("StateReason")) == ("python", "off", "defined")
        assert self.cached("Memory") == 64 << 20 and self.cached("VCPUs") == 1 and self.cached("PID") == 0
        assert self.cached("LastExit") == {} and self.cached("UUID").replace("-", "") == self.vm.rsplit("/", 1)[1]

    def start(self):
        start = len(self.watcher.log)
        self.step("Start", GLib.Variant("(a{sv})", ({},)), "running", ("starting", "running", "user"))
        self.watcher.find(self.vm, f"{VM}.StateChanged", lambda args: args == ("off", "starting", "user"), start)
        # A signal that nobody asked for by a call comes in its time.
        self.watcher.await_signal(self.vm, f"{VM}.Event", lambda args: args[1] == "RESUME", start)
        assert self.cached("PID") > 1 and self.cached("Accelerator") == "tcg"
        assert self.manager("GetVMByPID", GLib.Variant("(u)", (self.cached("PID"),)))[1] == (self.vm,)

    def console_opens(self):
        args = GLib.Variant("(sa{sv})", ("serial", {"ReadOnly": GLib.Variant("b", True)}))
        (handle,), fds = self.proxy.call_with_unix_fd_list_sync("OpenConsole", args, Gio.DBusCallFlags.NONE, -1, None, None)
        self.console = socket.socket(fileno=fds.get(handle))
        assert self.console.type == socket.SOCK_STREAM

    def pause_resume(self):
        self.step("Pause", None, "paused", ("running", "paused", "user"))
        start = len(self.watcher.log)
        # Again: nothing happens, and no change is told.
        self.call("Pause")
        rows = [row for row in self.watcher.log[start:] if row[1] in (f"{VM}.StateChanged", f"{VM}.Event") or
                row[1] == f"{PROPERTIES}.PropertiesChanged" and "State" in row[2][1]]
        assert not rows, rows
        self.step("Resume", None, "running", ("paused", "running", "user"))

    def qmp(self):
        command = json.dumps({"execute": "query-status"})
        result = json.loads(self.call("ExecuteQMP", GLib.Variant("(s)", (command,)))[1][0])
        assert result["running"] is True

    def errors(self):
        none = GLib.Variant("(a{sv})", ({},))
        text = refused("org.roost1.Error.InvalidState", self.call, "Start", none)
        assert "python" in text and "running" in text, text
        text = refused("org.roost1.Error.InvalidState", self.call, "Undefine", none)
        text = refused("org.roost1.Error.NoSuchVM", self.manager, "GetVM", GLib.Variant("(s)", ("nobody",)))
        assert "nobody" in text, text
        bad = GLib.Variant("(a{sv})", ({"Memroy": GLib.Variant("t", 1)},))
        text = refused("org.roost1.Error.InvalidConfig", self.manager, "DefineVM", bad)
        assert text.startswith("Memroy: "), text
        bad = GLib.Variant("(a{sv})", ({"Paused": GLib.Variant("u", 1)},))
        text = refused("org.freedesktop.DBus.Error.InvalidArgs", self.call, "Start", bad)
        assert text.startswith("options.Paused: "), text
        name = GLib.Variant("(ssv)", (VM, "Name", GLib.Variant("s", "other")))
        refused("org.freedesktop.DBus.Error.PropertyReadOnly", self.watcher.call, self.vm, PROPERTIES, "Set", name)

    def kill(self):
        self.step("Kill", None, "off", ("running", "off", "killed"))
        assert self.cached("PID") == 0 and self.cached("LastExit")["Reason"] == "killed"
        while self.console.recv(4096):
            pass
        self.console.close()

    def undefine(self):
        start = len(self.watcher.log)
        reply, _ = self.call("Undefine", GLib.Variant("(a{sv})", ({},)))
        removed = self.watcher.find(PATH, f"{OBJECTS}.InterfacesRemoved", lambda args: args[0] == self.vm, start)
        gone = self.watcher.find(PATH, f"{MANAGER}.VMRemoved", lambda args: args == ("python", self.vm), start)
        assert removed < gone < reply
        refused("org.freedesktop.DBus.Error.UnknownObject", self.call, "Pause")
        assert self.manager("ListVMs")[1] == ([],)

    def events(self):
        gap, events = self.manager("GetEvents", GLib.Variant("(tua{sv})", (0, 0, {})))[1]
        told = [row[2] for row in self.watcher.log if row[1] == f"{VM}.Event"]
        assert not gap and [event[1:] for event in events] == told, (events, told)


def main():
    story = Story()
    steps = [story.define, story.objects, story.read, story.start, story.console_opens, story.pause_resume, story.qmp,
             story.errors, story.kill, story.undefine, story.events]
    print(f"1..{len(steps)}", flush=True)
    for number, step in enumerate(steps, 1):
        try:
            step()
        except (AssertionError, GLib.Error):
            print(f"not ok {number} - {step.__name__}")
            print(textwrap.indent(traceback.format_exc(), "# "))
            print("Bail out! The others go on from this one.")
            return 1
        print(f"ok {number} - {step.__name__}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main() if __debug__ else "asserts are off")
