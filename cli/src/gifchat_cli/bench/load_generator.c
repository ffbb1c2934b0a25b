/*
 * The load generator of `gifchat bench` and of the benchmarks: Socket.IO clients over WebSocket, in one epoll thread.
 *
 * It connects clients, joins rooms and publishes messages, to Valkey or to any server that accepts raw bytes. It counts
 * every delivery on every connection, checks the order, and measures the latency. It always answers pings.
 *
 *   load_generator --port P --clients FILE [--messages FILE --publish-port P] [--at-once N] [--opaque] [--path PATH]
 *                  [--address IPV4] [--host NAME]
 *
 * FILE of clients: one client per line: room number, cookie, packet that opens the namespace, packet that joins. The
 * fields are separated by tabs; `-` stands for an empty one. Lines may be appended until their clients connect.
 * FILE of messages: for each room u32 length, i32 offset of the stamp, i32 offset of a big-endian 64-bit seq (-1: none),
 * then the bytes to publish. Little-endian, no padding.
 * The stamp has 40 characters: `T=<µs, 16 digits> N=<number in its room, 8> G=<number in the run, 8>`.
 *
 * Commands on standard input, one per line; each is answered by one line of JSON on standard output:
 *   connect COUNT TIMEOUT_S            connect the next COUNT clients, at most `at-once` of them at a time
 *   run MODE COUNT INTERVAL_US TIMEOUT_S
 *       closed: publish the next message after the interval, once all clients have the last one
 *       open:   publish a message per interval, even if earlier ones are still in flight
 *       listen: another process publishes COUNT messages with the same numbers and stamps. It takes the rooms in turn,
 *               from 0 to the last one that has members
 *   idle TIMEOUT_S                     answer pings
 *   drop COUNT                         close the COUNT newest clients without a closing handshake
 * The program exits at the end of its standard input, or when no command comes for MAX_LIFE_S.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 60000
#define MAX_ROOMS 60000
#define MAX_MESSAGES 2000000
#define MAX_LIFE_S 1200
#define MAX_GATEWAYS 256
#define SOURCES 64 /* loopback addresses to connect from: one has too few ports, and gateways bound each address */
#define BUFFER (256 * 1024)
#define STAMP 40
#define OPAQUE_PING 8 /* compressed frames up to this size are pings */

enum state { NEW, CONNECTING, UPGRADING, OPENING, ENTERING, JOINING, JOINED, CLOSED };

struct client {
    int fd;
    enum state state;
    int room;
    uint32_t next; /* the number of the next message in the room */
    uint64_t began_us;
    char *cookie, *enter, *join;
    char *rest; /* bytes of an incomplete frame */
    uint32_t rest_size, rest_space;
};

struct message {
    uint32_t size;
    int32_t stamp_at, seq_at;
    unsigned char *bytes;
};

struct flight {
    uint64_t sent_us;
    uint32_t left;
};

/* Latencies in growing buckets: 64 per doubling, so the error is at most 1.6 %. */
#define BUCKETS (64 * 32)
struct histogram {
    uint64_t counts[BUCKETS], count, max;
};

static struct client *clients;
static int client_count, connected_count, joining_count, failed_count, lost_count;
static FILE *clients_file;
static uint64_t gateways[MAX_GATEWAYS]; /* hashes of the gateways' names in nginx's cookie */
static int gateway_count;
static struct message *messages;
static int room_count;
static uint32_t *room_members, *room_numbers;
static struct flight *flights;
static struct histogram deliveries_took, firsts_took, lasts_took, joins_took;
static uint64_t delivered, out_of_order, other_events;
static uint32_t run_base, run_size;
static uint32_t in_flight;
static int opaque, port, publish_port, at_once = 64;
static struct in_addr address;
static const char *host = "127.0.0.1";
static const char *path = "/socket.io/?EIO=4&transport=websocket";
static int poller, timer, publisher = -1;
static unsigned char buffer[2 * BUFFER];
static unsigned char *unsent;
static size_t unsent_at, unsent_size, unsent_space;
static char failure[256];

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static double cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ------------------------------------------------------------------------------------------------ histograms */

