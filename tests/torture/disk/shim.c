/* A library between the bridge and the disk (LD_PRELOAD) for the files of one folder. It logs each operation in the order
 * in which they take effect. On command it makes operations fail or hang, kills the process, or leaves syncs out. `log.rs`
 * reads the log and `mod.rs` writes the control file; both must match this file. It knows about SQLite only that the main
 * file's name ends in `.db`, and that a file whose name ends in `-shm` is memory and not disk.
 *
 * System calls are made directly, so that nothing here depends on the order in which the loader finds names. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPENED = 1, WROTE, TRUNCATED, SYNC_BEGAN, SYNC_ENDED, UNLINKED, RENAMED, SYNC_IGNORED, SYNC_FAILED };
enum {
    WRITE_ERRNO, WRITE_SKIP, SYNC_ERRNO, SYNC_SKIP, HANG, IGNORE_SYNCS, OPEN_ERRNO, READ_ERRNO, READ_FILE, READ_FROM, READ_TO,
    KILL_MASK, KILL_SKIP, SYNCS, WRITES, DB_WRITES, FAULTS, WORDS
};
enum { BEFORE_SYNC = 1, AFTER_SYNC = 2, BEFORE_DB_WRITE = 4, AFTER_DB_WRITE = 8, BEFORE_ANY = 16 };

struct entry { uint64_t kind, file, start_ns, end_ns, offset, length; };
struct watched { uint64_t file, errors_seen; char is_db; };

#define FDS 65536
static struct watched fds[FDS];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int64_t quiet[WORDS];
static volatile int64_t *control = quiet;
static const char *folder;
static size_t folder_length;
static int log_fd = -1;
static uint64_t sync_number;
/* As in Linux, every handle on a file gets the error of a failed sync once. A handle that gets it at a later sync has been
 * synced nevertheless: the error is that of the earlier sync, and what was written since is on the disk. */
static uint64_t errors[256];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("IMBRIDGE_SHIM_LOG"), *words = getenv("IMBRIDGE_SHIM_CONTROL");
    folder = getenv("IMBRIDGE_SHIM_FOLDER");
    folder_length = folder ? strlen(folder) : 0;
    if (log)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (words) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, words, O_RDWR | O_CLOEXEC);
        void *at = mmap(NULL, sizeof quiet, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED)
            control = at;
    }
}

static int ours(const char *path) {
    if (!folder || strncmp(path, folder, folder_length) != 0)
        return 0;
    size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, "-shm") == 0)
        return 0;
    return path[folder_length] == '/' || path[folder_length] == 0;
}

static struct watched *watch(int fd) {
    return fd >= 0 && fd < FDS && fds[fd].file ? &fds[fd] : NULL;
}

static void note(struct entry entry, const void *data) {
    if (log_fd < 0)
        return;
    struct iovec parts[2] = {{&entry, sizeof entry}, {(void *)data, data ? entry.length : 0}};
    syscall(SYS_writev, log_fd, parts, 2);
}

static int fails(int which, int skip) {
    if (!control[which])
        return 0;
    if (control[skip] > 0) {
        control[skip]--;
        return 0;
    }
    control[FAULTS]++;
    errno = (int)control[which];
    return 1;
}

static void die_at(int moment) {
    if (!(control[KILL_MASK] & moment))
        return;
    if (control[KILL_SKIP]-- == 0)
        syscall(SYS_kill, getpid(), SIGKILL);
}

static int opens(const char *path, int flags, mode_t mode) {
    if (!ours(path))
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&order);
    struct stat before, after;
    int there = stat(path, &before) == 0;
    int fd = -1;
    if (control[OPEN_ERRNO] && (flags & O_ACCMODE) != O_RDONLY) {
        control[FAULTS]++;
        errno = (int)control[OPEN_ERRNO];
    } else {
        if (!there)
            die_at(BEFORE_ANY);
        uint64_t start = now_ns();
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
        if (fd >= 0 && fd < FDS && fstat(fd, &after) == 0) {
            size_t length = strlen(path);
            fds[fd].file = after.st_ino;
            fds[fd].errors_seen = errors[after.st_ino % 256];
            fds[fd].is_db = length > 3 && strcmp(path + length - 3, ".db") == 0;
            const char *name = path + folder_length;
            struct entry entry = {OPENED, after.st_ino, start, now_ns(), !there, strlen(name)};
            note(entry, name);
            if (there && (flags & O_TRUNC)) {
                struct entry cut = {TRUNCATED, after.st_ino, start, now_ns(), 0, 0};
                note(cut, NULL);
            }
        }
    }
    pthread_mutex_unlock(&order);
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opens(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opens(path, flags, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FDS)
        fds[fd].file = 0;
    return (int)syscall(SYS_close, fd);
}

