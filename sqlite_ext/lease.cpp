#include "sqlite_ext/lease.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "shared/model/error.hpp"

namespace rowmesh::sqlite {
namespace {

struct flock whole_file() {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

void write_pid(int fd) {
  std::string text = std::to_string(getpid()) + "\n";
  // For people and messages only, so a failure does no harm.
  if (ftruncate(fd, 0) == 0 && pwrite(fd, text.data(), text.size(), 0) < 0) return;
}

}  // namespace

bool Lease::try_take() {
  if (held()) return true;
  int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0)
    throw Error(
        ErrorKind::config, "no_lock_file",
        "cannot open '" + path_ + "' (" + std::strerror(errno) + "): the folder of the database must be writable");
  // Another user's process must be able to take over: as wide as the database itself, whatever this process's umask is.
  struct stat database;
  if (stat(path_.substr(0, path_.size() - std::strlen("-rowmesh-lock")).c_str(), &database) == 0 &&
      fchmod(fd, database.st_mode & 0666) != 0)
    errno = 0;
  struct flock lock = whole_file();
  if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    int error = errno;
    close(fd);
    if (error == EAGAIN || error == EACCES) return false;
    throw Error(ErrorKind::config, "no_lock",
                "cannot lock '" + path_ + "' (" + std::strerror(error) + "): use a local file system");
  }
  write_pid(fd);
  fd_ = fd;
  return true;
}

void Lease::release() noexcept {
  if (!held()) return;
  // The file stays: removing it would let two processes lock two different files of one name.
  close(fd_);
  fd_ = -1;
}

void Lease::abandon() noexcept { release(); }

LeaseHolder lease_holder(const std::string& database_path) {
  LeaseHolder holder;
  int fd = open(Lease::lock_path(database_path).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return holder;
  struct flock lock = whole_file();
  holder.held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  char text[32] = {};
  if (holder.held && pread(fd, text, sizeof text - 1, 0) > 0) holder.pid = static_cast<pid_t>(std::atol(text));
  close(fd);
  return holder;
}

}  // namespace rowmesh::sqlite