static int bucket_of(uint64_t us) {
    if (us < 64)
        return us;
    int octave = 63 - __builtin_clzll(us);
    int bucket = (octave - 5) * 64 + ((us >> (octave - 6)) & 63);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_value(int bucket) {
    if (bucket < 64)
        return bucket;
    int octave = bucket / 64 + 5;
    return (1ull << octave) + ((uint64_t)(bucket % 64) << (octave - 6));
}

static void note(struct histogram *histogram, uint64_t us) {
    histogram->counts[bucket_of(us)]++;
    histogram->count++;
    if (us > histogram->max)
        histogram->max = us;
}

static uint64_t quantile(const struct histogram *histogram, double share) {
    uint64_t wanted = histogram->count * share, seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen > wanted)
            return bucket_value(bucket);
    }
    return histogram->max;
}

static void print_histogram(const char *name, const struct histogram *histogram) {
    printf("\"%s\": {\"count\": %llu, \"p50_us\": %llu, \"p90_us\": %llu, \"p99_us\": %llu, \"max_us\": %llu}", name,
           (unsigned long long)histogram->count, (unsigned long long)quantile(histogram, 0.5),
           (unsigned long long)quantile(histogram, 0.9), (unsigned long long)quantile(histogram, 0.99),
           (unsigned long long)histogram->max);
}

/* --------------------------------------------------------------------------------------------------- clients */

