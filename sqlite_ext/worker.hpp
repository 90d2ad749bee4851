// The thread that serves one file: reads its log, ships, listens, applies. It waits for the lease first, so that among
// all processes one serves and the others stand by.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "shared/sync/status.hpp"
#include "sqlite_ext/lease.hpp"

namespace rowmesh::sqlite {

enum class WorkerPhase { starting, standing_by, serving, failing, parked, ended };
const char* to_string(WorkerPhase phase);

class Worker {
 public:
  // `foreground`: serves whether or not rowmesh_start was called, and writes its log to stderr.
  Worker(std::string path, std::string vfs, bool foreground);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // ---- any thread
  void start();
  void stop();  // and waits for the end of the thread
  void wake();
  bool ended() const;
  WorkerPhase phase() const;
  std::string problem() const;    // why it does not serve; '' if it does
  std::string listening() const;  // '' unless it serves and listens
  // Empty unless this thread serves the file.
  std::optional<NodeStatus> status() const;
  // Makes a position that covers everything committed before the call; waits for its number. 0: not in time.
  PositionNumber cut(std::uint64_t timeout_ms);
  const std::string& path() const { return path_; }

  // ---- fork: before it, everything is closed and the thread stands still; afterwards the parent goes on.
  void park();
  void unpark();
  void abandon();  // in the child: the thread is gone; gives up what was inherited

 private:
  struct Session;

  void main();
  bool wanted();   // rowmesh_start was called, and not rowmesh_stop
  void attempt();  // stands by, or serves until told otherwise
  void serve();
  void serve_loop(Session& session);
  void listen_as_set(Session& session);
  void add_listener(NodeStatus& status);
  void answer_waits(Session& session);
  void note_status(Session& session, bool now);
  void log(char level, const std::string& text);
  void set_phase(WorkerPhase phase, const std::string& problem = "");
  void sleep_ms(int timeout_ms);
  void stand_parked();
  bool must_leave() const { return stop_ || park_; }

  const std::string path_, vfs_;
  const bool foreground_;
  Lease lease_;
  int event_fd_ = -1;
  std::thread thread_;
  std::atomic<bool> stop_ = false, park_ = false;
  std::string log_file_;     // the thread's own
  std::string said_last_;    // the thread's own: the same problem is logged once
  unsigned not_wanted_ = 0;  // the thread's own

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  WorkerPhase phase_ = WorkerPhase::starting;
  std::string problem_, listening_;
  std::optional<NodeStatus> status_;
  std::uint64_t cuts_asked_ = 0, cuts_made_ = 0;
  PositionNumber cut_position_ = 0;
};

}  // namespace rowmesh::sqlite
