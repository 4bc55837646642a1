#pragma once
/*
 * The gate sees every call before sd-bus does, and refuses what sd-bus would refuse in words that are as long
 * as what it was given, or that do not say what is wrong: names of 64 KiB, names that are none, arguments
 * that a standard method does not have. All else passes.
 */
#include "bus/service.h"

/* 0 or a negative errno. */
int gate_register(Bus *bus);