static void watch(int fd, uint32_t events, uint64_t who, int how) {
    struct epoll_event event = {.events = events, .data.u64 = who};
    if (epoll_ctl(poller, how, fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
}

#define WHO_STDIN (1ull << 40)
#define WHO_PUBLISHER (2ull << 40)
#define WHO_TIMER (3ull << 40)

static void disconnect(struct client *client, const char *why) {
    if (client->fd < 0)
        return;
    close(client->fd);
    client->fd = -1;
    int was_joined = client->state == JOINED;
    if (was_joined)
        room_members[client->room]--, connected_count--;
    else
        joining_count--;
    if (why) {
        failed_count++;
        lost_count += was_joined;
        if (!failure[0])
            snprintf(failure, sizeof failure, "%s (state %d)", why, client->state);
    }
    client->state = CLOSED;
    free(client->rest);
    client->rest = NULL;
    client->rest_size = client->rest_space = 0;
}

static void send_frame(struct client *client, int opcode, const unsigned char *text, size_t size) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char frame[4096];
    size_t head = 2;
    if (size > sizeof frame - 16)
        die("a packet is too long");
    frame[0] = 0x80 | opcode;
    if (size < 126) {
        frame[1] = 0x80 | size;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = size >> 8;
        frame[3] = size & 0xff;
        head = 4;
    }
    memcpy(frame + head, mask, 4);
    head += 4;
    for (size_t at = 0; at < size; at++)
        frame[head + at] = text[at] ^ mask[at & 3];
    if (send(client->fd, frame, head + size, MSG_NOSIGNAL) != (ssize_t)(head + size))
        disconnect(client, "a packet could not be sent");
}

static void send_text(struct client *client, const char *text) {
    send_frame(client, 1, (const unsigned char *)text, strlen(text));
}

static void joined(struct client *client) {
    client->state = JOINED;
    client->next = room_numbers[client->room] + 1;
    joining_count--;
    connected_count++;
    room_members[client->room]++;
    note(&joins_took, now_us() - client->began_us);
}

static void entered(struct client *client) {
    if (client->join) {
        client->state = JOINING;
        send_text(client, client->join);
    } else {
        joined(client);
    }
}

static void opened(struct client *client) {
    if (client->enter) {
        client->state = ENTERING;
        send_text(client, client->enter);
    } else {
        joined(client);
    }
}

static uint64_t digits(const unsigned char *text, int count) {
    uint64_t value = 0;
    for (int at = 0; at < count; at++)
        value = value * 10 + (text[at] - '0');
    return value;
}

static void delivery(struct client *client, uint64_t sent_us, uint32_t number, uint32_t in_run, uint64_t at_us) {
    delivered++;
    if (number != client->next)
        out_of_order++;
    client->next = number + 1;
    uint64_t took = at_us - sent_us;
    note(&deliveries_took, took);
    uint32_t index = in_run - run_base;
    if (index >= run_size) {
        out_of_order++;
        return;
    }
    struct flight *flight = &flights[index];
    if (!flight->sent_us) { /* the first delivery of a message in `listen` mode */
        flight->sent_us = sent_us;
        flight->left = room_members[client->room];
        in_flight++;
    }
    if (flight->left == room_members[client->room])
        note(&firsts_took, took);
    if (flight->left && --flight->left == 0) {
        in_flight--;
        note(&lasts_took, took);
    }
}

static void packet(struct client *client, const unsigned char *text, size_t size, int compressed, uint64_t at_us) {
    if (client->state == JOINED) {
        if (compressed) {
            /* The content cannot be read, so this must be the only message in flight. */
            if (size <= OPAQUE_PING)
                send_text(client, "3");
            else if (in_flight == 1 && run_size)
                delivery(client, flights[room_numbers[client->room] - 1 - run_base].sent_us, client->next,
                         client->next - 1, at_us);
            else
                other_events++;
            return;
        }
        if (size > 2 && text[0] == '4' && text[1] == '2') {
            const unsigned char *stamp = memmem(text, size, "T=", 2);
            if (stamp && stamp + STAMP <= text + size && stamp[18] == ' ' && stamp[19] == 'N' && stamp[30] == 'G')
                delivery(client, digits(stamp + 2, 16), digits(stamp + 21, 8), digits(stamp + 32, 8), at_us);
            else
                other_events++;
        } else if (size == 1 && text[0] == '2') {
            send_text(client, "3");
        } else if (size && (text[0] == '1' || (size > 1 && text[0] == '4' && text[1] == '1'))) {
            disconnect(client, "closed by the server");
        }
        return;
    }
    if (size == 1 && text[0] == '2' && !compressed) {
        send_text(client, "3");
        return;
    }
    switch (client->state) {
    case OPENING:
        if (compressed || text[0] == '0')
            opened(client);
        break;
    case ENTERING:
        if (compressed || (size > 1 && text[0] == '4' && text[1] == '0'))
            entered(client);
        else if (size > 1 && text[1] == '4')
            disconnect(client, "the namespace refused the connection");
        break;
    case JOINING:
        if (compressed || (size > 1 && text[0] == '4' && text[1] == '3')) {
            if (!compressed && !memmem(text, size, "\"ok\":true", 9)) {
                char why[200];
                snprintf(why, sizeof why, "not admitted: %.*s", (int)(size < 150 ? size : 150), text);
                for (char *at = why; *at; at++)
                    if (*at == '"' || *at == '\\')
                        *at = '\'';
                disconnect(client, why);
            } else {
                joined(client);
            }
        } else {
            other_events++;
        }
        break;
    default:
        break;
    }
}

static void start(struct client *client, int index) {
    client->began_us = now_us();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (address.s_addr == htonl(INADDR_LOOPBACK)) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % SOURCES)};
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
            die("bind: %s", strerror(errno));
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
    client->fd = fd;
    client->state = CONNECTING;
    joining_count++;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        disconnect(client, strerror(errno));
        return;
    }
    watch(fd, EPOLLOUT, index, EPOLL_CTL_ADD);
}

static void ask_to_upgrade(struct client *client, int index) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        disconnect(client, strerror(error));
        return;
    }
    char request[2048];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
                          path, host, port, opaque ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "",
                          client->cookie ? "Cookie: " : "", client->cookie ? client->cookie : "",
                          client->cookie ? "\r\n" : "");
    if (length >= (int)sizeof request)
        die("a cookie is too long");
    client->state = UPGRADING;
    watch(client->fd, EPOLLIN, index, EPOLL_CTL_MOD);
    if (send(client->fd, request, length, MSG_NOSIGNAL) != length)
        disconnect(client, "the request could not be sent");
}

