#ifndef MSE_CTL_HELP_H
#define MSE_CTL_HELP_H

/* Prints the command's help, or with NULL the general one. -1: there is no
   such command. */
int mse_ctl_help(const char *command);

#endif
