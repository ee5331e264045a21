/*
 * A network cable with latency and loss, for kernels without netem: two tap devices, one in this network namespace, one in another,
 * and every frame that goes in at one end comes out at the other so much later, or never.
 *
 *     slow-link DEVICE NAMESPACE-FILE DEVICE-THERE MILLISECONDS LOSS-PER-MILLE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FRAMES 4096

struct frame {
  long long due;
  int length;
  char bytes[2048];
};

/** Frames on their way in one direction, oldest first: all take the same time. */
static struct queue {
  struct frame frames[FRAMES];
  unsigned head, tail;
} queues[2];

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static int tap(const char *name) {
  struct ifreq request = {0};
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (device < 0) return -1;
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return ioctl(device, TUNSETIFF, &request) < 0 ? -1 : device;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  int ends[2], there = open(argv[2], O_RDONLY), delay = atoi(argv[4]), loss = atoi(argv[5]);
  if ((ends[0] = tap(argv[1])) < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0 || (ends[1] = tap(argv[3])) < 0) {
    perror("slow-link");
    return 1;
  }
  puts("up");
  fflush(stdout);
  for (;;) {
    long long wait = 1000;
    for (int i = 0; i < 2; i++) {
      struct queue *queue = &queues[i];
      while (queue->head != queue->tail && queue->frames[queue->head % FRAMES].due <= now()) {
        struct frame *frame = &queue->frames[queue->head++ % FRAMES];
        if (write(ends[1 - i], frame->bytes, frame->length) < 0 && errno != EIO && errno != EAGAIN) return 1;
      }
      if (queue->head != queue->tail) {
        long long left = queue->frames[queue->head % FRAMES].due - now();
        if (left < wait) wait = left < 0 ? 0 : left;
      }
    }
    struct pollfd polls[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}};
    if (poll(polls, 2, (int)wait) < 0 && errno != EINTR) return 1;
    for (int i = 0; i < 2; i++) {
      struct queue *queue = &queues[i];
      while (queue->tail - queue->head < FRAMES) {
        struct frame *frame = &queue->frames[queue->tail % FRAMES];
        frame->length = (int)read(ends[i], frame->bytes, sizeof frame->bytes);
        if (frame->length <= 0) break;
        frame->due = now() + delay;
        if (rand() % 1000 >= loss) queue->tail++;
      }
    }
  }
}