static void keep_rest(struct client *client, const unsigned char *bytes, size_t size) {
    if (size > client->rest_space) {
        client->rest_space = size + 256;
        client->rest = realloc(client->rest, client->rest_space);
    }
    memmove(client->rest, bytes, size);
    client->rest_size = size;
}

/* nginx's affinity cookie (deploy/nginx) names the gateway. */
static void note_gateway(const unsigned char *head, size_t size) {
    static const char name[] = "gifchat_gateway=";
    const unsigned char *end = head + size, *at = memmem(head, size, name, sizeof name - 1);
    if (!at)
        return;
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */
    for (at += sizeof name - 1; at < end && *at != ';' && *at != '\r'; at++)
        hash = (hash ^ *at) * 1099511628211ull;
    for (int known = 0; known < gateway_count; known++)
        if (gateways[known] == hash)
            return;
    if (gateway_count < MAX_GATEWAYS)
        gateways[gateway_count++] = hash;
}

static void readable(struct client *client) {
    size_t before = client->rest_size;
    if (before)
        memcpy(buffer, client->rest, before);
    ssize_t got = recv(client->fd, buffer + before, BUFFER, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        disconnect(client, got ? strerror(errno) : "hung up");
        return;
    }
    client->rest_size = 0;
    uint64_t at_us = now_us();
    unsigned char *at = buffer, *end = buffer + before + got;
    if (client->state == UPGRADING) {
        unsigned char *head_end = memmem(at, end - at, "\r\n\r\n", 4);
        if (!head_end) {
            keep_rest(client, at, end - at);
            return;
        }
        if (end - at < 12 || memcmp(at, "HTTP/1.1 101", 12)) {
            char why[64];
            snprintf(why, sizeof why, "not upgraded: %.12s", at);
            disconnect(client, why);
            return;
        }
        note_gateway(at, head_end - at);
        client->state = OPENING;
        at = head_end + 4;
    }
    while (end - at >= 2) {
        size_t size = at[1] & 127, head = 2;
        if (size == 126) {
            if (end - at < 4)
                break;
            size = at[2] << 8 | at[3];
            head = 4;
        } else if (size == 127) {
            if (end - at < 10)
                break;
            size = 0;
            for (int byte = 2; byte < 10; byte++)
                size = size << 8 | at[byte];
            head = 10;
            if (size > BUFFER / 2)
                die("a frame of %zu bytes is too large", size);
        }
        if ((size_t)(end - at) < head + size)
            break;
        int opcode = at[0] & 15;
        if (opcode == 1)
            packet(client, at + head, size, at[0] & 0x40, at_us);
        else if (opcode == 9)
            send_frame(client, 10, at + head, size);
        else if (opcode == 8)
            disconnect(client, "closed by the server");
        else
            die("unexpected opcode %d", opcode);
        if (client->fd < 0)
            return;
        at += head + size;
    }
    if (at < end)
        keep_rest(client, at, end - at);
}

/* ------------------------------------------------------------------------------------------------- publishing */

static void flush_unsent(void) {
    while (unsent_at < unsent_size) {
        ssize_t sent = send(publisher, unsent + unsent_at, unsent_size - unsent_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            watch(publisher, EPOLLIN | EPOLLOUT, WHO_PUBLISHER, EPOLL_CTL_MOD);
            return;
        }
        if (sent < 0)
            die("publishing: %s", strerror(errno));
        unsent_at += sent;
    }
    unsent_at = unsent_size = 0;
    watch(publisher, EPOLLIN, WHO_PUBLISHER, EPOLL_CTL_MOD);
}

