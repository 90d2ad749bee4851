// Reading rows for the sender, for comparing and for the applier's decisions.
#pragma once
#include <optional>

#include "pg_ext/table_access.hpp"

namespace rowmesh {

// Where rows are read: the transaction's snapshot, and contexts that live as long as the transaction (`scratch` only as
// long as a row).
struct ReadContext {
  Snapshot snapshot = nullptr;
  MemoryContext keys = nullptr;
  MemoryContext scratch = nullptr;
};

void read_rows(TableAccess* access, const ReadContext& context, std::span<const KeyView> keys, const RowVisitor& visit);
void scan_rows(TableAccess* access, const ReadContext& context, KeyView after, const RowVisitor& visit);
std::optional<Key> find_unique(TableAccess* access, const ReadContext& context, std::size_t unique_index, RowView row);

// RAISES. The row in the slot, all columns of the table, into `values`; texts may lie in CurrentMemoryContext.
void slot_to_values(const PgTable& table, TupleTableSlot* slot, Value* values);
// The canonical key of a row.
Key key_of_row(const PgTable& table, RowView row);

}  // namespace rowmesh
