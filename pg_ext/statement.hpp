// SQL for what happens rarely. Plans are kept; rows come as text.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

struct SqlArgument {
  Oid type = InvalidOid;
  bool null = false;
  std::int64_t number = 0;  // bigint, oid
  std::string_view bytes;   // text, bytea

  static SqlArgument of_number(std::int64_t number) { return {20, false, number, {}}; }
  static SqlArgument of_text(std::string_view text) { return {25, false, 0, text}; }
  static SqlArgument of_bytes(std::string_view bytes) { return {17, false, 0, bytes}; }
  static SqlArgument of_null_text() { return {25, true, 0, {}}; }
};

using SqlRow = std::vector<std::optional<std::string>>;

// `sql` must be a literal: its address names the kept plan. In a transaction with an active snapshot. bytea comes as
// the bytes themselves.
std::vector<SqlRow> run_sql(const char* sql, std::initializer_list<SqlArgument> arguments = {});

// For statements whose text is made at run time; no plan is kept.
std::vector<SqlRow> run_made_sql(const std::string& sql, std::span<const SqlArgument> arguments = {});
inline std::vector<SqlRow> run_made_sql(const std::string& sql, std::initializer_list<SqlArgument> arguments) {
  return run_made_sql(sql, std::span(arguments.begin(), arguments.size()));
}

}  // namespace rowmesh
