#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
