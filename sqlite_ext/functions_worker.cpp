// rowmesh_start, rowmesh_stop, rowmesh_run: who serves the file.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "sqlite_ext/interface.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

std::string who_serves(const std::string& path) {
  LeaseHolder holder = lease_holder(path);
  if (!holder.held || holder.pid == getpid()) return "started";
  return "started; process " + std::to_string(holder.pid) + " serves this file now, this one takes over when that ends";
}

void start_function(sqlite3* db, const Arguments&, Result result) {
  require_writable(db);
  if (state_value(db, "started") != "1") {
    set_state_value(db, "started", "1");
    bump_generation(db);
  }
  ensure_worker(db)->wake();
  result.text(who_serves(database_path(db)));
}

void stop_function(sqlite3* db, const Arguments&, Result result) {
  require_enabled(db);
  stop_worker(database_path(db));  // before we write: it may be waiting for the lock that we shall hold
  set_state_value(db, "started", "");
  bump_generation(db);  // so that a worker in another process ends, too
  result.text("stopped");
}

// ---- rowmesh_run

std::atomic<bool> signalled = false;
int caught_signal = 0;
struct sigaction before_int, before_term;

void on_signal(int number, siginfo_t* info, void* context) {
  signalled = true;
  caught_signal = number;
  // Whoever wanted it before us gets it as well: Python's KeyboardInterrupt, the shell's interrupt.
  struct sigaction& before = number == SIGINT ? before_int : before_term;
  if (before.sa_flags & SA_SIGINFO)
    before.sa_sigaction(number, info, context);
  else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
    before.sa_handler(number);
}

class SignalsCaught {
 public:
  SignalsCaught() {
    signalled = false;
    struct sigaction ours = {};
    ours.sa_sigaction = on_signal;
    ours.sa_flags = SA_SIGINFO;
    sigaction(SIGINT, &ours, &before_int);
    sigaction(SIGTERM, &ours, &before_term);
  }
  ~SignalsCaught() {
    sigaction(SIGINT, &before_int, nullptr);
    sigaction(SIGTERM, &before_term, nullptr);
  }
};

bool dies_of(int number) {
  const struct sigaction& before = number == SIGINT ? before_int : before_term;
  return !(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_DFL;
}

// sqlite3_is_interrupted is newer than 3.38, but any statement fails with it.
bool interrupted(sqlite3* db) { return sqlite3_exec(db, "SELECT 1", nullptr, nullptr, nullptr) == SQLITE_INTERRUPT; }

void say_once(const Worker& worker, std::string& said) {
  std::string text;
  if (worker.phase() == WorkerPhase::serving)
    text =
        worker.listening().empty()
            ? worker.problem().empty() ? "serves, and listens nowhere (rowmesh_config('listen', '127.0.0.1:port'))" : ""
            : "listens on http://" + worker.listening();
  else if (worker.phase() == WorkerPhase::standing_by)
    text = "stands by: " + worker.problem();
  if (text.empty() || text == said) return;
  std::fprintf(stderr, "rowmesh: %s %s\n", worker.path().c_str(), text.c_str());
  said = text;
}

void run_function(sqlite3* db, const Arguments&, Result result) {
  require_writable(db);
  if (!sqlite3_get_autocommit(db))
    throw Error(ErrorKind::config, "in_transaction",
                "a transaction is open on this connection, and would stay open: commit it before");
  std::string path = database_path(db);
  stop_worker(path);
  auto worker = ensure_worker(db, true);
  int number = 0;
  {
    SignalsCaught caught;
    std::string said;
    for (int looks = 0; !signalled && !interrupted(db) && !worker->ended(); ++looks) {
      if (looks > 2) say_once(*worker, said);
      poll(nullptr, 0, looks < 10 ? 20 : 200);
    }
    stop_worker(path);
    if (signalled && dies_of(caught_signal)) number = caught_signal;
  }
  if (number) raise(number);
  result.text("stopped");
}

}  // namespace

void register_worker_functions(sqlite3* db) {
  define(db, "start", 0, 0, Safety::direct_only, start_function);
  define(db, "stop", 0, 0, Safety::direct_only, stop_function);
  define(db, "run", 0, 0, Safety::direct_only, run_function);
}

}  // namespace rowmesh::sqlite
