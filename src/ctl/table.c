/*
 * Tables for people.
 *
 * Invariant: rows are printed and forgotten by the thousand, so that a long
 * list costs no memory; libsmartcols shows what could move a terminal's cursor
 * as \x..
 */
#include "mse-config.h"

#include "ctl/ctl.h"

#include <libsmartcols.h>
#include <stdlib.h>

#define ROWS_MAX 1000

struct mse_ctl_table {
	struct libscols_table *table;
	size_t columns, rows;
};

void mse_ctl_table_free(struct mse_ctl_table **_table)
{
	struct mse_ctl_table *table = *_table;

	*_table = NULL;
	if (table == NULL)
		return;
	scols_unref_table(table->table);
	free(table);
}

struct mse_ctl_table *mse_ctl_table_new(const struct mse_ctl_column *columns,
					size_t count)
{
	struct mse_ctl_table *table = calloc(1, sizeof(*table));
	size_t i;
	int flags;

	if (table == NULL)
		return NULL;
	table->columns = count;
	table->table = scols_new_table();
	for (i = 0; i < count && table->table != NULL; i++) {
		flags = 0;
		if ((columns[i].flags & MSE_CTL_RIGHT) != 0)
			flags |= SCOLS_FL_RIGHT;
		if ((columns[i].flags & MSE_CTL_CUT) != 0)
			flags |= SCOLS_FL_TRUNC;
		if (scols_table_new_column(table->table, columns[i].name, 0,
					   flags) == NULL)
			break;
	}
	if (i < count || table->table == NULL)
		mse_ctl_table_free(&table);
	return table;
}

void mse_ctl_table_add(struct mse_ctl_table *table, const char *const *values)
{
	struct libscols_line *line = scols_table_new_line(table->table, NULL);
	size_t i;

	for (i = 0; line != NULL && i < table->columns; i++)
		(void)scols_line_set_data(line, i, values[i]);
	if (++table->rows >= ROWS_MAX)
		mse_ctl_table_print(table);
}

void mse_ctl_table_print(struct mse_ctl_table *table)
{
	if (table->rows == 0)
		return;
	(void)scols_print_table(table->table);
	scols_table_remove_lines(table->table);
	(void)scols_table_enable_noheadings(table->table, 1);
	table->rows = 0;
}