static void publish(uint32_t in_run) {
    int room = in_run % room_count;
    struct message *message = &messages[room];
    uint32_t number = ++room_numbers[room];
    struct flight *flight = &flights[in_run - run_base];
    flight->sent_us = now_us();
    flight->left = room_members[room];
    if (flight->left)
        in_flight++;
    char stamp[STAMP + 1];
    snprintf(stamp, sizeof stamp, "T=%016llu N=%08u G=%08u", (unsigned long long)flight->sent_us, number, in_run);
    memcpy(message->bytes + message->stamp_at, stamp, STAMP);
    if (message->seq_at >= 0)
        for (int byte = 0; byte < 8; byte++)
            message->bytes[message->seq_at + byte] = (uint64_t)number >> (56 - 8 * byte);
    if (unsent_size + message->size > unsent_space) {
        unsent_space = 2 * (unsent_size + message->size);
        unsent = realloc(unsent, unsent_space);
    }
    memcpy(unsent + unsent_size, message->bytes, message->size);
    unsent_size += message->size;
    flush_unsent();
}

static void read_publisher(void) {
    ssize_t got = recv(publisher, buffer, BUFFER, MSG_DONTWAIT);
    if (got == 0)
        die("the publishing connection was closed");
    if (got > 0 && (buffer[0] == '-' || memmem(buffer, got, "\n-", 2)))
        die("the server refuses a message: %.*s", (int)(got < 100 ? got : 100), buffer);
}

/* -------------------------------------------------------------------------------------------------- the loop */

static void wake_after(uint64_t us) {
    struct itimerspec when = {.it_value = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 + 1}};
    timerfd_settime(timer, 0, &when, NULL);
}

static int command_waits;

static void turn(int timeout_ms) {
    struct epoll_event events[512];
    int count = epoll_wait(poller, events, 512, timeout_ms);
    for (int at = 0; at < count; at++) {
        uint64_t who = events[at].data.u64;
        if (who == WHO_STDIN) {
            command_waits = 1;
        } else if (who == WHO_PUBLISHER) {
            if (events[at].events & EPOLLOUT)
                flush_unsent();
            if (events[at].events & ~EPOLLOUT)
                read_publisher();
        } else if (who == WHO_TIMER) {
            uint64_t expirations;
            if (read(timer, &expirations, sizeof expirations) < 0)
                continue;
        } else {
            struct client *client = &clients[who];
            if (client->fd < 0)
                continue;
            if (client->state == CONNECTING)
                ask_to_upgrade(client, who);
            else
                readable(client);
        }
    }
}

static void read_clients(void);

static void command_connect(int count, double timeout_s) {
    static int next;
    read_clients();
    if (!lost_count)
        failure[0] = 0;
    int goal = next + count > client_count ? client_count : next + count;
    int first = next, failed_before = failed_count, joined_before = connected_count;
    uint64_t began = now_us(), deadline = began + timeout_s * 1e6;
    double cpu = cpu_s();
    memset(&joins_took, 0, sizeof joins_took);
    while ((next < goal || joining_count) && now_us() < deadline) {
        while (next < goal && joining_count < at_once) {
            start(&clients[next], next);
            next++;
        }
        turn(100);
    }
    double seconds = (now_us() - began) / 1e6;
    printf("{\"asked\": %d, \"joined\": %d, \"failed\": %d, \"gateways\": %d, \"seconds\": %.6f, \"cpu_s\": %.6f, "
           "\"why\": \"%s\", ",
           goal - first, connected_count - joined_before, failed_count - failed_before, gateway_count, seconds,
           cpu_s() - cpu, failure);
    print_histogram("took", &joins_took);
    printf("}\n");
}

/* The rooms from 0 to the last one that has members. */
static uint32_t rooms_in_use(void) {
    uint32_t rooms = 0;
    for (int index = 0; index < client_count; index++)
        if (clients[index].state == JOINED && (uint32_t)clients[index].room >= rooms)
            rooms = clients[index].room + 1;
    return rooms;
}

