#include "shared/sync/server_options.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;

constexpr std::uint64_t minute_ms = 60000, day_minutes = 24 * 60;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::config, "bad_option", text); }

struct NumberOption {
  const char* name;
  std::uint64_t ServerOptions::*field;
  std::uint64_t least, most;  // 0 is always allowed: it stands for the default
  const char* unit;
};

constexpr NumberOption numbers[] = {
    {"batch_rows", &ServerOptions::batch_rows, 1, 1000000, "rows"},
    {"batch_bytes", &ServerOptions::batch_bytes, 1024, 1ULL << 30, "bytes"},
    {"timeout_ms", &ServerOptions::timeout_ms, 100, 3600000, "milliseconds"},
    {"rate_limit", &ServerOptions::rate_limit, 1024, 1ULL << 40, "bytes a second"},
    {"retention_hours", &ServerOptions::retention_hours, 1, 24 * 3650, "hours"},
};

std::uint64_t number_of(const NumberOption& option, const json& value) {
  bool whole = value.is_number_integer() && (value.is_number_unsigned() || value.get<std::int64_t>() >= 0);
  std::uint64_t number = whole ? value.get<std::uint64_t>() : 0;
  if (!whole || (number != 0 && (number < option.least || number > option.most)))
    refuse(std::string(option.name) + " is a whole number from " + std::to_string(option.least) + " to " +
           std::to_string(option.most) + " (" + option.unit + "), or 0 for the default");
  return number;
}

[[noreturn]] void refuse_schedule(const std::string& text) {
  refuse("schedule '" + text +
         "' cannot be used; write hours in UTC as 22:00-06:00, several with commas in between, or '' for always");
}

// "HH:MM" -> minutes; 24:00 is the end of the day.
std::uint16_t minutes_of(std::string_view text, const std::string& whole) {
  unsigned hours = 0, minutes = 0;
  bool form = text.size() == 5 && text[2] == ':' &&
              std::all_of(text.begin(), text.end(), [](char c) { return c == ':' || (c >= '0' && c <= '9'); });
  if (!form || text.find(':') != 2 || text.rfind(':') != 2) refuse_schedule(whole);
  std::from_chars(text.data(), text.data() + 2, hours);
  std::from_chars(text.data() + 3, text.data() + 5, minutes);
  if (minutes > 59 || hours * 60 + minutes > day_minutes) refuse_schedule(whole);
  return static_cast<std::uint16_t>(hours * 60 + minutes);
}

std::vector<ServerOptions::Hours> schedule_of(const std::string& text) {
  std::vector<ServerOptions::Hours> schedule;
  std::string rest = text;
  std::erase(rest, ' ');
  while (!rest.empty()) {
    std::string part = rest.substr(0, rest.find(','));
    rest.erase(0, part.size() + 1);
    std::size_t dash = part.find('-');
    if (dash == std::string::npos || schedule.size() >= 48) refuse_schedule(text);
    ServerOptions::Hours hours{minutes_of(std::string_view(part).substr(0, dash), text),
                               minutes_of(std::string_view(part).substr(dash + 1), text)};
    if (hours.from == hours.to) refuse_schedule(text);
    schedule.push_back(hours);
  }
  return schedule;
}

ServerOptions::Compression compression_of(const json& value) {
  if (value == "auto") return ServerOptions::Compression::automatic;
  if (value == "on") return ServerOptions::Compression::on;
  if (value == "off") return ServerOptions::Compression::off;
  refuse("compression is 'auto' (long documents, if the server can unpack them), 'on' (all, if it can) or 'off'");
}

bool first_copy_of(const json& value) {
  if (value != "auto" && value != "none")
    refuse("first_copy is 'auto' (a database that is new takes what the server has) or 'none'");
  return value == "auto";
}

bool open_at(const ServerOptions& options, std::uint64_t minute) {
  return std::any_of(options.schedule.begin(), options.schedule.end(), [minute](const ServerOptions::Hours& hours) {
    return hours.from < hours.to ? minute >= hours.from && minute < hours.to
                                 : minute >= hours.from || minute < hours.to;
  });
}

}  // namespace

ServerOptions parse_server_options(const std::string& text) {
  json from = json::parse(text.empty() ? "{}" : text, nullptr, false);
  if (!from.is_object()) refuse("the options of a server are one JSON object");
  ServerOptions options;
  for (auto& [name, value] : from.items()) {
    if (value.is_null()) continue;
    auto number = std::find_if(std::begin(numbers), std::end(numbers),
                               [&, &name = name](const NumberOption& option) { return name == option.name; });
    if (number != std::end(numbers)) {
      options.*number->field = number_of(*number, value);
    } else if (name == "compression") {
      options.compression = compression_of(value);
    } else if (name == "first_copy") {
      options.first_copy = first_copy_of(value);
    } else if (name == "schedule") {
      if (!value.is_string()) refuse_schedule(value.dump(-1, ' ', false, json::error_handler_t::replace));
      options.schedule = schedule_of(value.get<std::string>());
    } else {
      refuse("there is no option '" + name +
             "' for a server; there are: batch_rows, batch_bytes, timeout_ms, compression, rate_limit, schedule, "
             "retention_hours, first_copy");
    }
  }
  return options;
}

void set_server_tables(ServerConfig& server, const std::string& json) {
  nlohmann::json names = nlohmann::json::parse(json, nullptr, false);
  if (!names.is_array()) return;
  server.all_tables = false;
  for (auto& name : names)
    if (name.is_string()) server.tables.insert(name.get<std::string>());
}

bool in_schedule(const ServerOptions& options, std::uint64_t now_ms) {
  return options.schedule.empty() || open_at(options, now_ms / minute_ms % day_minutes);
}

std::uint64_t next_schedule_change_ms(const ServerOptions& options, std::uint64_t now_ms) {
  if (options.schedule.empty()) return 0;
  std::uint64_t minute = now_ms / minute_ms;
  bool now = open_at(options, minute % day_minutes);
  for (std::uint64_t later = minute + 1; later <= minute + day_minutes; later++)
    if (open_at(options, later % day_minutes) != now) return later * minute_ms;
  return 0;
}

}  // namespace rowmesh
