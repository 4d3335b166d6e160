void ask(redisContext *c, const char *user)
{
    redisCommandArgv(c, 2, v, n);
    redisAsyncCommand(c, done, 0, "GET turn/user/%s/key", user);
    system("redis-cli");
}