static void command_run(const char *mode, uint32_t count, uint64_t interval_us, double timeout_s) {
    int closed = !strcmp(mode, "closed"), listens = !strcmp(mode, "listen");
    if (count > MAX_MESSAGES || (!listens && !room_count))
        die("no messages, or too many");
    flights = calloc(count, sizeof *flights);
    run_size = count;
    memset(&deliveries_took, 0, sizeof deliveries_took);
    memset(&firsts_took, 0, sizeof firsts_took);
    memset(&lasts_took, 0, sizeof lasts_took);
    delivered = out_of_order = other_events = in_flight = 0;
    uint64_t expected = 0;
    uint64_t began = now_us(), deadline = began + timeout_s * 1e6, next_us = began, last_us = began;
    double cpu = cpu_s();
    uint32_t published = 0;
    uint32_t rooms = listens ? rooms_in_use() : 0;
    if (listens) {
        for (uint32_t at = 0; at < count && rooms; at++)
            expected += room_members[at % rooms];
        published = count;
        printf("{\"listening\": true}\n");
    }
    while (now_us() < deadline && !lost_count) { /* clients may also be lost between two commands */
        while (published < count && now_us() >= next_us && !(closed && in_flight)) {
            expected += room_members[(run_base + published) % room_count];
            publish(run_base + published++);
            next_us = closed ? now_us() + interval_us : next_us + interval_us;
        }
        if (published == count && delivered >= expected && unsent_size == 0)
            break;
        uint64_t now = now_us();
        if (published < count && !(closed && in_flight) && next_us > now)
            wake_after(next_us - now);
        turn(100);
        last_us = now_us();
    }
    double seconds = (last_us - began) / 1e6;
    double used = cpu_s() - cpu;
    printf("{\"published\": %u, \"expected\": %llu, \"delivered\": %llu, \"out_of_order\": %llu, \"other\": %llu, "
           "\"lost_clients\": %d, \"seconds\": %.6f, \"cpu_s\": %.6f, \"cpu_share\": %.3f, \"why\": \"%s\", ",
           published, (unsigned long long)expected, (unsigned long long)delivered, (unsigned long long)out_of_order,
           (unsigned long long)other_events, lost_count, seconds, used,
           seconds > 0 ? used / seconds : 0, failure);
    print_histogram("took", &deliveries_took);
    printf(", ");
    print_histogram("first", &firsts_took);
    printf(", ");
    print_histogram("last", &lasts_took);
    printf("}\n");
    for (uint32_t at = 0; at < count && rooms; at++) /* for clients that join later */
        room_numbers[at % rooms]++;
    run_base += count;
    run_size = 0;
    free(flights);
    flights = NULL;
}

static void command_idle(double timeout_s) {
    uint64_t deadline = now_us() + timeout_s * 1e6;
    while (now_us() < deadline)
        turn(50);
    printf("{\"connected\": %d, \"lost_clients\": %d, \"why\": \"%s\"}\n", connected_count, lost_count, failure);
}

static void command_drop(int count) {
    uint64_t began = now_us();
    int dropped = 0;
    for (int index = client_count - 1; index >= 0 && dropped < count; index--)
        if (clients[index].fd >= 0) {
            disconnect(&clients[index], NULL);
            dropped++;
        }
    printf("{\"dropped\": %d, \"seconds\": %.6f}\n", dropped, (now_us() - began) / 1e6);
}

/* -------------------------------------------------------------------------------------------------- the start */

static char *field(char **line) {
    char *text = strsep(line, "\t");
    if (!text)
        die("a client's line is too short");
    return strcmp(text, "-") ? strdup(text) : NULL;
}

/* Read the lines that were added since the last time. */
static void read_clients(void) {
    char *line = NULL;
    size_t space = 0;
    clearerr(clients_file);
    while (getline(&line, &space, clients_file) > 0) {
        if (client_count == MAX_CLIENTS)
            die("more than %d clients", MAX_CLIENTS);
        char *rest = line;
        rest[strcspn(rest, "\n")] = 0;
        struct client *client = &clients[client_count++];
        client->fd = -1;
        client->room = atoi(strsep(&rest, "\t"));
        if (client->room < 0 || client->room >= MAX_ROOMS)
            die("room %d is out of range", client->room);
        client->cookie = field(&rest);
        client->enter = field(&rest);
        client->join = field(&rest);
    }
    free(line);
}

