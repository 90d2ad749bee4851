// Life of the thread: start, stop, stand by, park. What it does while it serves is in serve.cpp.
#include "sqlite_ext/worker.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>

#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr int retry_ms = 500;  // for the lease, and after a failure
constexpr unsigned patience =
    120;  // looks at a file that does not want to be served: rowmesh_start's transaction may be open
constexpr auto exit_patience = std::chrono::seconds(10);

// The host's handlers must run in the host's threads.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

const char* to_string(WorkerPhase phase) {
  switch (phase) {
    case WorkerPhase::starting: return "starting";
    case WorkerPhase::standing_by: return "standing by";
    case WorkerPhase::serving: return "serving";
    case WorkerPhase::failing: return "failing";
    case WorkerPhase::parked: return "parked";
    case WorkerPhase::ended: return "ended";
  }
  return "";
}

Worker::Worker(std::string path, std::string vfs, bool foreground)
    : path_(std::move(path)),
      vfs_(std::move(vfs)),
      foreground_(foreground),
      lease_(path_),
      event_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (event_fd_ < 0)
    throw Error(ErrorKind::transient, "no_descriptor", "this process has too many open files for another worker");
}

Worker::~Worker() {
  stop();
  close(event_fd_);
}

void Worker::start() {
  SignalsBlocked blocked;
  thread_ = std::thread([this] { main(); });
  pthread_setname_np(thread_.native_handle(), "rowmesh");
}

void Worker::stop() {
  stop_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
}

void Worker::wake() {
  std::uint64_t one = 1;
  if (write(event_fd_, &one, sizeof one) < 0) return;  // full: it will wake anyway
}

bool Worker::ended() const { return phase() == WorkerPhase::ended; }

WorkerPhase Worker::phase() const {
  std::lock_guard guard(mutex_);
  return phase_;
}

std::string Worker::problem() const {
  std::lock_guard guard(mutex_);
  return problem_;
}

std::string Worker::listening() const {
  std::lock_guard guard(mutex_);
  return listening_;
}

std::optional<NodeStatus> Worker::status() const {
  std::lock_guard guard(mutex_);
  return status_;
}

PositionNumber Worker::cut(std::uint64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  std::uint64_t ticket = ++cuts_asked_;
  wake();
  bool made = changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return cuts_made_ >= ticket; });
  return made ? cut_position_ : 0;
}

void Worker::main() {
  while (!stop_) {
    if (park_) {
      stand_parked();
      continue;
    }
    try {
      attempt();
    } catch (const std::exception& error) {
      lease_.release();
      set_phase(WorkerPhase::failing, error.what());
      if (said_last_ != error.what()) log('e', said_last_ = error.what());
      sleep_ms(retry_ms);
    }
    if (not_wanted_ > patience) break;
  }
  lease_.release();
  set_phase(WorkerPhase::ended, "");
}

void Worker::attempt() {
  if (access(path_.c_str(), F_OK) != 0) {
    ++not_wanted_;
    return sleep_ms(retry_ms);
  }
  if (!lease_.try_take()) {
    LeaseHolder holder = lease_holder(path_);
    set_phase(WorkerPhase::standing_by,
              "process " + std::to_string(holder.pid) + " serves this file; this one takes over when that ends");
    return sleep_ms(retry_ms);
  }
  if (!foreground_ && !wanted()) {
    lease_.release();
    // It served, and rowmesh_stop was called somewhere: the end. Otherwise rowmesh_start's transaction may not be
    // committed yet.
    not_wanted_ = phase() == WorkerPhase::starting ? not_wanted_ + 1 : patience + 1;
    return sleep_ms(retry_ms / 10);
  }
  not_wanted_ = 0;
  serve();
}

bool Worker::wanted() {
  sqlite3* db = nullptr;
  bool wanted = false;
  int code = sqlite3_open_v2(path_.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                             vfs_.empty() ? nullptr : vfs_.c_str());
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(db, 1000);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    try {
      wanted = is_enabled(db) && state_value(db, "started") == "1";
    } catch (const Error&) {
      wanted = false;  // locked by somebody: asked again soon
    }
  }
  sqlite3_close(db);
  return wanted;
}

void Worker::stand_parked() {
  lease_.held();  // kept: the parent goes on serving
  std::unique_lock lock(mutex_);
  phase_ = WorkerPhase::parked;
  status_.reset();
  changed_.notify_all();
  changed_.wait(lock, [&] { return !park_ || stop_; });
  phase_ = WorkerPhase::failing;
}

// fork() while a thread is inside of SQLite breaks SQLite in the child: its mutexes and in-process lock tables are
// copied as they are (22 of 300 children broken at 50 commits a second; none with this).
void Worker::park() {
  park_ = true;
  wake();
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, exit_patience, [&] { return phase_ == WorkerPhase::parked || phase_ == WorkerPhase::ended; });
}

void Worker::unpark() {
  {
    std::lock_guard guard(mutex_);
    park_ = false;
  }
  changed_.notify_all();
}

void Worker::abandon() {
  lease_.abandon();
  close(event_fd_);
}

void Worker::set_phase(WorkerPhase phase, const std::string& problem) {
  std::lock_guard guard(mutex_);
  phase_ = phase;
  problem_ = problem;
  if (phase != WorkerPhase::serving) {
    status_.reset();
    listening_.clear();
  }
  changed_.notify_all();
}

void Worker::sleep_ms(int timeout_ms) {
  pollfd waiting = {event_fd_, POLLIN, 0};
  std::uint64_t count;
  if (!must_leave() && poll(&waiting, 1, timeout_ms) > 0 && read(event_fd_, &count, sizeof count) < 0) return;
}

void Worker::log(char level, const std::string& text) {
  if (log_file_.empty() && !foreground_) return;
  char time_text[32];
  std::time_t now = std::time(nullptr);
  std::tm parts;
  std::strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
  FILE* file = log_file_.empty() ? stderr : std::fopen(log_file_.c_str(), "ae");
  if (!file) return;
  const char* word = level == 'e' ? "error" : level == 'w' ? "warning" : "info";
  if (!log_file_.empty() || level != 'i')
    std::fprintf(file, "%s rowmesh %s %s: %s\n", time_text, path_.c_str(), word, text.c_str());
  if (file != stderr) std::fclose(file);
}

}  // namespace rowmesh::sqlite
