/*
 * A sample of the configuration file, made from the table of keys.
 */
#ifndef PH_TURND_PRINT_CONFIG_H
#define PH_TURND_PRINT_CONFIG_H

#include <stdio.h>

/* Writes every honoured key with its help, commented out, with its default or an example. */
void ph_tconf_print(FILE *f);

#endif
