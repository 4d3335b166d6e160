/*
 * Telling systemd how the service is doing: the sd_notify protocol, without its library.
 *
 * Messages are datagrams of lines to the socket that $NOTIFY_SOCKET names; without it nothing happens.
 */
#ifndef PH_CMD_NOTIFY_H
#define PH_CMD_NOTIFY_H

/* Sends a message such as "STOPPING=1".  Returns 0 (also when nobody listens) or -errno. */
int ph_notify(const char *state);

/* Start-up is done: READY=1, with MAINPID for a process that went into the background, and STATUS=status.
 * Returns as ph_notify. */
int ph_notify_ready(const char *status);

#endif
