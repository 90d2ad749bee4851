// A network in virtual time: carries HttpRequests between the nodes of one process, late, twice, altered or not at all.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "shared/http/message.hpp"
#include "shared/model/clock.hpp"

namespace rowmesh::testing {

// splitmix64: the same numbers for a seed on every machine.
class SeededRandom : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override;
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool chance(unsigned per_mille) { return below(1000) < per_mille; }

 private:
  std::uint64_t state_;
};

struct Weather {
  std::uint64_t latency_ms = 20;  // 1 to this much
  unsigned late = 0;              // per mille: takes up to 100 times as long, so others overtake it
  unsigned drop = 0;              // the request never arrives
  unsigned lose_answer = 0;       // it was carried out, but the sender never hears of it
  unsigned duplicate = 0;         // it arrives twice
  unsigned alter = 0;             // a byte of the request's body is another
  unsigned shorten = 0;           // the request's body ends too early
  unsigned proxy = 0;             // somebody in between answers: 413, 429, 5xx, a page with status 200, half an answer
};

class SimulatedNetwork {
 public:
  // `now_ms` is moved by whoever runs the simulation. `story` gets a line per event.
  SimulatedNetwork(const std::uint64_t& now_ms, SeededRandom& random, std::function<void(const std::string&)> story);
  ~SimulatedNetwork();

  Weather weather;

  static std::string url(std::size_t node);  // "http://node3"
  HttpClient& client(std::size_t node);
  // Null: the node is down. Answers to what it sent before never reach it.
  void attach(std::size_t node, HttpHandler* handler);
  void cut(std::size_t from, std::size_t to, bool is_cut);  // one way
  void heal();

  // Requests of one node to another that are not answered yet.
  std::size_t most_open() const { return most_open_; }
  // Of those that were on their way when it healed, is one without an answer still? If it was lost, its sender waits
  // until its time is up.
  bool waits_from_before_healing() const;

  std::uint64_t next_ms() const;  // time of the next event; ~0: none
  // Carries the next event out; returns the node that it happened at. Lets pass what the handler throws, after the
  // sender has been told that there will be no answer; `at` is set before.
  void run_next(std::size_t& at);
  // Requests that wait for `node` and are due: for NodeServices::breathe.
  void run_due_for(std::size_t node);

 private:
  class Client;
  HttpResponse proxy_answer();
  struct Exchange;
  struct Event {
    std::size_t at = 0;
    bool request = false;
    std::function<void()> happen;
  };
  void send(std::size_t from, const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms,
            HttpClient::Done done);
  void arrive(const std::shared_ptr<Exchange>& exchange, const HttpRequest& request, bool again);
  void answer(const std::shared_ptr<Exchange>& exchange, HttpResponse response, std::uint64_t delay_ms);
  std::uint64_t latency();
  bool unanswered(const std::weak_ptr<Exchange>& sent) const;
  void add(std::uint64_t delay_ms, Event event);
  bool is_cut(std::size_t from, std::size_t to) const { return cuts_.count({from, to}) != 0; }

  const std::uint64_t& now_ms_;
  SeededRandom& random_;
  std::function<void(const std::string&)> story_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Event> events_;  // by time, then in the order of adding
  std::uint64_t last_event_ = 0;
  std::map<std::pair<std::size_t, std::size_t>, std::size_t>
      open_;  // of what the sender has sent since it was attached
  std::size_t most_open_ = 0;
  std::vector<std::weak_ptr<Exchange>> sent_, from_before_healing_;  // those that were answered go now and then
  std::map<std::size_t, std::unique_ptr<Client>> clients_;
  std::map<std::size_t, HttpHandler*> handlers_;
  std::map<std::size_t, std::uint64_t> lives_;  // how often each node was attached
  std::set<std::pair<std::size_t, std::size_t>> cuts_;
};

}  // namespace rowmesh::testing
