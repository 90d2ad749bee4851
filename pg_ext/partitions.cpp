#include "pg_ext/partitions.hpp"

#include <algorithm>

#include "pg_ext/guard.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
}

namespace rowmesh {
namespace {

// RAISES.
void open_leaves(TableAccess* root, MemoryContext keep) {
  if (root->leaves) return;
  MemoryContext old = MemoryContextSwitchTo(keep);
  std::size_t count = root->table->leaves.size();
  auto** leaves = static_cast<TableAccess**>(palloc0(sizeof(void*) * (count + 1)));
  for (std::size_t i = 0; i < count; i++) {
    TableAccess* leaf = leaves[i] = open_table(*root->table->leaves[i], root->lock);
    leaf->route_estate = CreateExecutorState();
    leaf->route_slot = MakeSingleTupleTableSlot(RelationGetDescr(leaf->heap), &TTSOpsVirtual);
    leaf->bounds = ExecPrepareCheck(RelationGetPartitionQual(leaf->heap), leaf->route_estate);
  }
  root->leaves = leaves;
  root->leaf_count = count;
  MemoryContextSwitchTo(old);
}

// RAISES. Whether a row with this key belongs to the partition.
bool takes(TableAccess* leaf, const Datum* key) {
  TupleTableSlot* slot = leaf->route_slot;
  ExecClearTuple(slot);
  memset(slot->tts_isnull, true, sizeof(bool) * static_cast<Size>(slot->tts_tupleDescriptor->natts));
  for (std::size_t i = 0; i < leaf->table->key.size(); i++) {
    int at = leaf->table->key[i].attribute - 1;
    slot->tts_values[at] = key[i];
    slot->tts_isnull[at] = false;
  }
  ExecStoreVirtualTuple(slot);
  ExprContext* expression = GetPerTupleExprContext(leaf->route_estate);
  expression->ecxt_scantuple = slot;
  bool fits = ExecCheck(leaf->bounds, expression);
  ResetPerTupleExprContext(leaf->route_estate);
  return fits;
}

// RAISES. Neighbours mostly share a partition, so the last one is asked first.
TableAccess* leaf_of(TableAccess* root, const ReadContext& context, const Value* key_values) {
  open_leaves(root, context.keys);
  MemoryContextReset(context.scratch);
  MemoryContext old = MemoryContextSwitchTo(context.scratch);
  Datum key[INDEX_MAX_KEYS];
  key_to_datums(*root->table, key_values, key);
  TableAccess* found = nullptr;
  for (std::size_t i = 0; i < root->leaf_count && !found; i++) {
    std::size_t at = (root->last_leaf + i) % root->leaf_count;
    if (!takes(root->leaves[at], key)) continue;
    root->last_leaf = at;
    found = root->leaves[at];
  }
  MemoryContextSwitchTo(old);
  return found;
}

TableAccess* leaf_of_key(TableAccess* root, const ReadContext& context, KeyView key) {
  Row values = decode_key(key);
  if (values.size() != root->table->key.size()) throw Error(ErrorKind::bug, "bad_key", "a key does not fit its table");
  const Value* parts = values.data();
  TableAccess* leaf = nullptr;
  guard([&] { leaf = leaf_of(root, context, parts); });
  return leaf;
}

struct LeafShare {
  TableAccess* leaf;
  std::vector<KeyView> keys;
  std::vector<std::size_t> places;
};

// Keys stay in their order within each share. `nowhere`: places of those that no partition takes.
std::vector<LeafShare> share_out(TableAccess* root, const ReadContext& context, std::span<const KeyView> keys,
                                 std::vector<std::size_t>& nowhere) {
  std::vector<LeafShare> shares;
  std::size_t last = 0;
  for (std::size_t i = 0; i < keys.size(); i++) {
    TableAccess* leaf = leaf_of_key(root, context, keys[i]);
    if (!leaf) {
      nowhere.push_back(i);
      continue;
    }
    if (last >= shares.size() || shares[last].leaf != leaf) {
      auto at = std::find_if(shares.begin(), shares.end(), [&](const LeafShare& share) { return share.leaf == leaf; });
      last = static_cast<std::size_t>(at - shares.begin());
      if (at == shares.end()) shares.push_back({leaf, {}, {}});
    }
    shares[last].keys.push_back(keys[i]);
    shares[last].places.push_back(i);
  }
  return shares;
}

}  // namespace

void for_each_leaf(TableAccess* access, const ReadContext& context, std::span<const KeyView> keys,
                   const LeafVisitor& visit) {
  if (!access->table->partitioned) {
    visit(access, keys, {});
    return;
  }
  std::vector<std::size_t> nowhere;
  for (const LeafShare& share : share_out(access, context, keys, nowhere))
    if (!visit(share.leaf, share.keys, {&share.places})) return;
}

TableAccess* leaf_of_row(TableAccess* access, const ReadContext& context, RowView row) {
  Value key[INDEX_MAX_KEYS];
  for (std::size_t i = 0; i < access->table->key.size(); i++) key[i] = row[access->table->key[i].column];
  TableAccess* leaf = nullptr;
  guard([&] { leaf = leaf_of(access, context, key); });
  return leaf;
}

void scan_partitions(TableAccess* access, const ReadContext& context, KeyView after, const RowVisitor& visit) {
  guard([&] { open_leaves(access, context.keys); });
  std::size_t first = 0, index = 0;
  if (!after.empty()) {
    TableAccess* reached = leaf_of_key(access, context, after);
    if (!reached)
      throw Error(ErrorKind::permanent, "partition_gone",
                  "the partition of " + access->table->table.local_name + " that was being read was detached");
    first = static_cast<std::size_t>(std::find(access->leaves, access->leaves + access->leaf_count, reached) -
                                     access->leaves);
  }
  bool more = true;
  for (std::size_t i = first; i < access->leaf_count && more; i++)
    scan_rows(access->leaves[i], context, i == first ? after : KeyView(),
              [&](std::size_t, KeyView key, RowView row) { return more = visit(index++, key, row); });
}

void write_partitions(TableAccess* access, const ReadContext& context, const std::vector<ColumnType>& types,
                      std::span<const RowWrite> writes, std::vector<WriteResult>& results,
                      const std::function<void(TransactionId)>& note_writer) {
  results.assign(writes.size(), {});
  std::vector<KeyView> keys;
  for (const RowWrite& write : writes) keys.push_back(write.key);
  std::vector<std::size_t> nowhere;
  for (const LeafShare& share : share_out(access, context, keys, nowhere)) {
    std::vector<RowWrite> own;
    std::vector<WriteResult> own_results;
    for (std::size_t place : share.places) own.push_back(writes[place]);
    write_rows(share.leaf, context, types, own, own_results, note_writer);
    for (std::size_t i = 0; i < own.size(); i++) results[share.places[i]] = std::move(own_results[i]);
  }
  for (std::size_t place : nowhere) {
    results[place].status = writes[place].kind == WriteKind::insert ? WriteResult::refused : WriteResult::raced;
    results[place].code = "23514";
    results[place].reason =
        "no partition of " + access->table->table.local_name + " takes this row; create or attach one";
  }
}

}  // namespace rowmesh
