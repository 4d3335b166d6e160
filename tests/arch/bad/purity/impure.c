/* What a pure library must not do. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

int ph_impure_socket(void);
long ph_impure_time(void);
int unprefixed(pthread_mutex_t *m);

int ph_impure_socket(void)
{
    return getenv("HOME") ? socket(AF_INET, SOCK_DGRAM, 0) : 0;
}

long ph_impure_time(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) ? 0 : now.tv_nsec;
}

int unprefixed(pthread_mutex_t *m)
{
    return pthread_mutex_lock(m);
}
