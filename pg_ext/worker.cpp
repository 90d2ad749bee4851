// The background worker of one database: event loop, store and node in one process and one thread.
#include <algorithm>
#include <memory>
#include <string>

#include "shared/http/body.hpp"
#include "shared/http/late_handler.hpp"
#include "shared/net/event_loop.hpp"
#include "shared/net/listener_settings.hpp"
#include "shared/sync/node.hpp"
#include "shared/web/site.hpp"

#include "pg_ext/administration.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/launcher.hpp"
#include "pg_ext/shared_memory.hpp"
#include "pg_ext/statement.hpp"
#include "pg_ext/store.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"

PGDLLEXPORT void rowmesh_worker_main(Datum argument);
}

namespace rowmesh {
namespace {

void write_log(char level, const std::string& text) {
  int elevel = level == 'e' ? LOG : level == 'w' ? LOG : DEBUG1;
  ereport(elevel, (errmsg_internal("rowmesh: %s", text.c_str()), errhidestmt(true)));
}

class Worker {
 public:
  explicit Worker(SharedSlot* slot)
      : slot_(slot),
        store_(slot),
        loop_(handler_),
        node_(NodeServices{store_, wall_, random_, loop_, write_log, [this] { breathe(); },
                           [this] { return loop_.refusals(); }}),
        administration_(store_, slot),
        site_(SiteServices{node_, store_, administration_, wall_, random_, loop_, write_log,
                           [this](NodeStatus& status) { store_.add_listener(status); }}) {
    loop_.share_ports(
        {[this] { return administration_.neighbours(); }, [this] { return administration_.local_key(); }});
  }

  void run() {
    start();
    guard([&] { make_wait_set(); });
    while (true) turn();
  }

 private:
  // Until it works: a database that cannot be read now (a lock, a migration) can be later.
  void start() {
    std::string last;
    while (true) {
      try {
        node_.start();
        handler_.set(&site_);
        return;
      } catch (const Error& error) {
        store_.rollback();
        if (last != error.what()) write_log('e', last = error.what());
      }
      wait_on_latch(1000);
      stop_if_dropped();
    }
  }

  static void wait_on_latch(long ms) {
    guard([&] {
      WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    });
  }