static void read_messages(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file)
        die("%s: %s", name, strerror(errno));
    messages = calloc(MAX_ROOMS, sizeof *messages);
    for (;;) {
        struct message message;
        if (fread(&message.size, 4, 1, file) != 1)
            break;
        if (room_count == MAX_ROOMS || message.size > 65536)
            die("too many rooms, or a message is too long");
        message.bytes = malloc(message.size);
        if (fread(&message.stamp_at, 4, 1, file) != 1 || fread(&message.seq_at, 4, 1, file) != 1 ||
            fread(message.bytes, message.size, 1, file) != 1)
            die("%s is truncated", name);
        messages[room_count++] = message;
    }
    fclose(file);
}

static void connect_publisher(void) {
    publisher = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(publisher, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(publish_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(publisher, (struct sockaddr *)&to, sizeof to) < 0)
        die("port %d: %s", publish_port, strerror(errno));
    watch(publisher, EPOLLIN, WHO_PUBLISHER, EPOLL_CTL_ADD);
}

int main(int argc, char **argv) {
    const char *clients_name = NULL, *messages_file = NULL;
    address.s_addr = htonl(INADDR_LOOPBACK);
    for (int at = 1; at < argc; at++) {
        const char *name = argv[at];
        if (!strcmp(name, "--opaque")) {
            opaque = 1;
            continue;
        }
        if (at + 1 == argc)
            die("%s needs a value", name);
        const char *value = argv[++at];
        if (!strcmp(name, "--port"))
            port = atoi(value);
        else if (!strcmp(name, "--clients"))
            clients_name = value;
        else if (!strcmp(name, "--messages"))
            messages_file = value;
        else if (!strcmp(name, "--publish-port"))
            publish_port = atoi(value);
        else if (!strcmp(name, "--at-once"))
            at_once = atoi(value);
        else if (!strcmp(name, "--path"))
            path = value;
        else if (!strcmp(name, "--host"))
            host = value;
        else if (!strcmp(name, "--address")) {
            if (inet_pton(AF_INET, value, &address) != 1)
                die("%s is not an IPv4 address", value);
        }
        else
            die("unknown option %s", name);
    }
    if (!port || !clients_name)
        die("--port and --clients are required");
    alarm(MAX_LIFE_S);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch(timer, EPOLLIN, WHO_TIMER, EPOLL_CTL_ADD);
    room_members = calloc(MAX_ROOMS, sizeof *room_members);
    room_numbers = calloc(MAX_ROOMS, sizeof *room_numbers);
    clients = calloc(MAX_CLIENTS, sizeof *clients);
    clients_file = fopen(clients_name, "r");
    if (!clients_file)
        die("%s: %s", clients_name, strerror(errno));
    read_clients();
    if (messages_file) {
        read_messages(messages_file);
        connect_publisher();
    }
    watch(STDIN_FILENO, EPOLLIN, WHO_STDIN, EPOLL_CTL_ADD);
    char line[256];
    size_t have = 0;
    for (;;) {
        turn(1000);
        if (!command_waits)
            continue;
        command_waits = 0;
        ssize_t got = read(STDIN_FILENO, line + have, sizeof line - 1 - have);
        if (got <= 0)
            return 0;
        have += got;
        line[have] = 0;
        alarm(MAX_LIFE_S);
        char *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            char mode[16];
            unsigned count;
            unsigned long long interval_us;
            double timeout_s;
            if (sscanf(line, "connect %u %lf", &count, &timeout_s) == 2)
                command_connect(count, timeout_s);
            else if (sscanf(line, "run %15s %u %llu %lf", mode, &count, &interval_us, &timeout_s) == 4)
                command_run(mode, count, interval_us, timeout_s);
            else if (sscanf(line, "idle %lf", &timeout_s) == 1)
                command_idle(timeout_s);
            else if (sscanf(line, "drop %u", &count) == 1)
                command_drop(count);
            else
                die("unknown command '%s'", line);
            have -= end + 1 - line;
            memmove(line, end + 1, have + 1);
        }
    }
}
