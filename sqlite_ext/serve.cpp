// What the worker's thread does while it holds the lease.
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "shared/http/late_handler.hpp"
#include "shared/net/event_loop.hpp"
#include "shared/net/listener_settings.hpp"
#include "shared/sync/node.hpp"
#include "shared/web/site.hpp"
#include "sqlite_ext/administration.hpp"
#include "sqlite_ext/registry.hpp"
#include "sqlite_ext/schema.hpp"
#include "sqlite_ext/store.hpp"
#include "sqlite_ext/system.hpp"
#include "sqlite_ext/wakeup.hpp"
#include "sqlite_ext/worker.hpp"

namespace rowmesh::sqlite {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Clock = Wakeup::Clock;

constexpr auto status_interval = milliseconds(20);
constexpr auto file_check_interval = std::chrono::seconds(1);

}  // namespace

struct Worker::Session {
  SystemClock wall;
  SystemRandom random;
  SqliteStore store;
  Wakeup wakeup;
  LateHandler forwarder;
  EventLoop loop;
  Node node;
  SqliteAdministration administration;
  Site site;
  bool settings_changed = true;
  std::string listen_warning;
  std::uint64_t generation = 0;
  Clock::time_point status_at, file_check_at, listen_retry_at, tick_at;

  Session(const std::string& path, const std::string& vfs, const std::function<void(char, const std::string&)>& log,
          const std::function<bool()>& must_leave, const std::function<void(NodeStatus&)>& add_listener)
      : store(path, wall, log, vfs.empty() ? nullptr : vfs.c_str()),
        wakeup(store.connection(), path),
        loop(forwarder),
        node({store, wall, random, loop, log, [this, must_leave] { breathe(must_leave); },
              [this] { return loop.refusals(); }}),
        administration(store.connection(), path),
        site({node, store, administration, wall, random, loop, log, add_listener}) {
    status_at = file_check_at = listen_retry_at = tick_at = Clock::now();  // cppcheck-suppress useInitializationList
    loop.share_ports({[this] { return administration.neighbours(); }, [this] { return administration.local_key(); }});
  }
  ~Session() { forwarder.set(nullptr); }

  // Between slices of a long apply. Leaving it half done is safe: it is one transaction, and comes again.
  void breathe(const std::function<bool()>& must_leave) {
    if (must_leave())
      throw Error(ErrorKind::transient, "stopping", "the worker is told to stop; what is half done is done again");
    loop.run();
  }
};

void Worker::serve() {
  Session session(
      path_, vfs_, [this](char level, const std::string& text) { log(level, text); }, [this] { return must_leave(); },
      [this](NodeStatus& status) { add_listener(status); });
  stop_at_exit();  // after libcurl and OpenSSL have registered theirs, so that ours comes first
  log_file_ = session.store.setting("log_file");
  {
    // Answers that nobody fetched.
    Statement old_waits(session.store.connection(),
                        "DELETE FROM main.rowmesh_state WHERE key>='wait.' AND key<'wait/' AND value<>''");
    old_waits.run();
  }
  session.node.start();
  session.forwarder.set(&session.site);
  said_last_.clear();
  set_phase(WorkerPhase::serving);
  serve_loop(session);
  session.store.flush_status();
}