static ssize_t writes(struct watched *w, int fd, const void *data, size_t length, off_t offset, int at) {
    pthread_mutex_lock(&order);
    ssize_t done = -1;
    control[WRITES]++;
    if (w->is_db)
        control[DB_WRITES]++;
    die_at(w->is_db ? BEFORE_DB_WRITE | BEFORE_ANY : BEFORE_ANY);
    if (!fails(WRITE_ERRNO, WRITE_SKIP)) {
        uint64_t start = now_ns();
        if (!at)
            offset = lseek(fd, 0, SEEK_CUR);
        done = at ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
        if (done > 0) {
            struct entry entry = {WROTE, w->file, start, now_ns(), (uint64_t)offset, (uint64_t)done};
            note(entry, data);
        }
        if (w->is_db)
            die_at(AFTER_DB_WRITE);
    }
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    struct watched *w = watch(fd);
    return w ? writes(w, fd, data, length, 0, 0) : syscall(SYS_write, fd, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    struct watched *w = watch(fd);
    return w ? writes(w, fd, data, length, offset, 1) : syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

static int bad_sector(struct watched *w, off_t from, size_t length) {
    if ((int64_t)w->file != control[READ_FILE] || !control[READ_ERRNO] || from >= control[READ_TO] || from + (off_t)length <= control[READ_FROM])
        return 0;
    control[FAULTS]++;
    errno = (int)control[READ_ERRNO];
    return 1;
}

ssize_t read(int fd, void *data, size_t length) {
    struct watched *w = watch(fd);
    if (w && bad_sector(w, lseek(fd, 0, SEEK_CUR), length))
        return -1;
    return syscall(SYS_read, fd, data, length);
}

ssize_t pread64(int fd, void *data, size_t length, off_t offset) {
    struct watched *w = watch(fd);
    if (w && bad_sector(w, offset, length))
        return -1;
    return syscall(SYS_pread64, fd, data, length, offset);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) {
    return pread64(fd, data, length, offset);
}

int ftruncate64(int fd, off_t size) {
    struct watched *w = watch(fd);
    if (!w)
        return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&order);
    int done = -1;
    die_at(BEFORE_ANY);
    if (!fails(WRITE_ERRNO, WRITE_SKIP)) {
        uint64_t start = now_ns();
        done = (int)syscall(SYS_ftruncate, fd, size);
        struct entry entry = {TRUNCATED, w->file, start, now_ns(), (uint64_t)size, 0};
        if (done == 0)
            note(entry, NULL);
    }
    pthread_mutex_unlock(&order);
    return done;
}

int ftruncate(int fd, off_t size) {
    return ftruncate64(fd, size);
}

/* A sync covers what was written before it began. Other threads may write while it lasts. */
static int syncs(int fd, int how) {
    struct watched *w = watch(fd);
    if (!w)
        return (int)syscall(how, fd);
    pthread_mutex_lock(&order);
    control[SYNCS]++;
    die_at(BEFORE_SYNC | BEFORE_ANY);
    uint64_t number = ++sync_number, start = now_ns();
    int failing = fails(SYNC_ERRNO, SYNC_SKIP), error = errno, late = 0;
    uint64_t *count = &errors[w->file % 256];
    if (failing) {
        *count += 1;
    } else if (*count != w->errors_seen) {
        late = 1;
    }
    w->errors_seen = *count;
    int ignoring = control[IGNORE_SYNCS] != 0;
    uint64_t kind = failing ? SYNC_FAILED : ignoring ? SYNC_IGNORED : SYNC_BEGAN;
    struct entry entry = {kind, w->file, start, start, number, 0};
    note(entry, NULL);
    pthread_mutex_unlock(&order);
    while (control[HANG])
        usleep(1000);
    if (failing) {
        errno = error;
        return -1;
    }
    if (ignoring)
        return 0;
    uint64_t file = w->file;
    int done = (int)syscall(how, fd);
    if (done == 0) {
        pthread_mutex_lock(&order);
        struct entry ended = {SYNC_ENDED, file, start, now_ns(), number, 0};
        note(ended, NULL);
        die_at(AFTER_SYNC);
        pthread_mutex_unlock(&order);
    }
    if (done == 0 && late) {
        errno = EIO;
        return -1;
    }
    return done;
}

int fsync(int fd) {
    return syncs(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return syncs(fd, SYS_fdatasync);
}

int unlink(const char *path) {
    if (!ours(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&order);
    die_at(BEFORE_ANY);
    uint64_t start = now_ns();
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    const char *name = path + folder_length;
    struct entry entry = {UNLINKED, 0, start, now_ns(), 0, strlen(name)};
    if (done == 0)
        note(entry, name);
    pthread_mutex_unlock(&order);
    return done;
}

int rename(const char *from, const char *to) {
    if (!ours(from) || !ours(to))
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&order);
    die_at(BEFORE_ANY);
    uint64_t start = now_ns();
    int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    size_t first = strlen(from) - folder_length, second = strlen(to) - folder_length;
    char names[8192];
    if (done == 0 && first + second + 1 < sizeof names) {
        memcpy(names, from + folder_length, first + 1);
        memcpy(names + first + 1, to + folder_length, second);
        struct entry entry = {RENAMED, 0, start, now_ns(), first, first + 1 + second};
        note(entry, names);
    }
    pthread_mutex_unlock(&order);
    return done;
}