  void make_wait_set() {
    set_ = CreateWaitEventSet(TopMemoryContext, 3);
    AddWaitEventToSet(set_, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
    AddWaitEventToSet(set_, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
    // The inner epoll set: the listener's and the client's sockets are its affair.
    AddWaitEventToSet(set_, WL_SOCKET_READABLE, loop_.descriptor(), nullptr, nullptr);
  }

  void turn() {
    try {
      configure();
      loop_.run();
      leave_if_held();
      bool heeded = heed(node_.heeds_commits());
      tick();
      loop_.run();  // what the tick wants to send goes out now
      bool heeds = heed(node_.heeds_commits());
      if (!heeds || heeded) wait();
    } catch (const Error& error) {
      store_.rollback();
      write_log('w', error.what());
      wait_on_latch(200);
    }
  }

  // Said before the log is read: whoever commits behind that snapshot sees it and wakes us.
  bool heed(bool commits) {
    if (commits != (pg_atomic_read_u32(&slot_->heeds_commits) != 0)) {
      pg_atomic_write_u32(&slot_->heeds_commits, commits);
      pg_memory_barrier();
    }
    return commits;
  }

  void tick() {
    std::uint64_t wanted = pg_atomic_read_u64(&slot_->wait_requested);
    bool asked = wanted != pg_atomic_read_u64(&slot_->wait_served);
    std::uint64_t cuts = 0;
    if (asked) {
      cuts = node_.status().wait_cut;
      node_.force_cut();
    }
    next_tick_ms_ = node_.tick();
    if (site_.tick_due()) site_.tick(node_.status());
    if (!asked) return;
    NodeStatus status = node_.status();
    if (status.wait_cut == cuts) {  // something stood in the way: again soon
      next_tick_ms_ = std::min(next_tick_ms_, wall_.now_ms() + 10);
      return;
    }
    store_.publish_status(status);
    pg_atomic_write_u64(&slot_->wait_position, status.position);
    pg_write_barrier();
    pg_atomic_write_u64(&slot_->wait_served, wanted);
  }

  void wait() {
    std::uint64_t now = wall_.now_ms();
    std::int64_t timeout =
        next_tick_ms_ > now ? static_cast<std::int64_t>(std::min<std::uint64_t>(next_tick_ms_ - now, 10000)) : 0;
    if (std::int64_t network = loop_.timeout_ms(); network >= 0) timeout = std::min(timeout, network);
    if (loop_.unsettled()) timeout = std::min<std::int64_t>(timeout, 1000);
    guard([&] {
      pgstat_report_activity(STATE_IDLE, nullptr);
      WaitEvent events[3];
      WaitEventSetWait(set_, static_cast<long>(timeout), events, 3, PG_WAIT_EXTENSION);
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
      if (ConfigReloadPending) {
        ConfigReloadPending = 0;
        ProcessConfigFile(PGC_SIGHUP);
        settings_changed_ = true;
        store_.settings_changed();
      }
    });
  }

  // Between the slices of a long apply: answer requests, hear the postmaster.
  void breathe() {
    guard([] { CHECK_FOR_INTERRUPTS(); });
    loop_.run();
  }

  void configure() {
    std::uint64_t generation = store_.config_generation();
    // An address that was taken may be free later, and files with certificates are renewed in place.
    bool listen_again = (!listen_problem_.empty() || loop_.unsettled() || loop_.tls() != TlsMaterial()) &&
                        wall_.now_ms() >= listen_again_ms_;
    if (generation == generation_ && !settings_changed_ && !listen_again) return;
    stop_if_dropped();
    generation_ = generation;
    settings_changed_ = false;
    std::string problem = apply_listener_settings(
        loop_, [this](const std::string& name) { return store_.setting(name); }, has_secret());
    if (std::string warning = listener_warning(loop_);
        warning != listen_warning_ && !(listen_warning_ = warning).empty())
      write_log('w', warning);
    if (problem != listen_problem_ && !problem.empty()) write_log('e', problem);
    if (std::string now = loop_.listening(); now != listening_ && !now.empty())
      ereport(LOG, (errmsg_internal("rowmesh: listening on %s", now.c_str())));
    listen_problem_ = problem;
    listening_ = loop_.listening();
    store_.set_listening(listening_, loop_.inside(), problem);
    listen_again_ms_ = wall_.now_ms() + (loop_.unsettled() ? 1000 : problem.empty() ? 60000 : 5000);
  }

  bool has_secret() {
    for (const ServerConfig& server : store_.servers())
      if (!server.secret.empty()) return true;
    return false;
  }

  // A statement wants the database for itself, perhaps to copy it. What was read of the log is remembered at most 100
  // ms late: a copy without it would take the last changes for its own, and ship them a second time.
  void leave_if_held() {
    if (pg_atomic_read_u32(&slot_->hold) == 0) return;
    node_.remember();
    guard([] { proc_exit(0); });
  }

  // The extension was dropped, or is about to be: the launcher starts a new worker when it comes back.
  void stop_if_dropped() {
    guard([&] {
      if (!worker_may_run(slot_)) proc_exit(0);
      MemoryContextSwitchTo(TopMemoryContext);
    });
  }

  SharedSlot* slot_;
  SystemClock wall_;
  SystemRandom random_;
  PgStore store_;
  LateHandler handler_;
  EventLoop loop_;
  Node node_;
  PgAdministration administration_;
  Site site_;
  WaitEventSet* set_ = nullptr;
  std::uint64_t next_tick_ms_ = 0;
  std::uint64_t generation_ = ~0ULL, listen_again_ms_ = 0;
  bool settings_changed_ = true;
  std::string listening_, listen_problem_, listen_warning_;
};

// Text forms are the same whatever the server's settings are; what rowmesh applies is captured by nobody.
void pin_settings() {
  constexpr const char* pinned[][2] = {{"session_replication_role", "replica"},
                                       {"search_path", "pg_catalog, pg_temp"},
                                       {"DateStyle", "ISO, YMD"},
                                       {"IntervalStyle", "postgres"},
                                       {"extra_float_digits", "1"},
                                       {"bytea_output", "hex"},
                                       {"TimeZone", "UTC"},
                                       {"log_lock_waits", "off"},
                                       {"default_transaction_read_only", "off"},
                                       {"xmloption", "content"},
                                       {"statement_timeout", "0"},
                                       {"idle_in_transaction_session_timeout", "0"},
                                       {"row_security", "off"},
                                       {"default_transaction_deferrable", "off"}};
  for (const auto& [name, value] : pinned) SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
  // In a deadlock with an application (or a DROP EXTENSION) it is the worker that gives way: a waiting session looks
  // for a cycle once, after deadlock_timeout, so the worker looks at once if it comes second, and has given up by then
  // if it came first.
  std::string patience = std::to_string(std::max(DeadlockTimeout * 3 / 4, 50)) + "ms";
  SetConfigOption("lock_timeout", patience.c_str(), PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("deadlock_timeout", "10ms", PGC_SUSET, PGC_S_OVERRIDE);
}

}  // namespace
}  // namespace rowmesh

void rowmesh_worker_main(Datum argument) {
  using namespace rowmesh;
  pqsignal(SIGTERM, die);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
  // A reload between our fork and this line went unheard (CREATE EXTENSION, ALTER SYSTEM, pg_reload_conf in one
  // breath): read the files once more.
  ConfigReloadPending = 1;
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);
  pin_settings();
  SharedSlot* slot = my_slot();
  attach_worker(slot);
  if (!worker_may_run(slot)) proc_exit(0);
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
  make_clock_ready(slot);
  set_ps_display(get_database_name(MyDatabaseId));  // ps shows whose worker it is
  PopActiveSnapshot();
  CommitTransactionCommand();
  MemoryContextSwitchTo(TopMemoryContext);
  door([&] {
    std::string directory = std::string(DataDir) + "/base/pgsql_tmp";
    guard([&] { MakePGDirectory(directory.c_str()); });  // PostgreSQL makes it when it needs it first; it may be there
    Body::set_directory(directory);
    // Never destroyed: a worker ends by proc_exit.
    auto* worker = new Worker(slot);
    worker->run();
  });
}
