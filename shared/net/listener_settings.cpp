#include "shared/net/listener_settings.hpp"

#include "shared/model/error.hpp"
#include "shared/model/settings.hpp"

namespace rowmesh {
namespace {

std::int64_t number_of(const ReadSetting& read, const char* name) {
  const Setting& setting = *find_setting(name);
  std::string text = read(name);
  return setting_number(setting, text.empty() ? setting.otherwise : text);
}

ListenerLimits read_limits(const ReadSetting& read) {
  ListenerLimits limits;
  limits.connections = static_cast<std::uint32_t>(number_of(read, "max_connections"));
  limits.connections_per_address = static_cast<std::uint32_t>(number_of(read, "max_connections_per_address"));
  limits.header_bytes = static_cast<std::uint64_t>(number_of(read, "max_header_size")) << 10;
  limits.body_bytes = static_cast<std::uint64_t>(number_of(read, "max_body_size")) << 20;
  limits.request_timeout_ms = static_cast<std::uint64_t>(number_of(read, "request_timeout")) * 1000;
  limits.requests_per_second = static_cast<std::uint32_t>(number_of(read, "max_request_rate"));
  return limits;
}

void listen(EventLoop& loop, const std::string& wanted, bool has_secret) {
  ListenAddress address = parse_listen_address(wanted);
  if (!address.host.empty() && !is_loopback(address) && !has_secret) {
    loop.listen({});
    throw Error(
        ErrorKind::config, "no_secret",
        "will not listen on " + wanted +
            ", which others can reach, while no server has a secret: add one with add_server, or listen on 127.0.0.1");
  }
  loop.listen(address);
}

}  // namespace

void apply_tls_settings(EventLoop& loop, const ReadSetting& read) {
  loop.set_tls(read_tls_files(read("tls_cert_file"), read("tls_key_file"), read("tls_ca_file")));
}

std::string apply_listener_settings(EventLoop& loop, const ReadSetting& read, bool has_secret) {
  std::string problem;
  auto attempt = [&](const std::function<void()>& part) {
    try {
      part();
    } catch (const Error& error) {
      problem += (problem.empty() ? "" : "; ") + std::string(error.what());
    }
  };
  attempt([&] { loop.set_limits(read_limits(read)); });
  attempt([&] { apply_tls_settings(loop, read); });
  if (!read("tls_cert_file").empty() && !loop.tls().serves())
    loop.listen({});  // not without what was asked for
  else
    attempt([&] { listen(loop, read("listen"), has_secret); });
  return problem;
}

std::string listener_warning(const EventLoop& loop) {
  std::string listening = loop.listening();
  bool own = !listening.empty() && loop.inside().empty();  // else it is for the one that holds the port to say
  if (own && !loop.tls().serves() && !is_loopback(parse_listen_address(listening)))
    return "listening on " + listening +
           " without TLS: whoever sits in between can read what is shipped; set tls_cert_file and tls_key_file";
  return certificate_warning(loop.tls());
}

}  // namespace rowmesh
