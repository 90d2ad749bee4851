#include "shared/net/http_client.hpp"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

#include "shared/model/error.hpp"
#include "shared/net/signals.hpp"

namespace rowmesh {
namespace {

constexpr long connect_timeout_ms = 5000;
constexpr long upload_buffer_bytes = 512 << 10;

std::int64_t steady_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

struct Transfer {
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  std::shared_ptr<Body> upload;
  std::uint64_t sent = 0;
  HttpResponse response;
  std::uint64_t answer_limit = 0;
  bool too_long = false;
  char error[CURL_ERROR_SIZE] = "";
  HttpClient::Done done;

  ~Transfer() {
    if (easy) curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }
};

std::size_t take_body(char* bytes, std::size_t size, std::size_t count, void* data) noexcept {
  auto& transfer = *static_cast<Transfer*>(data);
  if (transfer.response.body->size() + size * count > transfer.answer_limit) {
    transfer.too_long = true;
    return 0;
  }
  try {
    transfer.response.body->append({bytes, size * count});
  } catch (...) {
    return 0;
  }
  return size * count;
}

std::size_t take_header(char* bytes, std::size_t size, std::size_t count, void* data) noexcept {
  auto& transfer = *static_cast<Transfer*>(data);
  std::string_view line(bytes, size * count);
  std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || transfer.response.headers.size() > 100) return size * count;
  try {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' ')) value.remove_suffix(1);
    transfer.response.headers[name] = value;
  } catch (...) {
    return 0;
  }
  return size * count;
}

std::size_t give_body(char* out, std::size_t size, std::size_t count, void* data) noexcept {
  auto& transfer = *static_cast<Transfer*>(data);
  std::size_t read = transfer.upload->read(transfer.sent, out, size * count);
  transfer.sent += read;
  return read;
}

int rewind_body(void* data, curl_off_t offset, int origin) noexcept {
  if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  static_cast<Transfer*>(data)->sent = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

}  // namespace

struct CurlClient::State {
  CURLM* multi = nullptr;
  int epoll_fd = -1;
  std::int64_t deadline_ms = -1;  // by steady_ms; -1: none
  std::map<CURL*, std::unique_ptr<Transfer>> transfers;

  static int watch(CURL*, curl_socket_t socket, int what, void* data, void* known) noexcept {
    auto& state = *static_cast<State*>(data);
    if (what == CURL_POLL_REMOVE) {
      epoll_ctl(state.epoll_fd, EPOLL_CTL_DEL, socket, nullptr);
      curl_multi_assign(state.multi, socket, nullptr);
      return 0;
    }
    epoll_event event{};
    event.data.fd = socket;
    if (what & CURL_POLL_IN) event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
    epoll_ctl(state.epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
    curl_multi_assign(state.multi, socket, data);
    return 0;
  }

  static int set_timer(CURLM*, long timeout_ms, void* data) noexcept {
    static_cast<State*>(data)->deadline_ms = timeout_ms < 0 ? -1 : steady_ms() + timeout_ms;
    return 0;
  }
};

CurlClient::CurlClient() : state_(std::make_unique<State>()) {
  SignalBlock block;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  state_->multi = curl_multi_init();
  state_->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (!state_->multi || state_->epoll_fd < 0) throw Error(ErrorKind::transient, "no_client", "the HTTP client cannot be set up: out of memory or file descriptors");
  curl_multi_setopt(state_->multi, CURLMOPT_SOCKETFUNCTION, &State::watch);
  curl_multi_setopt(state_->multi, CURLMOPT_SOCKETDATA, state_.get());
  curl_multi_setopt(state_->multi, CURLMOPT_TIMERFUNCTION, &State::set_timer);
  curl_multi_setopt(state_->multi, CURLMOPT_TIMERDATA, state_.get());
  curl_multi_setopt(state_->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 4L);
}

CurlClient::~CurlClient() {
  SignalBlock block;
  for (auto& [easy, transfer] : state_->transfers) curl_multi_remove_handle(state_->multi, easy);
  state_->transfers.clear();
  curl_multi_cleanup(state_->multi);
  close(state_->epoll_fd);
}

int CurlClient::descriptor() const { return state_->epoll_fd; }

std::int64_t CurlClient::timeout_ms() const {
  return state_->deadline_ms < 0 ? -1 : std::max<std::int64_t>(0, state_->deadline_ms - steady_ms());
}

void CurlClient::send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_limit, HttpClient::Done done) {
  SignalBlock block;
  auto transfer = std::make_unique<Transfer>();
  CURL* easy = transfer->easy = curl_easy_init();
  if (!easy) throw Error(ErrorKind::transient, "no_client", "the HTTP client cannot make another request: out of memory");
  transfer->upload = request.body;
  transfer->answer_limit = answer_limit;
  transfer->response.body = std::make_shared<Body>();
  transfer->done = std::move(done);
  std::string url = url_base + request.path + (request.query.empty() ? "" : "?" + request.query);
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // the host's proxy variables are not meant for traffic between servers
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // a resolver that hangs would otherwise be joined: 5.3 s of standstill, measured
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ms));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, std::min<long>(connect_timeout_ms, static_cast<long>(timeout_ms)));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer.get());
  for (auto& [name, value] : request.headers) transfer->headers = curl_slist_append(transfer->headers, (name + ": " + value).c_str());
  transfer->headers = curl_slist_append(transfer->headers, "expect:");
  if (request.method == "POST") {
    if (!transfer->upload) transfer->upload = std::make_shared<Body>();
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer->upload->size()));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &give_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer.get());
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &rewind_body);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer.get());
    if (transfer->upload->size() > static_cast<std::uint64_t>(upload_buffer_bytes)) curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, upload_buffer_bytes);
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
  state_->transfers.emplace(easy, std::move(transfer));
  curl_multi_add_handle(state_->multi, easy);
  int running = 0;
  curl_multi_socket_action(state_->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

void CurlClient::run() {
  {
    SignalBlock block;
    int running = 0;
    epoll_event events[64];
    int count = epoll_wait(state_->epoll_fd, events, 64, 0);
    for (int i = 0; i < count; i++) {
      int what = 0;
      if (events[i].events & EPOLLIN) what |= CURL_CSELECT_IN;
      if (events[i].events & EPOLLOUT) what |= CURL_CSELECT_OUT;
      if (events[i].events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
      curl_multi_socket_action(state_->multi, events[i].data.fd, what, &running);
    }
    if (state_->deadline_ms >= 0 && state_->deadline_ms <= steady_ms()) {
      state_->deadline_ms = -1;
      curl_multi_socket_action(state_->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
  }
  std::vector<std::unique_ptr<Transfer>> finished;
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(state_->multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    CURLcode code = message->data.result;
    auto node = state_->transfers.extract(easy);
    Transfer& transfer = *node.mapped();
    if (code == CURLE_OK) {
      long status = 0;
      curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
      transfer.response.status = static_cast<int>(status);
    } else if (transfer.too_long) {
      transfer.response.error = "the answer is longer than " + std::to_string(transfer.answer_limit) + " bytes";
    } else {
      transfer.response.error = transfer.error[0] ? transfer.error : curl_easy_strerror(code);
    }
    SignalBlock block;
    curl_multi_remove_handle(state_->multi, easy);
    finished.push_back(std::move(node.mapped()));
  }
  for (auto& transfer : finished) transfer->done(std::move(transfer->response));
}

}  // namespace rowmesh
