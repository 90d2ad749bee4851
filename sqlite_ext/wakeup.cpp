#include "sqlite_ext/wakeup.hpp"

#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace rowmesh::sqlite {
namespace {

using std::chrono::microseconds;

constexpr std::array<microseconds, 7> ladder = {microseconds(0),    microseconds(200),  microseconds(500),
                                                microseconds(1000), microseconds(2000), microseconds(5000),
                                                microseconds(10000)};
// For what inotify does not tell: another container on the same volume, a network file system.
constexpr auto poll_interval = std::chrono::milliseconds(500);

}  // namespace

Wakeup::Wakeup(sqlite3* db, const std::string& database_path)
    : version_query_(db, "PRAGMA main.data_version"),
      path_(database_path),
      rung_(ladder.size()),
      next_look_(Clock::now()) {
  std::size_t slash = path_.rfind('/');
  base_ = path_.substr(slash + 1);
  std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  // The folder, not the file: -wal and -journal come and go.
  inotify_fd_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify_fd_ >= 0 &&
      inotify_add_watch(inotify_fd_, folder.c_str(), IN_MODIFY | IN_DELETE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
    close(inotify_fd_);
    inotify_fd_ = -1;
  }
  struct stat file;
  if (stat(path_.c_str(), &file) == 0) {
    device_ = file.st_dev;
    inode_ = file.st_ino;
  }
}

Wakeup::~Wakeup() {
  if (inotify_fd_ >= 0) close(inotify_fd_);
}

void Wakeup::noticed() {
  alignas(inotify_event) char buffer[16 * (sizeof(inotify_event) + NAME_MAX + 1)];
  bool ours = false;
  for (ssize_t got; (got = read(inotify_fd_, buffer, sizeof buffer)) > 0;) {
    for (char* at = buffer; at < buffer + got;) {
      auto* event = reinterpret_cast<inotify_event*>(at);
      std::string_view name(event->len ? event->name : "");
      // An overflow has no name: look.
      if ((event->mask & IN_Q_OVERFLOW) || name == base_ ||
          (name.starts_with(base_) && (name.substr(base_.size()) == "-wal" || name.substr(base_.size()) == "-journal")))
        ours = true;
      at += sizeof(inotify_event) + event->len;
    }
  }
  if (!ours) return;
  rung_ = 0;
  next_look_ = Clock::now();
}

bool Wakeup::look() {
  std::int64_t version = version_;
  bool seen = false;
  try {
    Resetter resetter(version_query_);
    if (version_query_.step()) {
      version = version_query_.integer(0);
      seen = true;
    }
  } catch (const Error&) {
    // BUSY while a writer commits in a rollback journal: not a new baseline, look again.
  }
  if (!seen || version == version_) return false;
  version_ = version;
  return true;
}

bool Wakeup::committed() {
  auto now = Clock::now();
  if (now < next_look_) return false;
  bool changed = look();
  // Further events restart the ladder; after the last rung only the poll remains.
  if (rung_ < ladder.size()) ++rung_;
  next_look_ = Clock::now() + (rung_ < ladder.size() ? Clock::duration(ladder[rung_]) : Clock::duration(poll_interval));
  return changed;
}

bool Wakeup::same_file() const {
  struct stat file;
  return stat(path_.c_str(), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_;
}

}  // namespace rowmesh::sqlite
