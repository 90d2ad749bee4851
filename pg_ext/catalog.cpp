#include "pg_ext/catalog.hpp"

#include <new>

#include "pg_ext/guard.hpp"
#include "pg_ext/statement.hpp"
#include "shared/sync/server_options.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
}

namespace rowmesh {
namespace {

// A table's description as palloc'd plain data: filled where errors may jump, copied afterwards.
struct RawColumn {
  AttrNumber attribute;
  TypeIo io;
  char *name, *type_name;
  bool not_null, has_default;
};
struct RawUnique {
  Oid index;
  char* name;
  AttrNumber attributes[INDEX_MAX_KEYS];
  int count;
};
struct RawTable {
  bool usable, partitioned;
  char *schema, *name;
  int attributes;
  Oid* attribute_types;
  RawColumn* columns;
  int column_count;
  Oid key_index, owner;
  PgKeyPart key[INDEX_MAX_KEYS];
  AttrNumber key_attributes[INDEX_MAX_KEYS];
  int key_count;
  RawUnique* uniques;
  int unique_count;
};

void describe_columns(RawTable& raw, Relation heap, MemoryContext keep) {
  TupleDesc descriptor = RelationGetDescr(heap);
  raw.attributes = descriptor->natts;
  raw.attribute_types = static_cast<Oid*>(palloc0(sizeof(Oid) * static_cast<Size>(raw.attributes + 1)));
  // By attribute: its number stays when others are dropped. The places of dropped and generated ones stay empty.
  raw.column_count = raw.attributes;
  raw.columns = static_cast<RawColumn*>(palloc0(sizeof(RawColumn) * static_cast<Size>(raw.attributes + 1)));
  for (int i = 0; i < raw.attributes; i++) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attisdropped) continue;
    raw.attribute_types[i] = attribute->atttypid;
    if (attribute->attgenerated) continue;
    RawColumn& column = raw.columns[i];
    column.attribute = attribute->attnum;
    new (&column.io) TypeIo();
    init_type_io(column.io, attribute->atttypid, attribute->atttypmod, keep);
    column.name = pstrdup(NameStr(attribute->attname));
    column.type_name = format_type_with_typemod(attribute->atttypid, attribute->atttypmod);
    column.not_null = attribute->attnotnull;
    column.has_default = attribute->atthasdef || attribute->attidentity;
  }
}

RegProcedure operator_function(Relation index, int column, StrategyNumber strategy) {
  // Polymorphic classes (arrays, enums) name their input type, not the column's.
  Oid type = index->rd_opcintype[column];
  Oid found = get_opfamily_member(index->rd_opfamily[column], type, type, static_cast<int16>(strategy));
  return OidIsValid(found) ? get_opcode(found) : InvalidOid;
}

bool describe_key(RawTable& raw, Relation index) {
  Form_pg_index form = index->rd_index;
  raw.key_count = form->indnkeyatts;
  for (int i = 0; i < raw.key_count; i++) {
    PgKeyPart& part = *new (&raw.key[i]) PgKeyPart();
    part.attribute = form->indkey.values[i];
    part.index_attribute = static_cast<AttrNumber>(i + 1);
    part.collation = index->rd_indcollation[i];
    part.descending = index->rd_indoption[i] & INDOPTION_DESC;
    part.equal = operator_function(index, i, BTEqualStrategyNumber);
    part.less = operator_function(index, i, BTLessStrategyNumber);
    part.less_equal = operator_function(index, i, BTLessEqualStrategyNumber);
    part.greater_equal = operator_function(index, i, BTGreaterEqualStrategyNumber);
    part.greater = operator_function(index, i, BTGreaterStrategyNumber);
    if (part.attribute <= 0 || !OidIsValid(part.equal) || !OidIsValid(part.greater)) return false;
  }
  return raw.key_count > 0;
}

void describe_unique(RawTable& raw, Relation index) {
  Form_pg_index form = index->rd_index;
  bool plain = form->indisunique && form->indisvalid && form->indimmediate && index->rd_indpred == nullptr &&
               index->rd_indexprs == nullptr && index->rd_rel->relam == BTREE_AM_OID;
  if (!plain) return;
  RawUnique& unique = raw.uniques[raw.unique_count++];
  unique.index = RelationGetRelid(index);
  unique.name = pstrdup(RelationGetRelationName(index));
  unique.count = form->indnkeyatts;
  for (int i = 0; i < unique.count; i++) unique.attributes[i] = form->indkey.values[i];
}

