/*
 * with-roostd PROGRAM ARGUMENT...: runs a client against a roostd with the real QEMU, on a bus of their own
 * that is the system bus to the client. What the client prints is TAP; its exit status is the one here,
 * unless roostd ends badly.
 */
#include "../integration/fixture.h"

int main(int argc, char **argv)
{
	Fixture *fixture;
	int status;

	fixture_init(&argc, &argv);
	if (argc < 2)
		g_error("usage: with-roostd PROGRAM ARGUMENT...");
	fixture = fixture_new(&(FixtureOptions){.real_qemu = true, .deadline_scale = 3});
	status = fixture_run_client(fixture, argv + 1);
	fixture_free(fixture);
	return status > 255 ? 1 : status;
}
