// A few nodes over memory stores that reach each other as `link` says, without faults. Tables: notes and other, with
// the columns code (the key), title, body.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/sync/node.hpp"
#include "shared/testing/memory_store.hpp"
#include "shared/testing/simulated_network.hpp"

namespace rowmesh::testing {

struct SitesWall : WallClock {
  std::uint64_t time_ms = 1'700'000'000'000;
  std::uint64_t now_ms() override { return time_ms; }
};

class Sites : public ::testing::Test {
 protected:
  struct Site {
    std::unique_ptr<MemoryStore> store;
    std::unique_ptr<SeededRandom> random;
    std::unique_ptr<Node> node;
    std::uint64_t wake_ms = 0;
  };

  Sites() : random_(7), network_(wall_.time_ms, random_, [](const std::string&) {}) {}

  void build(std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
      auto site = std::make_unique<Site>();
      std::string uuid = "00000000-0000-4000-8000-" + to_hex(i).substr(4);
      site->store =
          std::make_unique<MemoryStore>(Identity{uuid, random_.next() | 1, "node" + std::to_string(i)}, wall_);
      site->random = std::make_unique<SeededRandom>(i + 1);
      site->store->set("enabled", "on");
      Table table;
      table.wire_name = "notes";
      table.columns = {{"code", ColumnType::text, "text", true, false},
                       {"title", ColumnType::text, "text", false, false},
                       {"body", ColumnType::text, "text", false, false}};
      table.key = {0};
      site->store->create_table(table);
      table.wire_name = "other";
      site->store->create_table(table);
      sites_.push_back(std::move(site));
    }
  }
  // `hides`: of the two, the second has no URL for the first, which so asks for its changes.
  // `change`: of what the first has of the second.
  void link(std::size_t left, std::size_t right, bool hides = false,
            const std::function<void(ServerConfig&)>& change = {}) {
    for (auto [at, to] : {std::pair{left, right}, std::pair{right, left}}) {
      ServerConfig server;
      if (at == left && change) change(server);
      server.name = "node" + std::to_string(to);
      server.url = hides && at == right ? "" : SimulatedNetwork::url(to);
      server.options.first_copy = false;  // these tests look at what comes as changes
      server.secret = "secret " + std::to_string(left) + " " + std::to_string(right);
      sites_[at]->store->add_server(server);
    }
  }
  void start(std::size_t i) {
    Site& site = *sites_[i];
    site.node = std::make_unique<Node>(
        NodeServices{*site.store, wall_, *site.random, network_.client(i), [](char, const std::string&) {}, [] {}});
    site.node->start();
    network_.attach(i, site.node.get());
  }
  void start_all() {
    for (std::size_t i = 0; i < sites_.size(); i++) start(i);
    run(8000);
  }
  void run(std::uint64_t for_ms) {
    std::uint64_t until = wall_.time_ms + for_ms;
    for (; wall_.time_ms < until; wall_.time_ms++) {
      while (network_.next_ms() <= wall_.time_ms) {
        std::size_t at = 0;
        network_.run_next(at);
        sites_[at]->wake_ms = wall_.time_ms;
      }
      for (auto& site : sites_)
        if (site->node && site->wake_ms <= wall_.time_ms)
          site->wake_ms = std::max(site->node->tick(), wall_.time_ms + 1);
    }
  }
  static Row row(const char* code, std::string_view title, std::string_view body) {
    return {Value::of_text(code), Value::of_text(title), Value::of_text(body)};
  }
  // Columns that are not named are null.
  void insert(std::size_t i, const std::string& table, Row values) {
    values.resize(sites_[i]->store->table(table).columns.size());
    in_local(i, [&](MemoryStore& store) { store.insert(table, values); });
  }
  void update(std::size_t i, const std::string& table, Row values) {
    values.resize(sites_[i]->store->table(table).columns.size());
    in_local(i, [&](MemoryStore& store) { store.update(table, std::span(values).first(1), values); });
  }
  void remove(std::size_t i, const std::string& table, const char* code) {
    Row key = {Value::of_text(code)};
    in_local(i, [&](MemoryStore& store) { store.remove(table, key); });
  }
  void in_local(std::size_t i, const std::function<void(MemoryStore&)>& work) {
    sites_[i]->store->begin_local();
    work(*sites_[i]->store);
    sites_[i]->store->commit_local();
    sites_[i]->wake_ms = wall_.time_ms;
  }
  // "code=title,body ..." in order of the keys.
  std::string rows(std::size_t i, const std::string& table) {
    std::string text;
    for (auto& [key, row] : sites_[i]->store->rows(table))
      text += (text.empty() ? "" : " ") + std::string(row.values[0].text) + "=" + std::string(row.values[1].text) +
              "," + (row.values.size() > 2 ? std::string(row.values[2].text) : "");
    return text;
  }
  void rename_title(std::size_t i, const std::string& name, const std::string& table_name = "notes") {
    sites_[i]->store->alter_table(table_name, [&](Table& table) { table.columns[1].name = name; });
    sites_[i]->wake_ms = wall_.time_ms;
  }
  // A column that the others do not know.
  void with_extra(std::size_t i) {
    sites_[i]->store->alter_table("notes", [](Table& table) {
      table.columns.push_back({"extra", ColumnType::text, "text"});
    });
    sites_[i]->wake_ms = wall_.time_ms;
  }
  std::string waiting(std::size_t i) {
    auto waiting = sites_[i]->store->status().waiting;
    return waiting.empty() ? "" : waiting.begin()->first + ": " + waiting.begin()->second;
  }

  SitesWall wall_;
  SeededRandom random_;
  SimulatedNetwork network_;
  std::vector<std::unique_ptr<Site>> sites_;
};

}  // namespace rowmesh::testing
