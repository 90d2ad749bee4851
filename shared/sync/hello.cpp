#include "shared/sync/hello.hpp"

#include <nlohmann/json.hpp>

#include "shared/model/hex.hpp"

namespace rowmesh {
namespace {

using nlohmann::json;

constexpr const char* bases[] = {"empty", "captured", "filled"};

std::optional<Base> base_of(const std::string& name) {
  auto found = std::find(std::begin(bases), std::end(bases), name);
  if (found == std::end(bases)) return {};
  return static_cast<Base>(found - std::begin(bases));
}

json vector_to_json(const Vector& vector) {
  json out = json::object();
  for (auto& [origin, position] : vector) out[to_hex(origin)] = {position.number, to_hex(position.tag)};
  return out;
}

Vector vector_of(const json& from) {
  Vector vector;
  for (auto& [origin, position] : from.items())
    vector[from_hex(origin)] = {position.at(0).get<PositionNumber>(), from_hex(position.at(1).get<std::string>())};
  return vector;
}

json rows_to_json(const WantedRows& wanted) {
  if (wanted.all()) return "all";
  json out = json::array();
  for (auto& [table, key] : wanted.rows()) out.push_back({table, bytes_to_hex(key)});
  return out;
}

WantedRows rows_of(const json& from) {
  if (!from.is_array()) return WantedRows(true);
  WantedRows wanted;
  for (auto& row : from) wanted.add(row.at(0).get<std::string>(), bytes_from_hex(row.at(1).get<std::string>()));
  return wanted;
}

json to_json(const Progress& progress) {
  json direct = json::array();
  for (Origin origin : progress.direct) direct.push_back(to_hex(origin));
  json out = {{"applied", vector_to_json(progress.applied)},
              {"direct", direct},
              {"open", progress.accepts_unknown},
              {"busy", progress.busy}};
  if (progress.received) {
    json received = json::object();
    for (auto& [origin, hlc] : *progress.received) received[to_hex(origin)] = hlc;
    out["received"] = received;
  }
  if (auto& question = progress.question)
    out["question"] = {to_hex(question->to), to_hex(question->by), question->count};
  for (auto& [name, parked] : progress.parked)
    out["parked"][name] = {{"reason", parked.reason},
                           {"covered", vector_to_json(parked.covered)},
                           {"fits", parked.fits},
                           {"given_up", parked.given_up}};
  return out;
}

Progress progress_of(const json& from) {
  Progress progress;
  progress.applied = vector_of(from.at("applied"));
  for (auto& origin : from.at("direct")) progress.direct.insert(from_hex(origin.get<std::string>()));
  progress.accepts_unknown = from.at("open").get<bool>();
  progress.busy = from.at("busy").get<bool>();
  if (from.contains("received"))
    for (auto& [origin, hlc] : from.at("received").items())
      (progress.received ? *progress.received : progress.received.emplace())[from_hex(origin)] = hlc.get<Hlc>();
  if (from.contains("question"))
    progress.question = {from_hex(from["question"].at(0).get<std::string>()),
                         from_hex(from["question"].at(1).get<std::string>()),
                         from["question"].at(2).get<std::uint64_t>()};
  if (from.contains("parked"))
    for (auto& [name, parked] : from.at("parked").items()) {
      ParkedTable& here = progress.parked[name];
      here.reason = parked.at("reason").get<std::string>();
      here.covered = vector_of(parked.at("covered"));
      here.fits = parked.at("fits").get<bool>();
      here.given_up = parked.value("given_up", false);
    }
  return progress;
}

template <typename Read>
auto strictly(const std::string& text, Read read) {
  try {
    return read(json::parse(text));
  } catch (const json::exception& error) {
    throw Error(ErrorKind::protocol, "bad_answer",
                std::string("the other side answered something that is not rowmesh's: ") + error.what());
  }
}

}  // namespace

std::string progress_to_json(const Progress& progress, std::uint64_t rows, std::uint64_t conflicts) {
  json out = to_json(progress);
  out["rows"] = rows;
  out["conflicts"] = conflicts;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Progress progress_from_json(const std::string& text, std::uint64_t* rows, std::uint64_t* conflicts) {
  return strictly(text, [&](const json& from) {
    *rows = from.value("rows", std::uint64_t{0});
    *conflicts = from.value("conflicts", std::uint64_t{0});
    return progress_of(from);
  });
}

std::string hello_to_json(const Hello& hello) {
  json tables = json::array();
  for (auto& table : hello.tables) {
    tables.push_back(
        {{"name", table.name}, {"columns", table.columns}, {"key", table.key}, {"integer_key", table.integer_key}});
    if (!table.exchanged) tables.back()["exchanged"] = false;
  }
  json out = to_json(hello.progress);
  out["protocol"] = {hello.protocol_min, hello.protocol_max};
  out["node"] = hello.node;
  out["name"] = hello.name;
  out["version"] = hello.version;
  out["origin"] = to_hex(hello.origin);
  out["instance"] = to_hex(hello.instance);
  out["clock_ms"] = hello.clock_ms;
  out["tables"] = tables;
  out["ask_me"] = hello.ask_me;
  out["zstd"] = hello.zstd;
  if (hello.partial) out["partial"] = true;
  if (hello.old_secret) out["old_secret"] = true;
  if (!hello.copy_error.empty()) out["copy_error"] = hello.copy_error;
  if (hello.your_position != 0) out["yours"] = {hello.your_position, hello.your_newest};
  if (hello.returning) out["returning"] = true;
  if (hello.base) out["base"] = bases[static_cast<std::size_t>(*hello.base)];
  if (hello.closed) out["closed"] = true;
  if (hello.needs_copy) {
    out["needs_copy"] = true;
    out["needs_copy_as_of"] = hello.needs_copy_as_of;
  }
  if (!hello.former.empty()) out["former"] = json::array();
  for (Origin origin : hello.former) out["former"].push_back(to_hex(origin));
  if (hello.servers) {
    out["servers"] = json::array();
    for (Origin origin : *hello.servers) out["servers"].push_back(to_hex(origin));
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Hello hello_from_json(const std::string& text) {
  return strictly(text, [](const json& from) {
    Hello hello;
    hello.protocol_min = from.at("protocol").at(0).get<int>();
    hello.protocol_max = from.at("protocol").at(1).get<int>();
    hello.node = from.at("node").get<std::string>();
    hello.name = from.at("name").get<std::string>();
    hello.version = from.at("version").get<std::string>();
    hello.origin = from_hex(from.at("origin").get<std::string>());
    hello.instance = from_hex(from.at("instance").get<std::string>());
    hello.clock_ms = from.at("clock_ms").get<std::uint64_t>();
    hello.progress = progress_of(from);
    hello.copy_error = from.value("copy_error", "");
    if (from.contains("yours")) {
      hello.your_position = from["yours"].at(0).get<PositionNumber>();
      hello.your_newest = from["yours"].at(1).get<Hlc>();
    }
    hello.returning = from.value("returning", false);
    hello.base = base_of(from.value("base", ""));
    hello.closed = from.value("closed", false);
    hello.needs_copy = from.value("needs_copy", false);
    if (from.contains("former"))
      for (auto& origin : from["former"]) hello.former.insert(from_hex(origin.get<std::string>()));
    if (from.contains("servers")) {
      hello.servers.emplace();
      for (auto& origin : from["servers"]) hello.servers->insert(from_hex(origin.get<std::string>()));
    }
    hello.needs_copy_as_of = from.value("needs_copy_as_of", ~PositionNumber{0});
    hello.ask_me = from.value("ask_me", false);
    hello.zstd = from.value("zstd", false);
    hello.partial = from.value("partial", false);
    hello.old_secret = from.value("old_secret", false);
    for (auto& table : from.at("tables"))
      hello.tables.push_back({table.at("name").get<std::string>(), table.at("columns").get<std::vector<std::string>>(),
                              table.at("key").get<std::vector<std::string>>(), table.at("integer_key").get<bool>(),
                              table.value("exchanged", true)});
    return hello;
  });
}

std::string wanted_to_json(const WantedRows& wanted) {
  return rows_to_json(wanted).dump(-1, ' ', false, json::error_handler_t::replace);
}

WantedRows wanted_from_json(const std::string& text) {
  try {
    return rows_of(json::parse(text));
  } catch (const std::exception&) {
    return WantedRows(true);
  }
}

std::string error_to_json(const std::string& error, const std::string& text, const Progress* progress,
                          const WantedRows& wanted, const CopyWaits* waits) {
  json out = progress ? to_json(*progress) : json::object();
  if (wanted.any()) out["wanted"] = rows_to_json(wanted);
  if (waits) out["waits"] = copy_waits_to_json(*waits);
  out["error"] = error;
  out["text"] = text;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);  // the text may name what came from outside
}

void error_from_json(const std::string& body, std::string* error, std::string* text, Progress* progress,
                     WantedRows* wanted, CopyWaits* waits) {
  json from = json::parse(body, nullptr, false);
  if (!from.is_object()) return;
  try {
    *error = from.value("error", "");
    *text = from.value("text", "");
    if (from.contains("applied")) *progress = progress_of(from);
    if (wanted && from.contains("wanted")) *wanted = rows_of(from["wanted"]);
    if (waits && from.contains("waits")) *waits = copy_waits_of(from["waits"]);
  } catch (const std::exception&) {
    // Half of an answer of ours is none.
    error->clear();
    text->clear();
  }
}

std::string table_misfit(const Table& ours, const Hello& theirs) {
  for (auto& table : theirs.tables) {
    if (table.name != ours.wire_name) continue;
    std::vector<std::string> key;
    for (ColumnIndex column : ours.key) key.push_back(ours.columns[column].name);
    if (key != table.key)
      return "table '" + ours.wire_name +
             "' has another primary key there; make the keys the same columns in the same order";
    for (const Column& column : ours.columns)
      if (!column.dropped() &&
          std::find(table.columns.begin(), table.columns.end(), column.name) == table.columns.end())
        return "table '" + ours.wire_name + "' has no column '" + column.name + "' there; add it";
    return "";
  }
  return "table '" + ours.wire_name + "' is not replicated there; create it and call add_table";
}

}  // namespace rowmesh
