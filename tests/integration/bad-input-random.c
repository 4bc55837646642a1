/*
 * Definitions by chance: some keys of a good one, each with its own value or with anything. ValidateVM says
 * what it thinks of each; one that DefineVM takes is given back by GetConfig so that DefineVM takes it again,
 * and then it is the same.
 */
#include <string.h>

#include "bad-input.h"

#define N_WRONG_MAX 4

typedef struct Dice {
	World *world;
	GRand *random;
	GPtrArray *values; /* Values: all that there are */
	guint n_validated, n_defined;
} Dice;

static guint below(Dice *dice, gsize n)
{
	return (guint)g_rand_int_range(dice->random, 0, (gint32)n);
}

static void add_values(Dice *dice, Values *values_consume)
{
	g_autoptr(GPtrArray) values = values_consume;

	for (guint i = 0; i < values->len; i++) {
		const Value *value = values->pdata[i];

		/* The giants have had their turn. */
		if (g_variant_get_size(value->value) < 10000)
			values_add(dice->values, value->name, value->value);
	}
}

static void make_values(Dice *dice)
{
	static const char *const signatures[] = {"s", "as", "a{ss}", "u", "t", "b", "o"};

	dice->values = values_new();
	add_values(dice, values_of_other_types(""));
	for (gsize i = 0; i < G_N_ELEMENTS(signatures); i++)
		add_values(dice, values_of_type(signatures[i], dice->world->fixture->dir));
}

/* Anything; likelier than not of the type that is wanted. */
static GVariant *any_value(Dice *dice, const GVariantType *type)
{
	const Value *value = NULL;

	for (guint i = 0; i < 20; i++) {
		value = dice->values->pdata[below(dice, dice->values->len)];
		if (g_variant_is_of_type(value->value, type))
			break;
	}
	return g_variant_ref(value->value);
}

static GVariant *shuffled(Dice *dice, GVariant *dict);

static GVariant *shuffled_list(Dice *dice, GVariant *list)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("aa{sv}"));
	g_autoptr(GVariant) device = g_variant_get_child_value(list, 0);

	for (guint n = below(dice, 5); n > 0; n--) {
		g_autoptr(GVariant) nameless =
			g_variant_ref_sink(dict_put(dict_put(device, "Name", NULL), "MAC", NULL));
		g_autoptr(GVariant) other = g_variant_ref_sink(shuffled(dice, nameless));

		g_variant_builder_add_value(&builder, other);
	}
	return g_variant_builder_end(&builder);
}

/* The dict with some of its keys gone or changed. A floating reference. */
static GVariant *shuffled(Dice *dice, GVariant *dict)
{
	static const char *const needed[] = {
		"Name", "Memory", "Path", "Format", "Kernel", "Watchdog", "OnWatchdog", NULL};
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
	/* Every third has nothing wrong in it. */
	guint n_wrong = below(dice, 3) == 0 ? 0 : below(dice, N_WRONG_MAX);

	for (gsize i = 0; i < g_variant_n_children(dict); i++) {
		g_autoptr(GVariant) value = NULL, other = NULL;
		const char *key;

		g_variant_get_child(dict, i, "{&sv}", &key, &value);
		if (g_variant_is_of_type(value, G_VARIANT_TYPE("aa{sv}")) && below(dice, 2) == 0)
			other = g_variant_ref_sink(shuffled_list(dice, value));
		else if (below(dice, g_variant_n_children(dict)) < n_wrong)
			other = any_value(dice, g_variant_get_type(value));
		else if (below(dice, 4) == 0 && !g_strv_contains(needed, key))
			continue;
		g_variant_builder_add(&builder, "{sv}", key, other ? other : value);
	}
	return g_variant_builder_end(&builder);
}

static GVariant *get_config(World *world, const char *path)
{
	g_auto(Answer) answer = {0};
	GVariant *config;

	world_ask(world, path, VM, "GetConfig", fixture_no_options(), &answer);
	g_assert_null(answer.error);
	g_variant_get(answer.result, "(@a{sv}t)", &config, NULL);
	return config;
}

static void describe_and_fail(const char *what, GVariant *dict, const char *text)
{
	g_autofree char *printed = g_variant_print(dict, TRUE);

	g_error("%s: %s\n%s", what, text, printed);
}

