// A replicated table while a transaction works on it: relation, key index, scans and slots are opened once per
// transaction.
//
// All of it is palloc'd or owned by the transaction: after an error nothing needs closing, the abort does it.
#pragma once
#include "pg_ext/catalog.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "executor/executor.h"
#include "utils/rel.h"
}

namespace rowmesh {

struct TableAccess {
  PgTable* table;
  Relation heap;
  Relation index;
  TupleTableSlot* slot;       // what scans give
  TupleTableSlot* lock_slot;  // what a row lock gives; made when needed
  ScanKeyData* point_keys;    // key = ...
  IndexScanDesc point;        // made when needed
  ScanKeyData range_keys[2];  // single key column: first <= key <= last
  IndexScanDesc range;
  // Writing; made when needed.
  EState* estate;
  ResultRelInfo* result;
  TupleTableSlot* write_slot;
  ExprState** defaults;  // by attribute number - 1; made when needed, null: the column has none
  // Of a partitioned table: its partitions, and what says which rows are whose (partitions.cpp); made when needed.
  LOCKMODE lock;
  TableAccess** leaves;
  std::size_t leaf_count, last_leaf;
  // Of a partition: its bounds as an expression over route_slot, which needs the key's columns only.
  EState* route_estate;
  ExprState* bounds;
  TupleTableSlot* route_slot;
};

// All RAISE (types.hpp). `lock`: taken on the table. Raises if the table was altered since the catalog was read.
TableAccess* open_table(PgTable& table, LOCKMODE lock);
void close_table(TableAccess* access);
// What an inserted row gets in a column of which its sender knows nothing. Open for writing; lives until the next row.
Datum default_value(TableAccess* access, int attribute, bool* is_null);
// Scans must not keep buffers pinned when a subtransaction ends ("buffer is not owned by resource owner").
void release_pins(TableAccess* access);

// Makes the point scan. Needed before a subtransaction that uses it: what it holds must belong to the transaction
// itself.
void make_point_scan(TableAccess* access, Snapshot snapshot);
// Positions the point scan at the key given as datums. Then index_getnext_slot(access->point, ...).
void start_point_scan(TableAccess* access, Snapshot snapshot, const Datum* key);
void start_range_scan(TableAccess* access, Snapshot snapshot, Datum first, Datum last);

// The number in a key of one integer column; false if it is not one.
bool integer_of_key(KeyView key, std::int64_t* number);
// The values of the key columns as datums, in CurrentMemoryContext.
void key_to_datums(PgTable& table, const Value* values, Datum* datums);
// Whether the key column's type holds the number at all.
bool integer_fits(const PgTable& table, std::int64_t number);
Datum integer_key_datum(const PgTable& table, std::int64_t number);
std::int64_t integer_key_number(const PgTable& table, Datum datum);

}  // namespace rowmesh
