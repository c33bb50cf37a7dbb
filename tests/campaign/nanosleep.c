/* Given to the kernel as it is: libfaketime 0.9.10 fails it (EINVAL) where it fakes the time of day and not the monotonic clock,
   and Python's time.sleep calls it. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *remain)
{
    return syscall(SYS_clock_nanosleep, clock, flags, request, remain) == 0 ? 0 : errno;
}
