// A client in JavaScript, as GNOME's applications are written: GJS, with a proxy class made from what the service
// introspects. It defines a VM, starts it, and watches it to its end.
//
// Runs by with-roostd, on a bus where nobody else is; prints TAP. The cases are steps of one story: each goes on where
// the one before has ended.
'use strict';

const { Gio, GLib } = imports.gi;
const System = imports.system;

const NAME = 'org.roost1', PATH = '/org/roost1', MANAGER = 'org.roost1.Manager', VM = 'org.roost1.VM';
const WAIT_SECONDS = 60;

Gio._promisify(Gio.DBusConnection.prototype, 'call', 'call_finish');

const bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, null);
const log = []; // signals and replies, in the order in which they come
let manager, vm, path;

function assert(condition, ...words) {
    if (!condition)
        throw new Error(`${words.map(word => JSON.stringify(word)).join(' ')}; there was: ${JSON.stringify(log)}`);
}

function assertEqual(found, wanted) {
    assert(JSON.stringify(found) === JSON.stringify(wanted), found, 'is not', wanted);
}

// One match rule for all signals of Roost's, which GDBus need not make itself then.
async function watch() {
    const rule = `type='signal',sender='${NAME}',path_namespace='${PATH}'`;
    await bus.call('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'AddMatch',
        new GLib.Variant('(s)', [rule]), null, Gio.DBusCallFlags.NONE, -1, null);
    bus.signal_subscribe(null, null, null, null, null, Gio.DBusSignalFlags.NO_MATCH_RULE,
        (_bus, _sender, object, _interface, member, args) => {
            log.push({ object, member, args: args.recursiveUnpack() });
        });
}

function find(object, member, test = () => true, start = 0) {
    return log.findIndex((row, i) => i >= start && row.object === object && row.member === member && test(row.args));
}

function awaitSignal(...what) {
    const late = GLib.get_monotonic_time() + WAIT_SECONDS * 1000000;
    // So that there is something to iterate for.
    const source = GLib.timeout_add(GLib.PRIORITY_DEFAULT, 100, () => GLib.SOURCE_CONTINUE);
    while (find(...what) < 0) {
        assert(GLib.get_monotonic_time() < late, 'has not come', what.slice(0, 2));
        GLib.MainContext.default().iteration(true);
    }
    GLib.source_remove(source);
    return find(...what);
}

async function introspect(object, name) {
    const reply = await bus.call(NAME, object, 'org.freedesktop.DBus.Introspectable', 'Introspect', null, null,
        Gio.DBusCallFlags.NONE, -1, null);
    const node = Gio.DBusNodeInfo.new_for_xml(reply.deepUnpack()[0]);
    return node.lookup_interface(name);
}

// A proxy with the methods and properties of the interface as its own.
async function makeProxy(object, name) {
    const info = await introspect(object, name);
    const text = new GLib.String('');
    info.generate_xml(0, text);
    const Proxy = Gio.DBusProxy.makeProxyWrapper(`<node>${text.str}</node>`);
    return new Proxy(bus, NAME, object);
}

// The error that a call must end with; its text.
async function refused(name, promise) {
    try {
        await promise;
    } catch (error) {
        assert(Gio.DBusError.is_remote_error(error), String(error));
        assertEqual(Gio.DBusError.get_remote_error(error), name);
        return error.message.replace(`GDBus.Error:${name}: `, '');
    }
    throw new Error(`no ${name}`);
}

// A method that changes the state: the new value, then the signal, then the reply; and who has the reply reads the new
// value from the proxy.
async function step(promise, state, change) {
    const start = log.length;
    await promise;
    const read = vm.State, reply = log.push({ reply: state }) - 1;
    const installed = find(path, 'PropertiesChanged', args => args[1].State === state, start);
    const changed = find(path, 'StateChanged', args => JSON.stringify(args) === JSON.stringify(change), start);
    assert(start <= installed && installed < changed && changed < reply, start, installed, changed, reply);
    assertEqual(read, state);
}

