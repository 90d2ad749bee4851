// What PostgreSQL's catalogs say of the replicated tables, read once per change of configuration or schema.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "pg_ext/types.hpp"
#include "shared/sync/store.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/attnum.h"
}

namespace rowmesh {

struct PgColumn {
  AttrNumber attribute = 0;
  TypeIo io;
};

// One column of the key, with the functions of its index's operator class.
struct PgKeyPart {
  ColumnIndex column = 0;
  AttrNumber attribute = 0;        // in the table
  AttrNumber index_attribute = 0;  // in the index
  Oid collation = InvalidOid;
  bool descending = false;
  RegProcedure equal = InvalidOid, less = InvalidOid, less_equal = InvalidOid, greater_equal = InvalidOid,
               greater = InvalidOid;
};

struct PgTable {
  Table table;  // what the core sees
  Oid relation = InvalidOid;
  Oid key_index = InvalidOid;
  Oid owner = InvalidOid;
  bool partitioned = false;             // holds no rows itself: see `leaves`
  std::vector<PgColumn> columns;        // as Table::columns
  std::vector<std::int16_t> column_of;  // by attribute number - 1; -1: dropped or generated
  std::vector<Oid>
      attribute_types;              // of all attributes, 0 for dropped ones: tells that the table was altered meanwhile
  std::vector<PgKeyPart> key;       // as Table::key
  std::vector<Oid> unique_indexes;  // as Table::uniques
  Oid key_sequence = InvalidOid;    // owned by the single key column
  std::int64_t sequence_increment = 1, sequence_start = 1, sequence_last = 0, sequence_maximum = 0;  // as last seen
  // Of a partitioned table: the partitions that hold rows, whatever the depth. `table`, and the order of columns, key
  // and unique indexes, are the partitioned table's; attribute numbers and indexes are their own.
  std::vector<std::unique_ptr<PgTable>> leaves;

  TypeIo& key_io(std::size_t part) { return columns[key[part].column].io; }
};

// All replicated tables, by id. What the type functions cache lives in a memory context of its own.
class Catalog {
 public:
  // In a transaction. Tables that vanished or lost their key are left out.
  void load();
  const std::vector<std::unique_ptr<PgTable>>& tables() const { return tables_; }
  // nullptr: not replicated (any more).
  PgTable* find(TableId id);
  // Throws Error(transient): the core reads the configuration again.
  PgTable& get(TableId id);

 private:
  std::unique_ptr<PgTable> describe_table(Oid relation, Oid key_index);  // nullptr: not there, or without a usable key
  bool describe_leaves(PgTable& root);

  std::vector<std::unique_ptr<PgTable>> tables_;
  std::unordered_map<TableId, PgTable*> by_id_;
  MemoryContext memory_ = nullptr;
};

Identity read_identity();
std::vector<ServerConfig> read_servers();
std::vector<Request> read_requests();

}  // namespace rowmesh
