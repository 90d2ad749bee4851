#include "shared/model/settings.hpp"

#include <charconv>
#include <cmath>

#include "shared/model/error.hpp"

namespace rowmesh {
namespace {

constexpr auto text = SettingKind::text;
constexpr auto choice = SettingKind::choice;
constexpr auto number = SettingKind::number;

constexpr Setting settings[] = {
    {"listen", text, in_both, "",
     "Address and port on which other servers reach this database, such as 127.0.0.1:8081, and a path if other "
     "databases of this machine share them, such as 127.0.0.1:8081/stock; empty: it does not listen."},
    {"tls_cert_file", text, in_both, "",
     "File with the certificate (PEM, with its chain) for TLS: of the listener, and shown to other servers."},
    {"tls_key_file", text, in_both, "",
     "File with the private key of tls_cert_file (PEM, no passphrase, not readable by everybody)."},
    {"tls_ca_file", text, in_both, "",
     "File with the CA certificates (PEM) that sign the certificates of other servers; then each of them must show "
     "one. Empty: the system's list."},
    {"max_connections", number, in_both, "256",
     "Connections that the listener holds open; one more is answered with 503.", SettingUnit::none, 8, 10000},
    {"max_connections_per_address", number, in_both, "128", "The same from one address.", SettingUnit::none, 1, 10000},
    {"max_header_size", number, in_both, "32", "Size of a request's headers; longer ones are answered with 431.",
     SettingUnit::kilobytes, 4, 128},
    {"max_body_size", number, in_both, "8192", "Size of a request's body; a longer one is answered with 413.",
     SettingUnit::megabytes, 1, 8192},
    {"request_timeout", number, in_both, "60",
     "Time for the head of a request, and for a body in which nearly nothing comes; then 408.", SettingUnit::seconds, 1,
     3600},
    {"max_request_rate", number, in_both, "5000",
     "Requests a second from one address; more are answered with 429. 0: any number.", SettingUnit::none, 0, 1000000},
    {"retention", number, in_both, "604800",
     "How long changes are kept for a server that does not come, while others do; then it needs a copy when it is "
     "back.",
     SettingUnit::seconds, 1, 315360000},
    {"retention_rows", number, in_both, "5000000",
     "How many changed rows are kept for servers that do not come; beyond it those that are silent need a copy.",
     SettingUnit::none, 1, 2000000000},
    {"health_lag_ms", number, in_both, "60000",
     "From this age of the oldest unconfirmed change of a server on, health is 'degraded'.", SettingUnit::milliseconds,
     1, 2147483647},
    {"health_queue_rows", number, in_both, "100000",
     "From so many changed rows that wait for one server on, health is 'degraded'.", SettingUnit::none, 1, 2147483647},
    {"health_quarantine_rows", number, in_both, "1", "From so many rows in quarantine on, health is 'degraded'.",
     SettingUnit::none, 1, 2147483647},
    {"health_clock_ms", number, in_both, "5000",
     "From this difference between our clock and a server's on, health is 'degraded'.", SettingUnit::milliseconds, 1,
     2147483647},
    {"health_disk_mb", number, in_both, "1024",
     "With less free space where the database lies, health is 'degraded'; with a tenth of it 'failing'.",
     SettingUnit::megabytes, 0, 2147483647},
    {"enabled", choice, in_sqlite, "on", "off: nothing is shipped and nothing taken; capturing goes on.",
     SettingUnit::none, 0, 0, "on off"},
    {"name", text, in_sqlite, "", "What others show as the name of this node; empty: the file's name."},
    {"log_file", text, in_sqlite, "",
     "Absolute path of the file to which the worker writes its lines; empty: it writes none."},
    {"datetime_fraction", choice, in_sqlite, "always",
     "always: timestamps from PostgreSQL are written with six digits (what SQLAlchemy compares by); nonzero: without "
     "them when they are zero (Django).",
     SettingUnit::none, 0, 0, "always nonzero"},
};

[[noreturn]] void refuse(const std::string& sentence) { throw Error(ErrorKind::config, "bad_setting", sentence); }

// How many base units one of `suffix` is; 0: unknown for this unit.
double factor(SettingUnit unit, std::string_view suffix) {
  struct Suffix {
    std::string_view name;
    double bytes, milliseconds;
  };
  constexpr Suffix suffixes[] = {{"B", 1, 0},        {"kB", 1024, 0},   {"MB", 1 << 20, 0},
                                 {"GB", 1 << 30, 0}, {"ms", 0, 1},      {"s", 0, 1000},
                                 {"min", 0, 60000},  {"h", 0, 3600000}, {"d", 0, 86400000}};
  for (const Suffix& one : suffixes) {
    if (one.name != suffix) continue;
    switch (unit) {
      case SettingUnit::none: return 0;
      case SettingUnit::kilobytes: return one.bytes / 1024;
      case SettingUnit::megabytes: return one.bytes / (1 << 20);
      case SettingUnit::milliseconds: return one.milliseconds;
      case SettingUnit::seconds: return one.milliseconds / 1000;
    }
  }
  return 0;
}

}  // namespace

std::span<const Setting> all_settings() { return settings; }

const Setting* find_setting(std::string_view name) {
  for (const Setting& setting : settings)
    if (name == setting.name) return &setting;
  return nullptr;
}

const char* to_string(SettingUnit unit) {
  constexpr const char* names[] = {"", "kB", "MB", "ms", "s"};
  return names[static_cast<std::size_t>(unit)];
}

std::int64_t setting_number(const Setting& setting, const std::string& given) {
  const std::string unit = to_string(setting.unit);
  const std::string sentence = std::string(setting.name) + " is a whole number from " + std::to_string(setting.least) +
                               " to " + std::to_string(setting.most) +
                               (unit.empty() ? "" : " (" + unit + ", unless a unit is given)") + ", not '" +
                               given.substr(0, 100) + "'";
  double value = 0;
  auto [end, failure] = std::from_chars(given.data(), given.data() + given.size(), value);
  if (failure != std::errc() || !std::isfinite(value)) refuse(sentence);
  std::string_view suffix(end, static_cast<std::size_t>(given.data() + given.size() - end));
  while (suffix.starts_with(' ')) suffix.remove_prefix(1);
  if (!suffix.empty()) value *= factor(setting.unit, suffix);
  if (!suffix.empty() && factor(setting.unit, suffix) == 0) refuse(sentence);
  value = std::round(value);
  if (value < static_cast<double>(setting.least) || value > static_cast<double>(setting.most)) refuse(sentence);
  return static_cast<std::int64_t>(value);
}

void check_setting(const Setting& setting, const std::string& given) {
  if (setting.kind == SettingKind::number) setting_number(setting, given);
  if (setting.kind != SettingKind::choice) return;
  std::string words = std::string(" ") + setting.choices + " ";
  if (given.empty() || given.find(' ') != std::string::npos || words.find(" " + given + " ") == std::string::npos)
    refuse(std::string(setting.name) + " is one of: " + setting.choices + "; not '" + given.substr(0, 100) + "'");
}

}  // namespace rowmesh
