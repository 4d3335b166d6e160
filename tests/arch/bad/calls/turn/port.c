#include <stdlib.h>
/* Ports come from rand(): that is a comment. */
const char *text = "and a string: rand() // no comment", quote = '"';
int port(const struct ph_env *env, void *dst)
{
    env->rand(env->ctx, dst, 2); // not random()
    return rand() % 65536;
}
/* Over
 * lines. */
long other(void)
{
    return lrand48() + random();
}
