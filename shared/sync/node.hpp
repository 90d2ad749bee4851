// A node: everything that rowmesh does apart from storing and sending bytes. Driven by events, deterministic, one
// thread.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shared/http/message.hpp"
#include "shared/sync/held.hpp"
#include "shared/sync/meters.hpp"
#include "shared/sync/status.hpp"
#include "shared/sync/store.hpp"

namespace rowmesh {

struct NodeServices {
  Store& store;
  WallClock& wall;
  Random& random;
  HttpClient& client;
  // Lines for the engine's log. level: 'i' info, 'w' warning, 'e' error.
  std::function<void(char level, const std::string& text)> log;
  // Called between slices of a long apply so that the listener stays alive; may call Node::handle (which then answers
  // from memory or queues).
  std::function<void()> breathe;
  // What the listener refused before the node heard of it. May be empty.
  std::function<RefusalCounts()> listener_refusals = {};
};

// What is worth knowing of a server beyond its status.
struct ServerDetail {
  std::int64_t id = 0;
  std::string name;
  bool met = false;  // what follows was heard from it
  std::map<std::string, std::string>
      misfits;  // wire name of each table of ours -> why it does not fit there; '': it fits
  ServerMeters meters;
};

class Node : public HttpHandler {
 public:
  explicit Node(const NodeServices& services);
  ~Node() override;

  void start();  // loads configuration, history and side rows. Throws Error
  // Something may have been committed here, or configuration changed, or time has come. Returns the time (ms since
  // 1970) at which it wants to be called again at the latest. Catches and reports errors of the store; what it throws
  // is a bug.
  std::uint64_t tick();
  // Whether a commit would be shipped at once. If not, tick() is called in time for it without being woken: all servers
  // are busy with what they have been sent, or there is none.
  bool heeds_commits() const;
  // wait(): makes a new position at the next tick even if nothing changed; NodeStatus::wait_cut counts them.
  void force_cut();
  // Before this run ends: everything that was committed here is read and in the history, as far as the store lets it.
  void remember();

  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit) override;
  HttpResponse handle(const HttpRequest& request) override;
  HttpResponse later(const HttpRequest& request) override;

  NodeStatus status() const;
  std::vector<ServerDetail> details() const;
  Held held() const;
  std::map<std::string, std::uint64_t> conflicts_by_type() const;  // since the start
  // Whether the request is signed by a server of ours that is enabled. Once for each request: a second look would be a
  // replay.
  bool signed_by_server(const HttpRequest& head);
  void count_refused(RefusedFor why);
  // A transaction is open on the store: a long document is being applied, and whoever calls was let in by `breathe`.
  bool in_transaction() const;
  void require_idle() const;  // throws Error(transient, "node_busy") then

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// test_server: one row per check. Synchronous for the caller: `exchange` sends a request and waits for the answer.
struct ServerCheck {
  std::string check;
  bool ok = false;
  std::string detail;
  std::uint64_t ms = 0;
};
using Exchange = std::function<HttpResponse(const std::string& url_base, HttpRequest request)>;
std::vector<ServerCheck> test_server(const ServerConfig& server, const Identity& self, const std::vector<Table>& tables,
                                     const Exchange& exchange, WallClock& wall, Random& random);

}  // namespace rowmesh
