#pragma once
/*
 * A stand-in for polkit, and a scene with two users on a bus that roostd takes for the system's: the test
 * says what is answered, and when. The real polkit is in tests/world.
 */
#include "fixture.h"

#define POLKIT     "org.freedesktop.PolicyKit1"
#define OWNER_UID  1 /* daemon, and bin; the bus wants users that there are */
#define OTHER_UID  2
#define DENIED     DBUS_ERROR("AccessDenied")
#define CHALLENGED DBUS_ERROR("InteractiveAuthorizationRequired")

/* ---- the stand-in ---- */
typedef struct Polkit {
	Client *client;
	gsize next; /* the position from which on calls were not looked at yet */
} Polkit;

/* A question that it has. What it points to lives as long as the stand-in. */
typedef struct Question {
	GDBusMessage *message;
	const char *subject, *action, *cancellation;
	guint32 flags;
} Question;

/* What it answers. */
#define YES       "((true, false, @a{ss} {}),)"
#define NO        "((false, false, @a{ss} {}),)"
#define CHALLENGE "((false, true, @a{ss} {}),)"
#define DISMISSED "((false, false, {'polkit.dismissed': 'true'}),)"

void read_question(GDBusMessage *message, Question *ret_question);
/* Waits for the next question; it must be about this action, unless that is NULL. */
Question polkit_next(Polkit *polkit, const char *action);
void polkit_answer(Polkit *polkit, const Question *question, const char *answer);
void polkit_fail(Polkit *polkit, const Question *question, const char *name, const char *text);
/* How many questions there are that were not looked at, about this caller (NULL: any). */
guint polkit_count(Polkit *polkit, const char *subject);

/* ---- the scene ---- */
typedef struct Scene {
	Fixture *f; /* its client is root's */
	Polkit polkit;
	Client *owner, *other;
	char *web; /* the owner's VM */
} Scene;

/* Skips all of the program's tests, and says so, where there can't be other users. */
bool scene_is_possible(void);
void scene_init(Scene *scene, const FixtureOptions *options);
void scene_done(Scene *scene);
/* Defines a VM, with polkit's consent. */
char *scene_define(Scene *scene, Client *client, const char *name);
/* Starts the owner's VM, as root. */
void scene_start(Scene *scene);

guint32 send_start(Client *client, const char *path);
/* Whether a reply has come: all that roostd had to send before has, when this asks. */
bool is_answered(Client *client, guint32 serial);
void expect_done(Client *client, guint32 call);
