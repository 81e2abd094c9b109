/* The floor of floor.py in C: nothing but send() of the same bytes to the same sockets.
   Usage: floor SOCKETS ROUNDS ROUNDS_PER_SECOND BYTES CORE; prints as floor.py does. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    int sockets = atoi(argv[1]), rounds = atoi(argv[2]), size = atoi(argv[4]);
    double rate = atof(argv[3]);
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(atoi(argv[5]), &core);
    sched_setaffinity(0, sizeof core, &core);
    int listener = socket(AF_INET, SOCK_STREAM, 0), *accepted = malloc(sockets * sizeof(int));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 0; i < sockets; i++) accepted[i] = accept(listener, NULL, NULL);
    char *data = malloc(size);
    memset(data, 'x', size);
    usleep(500000);
    double begin = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int number = 0; number < rounds; number++) {
        for (int i = 0; i < sockets; i++) send(accepted[i], data, size, MSG_DONTWAIT);
        double wait = begin + (number + 1) / rate - seconds(CLOCK_MONOTONIC);
        if (wait > 0) usleep(wait * 1e6);
    }
    printf("%.12f\n", (seconds(CLOCK_PROCESS_CPUTIME_ID) - used) / ((double)rounds * sockets));
    return 0;
}
