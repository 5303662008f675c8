/* Packets a second between two addresses: `rate recv PORT MS` counts, `rate send ADDRESS PORT MS` sends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define BATCH 64
#define BYTES 64

static long now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void prepare(struct mmsghdr *messages, struct iovec *vectors, char (*buffers)[BYTES]) {
	memset(messages, 0, sizeof(*messages) * BATCH);
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ buffers[i], BYTES };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
}

int main(int argc, char **argv) {
	static char buffers[BATCH][BYTES];
	static struct mmsghdr messages[BATCH];
	static struct iovec vectors[BATCH];
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct timeval timeout = { 0, 100000 };
	long count = 0;
	int one = socket(AF_INET, SOCK_DGRAM, 0);
	int is_send = argc == 5 && strcmp(argv[1], "send") == 0;

	if (!is_send && !(argc == 4 && strcmp(argv[1], "recv") == 0))
		return 64;
	address.sin_port = htons(atoi(argv[argc - 2]));
	long until = now_ms() + atol(argv[argc - 1]);
	prepare(messages, vectors, buffers);
	if (is_send) {
		inet_pton(AF_INET, argv[2], &address.sin_addr);
		if (connect(one, (struct sockaddr *)&address, sizeof(address)) != 0)
			return 1;
		while (now_ms() < until)
			sendmmsg(one, messages, BATCH, 0);
		return 0;
	}
	if (bind(one, (struct sockaddr *)&address, sizeof(address)) != 0)
		return 1;
	setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	while (now_ms() < until) {
		int got = recvmmsg(one, messages, BATCH, MSG_WAITFORONE, NULL);
		count += got > 0 ? got : 0;
	}
	printf("%ld\n", count);
	return 0;
}
