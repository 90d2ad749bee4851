#include "sqlite_ext/registry.hpp"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "shared/codec/document.hpp"
#include "shared/http/auth.hpp"
#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr int default_busy_timeout_ms = 5000;

using FileId = std::pair<dev_t, ino_t>;

struct Registry {
  std::mutex mutex;
  std::map<FileId, std::shared_ptr<Worker>> workers;
};

// Never destroyed: threads and exit handlers may outlive static objects.
Registry& registry() {
  static Registry& singleton = *new Registry;
  return singleton;
}

FileId file_id(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0)
    throw Error(ErrorKind::config, "no_file",
                "the database file '" + path + "' is not there (" + std::strerror(errno) + ")");
  return {file.st_dev, file.st_ino};
}

// ---- fork (worker.hpp says why). The registry's mutex is held across it, so that no worker starts meanwhile.

void before_fork() {
  registry().mutex.lock();
  for (auto& [id, worker] : registry().workers) worker->park();
}

void after_fork_in_parent() {
  for (auto& [id, worker] : registry().workers) worker->unpark();
  registry().mutex.unlock();
}

// The child has no workers until the extension is loaded or called again. Destroying would join threads that do not
// exist here.
void after_fork_in_child() {
  for (auto& [id, worker] : registry().workers) {
    worker->abandon();
    new std::shared_ptr<Worker>(worker);
  }
  registry().workers.clear();
  registry().mutex.unlock();
}

void stop_all() {
  std::map<FileId, std::shared_ptr<Worker>> workers;
  // exit() may have been called by a thread that was interrupted while it held the mutex: no hang at exit, whatever
  // happens.
  for (int patience = 0; !registry().mutex.try_lock(); ++patience) {
    if (patience == 200) return;
    usleep(10000);
  }
  workers.swap(registry().workers);
  registry().mutex.unlock();
  for (auto& [id, worker] : workers) worker->stop();
}

void prepare_process() {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    sha256_hex(std::string_view());  // OpenSSL registers its exit handler at first use; ours must come after it
    prepare_document_parser();       // likewise
    stop_at_exit();
  });
}

// Threads are off if SQLite was built without them, or configured so by SQLITE_CONFIG_SINGLETHREAD, which
// sqlite3_threadsafe() does not tell: then all mutexes are one and the same dummy. A connection without a mutex of its
// own says nothing: the sqlite3 shell runs with SQLITE_CONFIG_MULTITHREAD, and the worker has its own connection.
bool has_threads() {
  if (sqlite3_threadsafe() == 0) return false;
  sqlite3_mutex* one = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
  sqlite3_mutex* other = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
  bool real = one && other && one != other;
  sqlite3_mutex_free(one);
  sqlite3_mutex_free(other);
  return real;
}

std::string vfs_name(sqlite3* db) {
  sqlite3_vfs* vfs = nullptr;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
  return vfs && vfs->zName ? vfs->zName : "";
}

// A program without a busy timeout would see SQLITE_BUSY merely because the worker writes: 13 to 32 % of its commits in
// a rollback journal, none with any timeout.
void ensure_busy_timeout(sqlite3* db) {
  if (query_integer(db, "PRAGMA busy_timeout") == 0) sqlite3_busy_timeout(db, default_busy_timeout_ms);
}

}  // namespace

void stop_at_exit() {
  static std::mutex mutex;
  static int registered = 0;
  std::lock_guard guard(mutex);
  if (registered < 3 && std::atexit(stop_all) == 0) ++registered;
}

std::shared_ptr<Worker> ensure_worker(sqlite3* db, bool foreground) {
  std::string path = database_path(db);
  if (!has_threads())
    throw Error(
        ErrorKind::config, "no_threads",
        "this program uses SQLite without threads (SQLITE_THREADSAFE=0 or SQLITE_CONFIG_SINGLETHREAD), so rowmesh "
        "cannot serve from it: "
        "serve the file from another process, for example: sqlite3 file '.load ./rowmesh' 'SELECT rowmesh_run()'");
  std::string vfs = vfs_name(db);
  if (!vfs.starts_with("unix"))
    throw Error(
        ErrorKind::config, "unknown_vfs",
        "this database is reached through the VFS '" + vfs + "'; rowmesh serves ordinary files (VFS 'unix') only");
  ensure_busy_timeout(db);
  prepare_process();
  std::lock_guard guard(registry().mutex);
  auto& worker = registry().workers[file_id(path)];
  if (worker && !worker->ended()) return worker;
  worker = std::make_shared<Worker>(path, vfs, foreground);
  worker->start();
  return worker;
}

void start_if_wanted(sqlite3* db) noexcept {
  try {
    const char* path = sqlite3_db_filename(db, "main");
    if (!path || !*path || sqlite3_db_readonly(db, "main") == 1) return;
    // No side file: rowmesh_start was never called here. An encrypted database, whose key comes later, is then not even
    // touched.
    if (access(Lease::lock_path(path).c_str(), F_OK) != 0) return;
    if (!is_enabled(db) || state_value(db, "started") != "1") return;
    ensure_worker(db);
  } catch (const std::exception&) {
    // The host has a database to work with, whatever is wrong with ours; rowmesh_start says what it is.
  }
}

std::shared_ptr<Worker> find_worker(const std::string& path) {
  std::lock_guard guard(registry().mutex);
  auto at = registry().workers.find(file_id(path));
  return at == registry().workers.end() || at->second->ended() ? nullptr : at->second;
}

std::vector<std::string> worker_paths() {
  std::lock_guard guard(registry().mutex);
  std::vector<std::string> paths;
  for (auto& [id, worker] : registry().workers)
    if (!worker->ended()) paths.push_back(worker->path());
  return paths;
}

void stop_worker(const std::string& path) {
  std::shared_ptr<Worker> worker;
  {
    std::lock_guard guard(registry().mutex);
    auto at = registry().workers.find(file_id(path));
    if (at == registry().workers.end()) return;
    worker = at->second;
    registry().workers.erase(at);
  }
  worker->stop();
}

}  // namespace rowmesh::sqlite
