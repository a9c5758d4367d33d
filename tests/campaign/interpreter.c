/* Stands in for the Python interpreter of a trial: has the fork server become the process that was asked for.

   `interpreter -m cebctl.app …` sends its arguments, folder, environment and standard streams to the server at
   $CAMPAIGN_SERVER, passes on the signals that it gets, and ends as that process ends. */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static volatile pid_t child;

static void pass_on(int number) {
    if (child) kill(child, number);
}

static void fail(const char *text) {
    perror(text);
    exit(127);
}

static void receive(int server, int32_t *number) {
    size_t got = 0;
    while (got < sizeof *number) {
        ssize_t size = read(server, (char *)number + got, sizeof *number - got);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) fail("the fork server");
        got += size;
    }
}

int main(int count, char **words) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("CAMPAIGN_SERVER"));
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address)) fail("the fork server");

    char *text;
    size_t size;
    FILE *request = open_memstream(&text, &size);
    char *folder = getcwd(0, 0);
    for (int i = 1; i < count; i++) fprintf(request, "%s%c", words[i], 0);
    fprintf(request, "%c%s%c", 0, folder, 0);
    for (char **variable = environ; *variable; variable++) fprintf(request, "%s%c", *variable, 0);
    fclose(request);

    int streams[3] = {0, 1, 2};
    char room[CMSG_SPACE(sizeof streams)] = {0};
    uint32_t length = size;
    struct iovec part = {&length, sizeof length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof streams);
    memcpy(CMSG_DATA(header), streams, sizeof streams);
    signal(SIGINT, pass_on), signal(SIGTERM, pass_on), signal(SIGUSR2, pass_on), signal(SIGCONT, SIG_IGN);
    if (sendmsg(server, &message, 0) < 0) fail("the fork server");
    for (size_t sent = 0; sent < size;) {
        ssize_t more = write(server, text + sent, size - sent);
        if (more < 0 && errno != EINTR) fail("the fork server");
        sent += more > 0 ? more : 0;
    }

    int32_t number, status;
    receive(server, &number);
    child = number;
    receive(server, &status);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}
