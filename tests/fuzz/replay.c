/* Runs a fuzz target over files instead of generated inputs, so that every past find is tried again
 * on each test run, with any compiler. Arguments are files or folders of files; the empty input is
 * always tried first. In the fuzz preset libFuzzer's own main takes this one's place.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

/* The input is copied to a heap block of its exact size: there the sanitizer sees a read one byte
 * too far, which it would not in a larger buffer. */
static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        die(path);
    long end = ftell(f);
    if (end < 0)
        die(path);
    rewind(f);
    size_t size = (size_t)end;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, f) != size)
        die(path);
    fclose(f);

    fprintf(stderr, "%s (%zu bytes)\n", path, size);
    LLVMFuzzerTestOneInput(data, size);
    inputs++;
    free(data);
}

static void run_folder(const char *path, DIR *dir)
{
    for (struct dirent *e; (e = readdir(dir));) {
        char file[4096];
        if (e->d_name[0] == '.')
            continue;
        if (snprintf(file, sizeof file, "%s/%s", path, e->d_name) >= (int)sizeof file) {
            errno = ENAMETOOLONG;
            die(path);
        }
        run_file(file);
    }
}

int main(int argc, char **argv)
{
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir) {
            run_folder(argv[i], dir);
            closedir(dir);
        } else if (errno == ENOTDIR) {
            run_file(argv[i]);
        } else if (errno == ENOENT) {
            fprintf(stderr, "%s: no corpus yet\n", argv[i]);
        } else {
            die(argv[i]);
        }
    }
    printf("%u inputs replayed\n", inputs);
    return 0;
}
