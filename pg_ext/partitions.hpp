// Rows of a partitioned table: each lies in the partition that its key says, since the columns that a table is
// partitioned by are always part of its key, and a row whose key changes is another row. So every task is done
// partition by partition.
#pragma once
#include "pg_ext/row_writer.hpp"

namespace rowmesh {

// Where the keys of one partition stand among all that were asked for.
struct LeafPlaces {
  const std::vector<std::size_t>* places = nullptr;  // nullptr: all, in their order
  std::size_t of(std::size_t at) const { return places ? (*places)[at] : at; }
};
using LeafVisitor = std::function<bool(TableAccess*, std::span<const KeyView>, const LeafPlaces&)>;

// An ordinary table is its only leaf. Keys that no partition takes are left out. Ends when the visitor returns false.
void for_each_leaf(TableAccess* access, const ReadContext& context, std::span<const KeyView> keys,
                   const LeafVisitor& visit);
// nullptr: no partition takes it.
TableAccess* leaf_of_row(TableAccess* access, const ReadContext& context, RowView row);

// For partitioned tables only. One partition after the other, each in the order of its key.
void scan_partitions(TableAccess* access, const ReadContext& context, KeyView after, const RowVisitor& visit);
void write_partitions(TableAccess* access, const ReadContext& context, const std::vector<ColumnType>& types,
                      std::span<const RowWrite> writes, std::vector<WriteResult>& results,
                      const std::function<void(TransactionId)>& note_writer);

}  // namespace rowmesh
