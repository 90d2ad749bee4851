// What the core knows of a replicated table.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rowmesh {

using TableId = std::uint32_t;  // local to one node, given by its store, never re-used
using ColumnIndex = std::uint16_t;

// The type as named on the wire. `any`: SQLite columns whose declared type says nothing more.
enum class ColumnType : std::uint8_t {
  any,
  integer,
  real,
  boolean,
  numeric,
  text,
  bytes,
  date,
  time,
  timestamp,
  timestamptz,
  uuid,
  json,
  other,
};
const char* to_string(ColumnType type);
ColumnType column_type_from(std::string_view name);  // unknown names become `other`

struct Column {
  std::string name;  // empty: the place of a column that was dropped
  ColumnType type = ColumnType::any;
  std::string type_name;  // as the engine spells it, for messages and fingerprints
  bool not_null = false;
  bool has_default = false;

  bool dropped() const { return name.empty(); }
};

struct UniqueIndex {
  std::string name;
  std::vector<ColumnIndex> columns;  // indexes over expressions or with a condition have none here: they quarantine
};

// A column that names a row of another table by its integer key.
struct Reference {
  ColumnIndex column = 0;
  TableId to = 0;
};

enum class MergePolicy : std::uint8_t { column, row };
// Two inserts under one integer key (docs/model.md): the younger row moves to a free key; they are one row; the younger
// one waits for a person.
enum class KeyCollision : std::uint8_t { renumber, merge, hold };

struct Table {
  TableId id = 0;
  std::string wire_name;   // how nodes call it among each other
  std::string local_name;  // for messages: schema.table in PostgreSQL
  // Without generated ones. A column keeps its index for ever, also under another name: versions and values that wait
  // are kept by it. The places of dropped columns stay, their values are always omitted.
  std::vector<Column> columns;
  std::vector<ColumnIndex> key;
  std::vector<UniqueIndex> uniques;  // other than the key
  MergePolicy merge = MergePolicy::column;
  // One integer column is the key: two inserts under one number are then two different things (model, rule 5), unless
  // the policy is `merge`.
  bool integer_key = false;
  KeyCollision on_key_collision = KeyCollision::renumber;
  std::vector<Reference>
      references;  // declared foreign keys and add_reference, to replicated tables with an integer key
  bool keeps_lives_apart() const { return integer_key && on_key_collision != KeyCollision::merge; }

  const Column* find_column(std::string_view name) const;
  int column_index(std::string_view name) const;  // -1: none
  bool has_dropped() const;
};

// Which columns a change touched. Grows as needed; `all()` is every column there is.
class ColumnSet {
 public:
  static ColumnSet all() {
    ColumnSet set;
    set.all_ = true;
    return set;
  }
  void add(ColumnIndex column);
  bool has(ColumnIndex column) const;
  void merge(const ColumnSet& other);
  bool is_all() const { return all_; }
  bool empty() const { return !all_ && first_ == 0 && more_.empty(); }
  void add_word(std::size_t word, std::uint64_t bits);  // 64 columns at once

 private:
  bool all_ = false;
  std::uint64_t first_ = 0;  // columns 0 to 63: nearly every table
  std::vector<std::uint64_t> more_;
};

}  // namespace rowmesh
