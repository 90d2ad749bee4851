// The inside of run_plan().
#pragma once
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "shared/testing/cluster.hpp"
#include "shared/testing/workload.hpp"

namespace rowmesh::testing {

struct SkewedWall : WallClock {
  explicit SkewedWall(const std::uint64_t& now_ms) : now(now_ms) {}
  std::uint64_t now_ms() override { return static_cast<std::uint64_t>(static_cast<std::int64_t>(now) + skew_ms); }
  const std::uint64_t& now;
  std::int64_t skew_ms = 0;
};

// What cluster_invariants.cpp has seen of a node.
struct Watched {
  PositionNumber position = 0;                     // own, at the last look
  std::uint64_t committed = 0;                     // Ledger::now() then
  std::map<PositionNumber, std::uint64_t> covers;  // up to which number of the ledger a position surely goes
  std::map<std::size_t, std::uint64_t> checked;    // and up to which each other node's were looked for here
};

struct SimulatedNode {
  SimulatedNode(const std::uint64_t& now_ms, std::uint64_t seed) : wall(now_ms), random(seed), workload(store) {}
  SkewedWall wall;
  SeededRandom random;
  std::unique_ptr<MemoryStore> store;
  std::unique_ptr<Node> node;  // null: down
  Workload workload;
  std::uint64_t wake_ms = 0;
  bool writing = false;
  bool full = false;                  // its disk: nothing can be written
  std::uint64_t closed_until_ms = 0;  // its backup is being put back
  bool gone = false;                  // for good: it is no member any more
  bool adds_late = false;
  bool joining = false;  // it has not got its copy yet
  bool copies_by_itself = false, copied = false;
  bool copies_late = false, asked_late = false;  // nor asks for it until it has been written to
  Watched watched;
  std::vector<std::function<void()>> unadded;  // its servers, which it has not been told of yet
  std::string copy_from, copy_ended;           // by this server; what the log says if it failed
};

class ClusterRun {
 public:
  ClusterRun(const Plan& plan, bool keep_story);
  Outcome run();

 private:
  static constexpr std::uint64_t start_ms = 1'700'000'000'000;

  void build_node(std::size_t i);
  void link();
  bool may_add_late(std::size_t i) const;
  void add_what_is_left(std::size_t i);
  void start(std::size_t i);
  void stop(std::size_t i);
  void tick(std::size_t i);
  void guarded(std::size_t& at, const std::function<void()>& action);
  void reach(std::size_t i, Point point);
  void transact(std::size_t i);
  void disturb();
  void backup_or_restore(std::size_t i);
  bool has_heard_servers(std::size_t i) const;
  bool is_ahead(const SimulatedNode& node) const;
  bool may_be_copied(const SimulatedNode& node) const;
  bool all_added() const;
  void discard(std::size_t i);
  void set_clock(std::size_t i);
  void discarding(std::size_t i, const std::function<void()>& step);
  void obey();
  void live();
  void step_until(std::uint64_t until_ms);
  void heal();
  void settle();

  // cluster_topology.cpp
  bool linked(std::size_t i, std::size_t j) const;
  bool connected_without(std::pair<std::size_t, std::size_t> edge, std::size_t leaver) const;
  std::size_t random_member();
  void add_server(std::size_t at, std::size_t to, bool hides);
  void remove_server(std::size_t at, std::size_t from);
  void add_link(std::size_t i, std::size_t j);
  void change_topology();
  void finish_topology();
  void finish_one();
  void link_one_after_another(std::size_t i, std::size_t first);
  void link_two();
  void unlink_two();
  void join();
  void ask_for_copy(std::size_t i, const std::string& server);
  void copy(std::size_t i);
  void copy(std::size_t i, std::size_t j);
  void read_log(std::size_t i, const std::string& line);
  void look_at_copy(std::size_t i);
  void leave();
  void forgive_unsent(std::size_t leaver);

  // cluster_clones.cpp
  void clone(std::size_t i);
  void look_at_clone();
  void add_clone();
  void note_numbers(std::size_t i);
  bool had_other_number(const std::string& value) const;
  void add_those_of_other_numbers(std::set<std::string>& rows) const;
  bool goes_to_original(const ServerConfig& server);
  void make_servers_those_of_original();
  static bool waits_for_identity(const SimulatedNode& node);
  bool is_clone(std::size_t i) const;  // that has no identity of its own yet

  // cluster_checks.cpp
  std::vector<std::size_t> members() const;
  void collect_present(std::size_t i, std::set<std::string>& present,
                       std::initializer_list<const char*> tables = {"things", "names", "parts"}) const;
  void collect_listed(std::size_t i, std::set<std::string>& listed) const;
  void fail(const std::string& why);
  void tell(const std::string& line);
  std::string difference() const;
  void check();
  void check_rest();
  std::set<std::string> contested_rows() const;
  bool at_rest() const;
  bool all_streaming() const;
  bool a_clock_is_ahead() const;
  std::uint64_t documents_sent() const;
  void check_liveness();

  // cluster_invariants.cpp
  void watch();
  void look_for_twice(std::size_t i, std::initializer_list<const char*> tables);
  void look_for_risen();
  void look_for_room();
  void look_for_bounds(std::size_t i);
  std::uint64_t covered(std::size_t i, std::size_t other) const;
  void look_for_written(std::size_t i, std::size_t other, std::uint64_t after, std::uint64_t upto,
                        const std::set<std::string>& present);
  void note_coverage(std::size_t i);
  void watch_progress(std::size_t i);

  Plan plan_;
  SeededRandom random_;
  bool keep_story_;
  bool healing_ = false;
  std::uint64_t now_ms_ = start_ms;
  std::uint64_t steps_ = 0;
  Outcome outcome_;
  SimulatedNetwork network_;
  Ledger ledger_;
  std::vector<std::unique_ptr<SimulatedNode>> nodes_;
  struct Backup {
    std::size_t node = 0;
    std::function<void()> put_back;  // empty: none was made yet
    std::uint64_t ledger = 0;
    bool used = false;
    std::set<std::string> lost_parts;  // what the node had written when it was put back, and until it came back
  };
  Backup backup_;
  struct Clone {
    std::size_t of = 0, node = 0;        // 0: there is none, as node 0 never is one
    bool added = false;                  // to the servers of the other one, under an identity of its own
    bool unnoticed = false;              // both ran under one
    std::uint64_t ledger = 0;            // where that began
    std::set<std::string> under_way;     // values that had not come to the other one by then
    std::uint64_t doubted_until_ms = 0;  // who has heard both may refuse the other one so long, at its next greeting
  };
  Clone clone_;
  std::multimap<std::string, std::string> had_numbers_;     // of rows of who comes back: table and number, by value
  std::vector<std::pair<std::size_t, std::size_t>> edges_;  // the lower number first
  std::vector<std::function<void()>> unfinished_;           // what was changed on one side of a link only
  std::size_t joined_ = 0;
};

}  // namespace rowmesh::testing
