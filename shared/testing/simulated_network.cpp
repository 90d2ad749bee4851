#include "shared/testing/simulated_network.hpp"

#include <algorithm>
#include <utility>

#include "shared/model/error.hpp"

namespace rowmesh::testing {
namespace {
constexpr std::size_t looked_through_at = 64;
}

std::uint64_t SeededRandom::next() {
  std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

class SimulatedNetwork::Client : public HttpClient {
 public:
  Client(SimulatedNetwork& network, std::size_t node) : network_(network), node_(node) {}
  void send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit,
            Done done) override {
    (void)answer_limit;
    network_.send(node_, url_base, std::move(request), timeout_ms, std::move(done));
  }

 private:
  SimulatedNetwork& network_;
  std::size_t node_;
};

struct SimulatedNetwork::Exchange {
  std::size_t from = 0, to = 0;
  std::uint64_t senders_life = 0, receivers_life = 0;
  std::string what;
  HttpClient::Done done;  // empty once called
};

SimulatedNetwork::SimulatedNetwork(const std::uint64_t& now_ms, SeededRandom& random,
                                   std::function<void(const std::string&)> story)
    : now_ms_(now_ms), random_(random), story_(std::move(story)) {}

SimulatedNetwork::~SimulatedNetwork() = default;

std::string SimulatedNetwork::url(std::size_t node) { return "http://node" + std::to_string(node); }

HttpClient& SimulatedNetwork::client(std::size_t node) {
  auto& client = clients_[node];
  if (!client) client = std::make_unique<Client>(*this, node);
  return *client;
}

void SimulatedNetwork::attach(std::size_t node, HttpHandler* handler) {
  for (auto& [line, open] : open_)
    if (line.first == node) open = 0;
  handlers_[node] = handler;
  lives_[node]++;
}

void SimulatedNetwork::cut(std::size_t from, std::size_t to, bool is_cut) {
  if (is_cut)
    cuts_.insert({from, to});
  else
    cuts_.erase({from, to});
}

void SimulatedNetwork::heal() {
  cuts_.clear();
  weather = Weather{};
  from_before_healing_ = std::exchange(sent_, {});
}

bool SimulatedNetwork::unanswered(const std::weak_ptr<Exchange>& sent) const {
  auto exchange = sent.lock();
  return exchange && exchange->done && lives_.at(exchange->from) == exchange->senders_life;
}

bool SimulatedNetwork::waits_from_before_healing() const {
  return std::any_of(from_before_healing_.begin(), from_before_healing_.end(),
                     [this](auto& sent) { return unanswered(sent); });
}

std::uint64_t SimulatedNetwork::latency() {
  std::uint64_t time = 1 + random_.below(weather.latency_ms);
  return random_.chance(weather.late) ? time * (1 + random_.below(100)) : time;
}

void SimulatedNetwork::add(std::uint64_t delay_ms, Event event) {
  events_[{now_ms_ + delay_ms, ++last_event_}] = std::move(event);
}

std::uint64_t SimulatedNetwork::next_ms() const {
  return events_.empty() ? ~std::uint64_t{0} : events_.begin()->first.first;
}

void SimulatedNetwork::run_next(std::size_t& at) {
  auto next = events_.begin();
  Event event = std::move(next->second);
  events_.erase(next);
  at = event.at;
  event.happen();
}

void SimulatedNetwork::run_due_for(std::size_t node) {
  for (auto next = events_.begin(); next != events_.end() && next->first.first <= now_ms_;) {
    if (next->second.at != node || !next->second.request) {
      ++next;
      continue;
    }
    Event event = std::move(next->second);
    events_.erase(next);
    event.happen();
    next = events_.begin();
  }
}

void SimulatedNetwork::send(std::size_t from, const std::string& url_base, HttpRequest request,
                            std::uint64_t timeout_ms, HttpClient::Done done) {
  auto exchange = std::make_shared<Exchange>();
  exchange->from = from;
  exchange->to = std::stoul(url_base.substr(url(0).size() - 1));
  exchange->senders_life = lives_[from];
  most_open_ = std::max(most_open_, ++open_[{from, exchange->to}]);
  exchange->what = std::to_string(from) + ">" + std::to_string(exchange->to) + " " + request.method + " " +
                   request.path + (request.body ? " " + std::to_string(request.body->size()) : "");
  exchange->done = std::move(done);
  if (sent_.size() >= looked_through_at) std::erase_if(sent_, [this](auto& sent) { return !unanswered(sent); });
  sent_.push_back(exchange);
  HttpResponse silence;
  silence.error = "no answer in time";
  answer(exchange, silence, timeout_ms);
  if (is_cut(from, exchange->to) || random_.chance(weather.drop)) return story_(exchange->what + " is dropped");
  if (request.body && request.body->size() > 0 && random_.chance(weather.alter)) {
    std::string bytes = request.body->text(request.body->size());
    bytes[random_.below(bytes.size())] ^= static_cast<char>(1 + random_.below(255));
    request.body = std::make_shared<Body>(std::move(bytes));
    exchange->what += " (altered)";
  }
  if (request.body && request.body->size() > 0 && weather.shorten != 0 && random_.chance(weather.shorten)) {
    std::string bytes = request.body->text(request.body->size());
    bytes.resize(random_.below(bytes.size()));
    request.body = std::make_shared<Body>(std::move(bytes));
    exchange->what += " (shortened)";
  }
  request.peer_address = "10.0.0." + std::to_string(from);
  std::size_t copies = random_.chance(weather.duplicate) ? 2 : 1;
  for (std::size_t i = 0; i < copies; i++)
    add(latency(), {exchange->to, true, [this, exchange, request] { arrive(exchange, request, false); }});
}

// `again`: the handler had no answer yet and is asked once more, as the listener does at every turn.
void SimulatedNetwork::arrive(const std::shared_ptr<Exchange>& exchange, const HttpRequest& request, bool again) {
  HttpResponse response;
  response.error = "connection refused";
  HttpHandler* handler = handlers_[exchange->to];
  if (!again) exchange->receivers_life = lives_[exchange->to];
  if (!again && weather.proxy != 0 && random_.chance(weather.proxy)) {
    response = proxy_answer();
    story_(exchange->what + " = " + std::to_string(response.status) + " from a proxy");
    return answer(exchange, std::move(response), latency());
  }
  if (handler && again && lives_[exchange->to] != exchange->receivers_life) handler = nullptr;
  if (handler) {
    try {
      std::uint64_t limit = ~std::uint64_t{0};
      response.error.clear();
      if (!again) response = handler->check(request, limit);
      if (response.status == 0 && request.body && request.body->size() > limit) response.status = 413;
      if (response.status == 0) response = again ? handler->later(request) : handler->handle(request);
      if (response.status == 0) {
        bool gone = !exchange->done || lives_[exchange->to] != exchange->receivers_life;
        if (!gone) add(10, {exchange->to, false, [this, exchange, request] { arrive(exchange, request, true); }});
        return;
      }
    } catch (...) {
      story_(exchange->what + " ended with its server");
      HttpResponse reset;
      reset.error = "connection reset";
      answer(exchange, reset, latency());
      throw;
    }
  }
  if (response.status != 0 && response.body && weather.proxy != 0 && random_.chance(weather.proxy)) {
    std::string half = response.body->text(1u << 20);
    half.resize(half.size() / 2);
    response.body = std::make_shared<Body>(std::move(half));
    exchange->what += " (half an answer)";
  }
  bool lost = is_cut(exchange->to, exchange->from) || random_.chance(weather.lose_answer);
  story_(exchange->what + " = " + std::to_string(response.status) + (lost ? ", answer lost" : "") +
         (response.body && response.status >= 400 ? " " + response.body->text(1u << 20) : ""));
  if (!lost) answer(exchange, std::move(response), latency());
}

HttpResponse SimulatedNetwork::proxy_answer() {
  constexpr int statuses[] = {200, 200, 413, 429, 500, 502, 503, 504};
  HttpResponse response;
  response.status = statuses[random_.below(std::size(statuses))];
  response.body = std::make_shared<Body>("<html><body>Please log in to the hotel's network</body></html>");
  return response;
}

void SimulatedNetwork::answer(const std::shared_ptr<Exchange>& exchange, HttpResponse response,
                              std::uint64_t delay_ms) {
  add(delay_ms, {exchange->from, false, [this, exchange, response] {
                   if (!exchange->done || lives_[exchange->from] != exchange->senders_life) return;
                   open_[{exchange->from, exchange->to}]--;
                   HttpClient::Done done = std::move(exchange->done);
                   exchange->done = nullptr;
                   done(response);
                 }});
}

}  // namespace rowmesh::testing
