/*
 * main() of a fuzz target that any compiler builds: gives it the files named
 * as arguments, or, in `make check`, its corpus. A failure ends the process
 * with the file's name as the last thing said.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static unsigned int replayed;

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t size;

	if (file == NULL || stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (file != NULL)
			fclose(file);
		return -1;
	}
	/* Exactly as long as the octets, so that an overrun is seen. */
	size = (size_t)st.st_size;
	data = malloc(size == 0 ? 1 : size);
	FUZZ_CHECK(data != NULL);
	size = fread(data, 1, size, file);
	fclose(file);
	printf("%s\n", path);
	fflush(stdout);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	replayed++;
	return 0;
}

static int replay_corpus(void)
{
	const char *srcdir = getenv("srcdir");
	const struct dirent *entry;
	char path[PATH_MAX];
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s",
		 srcdir == NULL ? "." : srcdir, fuzz_name);
	dir = opendir(path);
	if (dir == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (ret == 0 && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s/%s",
			 srcdir == NULL ? "." : srcdir, fuzz_name,
			 entry->d_name);
		ret = replay_file(path);
	}
	closedir(dir);
	return ret;
}

int main(int argc, char *argv[])
{
	int i, ret = 0;

	if (argc == 1)
		ret = replay_corpus();
	for (i = 1; ret == 0 && i < argc; i++)
		ret = replay_file(argv[i]);
	printf("%s: %u inputs\n", fuzz_name, replayed);
	return ret == 0 && replayed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
