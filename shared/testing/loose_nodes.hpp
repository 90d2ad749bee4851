// Nodes whose documents the test itself makes, keeps, and delivers when and as often as it likes: the cut, the document
// maker, the applier and forgetting as they are in every node, without servers, requests and retries.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/sync/applier.hpp"
#include "shared/sync/document_maker.hpp"
#include "shared/testing/memory_store.hpp"
#include "shared/testing/simulated_network.hpp"

namespace rowmesh::testing {

enum class Taken : std::uint8_t { applied, nothing_new, gap, stale, history, clock, incomplete, other };

class LooseNodes {
 public:
  struct Document {
    std::shared_ptr<Body> body;
    std::size_t from = 0;
  };

  // `create`: makes the tables of a node. `forget` false: nothing is ever pruned.
  LooseNodes(std::size_t count, const std::function<void(MemoryStore&)>& create, bool forget = true,
             std::uint64_t seed = 0, Flavour flavour = Flavour::snapshot);
  ~LooseNodes();

  std::size_t size() const { return sites_.size(); }
  MemoryStore& store(std::size_t i) { return *sites_[i]->store; }
  Core& core(std::size_t i) { return *sites_[i]->core; }
  const Core& core(std::size_t i) const { return *sites_[i]->core; }
  Origin origin(std::size_t i) const { return core(i).state.self; }
  void pass(std::uint64_t ms) { now_ms_ += ms; }
  std::uint64_t now_ms() const { return now_ms_; }
  void skew(std::size_t i, std::int64_t ms) { sites_[i]->wall.skew_ms = ms; }

  // One transaction of the application.
  void write(std::size_t i, const std::function<void(MemoryStore&)>& change);
  void insert(std::size_t i, const std::string& table, const Row& row);
  void update(std::size_t i, const std::string& table, const Row& row);
  void remove(std::size_t i, const std::string& table, const Row& key);

  // What a tick does between shipping: takes in local changes, and shows what waited.
  void settle(std::size_t i);
  // All that `to` lacks of what `from` has; `since`: instead of what it has; `only`: of this origin alone.
  Document make(std::size_t from, std::size_t to);
  // `whole`: rows of which no value is left out.
  Document make_since(std::size_t from, const Vector& since, Origin only = 0, const WantedRows& whole = {});
  // Before what waited is shown, as a node ships that has just been written to.
  Document make_unsettled(std::size_t from, const Vector& since, Origin only = 0, const WantedRows& whole = {});
  // Of a document the rows with numbers in this range, as a piece of a copy would bring them.
  Document numbers(const Document& document, std::int64_t first, std::int64_t last);
  Vector applied(std::size_t i) const { return core(i).state.applied; }
  // `wanted`: of an incomplete one, the rows that must come whole.
  Taken deliver(const Document& document, std::size_t to, WantedRows* wanted = nullptr);
  // A document with everything and its delivery, made anew if it was stale.
  void ship(std::size_t from, std::size_t to);
  // Everybody to everybody along `edges`, until nobody learns anything; forgetting on the way.
  void exchange(const std::vector<std::pair<std::size_t, std::size_t>>& edges, std::size_t rounds = 12);
  void exchange_all(std::size_t rounds = 12);
  void forget(std::size_t i) { core(i).prune(); }
  void restart(std::size_t i);                       // as after a crash: only what is on disk is left
  void link(std::size_t left, std::size_t right);    // they know each other as servers
  void meet(std::size_t i, std::size_t other);       // one has the other as a member, as all have from the begin
  void take_out(std::size_t i, std::size_t member);  // as remove_server does
  void look_for_the_gone(std::size_t i);             // as a node does when somebody is found gone, and settle()

  std::string rows(std::size_t i, const std::string& table);  // "key=a,b key=..."
  std::string side(std::size_t i) const;                      // "kind table key ...", of what waits

 private:
  struct Wall : WallClock {
    explicit Wall(const std::uint64_t& now_ms) : now(now_ms) {}
    std::uint64_t now_ms() override { return static_cast<std::uint64_t>(static_cast<std::int64_t>(now) + skew_ms); }
    const std::uint64_t& now;
    std::int64_t skew_ms = 0;
  };
  struct NoClient : HttpClient {
    void send(const std::string&, HttpRequest, std::uint64_t, std::uint64_t, Done) override {}
  };
  struct Site {
    Site(const std::uint64_t& now_ms, std::uint64_t seed) : wall(now_ms), random(seed) {}
    Wall wall;
    SeededRandom random;
    NoClient client;
    std::unique_ptr<MemoryStore> store;
    std::unique_ptr<Core> core;
  };
  void start(std::size_t i);

  std::uint64_t now_ms_ = 1'700'000'000'000;
  bool forget_;
  std::vector<std::unique_ptr<Site>> sites_;
};

}  // namespace rowmesh::testing
