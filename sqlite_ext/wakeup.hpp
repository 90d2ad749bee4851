// Learns of other connections' commits within a fraction of a millisecond: inotify on the folder says that somebody
// wrote, `PRAGMA data_version` says that a commit is visible. The event comes before the commit can be seen (with
// synchronous=FULL practically always: an fsync lies between), hence the ladder of second looks.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <string>

#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {

class Wakeup {
 public:
  using Clock = std::chrono::steady_clock;

  // `db`: the worker's own connection, whose commits do not count. Watching is best effort: without inotify (limits,
  // network file systems) the poll remains.
  Wakeup(sqlite3* db, const std::string& database_path);
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  int descriptor() const { return inotify_fd_; }  // readable: call noticed(); -1: there is none
  void noticed();                                 // drains the events; begins the ladder if one speaks of our file
  Clock::time_point next_look() const { return next_look_; }
  // True if another connection committed since the last call. Outside of transactions.
  bool committed();
  // False once the path leads to another file than the one we opened, or to none.
  bool same_file() const;

 private:
  bool look();

  Statement version_query_;
  std::string path_, base_;
  int inotify_fd_ = -1;
  std::int64_t version_ = -1;
  std::size_t rung_;
  Clock::time_point next_look_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace rowmesh::sqlite
