// Nodes in virtual time for tests that look at one thing, where ClusterRun plays with everything at once.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "shared/sync/node.hpp"
#include "shared/testing/memory_store.hpp"
#include "shared/testing/simulated_network.hpp"

namespace rowmesh::testing {

class NodePair {
 public:
  struct Wall : WallClock {
    explicit Wall(const std::uint64_t& now_ms) : now(now_ms) {}
    std::uint64_t now_ms() override { return now; }
    const std::uint64_t& now;
  };

  explicit NodePair(std::size_t nodes = 2) {
    for (std::size_t i = 0; i < nodes; i++) {
      stores.push_back(std::make_unique<MemoryStore>(Identity{uuid(i), 100 + i, "node" + std::to_string(i)}, wall));
      Table table;
      table.wire_name = "items";
      table.columns = {{"id", ColumnType::text, "text", true, false}, {"v", ColumnType::text, "text", false, false}};
      table.key = {0};
      stores[i]->create_table(table);
      stores[i]->set("enabled", "on");
      handlers.push_back(nullptr);
    }
  }

  static std::string uuid(std::size_t i) { return "00000000-0000-4000-8000-" + to_hex(i).substr(4); }

  bool first_copies = false;  // who is new begins with a copy by itself (shared/sync/joining.cpp)

  // `hides`: it has no URL here.
  std::int64_t add_server(std::size_t at, std::size_t to, const std::string& secret, bool hides = false) {
    ServerConfig server;
    server.name = "node" + std::to_string(to);
    server.url = hides ? "" : SimulatedNetwork::url(to);
    server.secret = secret;
    server.options.first_copy = first_copies;
    return stores[at]->add_server(server);
  }

  // Each has the other as a server.
  void link(std::size_t one, std::size_t other) {
    std::string secret = std::to_string(one) + std::to_string(other);
    add_server(one, other, secret), add_server(other, one, secret);
  }

  void start() {
    for (std::size_t i = 0; i < stores.size(); i++) {
      nodes.emplace_back();
      start(i);
    }
  }
  // After a crash.
  void restart(std::size_t i) {
    network.attach(i, nullptr);
    nodes[i].reset();
    stores[i]->crash();
    start(i);
  }

  void write(std::size_t at, const std::string& key, const std::string& value) {
    std::vector<Value> row = {Value::of_text(key), Value::of_text(value)};
    stores[at]->begin_local();
    stores[at]->insert("items", row);
    stores[at]->commit_local();
  }
  std::size_t rows(std::size_t at) const { return stores[at]->rows("items").size(); }
  std::string text_of_rows(std::size_t at) const {
    std::map<std::string_view, std::string_view> sorted;
    for (auto& [key, row] : stores[at]->rows("items")) sorted[row.values[0].text] = row.values[1].text;
    std::string text;
    for (auto& [key, value] : sorted) text += std::string(key) + " " + std::string(value) + ", ";
    return text;
  }

  // Neither reaches the other.
  void cut(std::size_t one, std::size_t other, bool is_cut = true) {
    network.cut(one, other, is_cut), network.cut(other, one, is_cut);
  }

  void run_for(std::uint64_t ms) {
    for (std::uint64_t until = now_ms + ms; now_ms < until; now_ms += 10) {
      for (auto& node : nodes) node->tick();
      while (network.next_ms() <= now_ms) {
        std::size_t at = 0;
        network.run_next(at);
      }
    }
  }
  void start(std::size_t i) {
    nodes[i] =
        std::make_unique<Node>(NodeServices{*stores[i], wall, random, network.client(i),
                                            [this](char, const std::string& text) { lines.push_back(text); }, [] {}});
    nodes[i]->start();
    network.attach(i, handlers[i] ? handlers[i] : nodes[i].get());
  }
  ServerStatus status(std::size_t at, std::size_t server = 0) const { return nodes[at]->status().servers.at(server); }

  std::uint64_t now_ms = 1'700'000'000'000;
  Wall wall{now_ms};
  SeededRandom random{5};
  SimulatedNetwork network{now_ms, random, [](const std::string&) {}};
  std::vector<std::unique_ptr<MemoryStore>> stores;
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<HttpHandler*> handlers;  // in place of a node, to see what comes
  std::vector<std::string> lines;      // of all logs
};

// Does not get to the documents of one node, as if that one had frozen between its hello and its first document.
class WithoutDocuments : public HttpHandler {
 public:
  WithoutDocuments(NodePair& all, std::size_t here, std::size_t of, std::string asked = "/rowmesh/v1/changes")
      : nodes(all), at(here), unheard(of), path(std::move(asked)) {}
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override {
    return nodes.nodes[at]->check(head, body_limit);
  }
  HttpResponse handle(const HttpRequest& request) override {
    auto from = request.headers.find("x-rowmesh-node");
    bool dropped = request.path == path && from != request.headers.end() && from->second == NodePair::uuid(unheard);
    if (!dropped) return nodes.nodes[at]->handle(request);
    HttpResponse response;
    response.status = 503;
    return response;
  }
  HttpResponse later(const HttpRequest& request) override { return nodes.nodes[at]->later(request); }

  NodePair& nodes;
  std::size_t at, unheard;
  std::string path;
};

}  // namespace rowmesh::testing
