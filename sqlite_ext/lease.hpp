// Exactly one worker per file among all processes: whoever holds the lock on the side file `<database>-rowmesh-lock`.
//
// An OFD lock, since it goes with the descriptor: it ends with the process, however it ends, and another thread that
// opens and closes the side file does not drop it. A side file, since opening and closing the database itself would
// drop the process's POSIX locks on it, and with them SQLite's protection (howtocorrupt, 2.2).
#pragma once
#include <sys/types.h>

#include <string>

namespace rowmesh::sqlite {

class Lease {
 public:
  explicit Lease(const std::string& database_path) : path_(lock_path(database_path)) {}
  ~Lease() { release(); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // False: another process has it. Throws Error(config) if the side file cannot be made.
  bool try_take();
  void release() noexcept;
  bool held() const { return fd_ >= 0; }
  // In a fork's child: gives the inherited descriptor up. The lock stays with the parent.
  void abandon() noexcept;

  static std::string lock_path(const std::string& database_path) { return database_path + "-rowmesh-lock"; }

 private:
  std::string path_;
  int fd_ = -1;
};

struct LeaseHolder {
  bool held = false;
  pid_t pid = 0;  // 0: unknown
};
// Who serves the file now. Does not take anything.
LeaseHolder lease_holder(const std::string& database_path);

}  // namespace rowmesh::sqlite
