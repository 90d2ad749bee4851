// A few whole nodes in virtual time, each with a clock of its own, for tests of identities and of clocks.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "shared/sync/node.hpp"
#include "shared/testing/cluster_run.hpp"
#include "shared/testing/memory_store.hpp"
#include "shared/testing/simulated_network.hpp"

namespace rowmesh::testing {

constexpr std::uint64_t day_ms = 24 * 3600 * 1000;

// A few nodes; each knows each under the url of its place.
class Lab {
 public:
  Lab() : random_(4711), network_(now_ms_, random_, [](const std::string&) {}) {}

  MemoryStore& add(const std::string& uuid, Origin origin) {
    auto node = std::make_unique<SimulatedNode>(now_ms_, random_.next());
    node->store = std::make_unique<MemoryStore>(Identity{uuid, origin, "node" + std::to_string(nodes_.size())},
                                                node->wall, Flavour::snapshot);
    Table table;
    table.wire_name = "item";
    table.columns = {{"id", ColumnType::text, "text", true, false},
                     {"v", ColumnType::integer, "integer", false, false}};
    table.key = {0};
    node->store->create_table(table);
    node->store->set("enabled", "on");
    nodes_.push_back(std::move(node));
    return *nodes_.back()->store;
  }
  void link(std::size_t from, std::size_t to, bool hides = false) {
    ServerConfig server;
    server.name = "to " + std::to_string(to);
    server.url = hides ? "" : SimulatedNetwork::url(to);
    server.secret = "one secret";
    server.options.first_copy = false;  // these tests look at what comes as changes
    nodes_[from]->store->add_server(server);
  }
  void start(std::size_t i) {
    SimulatedNode& here = *nodes_[i];
    here.node =
        std::make_unique<Node>(NodeServices{*here.store, here.wall, here.random, network_.client(i),
                                            [](char, const std::string&) {}, [this, i] { network_.run_due_for(i); }});
    here.node->start();
    network_.attach(i, here.node.get());
    here.wake_ms = now_ms_;
  }
  void crash(std::size_t i) {
    network_.attach(i, nullptr);
    nodes_[i]->node.reset();
    nodes_[i]->store->crash();
  }
  void set_clock(std::size_t i, std::int64_t ahead_ms) {
    nodes_[i]->wall.skew_ms = ahead_ms;
    nodes_[i]->wake_ms = 0;
  }
  void attach(std::size_t i, HttpHandler& instead) { network_.attach(i, &instead); }
  // How far the newest version that the node has given or seen is ahead of the time.
  std::int64_t ahead_ms(std::size_t i) {
    return static_cast<std::int64_t>(hlc_to_ms(nodes_[i]->store->clock().now()) - now_ms_);
  }
  std::uint64_t documents_sent(std::size_t i) { return nodes_[i]->node->details().at(0).meters.documents_sent; }
  void insert(std::size_t i, const std::string& id, std::int64_t v = 1) {
    MemoryStore& store = *nodes_[i]->store;
    Value values[] = {Value::of_text(id), Value::of_integer(v)};
    store.begin_local();
    store.insert("item", values);
    store.commit_local();
    nodes_[i]->wake_ms = now_ms_;
  }
  void run_for(std::uint64_t ms) {
    for (std::uint64_t until = now_ms_ + ms; now_ms_ < until;) {
      std::uint64_t next = std::min(until, network_.next_ms());
      for (auto& node : nodes_)
        if (node->node) next = std::min(next, std::max(node->wake_ms, now_ms_));
      now_ms_ = std::max(now_ms_, next);
      std::size_t at = 0;
      if (network_.next_ms() <= now_ms_) {
        network_.run_next(at);
        nodes_[at]->wake_ms = now_ms_;
      }
      for (auto& node : nodes_) {
        if (!node->node || node->wake_ms > now_ms_) continue;
        auto wanted = static_cast<std::int64_t>(node->node->tick()) - node->wall.skew_ms;
        node->wake_ms = std::max(now_ms_ + 1, static_cast<std::uint64_t>(wanted));
      }
    }
  }
  SimulatedNode& node(std::size_t i) { return *nodes_[i]; }
  std::size_t rows(std::size_t i) { return nodes_[i]->store->rows("item").size(); }
  NodeStatus status(std::size_t i) { return nodes_[i]->node->status(); }

 private:
  std::uint64_t now_ms_ = 1'700'000'000'000;
  SeededRandom random_;
  SimulatedNetwork network_;
  std::vector<std::unique_ptr<SimulatedNode>> nodes_;
};

// In place of a node: does not get to some of the requests, and some of its answers do not arrive.
class Between : public HttpHandler {
 public:
  using Which = std::function<bool(const HttpRequest&)>;
  Between(Lab& lab, std::size_t i, Which drops, Which loses = {})
      : node_(*lab.node(i).node), drops_(std::move(drops)), loses_(std::move(loses)) {
    lab.attach(i, *this);
  }
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    return drops_(head) ? nothing() : node_.check(head, body_limit);
  }
  HttpResponse handle(const HttpRequest& request) override {
    HttpResponse response = node_.handle(request);
    return loses_ && loses_(request) ? nothing() : response;
  }
  HttpResponse later(const HttpRequest& request) override { return node_.later(request); }

 private:
  static HttpResponse nothing() {
    HttpResponse response;
    response.status = 503;
    return response;
  }
  Node& node_;
  Which drops_, loses_;
};

constexpr const char* uuid_a = "00000000-0000-4000-8000-00000000000a";
constexpr const char* uuid_b = "00000000-0000-4000-8000-00000000000b";
constexpr const char* uuid_c = "00000000-0000-4000-8000-00000000000c";

// Two linked nodes, up for a while, with a row that has arrived. `asks`: the second one comes for its changes.
inline void run_two(Lab& lab, bool asks = false) {
  lab.add(uuid_a, 0xa);
  lab.add(uuid_b, 0xb);
  lab.link(0, 1, asks);
  lab.link(1, 0);
  lab.start(0);
  lab.start(1);
  lab.insert(0, "before");
  lab.run_for(5000);
}

// Three nodes, each linked with the others.
inline void start_three(Lab& lab) {
  for (auto [uuid, origin] : {std::pair{uuid_a, 0xa}, {uuid_b, 0xb}, {uuid_c, 0xc}}) lab.add(uuid, origin);
  for (std::size_t i : {0, 1, 2})
    for (std::size_t other : {0, 1, 2})
      if (i != other) lab.link(i, other);
  for (std::size_t i : {0, 1, 2}) lab.start(i);
}
inline void run_three(Lab& lab) {
  start_three(lab);
  lab.run_for(5000);
}

// Of run_two: the first one crashes with a row that it has shipped and whose record is not on its disk.
inline void lose_a_record(Lab& lab) {
  lab.insert(0, "its record is written");
  while (lab.rows(1) < 2) lab.run_for(1);
  lab.insert(0, "its record is lost");
  while (lab.rows(1) < 3) lab.run_for(1);
  lab.crash(0);
}

}  // namespace rowmesh::testing
