#include "shared/net/curl_client.hpp"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"
#include "shared/net/signal_block.hpp"

namespace rowmesh {
namespace {

constexpr std::uint64_t connect_timeout_ms = 5000;
constexpr long transfer_buffer_bytes = 256 << 10;
constexpr std::size_t answer_header_bytes = 64 << 10;
constexpr long idle_connections = 64;
constexpr std::size_t handles_kept = 16;

void start_curl_once() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\n' || text.back() == '\t'))
    text.remove_suffix(1);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

}  // namespace

struct CurlClient::Transfer {
  CURL* easy = nullptr;
  curl_slist* header_list = nullptr;
  HttpRequest request;
  std::uint64_t relayed = 0;         // relay()'s number for it; 0: it is not
  std::shared_ptr<ComingBody> body;  // of such a one
  std::uint64_t silence_ms = 0;
  std::uint64_t timeout_ms = 0;
  std::uint64_t sent = 0;  // of a body that is read by the callback
  std::uint64_t answer_limit = 0;
  std::size_t header_bytes = 0;
  HttpResponse response;
  std::string refused;  // why we stopped it ourselves
  HttpClient::Done done;
  char curl_text[CURL_ERROR_SIZE] = {};

  ~Transfer() { curl_slist_free_all(header_list); }
};

// What libcurl calls. No exception may pass through it: the multi handle would be stuck for ever after.
struct CurlClient::Callbacks {
  static int socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
    auto& client = *static_cast<CurlClient*>(self);
    if (what == CURL_POLL_REMOVE) {
      client.poller_.forget(fd);
      client.sockets_.erase(fd);
      return 0;
    }
    std::uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    client.sockets_[fd] = true;
    client.poller_.watch(fd, events);
    return 0;
  }

  static int timer(CURLM*, long timeout_ms, void* self) noexcept {
    // One more than asked for: called too early by a rounding, libcurl would not ask again.
    static_cast<CurlClient*>(self)->timer_at_ms_ = timeout_ms < 0 ? -1 : steady_ms() + timeout_ms + (timeout_ms > 0);
    return 0;
  }

  static std::size_t read(char* out, std::size_t size, std::size_t count, void* transfer) noexcept {
    auto& t = *static_cast<Transfer*>(transfer);
    try {
      std::size_t got = t.request.body->read(t.sent, out, size * count);
      t.sent += got;
      return got;
    } catch (const std::exception& error) {
      t.refused = error.what();
      return CURL_READFUNC_ABORT;
    }
  }

  static std::size_t read_coming(char* out, std::size_t size, std::size_t count, void* transfer) noexcept {
    auto& t = *static_cast<Transfer*>(transfer);
    ComingBody& body = *t.body;
    body.wanted = true;
    if (body.left() == 0 && !body.complete) {
      body.starved = true;
      return CURL_READFUNC_PAUSE;
    }
    std::size_t got = std::min(size * count, body.left());
    std::memcpy(out, body.bytes.data() + body.taken, got);
    body.taken += got;
    t.sent += got;
    if (body.left() == 0) {
      body.bytes.clear();
      body.taken = 0;
    }
    return got;
  }

  // A kept connection that turns out dead makes libcurl begin again on a new one.
  static int seek_coming(void* transfer, curl_off_t offset, int) noexcept {
    return offset == 0 && static_cast<Transfer*>(transfer)->sent == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }

  static int seek(void* transfer, curl_off_t offset, int origin) noexcept {
    if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    static_cast<Transfer*>(transfer)->sent = static_cast<std::uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
  }

  static std::size_t write(char* bytes, std::size_t size, std::size_t count, void* transfer) noexcept {
    auto& t = *static_cast<Transfer*>(transfer);
    try {
      if (!t.response.body) t.response.body = std::make_shared<Body>();
      if (t.response.body->size() + size * count > t.answer_limit) {
        t.refused = "the answer is longer than " + std::to_string(t.answer_limit) + " bytes";
        return 0;
      }
      t.response.body->append({bytes, size * count});
      return size * count;
    } catch (const std::exception& error) {
      t.refused = error.what();
      return 0;
    }
  }

