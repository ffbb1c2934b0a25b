/*
 * The kernel's limit: the cost of a fan-out that does nothing but one `send` per member.
 *
 *   kernel_limit PORT CONTROL_PORT
 *
 * On PORT it implements only what the load generator needs from a Socket.IO server to join. On CONTROL_PORT it receives
 * the frames to send: u32 room, u32 size, then the raw frame. A room's number is the last 6 hex digits of its id.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 65536
#define MAX_ROOMS 65536
#define CONTROL_BUFFER (1024 * 1024)
#define MAX_LIFE_S 1200

struct room {
    int *fds;
    int count, space;
};

static struct room rooms[MAX_ROOMS];
static int upgraded[MAX_FD], room_of[MAX_FD];
static int poller;
static unsigned char control_buffer[CONTROL_BUFFER];
static size_t control_have;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static int listener_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0 || listen(fd, 4096) < 0)
        die("listen");
    watch(fd);
    return fd;
}

static void answer(int fd, const char *text) {
    unsigned char frame[256];
    size_t size = strlen(text);
    frame[0] = 0x81;
    frame[1] = size;
    memcpy(frame + 2, text, size);
    if (send(fd, frame, size + 2, MSG_NOSIGNAL) < 0)
        die("send");
}

static void enter(int fd, int number) {
    struct room *room = &rooms[number];
    if (room->count == room->space) {
        room->space = room->space ? 2 * room->space : 8;
        room->fds = realloc(room->fds, room->space * sizeof *room->fds);
    }
    room->fds[room->count++] = fd;
    room_of[fd] = number + 1;
}

static void gone(int fd) {
    if (room_of[fd]) {
        struct room *room = &rooms[room_of[fd] - 1];
        for (int at = 0; at < room->count; at++)
            if (room->fds[at] == fd)
                room->fds[at--] = room->fds[--room->count];
    }
    room_of[fd] = upgraded[fd] = 0;
    close(fd);
}

static void from_client(int fd) {
    unsigned char bytes[4096];
    ssize_t got = recv(fd, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            gone(fd);
        return;
    }
    if (!upgraded[fd]) {
        static const char yes[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        if (send(fd, yes, sizeof yes - 1, MSG_NOSIGNAL) < 0)
            die("send");
        upgraded[fd] = 1;
        answer(fd, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}");
        return;
    }
    size_t size = bytes[1] & 127;
    if (size > 125 || got < (ssize_t)(6 + size))
        return;
    char text[128];
    for (size_t at = 0; at < size; at++)
        text[at] = bytes[6 + at] ^ bytes[2 + (at & 3)];
    text[size] = 0;
    if (!strncmp(text, "40", 2)) {
        answer(fd, "40/chat,{\"sid\":\"x\"}");
    } else if (!strncmp(text, "42", 2) && size > 8) {
        text[size - 2] = 0; /* …0007"] */
        enter(fd, strtoul(text + size - 8, NULL, 16) % MAX_ROOMS);
        answer(fd, "43/chat,0[{\"ok\":true}]");
    }
}

static void fan_out(uint32_t number, const unsigned char *frame, uint32_t size) {
    struct room *room = &rooms[number % MAX_ROOMS];
    for (int at = 0; at < room->count; at++)
        if (send(room->fds[at], frame, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
            die("a send was incomplete");
}

static void from_control(int fd) {
    ssize_t got = recv(fd, control_buffer + control_have, CONTROL_BUFFER - control_have, MSG_DONTWAIT);
    if (got == 0)
        exit(0);
    if (got < 0)
        return;
    control_have += got;
    size_t at = 0;
    while (control_have - at >= 8) {
        uint32_t head[2];
        memcpy(head, control_buffer + at, 8);
        if (control_have - at < 8 + (size_t)head[1])
            break;
        fan_out(head[0], control_buffer + at + 8, head[1]);
        at += 8 + head[1];
    }
    control_have -= at;
    memmove(control_buffer, control_buffer + at, control_have);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    alarm(MAX_LIFE_S);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    int listener = listener_on(atoi(argv[1])), control_listener = listener_on(atoi(argv[2])), control = -1;
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(poller, events, 256, -1);
        for (int at = 0; at < count; at++) {
            int fd = events[at].data.fd;
            if (fd == listener || fd == control_listener) {
                int made;
                while ((made = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    int one = 1;
                    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (made >= MAX_FD)
                        die("too many connections");
                    watch(made);
                    if (fd == control_listener)
                        control = made;
                }
            } else if (fd == control) {
                from_control(fd);
            } else {
                from_client(fd);
            }
        }
    }
}