static char *define(World *world, GVariant *dict, Answer *ret)
{
	char *path = NULL;

	world_ask(world, PATH, MANAGER, "DefineVM", g_variant_new("(@a{sv})", dict), ret);
	if (ret->result)
		g_variant_get(ret->result, "(o)", &path);
	return path;
}

/* One that was taken comes back whole. */
static void check_round_trip(World *world, const char *path, GVariant *dict)
{
	g_autoptr(GVariant) config = get_config(world, path), again = NULL;
	g_auto(Answer) answer = {0};
	g_autofree char *other = NULL;

	world_remove_vm(world, path);
	other = define(world, config, &answer);
	if (!other)
		describe_and_fail("GetConfig's own is refused", dict, answer.text);
	g_assert_cmpstr(other, ==, path);
	again = get_config(world, other);
	if (!g_variant_equal(config, again))
		describe_and_fail("the second is another", dict, path);
	world_remove_vm(world, other);
}

/* What DefineVM refuses is the first thing that ValidateVM says, and in the same words; what can't be read at
 * all, both refuse. */
static void check_agreement(const Answer *validated, const Answer *defined, GVariant *dict)
{
	g_autoptr(GVariant) problems = NULL;
	const char *error = validated->error, *text = validated->text;

	if (validated->result) {
		problems = g_variant_get_child_value(validated->result, 0);
		if (!defined->error)
			return;
		if (g_variant_n_children(problems) == 0)
			describe_and_fail("ValidateVM finds nothing", dict, defined->text);
		g_variant_get_child(problems, 0, "(&s&s&s)", NULL, &error, &text);
	}
	if (g_strcmp0(error, defined->error) != 0 || g_strcmp0(text, defined->text) != 0)
		describe_and_fail(text, dict, defined->text ? defined->text : "DefineVM takes it");
}

static void try_one(Dice *dice)
{
	World *world = dice->world;
	g_autoptr(GVariant) dict = g_variant_ref_sink(shuffled(dice, world->base));
	g_auto(Answer) validated = {0}, defined = {0};
	g_autofree char *path = NULL, *outcome = NULL;
	const Culprits anyone = {0};

	/* Which string a text shows is not known here: how much of it is the matrix's to check. */
	world_ask(world, PATH, MANAGER, "ValidateVM", g_variant_new("(@a{sv})", dict), &validated);
	outcome = world_outcome(world, &validated, &anyone, NULL, NULL, NULL);
	path = define(world, dict, &defined);
	check_agreement(&validated, &defined, dict);
	dice->n_validated++;
	if (!path)
		return;
	dice->n_defined++;
	check_round_trip(world, path, dict);
}

/* Some options of any method that has some, and at times one that it has not. */
static GVariant *any_options(Dice *dice, const Argument *argument)
{
	GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);

	for (guint i = 0; i < argument->options->len; i++) {
		const Option *option = argument->options->pdata[i];
		g_autoptr(GVariant) value = any_value(dice, G_VARIANT_TYPE(option->signature));

		for (guint n = below(dice, 5) / 2; n > 0; n--)
			g_variant_builder_add(&builder, "{sv}", option->key, value);
	}
	if (below(dice, 8) == 0)
		g_variant_builder_add(&builder, "{sv}", "NoSuchKey", g_variant_new_boolean(TRUE));
	return g_variant_builder_end(&builder);
}

static void try_options(Dice *dice, const Service *service)
{
	const Method *method = service->methods->pdata[below(dice, service->methods->len)];

	for (unsigned i = 0; i < method->n_arguments; i++)
		if (method->arguments[i].kind == DICT_OPTIONS)
			method_try(dice->world, method,
				method_arguments(
					dice->world, method, i, any_options(dice, &method->arguments[i])));
}

void random_test(World *world, const Service *service, GRand *random, guint n)
{
	Dice dice = {.world = world, .random = random};

	make_values(&dice);
	for (guint i = 0; i < n; i++) {
		try_one(&dice);
		try_options(&dice, service);
		if (i % 100 == 99)
			world_renew_client(world);
	}
	g_test_message("%u definitions, of which %u were taken", dice.n_validated, dice.n_defined);
	g_assert_cmpuint(dice.n_defined, >, n / 50);
	g_assert_cmpuint(dice.n_validated - dice.n_defined, >, n / 50);
	g_ptr_array_unref(dice.values);
	world_renew_client(world);
}
