// Tables for tests: rows with numbers and rows that refer to them, and rows of which nothing but the key matters.
#pragma once
#include "shared/testing/memory_store.hpp"

namespace rowmesh::testing {

// `child.parent` names a `parent` by its number.
inline void create_family(MemoryStore& store) {
  Table parent;
  parent.wire_name = "parent";
  parent.columns = {{"id", ColumnType::integer, "integer", true, false}, {"a", ColumnType::text, "text", false, false}};
  parent.key = {0};
  parent.integer_key = true;
  TableId id = store.create_table(parent).id;
  Table child;
  child.wire_name = "child";
  child.columns = {{"code", ColumnType::text, "text", true, false},
                   {"parent", ColumnType::integer, "integer", false, false}};
  child.key = {0};
  child.references = {{1, id}};
  store.create_table(child);
}

inline Row parent(std::int64_t id, const char* a) { return {Value::of_integer(id), Value::of_text(a)}; }
inline Row child(const char* code, std::int64_t id) { return {Value::of_text(code), Value::of_integer(id)}; }

inline void create_items(MemoryStore& store) {
  Table table;
  table.wire_name = "item";
  table.columns = {{"id", ColumnType::text, "text", true, false}, {"v", ColumnType::text, "text", false, false}};
  table.key = {0};
  store.create_table(table);
}

}  // namespace rowmesh::testing
