// The partitions of a partitioned table, as Catalog keeps them.
#include <map>

#include "pg_ext/catalog.hpp"
#include "pg_ext/statement.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {
namespace {

// Per index of a partitioned table: which index of each partition belongs to it.
std::map<Oid, std::map<Oid, Oid>> leaf_indexes(const PgTable& root) {
  std::map<Oid, std::map<Oid, Oid>> indexes;
  std::vector<Oid> wanted = root.unique_indexes;
  wanted.push_back(root.key_index);
  for (Oid index : wanted)
    for (const SqlRow& row : run_sql(
             "SELECT i.indrelid::bigint, t.relid::oid::bigint FROM pg_catalog.pg_partition_tree($1::oid::regclass) t "
             "JOIN pg_catalog.pg_index i ON i.indexrelid = t.relid WHERE t.isleaf",
             {SqlArgument::of_number(index)}))
      indexes[index][static_cast<Oid>(std::stoll(*row[0]))] = static_cast<Oid>(std::stoll(*row[1]));
  return indexes;
}

// A partition's columns may have another order than those of its table: brings what was read of it into the table's.
bool align(PgTable& leaf, const PgTable& root) {
  std::vector<std::int16_t> place(leaf.columns.size(), -1);  // by column of the leaf
  std::vector<PgColumn> columns(root.columns.size());
  for (std::size_t i = 0; i < root.columns.size(); i++) {
    if (root.table.columns[i].dropped()) continue;
    int own = leaf.table.column_index(root.table.columns[i].name);
    if (own < 0) return false;
    columns[i] = leaf.columns[static_cast<std::size_t>(own)];
    place[static_cast<std::size_t>(own)] = static_cast<std::int16_t>(i);
  }
  leaf.columns = std::move(columns);
  for (std::int16_t& column : leaf.column_of)
    if (column >= 0) column = place[static_cast<std::size_t>(column)];
  for (PgKeyPart& part : leaf.key) part.column = static_cast<ColumnIndex>(place[part.column]);
  std::string name = std::move(leaf.table.local_name);
  leaf.table = root.table;
  leaf.table.local_name = std::move(name);
  leaf.unique_indexes = root.unique_indexes;  // to be replaced by its own
  return leaf.key.size() == root.key.size();
}

}  // namespace

bool Catalog::describe_leaves(PgTable& root) {
  std::map<Oid, std::map<Oid, Oid>> indexes = leaf_indexes(root);
  auto rows = run_sql(
      "SELECT t.relid::oid::bigint FROM pg_catalog.pg_partition_tree($1::oid::regclass) t JOIN pg_catalog.pg_class c "
      "ON c.oid = t.relid "
      "WHERE t.isleaf AND c.relkind = 'r' ORDER BY 1",
      {SqlArgument::of_number(root.relation)});
  for (const SqlRow& row : rows) {
    Oid relation = static_cast<Oid>(std::stoll(*row[0]));
    auto leaf = describe_table(relation, indexes[root.key_index][relation]);
    if (!leaf || !align(*leaf, root)) return false;
    for (Oid& index : leaf->unique_indexes) index = indexes[index][relation];
    root.leaves.push_back(std::move(leaf));
  }
  return true;
}

}  // namespace rowmesh