const steps = {
    async define() {
        manager = await makeProxy(PATH, MANAGER);
        const config = {
            Name: new GLib.Variant('s', 'gjs'),
            Memory: new GLib.Variant('t', 64 << 20),
            Accelerator: new GLib.Variant('s', 'tcg'),
            Consoles: new GLib.Variant('aa{sv}', [{ Name: new GLib.Variant('s', 'serial') }]),
        };
        [path] = await manager.DefineVMAsync(config);
        const added = find(PATH, 'InterfacesAdded', args => args[0] === path);
        const told = find(PATH, 'VMNew', args => args[0] === 'gjs' && args[1] === path);
        assert(added >= 0 && added < told, added, told);
        assertEqual(await manager.ListVMsAsync(), [[['gjs', 'off', path]]]);
        assertEqual(manager.NVMs, 1);
    },

    async objects() {
        const client = Gio.DBusObjectManagerClient.new_sync(bus, Gio.DBusObjectManagerClientFlags.NONE, NAME, PATH,
            null, null);
        assertEqual(client.get_objects().map(object => object.get_object_path()), [path]);
        assertEqual(client.get_interface(path, VM).get_cached_property('Name').unpack(), 'gjs');
    },

    async read() {
        vm = await makeProxy(path, VM);
        const info = await introspect(path, VM);
        for (const property of info.properties) {
            const value = vm.get_cached_property(property.name);
            assert(value, property.name);
            assertEqual(value.get_type_string(), property.signature);
        }
        assertEqual([vm.Name, vm.State, vm.StateReason, vm.Memory, vm.PID], ['gjs', 'off', 'defined', 64 << 20, 0]);
        assertEqual(`/org/roost1/vm/${vm.UUID.replaceAll('-', '')}`, path);
    },

    async start() {
        const start = log.length;
        await step(vm.StartAsync({}), 'running', ['starting', 'running', 'user']);
        awaitSignal(path, 'StateChanged', args => args[0] === 'off' && args[1] === 'starting', start);
        awaitSignal(path, 'Event', args => args[1] === 'RESUME', start);
        assert(vm.PID > 1, vm.PID);
        assertEqual(vm.Accelerator, 'tcg');
        awaitSignal(PATH, 'PropertiesChanged', args => args[1].NRunning === 1, start);
        // The proxy has seen it, too, when it has seen what came after.
        await manager.ListVMsAsync();
        assertEqual(manager.NRunning, 1);
    },

    async console() {
        // The proxy class does not pass fds; the proxy does.
        const args = new GLib.Variant('(sa{sv})', ['serial', {}]);
        const [reply, fds] = vm.call_with_unix_fd_list_sync('OpenConsole', args, Gio.DBusCallFlags.NONE, -1, null, null);
        const stream = new Gio.UnixInputStream({ fd: fds.get(reply.deepUnpack()[0]), close_fd: true });
        assert(!stream.is_closed());
        steps.stream = stream;
    },

    async pauseAndResume() {
        await step(vm.PauseAsync(), 'paused', ['running', 'paused', 'user']);
        await vm.PauseAsync();
        assertEqual(vm.State, 'paused');
        await step(vm.ResumeAsync(), 'running', ['paused', 'running', 'user']);
    },

    async signalsOfTheProxy() {
        const seen = [];
        const id = vm.connectSignal('StateChanged', (_proxy, _sender, args) => seen.push(args));
        await vm.PauseAsync();
        await vm.ResumeAsync();
        vm.disconnectSignal(id);
        assertEqual(seen, [['running', 'paused', 'user'], ['paused', 'running', 'user']]);
    },

    async qmp() {
        const [result] = await vm.ExecuteQMPAsync(JSON.stringify({ execute: 'query-status' }));
        assertEqual(JSON.parse(result).status, 'running');
    },

    async errors() {
        let text = await refused('org.roost1.Error.InvalidState', vm.StartAsync({}));
        assert(text.includes('gjs') && text.includes('running'), text);
        text = await refused('org.roost1.Error.NoSuchVM', manager.GetVMAsync('nobody'));
        assert(text.includes('nobody'), text);
        text = await refused('org.roost1.Error.InvalidConfig',
            manager.DefineVMAsync({ Memroy: new GLib.Variant('t', 1) }));
        assert(text.startsWith('Memroy: '), text);
        text = await refused('org.roost1.Error.VMExists', manager.DefineVMAsync({
            Name: new GLib.Variant('s', 'gjs'),
            Memory: new GLib.Variant('t', 1 << 20),
        }));
        assert(text.includes('gjs'), text);
        text = await refused('org.freedesktop.DBus.Error.InvalidArgs',
            vm.StartAsync({ Paused: new GLib.Variant('u', 1) }));
        assert(text.startsWith('options.Paused: '), text);
    },

    async kill() {
        await step(vm.KillAsync(), 'off', ['running', 'off', 'killed']);
        assertEqual([vm.PID, vm.StateReason, vm.LastExit.Reason.deepUnpack()], [0, 'killed', 'killed']);
        // The console has ended.
        while (steps.stream.read_bytes(4096, null).get_size() > 0);
        steps.stream.close(null);
        delete steps.stream;
    },

    async undefine() {
        const start = log.length;
        await vm.UndefineAsync({});
        const removed = find(PATH, 'InterfacesRemoved', args => args[0] === path, start);
        const told = find(PATH, 'VMRemoved', args => args[0] === 'gjs' && args[1] === path, start);
        assert(removed >= start && removed < told, removed, told);
        await refused('org.freedesktop.DBus.Error.UnknownObject', vm.PauseAsync());
        assertEqual(await manager.ListVMsAsync(), [[]]);
        assertEqual(manager.NVMs, 0);
    },
};

async function main() {
    const names = Object.keys(steps);
    print(`1..${names.length}`);
    await watch();
    for (const [i, name] of names.entries()) {
        try {
            await steps[name]();
        } catch (error) {
            print(`not ok ${i + 1} - ${name}`);
            print(`# ${error}\n${error.stack}`.replaceAll('\n', '\n# '));
            print('Bail out! The others go on from this one.');
            return 1;
        }
        print(`ok ${i + 1} - ${name}`);
    }
    return 0;
}

const loop = new GLib.MainLoop(null, false);
let status = 1;
main().then(code => (status = code), error => printerr(error)).finally(() => loop.quit());
loop.run();
System.exit(status);