  static std::size_t header(char* bytes, std::size_t size, std::size_t count, void* transfer) noexcept {
    auto& t = *static_cast<Transfer*>(transfer);
    std::string_view line(bytes, size * count);
    try {
      t.header_bytes += line.size();
      if (t.header_bytes > answer_header_bytes) {
        t.refused = "the answer's headers are too long";
        return 0;
      }
      if (line.starts_with("HTTP/")) t.response.headers.clear();  // what came before was an interim answer
      std::size_t colon = line.find(':');
      if (colon == line.npos) return line.size();
      std::string name(line.substr(0, colon));
      for (char& letter : name)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + ('a' - 'A'));
      t.response.headers[name] = trimmed(line.substr(colon + 1));
      return line.size();
    } catch (const std::exception& error) {
      return 0;
    }
  }
};

CurlClient::CurlClient(Poller& poller, long connections_per_host) : poller_(poller) {
  SignalBlock no_signals;
  start_curl_once();
  multi_ = curl_multi_init();
  if (!multi_) throw std::bad_alloc();
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, Callbacks::socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, Callbacks::timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, connections_per_host);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, idle_connections);
}

CurlClient::~CurlClient() {
  SignalBlock no_signals;
  for (auto& [easy, transfer] : transfers_) {
    curl_multi_remove_handle(multi_, easy);
    curl_easy_cleanup(easy);
  }
  for (void* easy : idle_handles_) curl_easy_cleanup(easy);
  curl_multi_cleanup(multi_);
}

void* CurlClient::take_handle() {
  void* easy = nullptr;
  if (idle_handles_.empty()) {
    easy = curl_easy_init();
    if (!easy) throw std::bad_alloc();
  } else {
    easy = idle_handles_.back();
    idle_handles_.pop_back();
  }
  return easy;
}

namespace {

void set_limits(CURL* easy) {
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // else removing a handle waits for a DNS server that does not answer
  curl_easy_setopt(easy, CURLOPT_PROXY, "");       // not from the environment of the program that hosts us
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);  // the path is signed as it is
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, transfer_buffer_bytes);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, transfer_buffer_bytes);
}

}  // namespace

namespace {

void set_tls_options(CURL* easy, const TlsMaterial& tls) {
  auto blob = [easy](CURLoption option, const std::string& pem) {
    curl_blob bytes{const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_COPY};
    if (!pem.empty()) curl_easy_setopt(easy, option, &bytes);
  };
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  blob(CURLOPT_CAINFO_BLOB, tls.authorities);
  blob(CURLOPT_SSLCERT_BLOB, tls.certificate);
  blob(CURLOPT_SSLKEY_BLOB, tls.key);
}

// libcurl names what OpenSSL found; people want to know what to do.
std::string certificate_sentence(long verdict, const std::string& url) {
  std::size_t scheme = url.find("://");
  std::string host = scheme == url.npos ? url : url.substr(scheme + 3, url.find('/', scheme + 3) - scheme - 3);
  switch (verdict) {
    case X509_V_OK:
      return "its certificate is for another name than " + host +
             ": use the name that is in the certificate as the URL's, or give it one for this name";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "its certificate has expired: renew it there";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "its certificate is not valid yet: look at the clocks of both servers";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return "its certificate was signed by a CA that is not known here: set tls_ca_file to the file with that CA's "
             "certificate";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return certificate_sentence(X509_V_OK, url);
    default: return "";
  }
}

}  // namespace

void CurlClient::send(const std::string& url_base, HttpRequest request, std::uint64_t timeout_ms,
                      std::uint64_t answer_limit, HttpClient::Done done) {
  auto transfer = std::make_unique<Transfer>();
  transfer->request = std::move(request);
  transfer->timeout_ms = std::max<std::uint64_t>(timeout_ms, 1);
  transfer->answer_limit = answer_limit;
  transfer->done = std::move(done);
  start(std::move(transfer), url_base);
}

std::uint64_t CurlClient::relay(const std::string& url_base, HttpRequest head, std::shared_ptr<ComingBody> body,
                                std::uint64_t silence_ms, std::uint64_t answer_limit, HttpClient::Done done) {
  auto transfer = std::make_unique<Transfer>();
  transfer->request = std::move(head);
  transfer->body = std::move(body);
  transfer->silence_ms = silence_ms;
  transfer->answer_limit = answer_limit;
  transfer->done = std::move(done);
  std::uint64_t relayed = transfer->relayed = ++relayed_;
  start(std::move(transfer), url_base);
  return relayed;
}