// RAISES.
void describe(RawTable& raw, Oid relation, Oid key_index, MemoryContext keep) {
  Relation heap = try_table_open(relation, AccessShareLock);
  if (!heap) return;
  raw.schema = get_namespace_name(RelationGetNamespace(heap));
  raw.name = pstrdup(RelationGetRelationName(heap));
  raw.owner = heap->rd_rel->relowner;
  raw.partitioned = heap->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
  describe_columns(raw, heap, keep);
  List* indexes = RelationGetIndexList(heap);
  raw.uniques = static_cast<RawUnique*>(palloc0(sizeof(RawUnique) * static_cast<Size>(list_length(indexes) + 1)));
  if (!OidIsValid(key_index))
    key_index = OidIsValid(heap->rd_pkindex) ? heap->rd_pkindex : RelationGetReplicaIndex(heap);
  raw.key_index = key_index;
  ListCell* cell;
  foreach (cell, indexes) {
    Relation index = index_open(lfirst_oid(cell), AccessShareLock);
    if (RelationGetRelid(index) == key_index)
      raw.usable = describe_key(raw, index);
    else
      describe_unique(raw, index);
    index_close(index, NoLock);
  }
  table_close(heap, NoLock);
}

bool to_column_indexes(const PgTable& table, const AttrNumber* attributes, int count,
                       std::vector<ColumnIndex>& columns) {
  for (int i = 0; i < count; i++) {
    if (attributes[i] <= 0) return false;
    std::int16_t column = table.column_of[static_cast<std::size_t>(attributes[i] - 1)];
    if (column < 0) return false;
    columns.push_back(static_cast<ColumnIndex>(column));
  }
  return true;
}

bool is_integer(PgForm form) { return form == PgForm::int2 || form == PgForm::int4 || form == PgForm::int8; }

// False: a generated column is part of the key.
bool copy_description(const RawTable& raw, PgTable& table) {
  table.partitioned = raw.partitioned;
  table.key_index = raw.key_index;
  table.owner = raw.owner;
  table.table.local_name = std::string(raw.schema) + "." + raw.name;
  table.attribute_types.assign(raw.attribute_types, raw.attribute_types + raw.attributes);
  table.column_of.assign(static_cast<std::size_t>(raw.attributes), -1);
  for (int i = 0; i < raw.column_count; i++) {
    const RawColumn& column = raw.columns[i];
    if (column.attribute == 0) {
      table.columns.emplace_back();
      table.table.columns.emplace_back();
      continue;
    }
    table.column_of[static_cast<std::size_t>(column.attribute - 1)] = static_cast<std::int16_t>(i);
    table.columns.push_back({column.attribute, column.io});
    table.table.columns.push_back({column.name, column.io.wire, column.type_name, column.not_null, column.has_default});
  }
  for (int i = 0; i < raw.key_count; i++) {
    PgKeyPart part = raw.key[i];
    std::int16_t column = table.column_of[static_cast<std::size_t>(part.attribute - 1)];
    if (column < 0) return false;
    part.column = static_cast<ColumnIndex>(column);
    table.key.push_back(part);
    table.table.key.push_back(part.column);
  }
  for (int i = 0; i < raw.unique_count; i++) {
    UniqueIndex unique;
    unique.name = raw.uniques[i].name;
    if (!to_column_indexes(table, raw.uniques[i].attributes, raw.uniques[i].count, unique.columns)) continue;
    table.table.uniques.push_back(unique);
    table.unique_indexes.push_back(raw.uniques[i].index);
  }
  const TypeIo& first = table.key_io(0);
  table.table.integer_key =
      table.key.size() == 1 && is_integer(first.form) && !first.domain && !table.key[0].descending;
  return true;
}

void find_key_sequence(PgTable& table) {
  auto rows = run_sql(
      "SELECT s.seqrelid::bigint, s.seqincrement, s.seqmax, s.seqstart FROM pg_catalog.pg_depend d JOIN "
      "pg_catalog.pg_sequence s "
      "ON s.seqrelid = d.objid "
      "WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND "
      "d.deptype IN ('a', 'i') "
      "AND d.refobjid = $1::oid AND d.refobjsubid = $2",
      {SqlArgument::of_number(table.relation), SqlArgument::of_number(table.key[0].attribute)});
  if (rows.empty()) return;
  table.key_sequence = static_cast<Oid>(std::stoll(*rows[0][0]));
  table.sequence_increment = std::stoll(*rows[0][1]);
  table.sequence_maximum = std::stoll(*rows[0][2]);
  table.sequence_start = std::stoll(*rows[0][3]);
}