void Worker::serve_loop(Session& session) {
  bool look = true;
  while (!must_leave()) {
    auto now = Clock::now();
    look |= session.wakeup.committed();
    if (look || now >= session.tick_at) {
      if (std::uint64_t generation = session.store.config_generation(); generation != session.generation) {
        session.generation = generation;
        if (!foreground_ && state_value(session.store.connection(), "started") != "1") return;
        log_file_ = session.store.setting("log_file");
        session.settings_changed = true;
      }
      listen_as_set(session);
      answer_waits(session);
      std::uint64_t wanted_at = session.node.tick();
      if (session.site.tick_due()) session.site.tick(session.node.status());
      std::uint64_t now_ms = session.wall.now_ms();
      session.tick_at =
          Clock::now() + milliseconds(wanted_at > now_ms ? std::min<std::uint64_t>(wanted_at - now_ms, 1000) : 0);
      note_status(session, false);
    }
    if (now >= session.file_check_at) {
      session.file_check_at = now + file_check_interval;
      if (!session.wakeup.same_file()) {
        log('w', "the database file was replaced or removed: starting anew with what is there now");
        return;
      }
    }
    auto until = std::min(session.tick_at, session.wakeup.next_look());
    if (std::int64_t loop_ms = session.loop.timeout_ms(); loop_ms >= 0)
      until = std::min(until, Clock::now() + milliseconds(loop_ms));
    nanoseconds rest = std::max(nanoseconds(0), std::chrono::duration_cast<nanoseconds>(until - Clock::now()));
    timespec timeout = {static_cast<time_t>(rest.count() / 1000000000), static_cast<long>(rest.count() % 1000000000)};
    pollfd sources[] = {
        {event_fd_, POLLIN, 0}, {session.loop.descriptor(), POLLIN, 0}, {session.wakeup.descriptor(), POLLIN, 0}};
    int ready = ppoll(sources, 3, &timeout, nullptr);
    look = false;
    if (ready > 0 && (sources[0].revents & POLLIN)) {
      std::uint64_t count;
      look = read(event_fd_, &count, sizeof count) > 0;
    }
    if (ready > 0 && (sources[2].revents & POLLIN)) session.wakeup.noticed();
    bool loop_ready = ready > 0 && sources[1].revents;
    session.loop.run();
    look |= loop_ready;
  }
}

// The setting may name an address that is taken for a moment: tried again, and said. Files with certificates are
// renewed in place.
void Worker::listen_as_set(Session& session) {
  auto now = Clock::now();
  if (!session.settings_changed && now < session.listen_retry_at) return;
  session.settings_changed = false;
  bool has_secret = false;
  for (const ServerConfig& server : session.store.servers()) has_secret |= !server.secret.empty();
  std::string problem = apply_listener_settings(
      session.loop, [&](const std::string& name) { return session.store.setting(name); }, has_secret);
  session.listen_retry_at = now + std::chrono::seconds(problem.empty() && !session.loop.unsettled() ? 60 : 1);
  if (!problem.empty() && said_last_ != problem) log('e', said_last_ = problem);
  std::string warning = listener_warning(session.loop);
  if (warning != session.listen_warning && !(session.listen_warning = warning).empty()) log('w', warning);
  session.store.set_listening(session.loop.listening(), session.loop.inside());
  std::lock_guard guard(mutex_);
  problem_ = problem;
  listening_ = session.loop.listening();
  changed_.notify_all();
}

void Worker::add_listener(NodeStatus& status) {
  std::lock_guard guard(mutex_);
  status.listening = listening_;
  status.listen_problem = problem_;
}

// rowmesh_wait of this process asks by cut(), that of others by a row: an empty value is the question, the position the
// answer.
void Worker::answer_waits(Session& session) {
  std::uint64_t asked;
  {
    std::lock_guard guard(mutex_);
    asked = cuts_asked_ > cuts_made_ ? cuts_asked_ : 0;
  }
  // Read before the cut: a question that comes after it needs another one.
  sqlite3* db = session.store.connection();
  std::vector<std::string> questions;
  Statement query(db, "SELECT key FROM main.rowmesh_state WHERE key>='wait.' AND key<'wait/' AND value=''");
  while (query.step()) questions.push_back(query.string(0));
  query.reset();
  if (!asked && questions.empty()) return;
  std::uint64_t before = session.node.status().wait_cut;
  session.node.force_cut();
  session.node.tick();
  NodeStatus status = session.node.status();
  if (status.wait_cut == before) return;  // the store was busy: next time
  for (const std::string& question : questions) {
    Statement answer(db, "UPDATE main.rowmesh_state SET value=?1 WHERE key=?2");
    answer.bind(1, std::to_string(status.position)).bind(2, question).run();
  }
  std::lock_guard guard(mutex_);
  status.listening = listening_;
  status_ = status;
  if (asked) cuts_made_ = asked;
  cut_position_ = status.position;
  changed_.notify_all();
}

void Worker::note_status(Session& session, bool now) {
  if (!now && Clock::now() < session.status_at) {
    session.tick_at = std::min(session.tick_at, session.status_at);
    return;
  }
  session.status_at = Clock::now() + status_interval;
  NodeStatus status = session.node.status();
  std::lock_guard guard(mutex_);
  status.listening = listening_;
  status_ = std::move(status);
  changed_.notify_all();
}

}  // namespace rowmesh::sqlite
