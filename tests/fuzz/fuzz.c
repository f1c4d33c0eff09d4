/* What the fuzz targets share. */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

uint8_t fuzz_take_octet(struct fuzz_input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->data++;
}

uint64_t fuzz_take_number(struct fuzz_input *input)
{
	uint64_t number = 0;
	unsigned int i;

	for (i = 0; i < 8; i++)
		number = number << 8 | fuzz_take_octet(input);
	return number;
}

static char *copy(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);

	FUZZ_CHECK(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	return text;
}

char *fuzz_take_string(struct fuzz_input *input)
{
	const uint8_t *end = input->left == 0 ? NULL :
		memchr(input->data, '\0', input->left);
	size_t len = end == NULL ? input->left : (size_t)(end - input->data);
	char *text = input->left == 0 ? copy((const uint8_t *)"", 0) :
		copy(input->data, len);

	if (end != NULL)
		len++;
	input->data += len;
	input->left -= len;
	return text;
}

char *fuzz_take_rest(struct fuzz_input *input, size_t *len_r)
{
	char *text = input->left == 0 ? copy((const uint8_t *)"", 0) :
		copy(input->data, input->left);

	*len_r = input->left;
	input->left = 0;
	return text;
}

static char directory[64];
static pid_t owner;

static void remove_directory(void)
{
	if (owner != getpid())
		return;
	fuzz_empty_directory(NULL);
	(void)rmdir(directory);
}

const char *fuzz_directory(void)
{
	if (directory[0] != '\0')
		return directory;
	strcpy(directory, "/dev/shm/mailhook-fuzz-XXXXXX");
	if (mkdtemp(directory) == NULL) {
		strcpy(directory, "/tmp/mailhook-fuzz-XXXXXX");
		FUZZ_CHECK(mkdtemp(directory) != NULL);
	}
	owner = getpid();
	FUZZ_CHECK(atexit(remove_directory) == 0);
	return directory;
}

void fuzz_empty_directory(const char *keep)
{
	const struct dirent *entry;
	DIR *dir = opendir(fuzz_directory());

	FUZZ_CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0 &&
		    (keep == NULL || strcmp(entry->d_name, keep) != 0))
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

void fuzz_put_file(const char *name, const void *data, size_t len)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fuzz_directory(), name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(len == 0 || write(fd, data, len) == (ssize_t)len);
	close(fd);
}