// Foreign keys of one column that name the integer key of a replicated table, and what add_reference says.
void read_references(const std::vector<std::unique_ptr<PgTable>>& tables) {
  auto rows = run_sql(
      "SELECT c.conrelid::bigint, c.conkey[1], c.confrelid::bigint, c.confkey[1] FROM pg_catalog.pg_constraint c "
      "WHERE c.contype = 'f' AND c.conparentid = 0 AND pg_catalog.cardinality(c.conkey) = 1 "
      "UNION SELECT r.relid::oid::bigint, a.attnum, r.to_relid::oid::bigint, 0 FROM rowmesh.reference r "
      "JOIN pg_catalog.pg_attribute a ON a.attrelid = r.relid AND a.attname = r.name AND NOT a.attisdropped ORDER BY "
      "1, 2, 3, 4");
  auto table_of = [&](Oid relation) -> PgTable* {
    for (auto& table : tables)
      if (table->relation == relation) return table.get();
    return nullptr;
  };
  for (const SqlRow& row : rows) {
    PgTable* child = table_of(static_cast<Oid>(std::stoll(*row[0])));
    PgTable* parent = table_of(static_cast<Oid>(std::stoll(*row[2])));
    if (!child || !parent || !parent->table.integer_key) continue;
    auto attribute = static_cast<std::size_t>(std::stoll(*row[1])), key = static_cast<std::size_t>(std::stoll(*row[3]));
    if (attribute == 0 || attribute > child->column_of.size() || child->column_of[attribute - 1] < 0) continue;
    if (key != 0 && key != static_cast<std::size_t>(parent->key[0].attribute)) continue;
    child->table.references.push_back({static_cast<ColumnIndex>(child->column_of[attribute - 1]), parent->table.id});
  }
}

}  // namespace

void Catalog::load() {
  // The name on the wire, the merge policy; the key's index is the primary key or, without one, the replica identity.
  auto rows = run_sql(
      "SELECT id, relid::oid::bigint, wire_name, merge, on_key_collision FROM rowmesh.replicated_table ORDER BY id");
  tables_.clear();
  by_id_.clear();
  guard([&] {
    if (memory_) MemoryContextDelete(memory_);
    memory_ = nullptr;
    memory_ = AllocSetContextCreate(TopMemoryContext, "rowmesh catalog", ALLOCSET_DEFAULT_SIZES);
  });
  for (const SqlRow& row : rows) {
    auto table = describe_table(static_cast<Oid>(std::stoll(*row[1])), InvalidOid);
    if (!table) continue;
    table->table.id = static_cast<TableId>(std::stoll(*row[0]));
    table->table.wire_name = row[2].value_or("");
    table->table.on_key_collision = row[4].value_or("") == "merge"  ? KeyCollision::merge
                                    : row[4].value_or("") == "hold" ? KeyCollision::hold
                                                                    : KeyCollision::renumber;
    table->table.merge = row[3].value_or("") == "row" ? MergePolicy::row : MergePolicy::column;
    if (table->partitioned && !describe_leaves(*table)) continue;
    if (table->table.integer_key) find_key_sequence(*table);
    by_id_[table->table.id] = table.get();
    tables_.push_back(std::move(table));
  }
  read_references(tables_);
}

std::unique_ptr<PgTable> Catalog::describe_table(Oid relation, Oid key_index) {
  auto table = std::make_unique<PgTable>();
  table->relation = relation;
  RawTable raw = {};
  guard([&] { describe(raw, relation, key_index, memory_); });
  if (!raw.usable || !copy_description(raw, *table)) return nullptr;
  return table;
}

PgTable* Catalog::find(TableId id) {
  auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : at->second;
}

PgTable& Catalog::get(TableId id) {
  if (PgTable* table = find(id)) return *table;
  throw Error(ErrorKind::transient, "table_gone",
              "a table is not replicated any more; the configuration is read again");
}

Identity read_identity() {
  auto rows = run_sql("SELECT node, origin, name FROM rowmesh.state");
  if (rows.empty())
    throw Error(ErrorKind::config, "no_identity",
                "rowmesh.state is empty; drop the extension rowmesh and create it again");
  return {rows[0][0].value_or(""), from_hex(rows[0][1].value_or("")), rows[0][2].value_or("")};
}

std::vector<ServerConfig> read_servers() {
  std::vector<ServerConfig> servers;
  for (const SqlRow& row :
       run_sql("SELECT id, name, url, secret, direction, enabled, start_state, old_secret, options, "
               "pg_catalog.array_to_json(tables) FROM rowmesh.server ORDER BY id")) {
    ServerConfig server;
    server.id = std::stoll(*row[0]);
    server.name = *row[1];
    server.url = *row[2];
    server.secret = *row[3];
    server.direction = *row[4] == "push" ? Direction::push : *row[4] == "pull" ? Direction::pull : Direction::both;
    server.enabled = *row[5] == "t";
    server.start_state = *row[6];
    server.old_secret = *row[7];
    server.options = parse_server_options(*row[8]);
    if (row[9]) set_server_tables(server, *row[9]);
    servers.push_back(std::move(server));
  }
  return servers;
}

std::vector<Request> read_requests() {
  std::vector<Request> requests;
  for (const SqlRow& row : run_sql("SELECT id, kind, argument FROM rowmesh.request ORDER BY id"))
    requests.push_back({std::stoll(*row[0]), *row[1], *row[2]});
  return requests;
}

}  // namespace rowmesh