void CurlClient::start(std::unique_ptr<Transfer> transfer, const std::string& url_base) {
  Transfer& t = *transfer;
  SignalBlock no_signals;
  CURL* easy = t.easy = take_handle();
  set_limits(easy);
  set_tls_options(easy, tls_);
  set_time_limits(easy, t);
  std::string url = url_base + t.request.path + (t.request.query.empty() ? "" : "?" + t.request.query);
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t.curl_text);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, Callbacks::write);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &t);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, Callbacks::header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &t);
  set_headers(t);
  set_body(t);
  if (t.request.method == "HEAD")
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  else if (t.request.method != "GET" && t.request.method != "POST")
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t.request.method.c_str());

  transfers_[easy] = std::move(transfer);
  CURLMcode failed = curl_multi_add_handle(multi_, easy);
  if (failed != CURLM_OK) return finish(easy, CURLE_FAILED_INIT);
  int running = 0;
  curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0,
                           &running);  // begin at once, not at the next turn of the loop
  collect();
}

void CurlClient::set_time_limits(void* easy, const Transfer& t) {
  if (t.relayed != 0) {
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(t.silence_ms / 1000));
    curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, static_cast<long>(2 * t.silence_ms));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_timeout_ms));
    return;
  }
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(t.timeout_ms));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::min(connect_timeout_ms, t.timeout_ms)));
  if (t.request.bytes_per_second != 0) {
    curl_easy_setopt(easy, CURLOPT_MAX_SEND_SPEED_LARGE, static_cast<curl_off_t>(t.request.bytes_per_second));
    curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, static_cast<curl_off_t>(t.request.bytes_per_second));
  }
}

void CurlClient::set_headers(Transfer& t) {
  auto add = [&](const std::string& line) { t.header_list = curl_slist_append(t.header_list, line.c_str()); };
  // Unasked, "Expect" would cost a round trip, or a second against a server that does not know it.
  add(t.body ? "Expect: 100-continue" : "Expect:");
  bool typed = t.request.headers.contains("content-type");
  if (t.relayed == 0) {
    if (t.request.body && !typed) add("Content-Type: application/octet-stream");
  } else {
    if (!typed) add("Content-Type:");
    if (!t.request.headers.contains("accept")) add("Accept:");
    if (t.body && !t.body->size) add("Transfer-Encoding: chunked");
  }
  for (const auto& [name, value] : t.request.headers) add(value.empty() ? name + ";" : name + ": " + value);
  curl_easy_setopt(t.easy, CURLOPT_HTTPHEADER, t.header_list);
}

void CurlClient::set_body(Transfer& t) {
  if (t.request.method != "POST" && !t.request.body && !t.body) return;
  curl_easy_setopt(t.easy, CURLOPT_POST, 1L);
  if (t.body) {
    auto size = t.body->size ? static_cast<curl_off_t>(*t.body->size) : -1;
    curl_easy_setopt(t.easy, CURLOPT_POSTFIELDSIZE_LARGE, size);
    curl_easy_setopt(t.easy, CURLOPT_READFUNCTION, Callbacks::read_coming);
    curl_easy_setopt(t.easy, CURLOPT_READDATA, &t);
    curl_easy_setopt(t.easy, CURLOPT_SEEKFUNCTION, Callbacks::seek_coming);
    curl_easy_setopt(t.easy, CURLOPT_SEEKDATA, &t);
    return;
  }
  std::uint64_t size = t.request.body ? t.request.body->size() : 0;
  curl_easy_setopt(t.easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(size));
  bool in_memory = !t.request.body || t.request.body->in_memory().size() == size;
  if (in_memory) {
    curl_easy_setopt(t.easy, CURLOPT_POSTFIELDS, size > 0 ? t.request.body->in_memory().data() : "");
  } else {
    curl_easy_setopt(t.easy, CURLOPT_READFUNCTION, Callbacks::read);
    curl_easy_setopt(t.easy, CURLOPT_READDATA, &t);
    curl_easy_setopt(t.easy, CURLOPT_SEEKFUNCTION, Callbacks::seek);
    curl_easy_setopt(t.easy, CURLOPT_SEEKDATA, &t);
  }
}

