"""The system calls at which the crash tests cut a verb off."""

OPENING = ("open", "openat", "creat")
CHANGING = (
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "truncate", "ftruncate", "fallocate", "fsync", "fdatasync"),
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utimensat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
)
LOOKING = (  # and openings that make and empty nothing; a clone by ioctl is among them
    *("stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat"),
    *("read", "pread64", "readv", "preadv", "preadv2", "lseek", "getdents", "getdents64", "statfs", "fstatfs"),
    *("getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "flock", "fcntl", "ioctl"),
)
INTERRUPTIBLE = (  # may return EINTR, as their manual pages say
    *("open", "openat", "creat", "write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile"),
    *("truncate", "ftruncate", "fallocate", "fsync", "fdatasync"),
)
NAMES = ("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir")
