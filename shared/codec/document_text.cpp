#include "shared/codec/document_text.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "shared/model/error.hpp"
#include "shared/model/hex.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::protocol, "bad_document", text); }

Json to_json(const Vector& vector) {
  Json object = Json::object();
  for (const auto& [origin, position] : vector) object[to_hex(origin)] = {position.number, to_hex(position.tag)};
  return object;
}

Json to_json(const OriginMeta& meta) {
  Json received = Json::object();
  for (const auto& [origin, hlc] : meta.received) received[to_hex(origin)] = hlc;
  Json json = {{"position", meta.position},
               {"watermark", meta.watermark},
               {"horizon", meta.horizon},
               {"received", received},
               {"newest", meta.newest}};
  if (!meta.servers) return json;
  json["servers"] = Json::array();
  for (Origin origin : *meta.servers) json["servers"].push_back(to_hex(origin));
  return json;
}

std::string dump(const Json& json) {
  try {
    return json.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorKind::config, "bad_name", "the name of a table, a column or a node is not valid UTF-8: rename it");
  }
}

Json parse(std::string_view line) {
  if (line.size() > limits::header_line_bytes) refuse("a header or table line is too long");
  auto not_too_deep = [](int depth, Json::parse_event_t, Json&) {
    if (depth > static_cast<int>(limits::json_depth)) refuse("a line is nested too deeply");
    return true;
  };
  Json json = Json::parse(line, not_too_deep);
  if (!json.is_object()) refuse("a line that should be a JSON object is none");
  return json;
}

std::uint64_t number(const Json& json) {
  if (!json.is_number_unsigned()) refuse("a number in the document's header is none");
  return json.get<std::uint64_t>();
}

std::uint64_t number(const Json& object, const char* name) { return number(object.at(name)); }

std::string text(const Json& json) { return json.get_ref<const std::string&>(); }

std::uint64_t hex(const Json& json) { return from_hex(text(json)); }

const Json& object(const Json& parent, const char* name) {
  const Json& child = parent.at(name);
  if (!child.is_object()) refuse(std::string("'") + name + "' in the document's header is not an object");
  return child;
}

Vector vector_from(const Json& json) {
  Vector vector;
  for (const auto& [origin, position] : json.items()) {
    if (position.size() != 2) refuse("a position is not [number, tag]");
    vector[from_hex(origin)] = {number(position.at(0)), hex(position.at(1))};
  }
  return vector;
}

OriginMeta meta_from(const Json& json) {
  OriginMeta meta{number(json, "position"),
                  number(json, "watermark"),
                  number(json, "horizon"),
                  {},
                  json.contains("newest") ? number(json, "newest") : 0};
  for (const auto& [origin, hlc] : object(json, "received").items()) meta.received[from_hex(origin)] = number(hlc);
  if (json.contains("servers")) {
    meta.servers.emplace();
    if (!json.at("servers").is_array()) refuse("'servers' is not an array");
    for (const Json& origin : json.at("servers")) meta.servers->insert(hex(origin));
  }
  return meta;
}

Json to_json(Version version) { return {version.hlc, to_hex(version.origin)}; }

Version version_from(const Json& json) { return {number(json.at(0)), hex(json.at(1))}; }

Json to_json(const SaidMeaning& said) {
  return Json::array({said.table, bytes_to_hex(said.key), said.column, to_json(said.written), said.number,
                      to_json(said.birth), said.since});
}

SaidMeaning meaning_from(const Json& json) {
  return {text(json.at(0)),         bytes_from_hex(text(json.at(1))), text(json.at(2)),
          version_from(json.at(3)), json.at(4).get<std::int64_t>(),   version_from(json.at(5)),
          number(json.at(6))};
}

DocumentHeader header_from(const Json& json) {
  DocumentHeader header;
  std::uint64_t protocol = number(json, "protocol");
  if (protocol != 1)
    refuse("the document has protocol " + std::to_string(protocol) +
           ", this node understands 1: bring both to one version of rowmesh");
  std::string kind = text(json.at("kind"));
  if (kind != "changes" && kind != "copy") refuse("a document of an unknown kind");
  header.kind = kind == "copy" ? DocumentKind::copy : DocumentKind::changes;
  header.sender = hex(json.at("sender"));
  header.node = text(json.at("node"));
  header.hlc = number(json, "hlc");
  header.prune_horizon = number(json, "prune_horizon");
  header.newest = number(json, "newest");
  header.awaited = json.contains("awaited") ? number(json, "awaited") : 0;
  header.settled = json.contains("settled") ? number(json, "settled") : 0;
  header.horizon = number(json, "horizon");
  header.from = vector_from(object(json, "from"));
  header.to = vector_from(object(json, "to"));
  for (const auto& [origin, meta] : object(json, "metas").items()) header.metas[from_hex(origin)] = meta_from(meta);
  for (const auto& [origin, member] : object(json, "members").items())
    header.members[from_hex(origin)] = {text(member.at("node")), text(member.at("name")), member.at("left").get<bool>(),
                                        false, member.contains("removed")};
  for (const auto& [table, version] : object(json, "truncates").items())
    header.truncates[table] = version_from(version);
  if (json.contains("meant"))
    for (const Json& meaning : json.at("meant")) header.meant.push_back(meaning_from(meaning));
  if (json.contains("partial")) header.partial = json.at("partial").get<bool>();
  if (json.contains("behind"))
    for (const auto& [table, span] : object(json, "behind").items())
      header.behind[table] = {vector_from(object(span, "from")), vector_from(object(span, "to"))};
  if (json.contains("parked"))
    for (const auto& [table, covered] : object(json, "parked").items()) header.parked[table] = vector_from(covered);
  if (json.contains("given_up"))
    for (const auto& table : json.at("given_up")) header.given_up.insert(text(table));
  if (header.kind == DocumentKind::copy) {
    const Json& copy = object(json, "copy");
    header.copy_table = text(copy.at("table"));
    header.copy_more = copy.at("more").get<bool>();
    header.copy_total = number(copy, "total");
  }
  return header;
}