CurlClient::Transfer* CurlClient::find(std::uint64_t relayed) {
  for (auto& [easy, transfer] : transfers_)
    if (transfer->relayed == relayed) return transfer.get();
  return nullptr;
}

void CurlClient::go_on(std::uint64_t relayed) {
  Transfer* t = find(relayed);
  if (!t || !t->body || !std::exchange(t->body->starved, false)) return;
  SignalBlock no_signals;
  curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

void CurlClient::cancel(std::uint64_t relayed) {
  for (auto& ended : ended_)
    if (ended->relayed == relayed) ended->done = [](const HttpResponse&) {};
  Transfer* t = find(relayed);
  if (!t) return;
  SignalBlock no_signals;
  CURL* easy = t->easy;
  curl_multi_remove_handle(multi_, easy);
  curl_easy_cleanup(easy);
  transfers_.erase(easy);
}

void CurlClient::socket_ready(int fd, std::uint32_t events) {
  SignalBlock no_signals;
  int mask = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
             (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
  int running = 0;
  curl_multi_socket_action(multi_, fd, mask, &running);
  collect();
}

void CurlClient::run_timer() {
  if (timer_at_ms_ < 0 || steady_ms() < timer_at_ms_) return;
  SignalBlock no_signals;
  timer_at_ms_ = -1;
  int running = 0;
  curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  collect();
}

void CurlClient::collect() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left))
    if (message->msg == CURLMSG_DONE) finish(message->easy_handle, message->data.result);
}

void CurlClient::finish(void* easy, int code) {
  auto at = transfers_.find(easy);
  std::unique_ptr<Transfer> t = std::move(at->second);
  transfers_.erase(at);
  if (code == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    t->response.status = static_cast<int>(status);
  } else {
    const char* text = curl_easy_strerror(static_cast<CURLcode>(code));
    long system_error = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system_error);
    t->response = HttpResponse();
    t->response.error = !t->refused.empty() ? t->refused : t->curl_text[0] ? t->curl_text : text;
    t->response.tls_failed = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
                             code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE ||
                             code == CURLE_SSL_CIPHER;
    if (code == CURLE_PEER_FAILED_VERIFICATION) {
      long verdict = 0;
      char* url = nullptr;
      curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
      curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
      if (std::string_view(t->curl_text).find("subject name") != std::string_view::npos)
        verdict = X509_V_OK;  // libcurl compares names itself
      if (std::string sentence = certificate_sentence(verdict, url ? url : ""); !sentence.empty())
        t->response.error = sentence;
    } else if (code == CURLE_SSL_CONNECT_ERROR && t->response.error.find("wrong version number") != std::string::npos) {
      t->response.error =
          "it does not speak TLS there: write the URL with http://, or set tls_cert_file and tls_key_file there";
    } else if (code == CURLE_GOT_NOTHING) {
      t->response.error =
          "it closed the connection without an answer: if it has tls_cert_file set, write the URL with https://";
    }
    if (code == CURLE_COULDNT_CONNECT && system_error != 0)
      t->response.error += std::string(" (") + std::strerror(static_cast<int>(system_error)) + ")";
  }
  curl_multi_remove_handle(multi_, easy);
  curl_easy_reset(easy);
  if (idle_handles_.size() < handles_kept)
    idle_handles_.push_back(easy);
  else
    curl_easy_cleanup(easy);
  ended_.push_back(std::move(t));
}

// A `done` may send, and may run the loop; what ends meanwhile waits for its turn here.
void CurlClient::dispatch() {
  if (dispatching_) return;
  struct Guard {
    bool& flag;
    ~Guard() { flag = false; }
  } guard{dispatching_};
  dispatching_ = true;
  while (!ended_.empty()) {
    std::unique_ptr<Transfer> t = std::move(ended_.front());
    ended_.pop_front();
    t->done(std::move(t->response));
  }
}

std::int64_t CurlClient::timeout_ms() const {
  if (!ended_.empty() && !dispatching_) return 0;
  return timer_at_ms_ < 0 ? -1 : std::max<std::int64_t>(0, timer_at_ms_ - steady_ms());
}

}  // namespace rowmesh
