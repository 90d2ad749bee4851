#include "shared/http/body.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

struct Directory {
  std::mutex mutex;  // SQLite: several nodes' threads share one process
  std::string path;
};

// Never destroyed: worker threads may outlive the statics of the program that loaded us.
Directory& directory() {
  static Directory* one = new Directory;
  return *one;
}

std::string temporary_directory() {
  std::lock_guard lock(directory().mutex);
  if (!directory().path.empty()) return directory().path;
  const char* from_environment = std::getenv("TMPDIR");
  return from_environment && *from_environment ? from_environment : "/tmp";
}

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorKind::transient, "disk_full",
              what + ": " + std::strerror(errno) + ". Make room there, or set another directory");
}

// A file that nobody else can open and that vanishes with the process.
int open_unlinked_file() {
  std::string where = temporary_directory();
  int fd = ::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::string path = where + "/rowmesh-XXXXXX";  // file systems without O_TMPFILE: NFS, overlayfs of old kernels
  fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) fail("cannot make a temporary file in " + where);
  ::unlink(path.c_str());
  return fd;
}

}  // namespace

void Body::set_directory(const std::string& path) {
  std::lock_guard lock(directory().mutex);
  directory().path = path;
}

Body::Body(std::string bytes) : memory_(std::move(bytes)), size_(memory_.size()) {}

Body::~Body() {
  if (file_fd_ >= 0) ::close(file_fd_);
}

void Body::append(std::string_view bytes) {
  if (!file_ && memory_.size() + bytes.size() > limits::body_memory_bytes) move_to_file();
  if (file_) {
    write_to_file(bytes, size_);
  } else {
    memory_.append(bytes);
  }
  size_ += bytes.size();
}

void Body::move_to_file() {
  if (file_fd_ < 0) file_fd_ = open_unlinked_file();
  write_to_file(memory_, 0);
  file_ = true;
  std::string().swap(memory_);
}

void Body::write_to_file(std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t written = ::pwrite(file_fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write a temporary file in " + temporary_directory());
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

std::size_t Body::read(std::uint64_t offset, char* out, std::size_t room) const {
  if (offset >= size_) return 0;
  std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(room, size_ - offset));
  if (!file_) {
    std::memcpy(out, memory_.data() + offset, wanted);
    return wanted;
  }
  for (;;) {
    ssize_t got = ::pread(file_fd_, out, wanted, static_cast<off_t>(offset));
    if (got > 0) return static_cast<std::size_t>(got);
    if (got < 0 && errno == EINTR) continue;
    throw Error(ErrorKind::transient, "io_error",
                std::string("cannot read back a temporary file: ") +
                    (got < 0 ? std::strerror(errno) : "it has become shorter"));
  }
}

std::string Body::text(std::uint64_t limit) const {
  if (size_ > limit)
    throw Error(
        ErrorKind::protocol, "too_long",
        "a body of " + std::to_string(size_) + " bytes came where at most " + std::to_string(limit) + " are allowed");
  if (!file_) return memory_;
  std::string bytes(static_cast<std::size_t>(size_), '\0');
  for (std::uint64_t offset = 0; offset < size_;)
    offset += read(offset, bytes.data() + offset, static_cast<std::size_t>(size_ - offset));
  return bytes;
}

}  // namespace rowmesh