WireTable table_from(const Json& json) {
  WireTable table;
  table.name = text(json.at("name"));
  const Json& columns = json.at("columns");
  if (table.name.empty() || !columns.is_array() || columns.empty() || columns.size() > limits::columns)
    refuse("a table without a name, or with no or too many columns");
  std::set<std::string> names;
  for (const Json& column : columns) {
    table.columns.push_back(text(column.at(0)));
    table.types.push_back(column_type_from(text(column.at(1))));
    if (!names.insert(table.columns.back()).second) refuse("table " + table.name + " has two columns of one name");
  }
  std::set<std::uint64_t> key;
  for (const Json& column : json.at("key")) {
    std::uint64_t at = number(column);
    if (at >= columns.size() || !key.insert(at).second)
      refuse("the key of table " + table.name + " names no column of it");
    table.key.push_back(static_cast<std::uint32_t>(at));
  }
  if (key.empty()) refuse("table " + table.name + " has no key");
  table.integer_key = json.at("integer_key").get<bool>();
  return table;
}

// nlohmann's errors (missing field, wrong type, bad syntax) are the sender's fault.
template <typename Parse>
auto checked(std::string_view line, Parse parse_json) {
  try {
    return parse_json(parse(line));
  } catch (const Json::exception& error) {
    refuse(std::string("a line of the document is not as it should be: ") + error.what());
  }
}

}  // namespace

std::string header_line(const DocumentHeader& header) {
  Json metas = Json::object(), members = Json::object(), truncates = Json::object();
  for (const auto& [origin, meta] : header.metas) metas[to_hex(origin)] = to_json(meta);
  for (const auto& [origin, member] : header.members) {
    Json& out = members[to_hex(origin)] = {{"node", member.node}, {"name", member.name}, {"left", member.left}};
    if (member.removed) out["removed"] = true;
  }
  for (const auto& [table, version] : header.truncates) truncates[table] = to_json(version);
  Json json = {{"protocol", header.protocol},
               {"kind", header.kind == DocumentKind::copy ? "copy" : "changes"},
               {"sender", to_hex(header.sender)},
               {"node", header.node},
               {"hlc", header.hlc},
               {"prune_horizon", header.prune_horizon},
               {"newest", header.newest},
               {"horizon", header.horizon},
               {"from", to_json(header.from)},
               {"to", to_json(header.to)},
               {"metas", metas},
               {"members", members},
               {"truncates", truncates}};
  if (header.awaited != 0) json["awaited"] = header.awaited;
  if (header.settled != 0) json["settled"] = header.settled;
  for (const SaidMeaning& said : header.meant) json["meant"].push_back(to_json(said));
  if (header.partial) json["partial"] = true;
  for (const auto& [table, span] : header.behind)
    json["behind"][table] = {{"from", to_json(span.from)}, {"to", to_json(span.to)}};
  for (const auto& [table, covered] : header.parked) json["parked"][table] = to_json(covered);
  if (!header.given_up.empty()) json["given_up"] = header.given_up;
  if (header.kind == DocumentKind::copy)
    json["copy"] = {{"table", header.copy_table}, {"more", header.copy_more}, {"total", header.copy_total}};
  return dump(json);
}

std::string table_line(std::uint32_t number, const Table& table) {
  Json columns = Json::array(), key = Json::array();
  for (const Column& column : table.columns) columns.push_back(Json::array({column.name, to_string(column.type)}));
  for (ColumnIndex column : table.key) key.push_back(column);
  return dump({{"table", number},
               {"name", table.wire_name},
               {"columns", std::move(columns)},
               {"key", std::move(key)},
               {"integer_key", table.integer_key}});
}

std::string trailer_line(std::uint64_t rows, std::uint64_t sum) {
  return "{\"end\":" + std::to_string(rows) + ",\"sum\":\"" + to_hex(sum) + "\"}";
}

DocumentHeader parse_header_line(std::string_view line) { return checked(line, header_from); }

ObjectLine parse_object_line(std::string_view line) {
  return checked(line, [](const Json& json) {
    ObjectLine result;
    result.is_trailer = json.contains("end");
    if (result.is_trailer) {
      if (text(json.at("sum")).size() != 16) refuse("the checksum of the document is not 16 hex digits");
      result.trailer = {number(json, "end"), hex(json.at("sum"))};
    } else {
      result.table_number = number(json, "table");
      result.table = table_from(json);
    }
    return result;
  });
}

}  // namespace rowmesh
