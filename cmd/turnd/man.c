/* Makes turnd's manual page and completion (see cmd/common/manual.h). */
#include "cmd/common/manual.h"
#include "cmd/turnd/conf.h"

static const char head[] =
    "NAME\n"
    "    turnd - TURN and STUN server\n"
    "\n"
    "SYNOPSIS\n"
    "    turnd [options]\n"
    "\n"
    "DESCRIPTION\n"
    "    Relays for clients behind NATs (TURN, RFC 8656) and tells them their addresses (STUN, "
    "RFC\n"
    "    8489), over UDP, TCP, TLS and DTLS. It reads the configuration of coturn: the same file\n"
    "    (turnserver.conf), keys and command line options. Every option below is also a key of "
    "the\n"
    "    file, without the dashes; the command line goes before the file.\n"
    "\n"
    "    turnd stays in the foreground and logs to standard error unless told otherwise. Run "
    "turnd\n"
    "    with --check-config to see what it makes of a configuration, and with --print-config for "
    "a\n"
    "    commented example.\n";

static const char tail[] =
    "SIGNALS\n"
    "    SIGTERM, SIGINT          end, after the time that the key grace gives; a second one: at "
    "once\n"
    "    SIGHUP                   read the configuration again, and open the log file anew\n"
    "    SIGUSR1                  drain: no new allocations, and end with the last one\n"
    "    SIGUSR2                  read the certificates again\n"
    "\n"
    "HTTP\n"
    "    http-listen has /healthz (200 while the process lives), /readyz (200 while it takes new\n"
    "    allocations) and /metrics. api-socket and api-listen have these and the JSON API below\n"
    "    /v1/, which turnctl(1) speaks; web has the page. Errors are {\"error\": text}. In JSON a "
    "user\n"
    "    name that is not UTF-8 has each wrong byte as \\xHH and each backslash doubled, and its "
    "exact\n"
    "    bytes are in user_hex.\n"
    "    GET /v1/status           state, version, allocations, listeners, certificates\n"
    "    GET /v1/sessions         sessions with the smallest numbers above after=, at most limit=\n"
    "                             (100, up to 1000) of those that match user=, realm=, client=, "
    "peer=\n"
    "                             and transport=; next is the after= of the next page\n"
    "    GET /v1/sessions/ID      one, with its peers\n"
    "    DELETE /v1/sessions/ID   ends it\n"
    "    DELETE /v1/users/NAME    ends all sessions of a user (realm=)\n"
    "    GET /v1/counters         all counters\n"
    "    POST /v1/drain           {\"deadline\": seconds} drains; DELETE serves again\n"
    "    POST /v1/reload          reads the configuration again\n"
    "    POST /v1/stop            {\"grace\": seconds} ends the server\n"
    "    GET /v1/log              the level of the log; PUT {\"level\": \"debug\"} sets it\n"
    "    GET /v1/credentials      iceServers with a user that lives for ttl= seconds (600)\n"
    "\n"
    "LOG\n"
    "    Each allocation has a line when it is made and one when it ends, with the number of its\n"
    "    session (18 digits, never used twice), user, realm, addresses, and at the end why, how "
    "long,\n"
    "    packets and bytes each way, and its peers. With log-format=json these are members.\n"
    "\n"
    "FILES\n"
    "    /etc/turnserver.conf     one of the places where the configuration is looked for\n"
    "    /run/turnd/turnd.sock    the API, for turnctl(1)\n"
    "\n"
    "EXIT STATUS\n"
    "    0  ended as told\n"
    "    1  it could not start, or go on\n"
    "    2  a mistake in the configuration\n"
    "\n"
    "SEE ALSO\n"
    "    turnctl(1), turnload(1), stund(8)\n";

int main(int argc, char **argv)
{
    return ph_manual_main(argc, argv,
                          &(struct ph_manual){.name = "turnd",
                                              .section = 8,
                                              .head = head,
                                              .table = ph_tconf_table,
                                              .n_table = ph_tconf_table_n,
                                              .tail = tail});
}
