// What capture must know of a table to note a change of it; kept until the table's definition changes.
#pragma once
#include <cstdint>

#include "pg_ext/types.hpp"
#include "shared/model/table.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/attnum.h"
#include "access/htup.h"
#include "commands/trigger.h"
#include "utils/rel.h"
}

namespace rowmesh {

struct CapturedTable {
  Oid relation;  // a partition has an entry of its own
  bool valid;
  TableId id;
  int key_columns;
  AttrNumber key[INDEX_MAX_KEYS];  // attribute numbers in this relation, in the order of the replicated table's key
  TypeIo* key_types;
  bool integer_key;
  int attributes;
  // Attribute numbers of the replicated table, by attribute number - 1 of this partition: they may differ, and the log
  // speaks of the former. 0: a column that is not captured (dropped, generated).
  AttrNumber* logged_as;
  std::uint16_t mask_size;
  bool compare_all;  // a BEFORE trigger may change columns that the statement does not name
  MemoryContext memory;
};

// The last key encoded; palloc'd.
struct KeyBytes {
  bool integer;
  std::int64_t number;
  char* bytes;
  std::size_t size, capacity;
};

// RAISE.
CapturedTable* captured_table(TriggerData* data);
void read_key(const CapturedTable* table, HeapTuple tuple, TupleDesc descriptor, KeyBytes* key);

}  // namespace rowmesh
