#include "pg_ext/captured_table.hpp"

#include <bit>
#include <new>
#include <string>

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
}

namespace rowmesh {
namespace {

HTAB* tables = nullptr;
CapturedTable* last = nullptr;  // most statements write one table

void forget(Datum, Oid relation) {
  if (!tables) return;
  last = nullptr;
  if (relation != InvalidOid) {
    auto* table = static_cast<CapturedTable*>(hash_search(tables, &relation, HASH_FIND, nullptr));
    if (table) table->valid = false;
    return;
  }
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, tables);
  while (auto* table = static_cast<CapturedTable*>(hash_seq_search(&scan))) table->valid = false;
}

void make_hash() {
  HASHCTL control = {};
  control.keysize = sizeof(Oid);
  control.entrysize = sizeof(CapturedTable);
  control.hcxt = CacheMemoryContext;
  tables = hash_create("rowmesh captured tables", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  CacheRegisterRelcacheCallback(forget, 0);
}

bool has_trigger(Relation relation, const Trigger* wanted) {
  TriggerDesc* triggers = relation->trigdesc;
  for (int i = 0; triggers && i < triggers->numtriggers; i++) {
    const Trigger& trigger = triggers->triggers[i];
    if (trigger.tgfoid == wanted->tgfoid && trigger.tgnargs == 1 && strcmp(trigger.tgargs[0], wanted->tgargs[0]) == 0)
      return true;
  }
  return false;
}

// The table that was added: the topmost one that bears the trigger of which a partition has a copy. To be closed unless
// it is `relation`.
Relation open_root(Relation relation, const Trigger* trigger) {
  if (!relation->rd_rel->relispartition) return relation;
  List* ancestors = get_partition_ancestors(RelationGetRelid(relation));
  for (int i = list_length(ancestors) - 1; i >= 0; i--) {
    Relation ancestor = table_open(list_nth_oid(ancestors, i), AccessShareLock);
    if (has_trigger(ancestor, trigger)) return ancestor;
    table_close(ancestor, AccessShareLock);
  }
  return relation;
}

Oid key_index(Relation root) {
#if PG_VERSION_NUM >= 180000
  Oid index = RelationGetPrimaryKeyIndex(root, false);
#else
  Oid index = RelationGetPrimaryKeyIndex(root);
#endif
  if (!OidIsValid(index)) index = RelationGetReplicaIndex(root);
  if (!OidIsValid(index))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("table \"%s\" is replicated by rowmesh and has no primary key any more",
                           RelationGetRelationName(root)),
                    errhint("Add a primary key, or take the table off with SELECT rowmesh.remove_table('%s').",
                            RelationGetRelationName(root))));
  return index;
}

AttrNumber number_of(TupleDesc descriptor, const char* name) {
  for (int i = 0; i < descriptor->natts; i++) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0) return attribute->attnum;
  }
  return 0;
}

void read_columns(CapturedTable* table, TupleDesc own, TupleDesc root) {
  table->attributes = own->natts;
  table->mask_size = static_cast<std::uint16_t>((root->natts + 7) / 8);
  table->logged_as = static_cast<AttrNumber*>(palloc0(sizeof(AttrNumber) * static_cast<Size>(own->natts)));
  for (int i = 0; i < own->natts; i++) {
    Form_pg_attribute attribute = TupleDescAttr(own, i);
    if (attribute->attisdropped || attribute->attgenerated) continue;
    table->logged_as[i] = own == root ? attribute->attnum : number_of(root, NameStr(attribute->attname));
  }
}

void read_key_columns(CapturedTable* table, TupleDesc own, Relation root) {
  Relation index = index_open(key_index(root), AccessShareLock);
  table->key_columns = IndexRelationGetNumberOfKeyAttributes(index);
  table->key_types = static_cast<TypeIo*>(palloc(sizeof(TypeIo) * static_cast<Size>(table->key_columns)));
  for (int i = 0; i < table->key_columns; i++) {
    AttrNumber number = index->rd_index->indkey.values[i];
    if (RelationGetDescr(root) != own)
      number = number_of(own, NameStr(TupleDescAttr(RelationGetDescr(root), number - 1)->attname));
    table->key[i] = number;
    Form_pg_attribute attribute = TupleDescAttr(own, number - 1);
    init_type_io(*new (&table->key_types[i]) TypeIo(), attribute->atttypid, attribute->atttypmod, table->memory);
  }
  index_close(index, AccessShareLock);
  PgForm form = table->key_types[0].form;
  table->integer_key =
      table->key_columns == 1 && (form == PgForm::int2 || form == PgForm::int4 || form == PgForm::int8);
}

void fill(CapturedTable* table, TriggerData* data) {
  const Trigger* trigger = data->tg_trigger;
  Relation relation = data->tg_relation;
  if (trigger->tgnargs != 1)
    ereport(ERROR, (errmsg("rowmesh's trigger on \"%s\" was made by hand; use rowmesh.add_table",
                           RelationGetRelationName(relation))));
  if (table->memory) MemoryContextDelete(table->memory);
  table->memory = AllocSetContextCreate(CacheMemoryContext, "rowmesh captured table", ALLOCSET_SMALL_SIZES);
  MemoryContext old = MemoryContextSwitchTo(table->memory);
  table->id = static_cast<TableId>(strtoul(trigger->tgargs[0], nullptr, 10));
  Relation root = open_root(relation, trigger);
  read_columns(table, RelationGetDescr(relation), RelationGetDescr(root));
  read_key_columns(table, RelationGetDescr(relation), root);
  table->compare_all = relation->trigdesc && relation->trigdesc->trig_update_before_row;
  if (root != relation) table_close(root, AccessShareLock);
  MemoryContextSwitchTo(old);
  table->valid = true;
}

// Output functions of some types depend on the session's settings; one row must have one key whoever writes it.
bool settings_differ() {
  return DateStyle != USE_ISO_DATES || IntervalStyle != INTSTYLE_POSTGRES || extra_float_digits < 1;
}

bool depends_on_settings(PgForm form) {
  return form == PgForm::other || form == PgForm::date || form == PgForm::timestamp || form == PgForm::timestamptz;
}

int pin_settings(PgForm form) {
  // Of our forms only the rare value beyond the year 9999 goes through an output function.
  bool zone = form == PgForm::other || form == PgForm::timestamptz;
  if (!settings_differ() && !(zone && strcmp(GetConfigOption("TimeZone", true, false), "UTC") != 0)) return 0;
  int level = NewGUCNestLevel();
  auto pin = [](const char* name, const char* value) {
    (void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
  };
  pin("DateStyle", "ISO, YMD");
  pin("IntervalStyle", "postgres");
  pin("extra_float_digits", "1");
  if (zone) pin("TimeZone", "UTC");
  return level;
}

void reserve(KeyBytes* key, std::size_t more) {
  if (key->size + more <= key->capacity) return;
  std::size_t capacity = 2 * (key->size + more);
  key->bytes = static_cast<char*>(key->bytes ? repalloc_huge(key->bytes, capacity)
                                             : MemoryContextAllocHuge(CurrentMemoryContext, capacity));
  key->capacity = capacity;
}

void append_bytes(KeyBytes* key, std::uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    key->bytes[key->size++] = static_cast<char>(number >> shift);
}

// The bytes of encode_key (shared/model/key.cpp), without its allocations: an error of PostgreSQL may jump out of here.
void append_value(KeyBytes* key, const Value& value) {
  reserve(key, value.text.size() + 16);
  switch (value.kind) {
    case ValueKind::integer:
      key->bytes[key->size++] = 1;
      append_bytes(key, static_cast<std::uint64_t>(value.integer) ^ 1ULL << 63, 8);
      return;
    case ValueKind::real:
      key->bytes[key->size++] = 2;
      append_bytes(key, std::bit_cast<std::uint64_t>(value.real), 8);
      return;
    case ValueKind::boolean:
      key->bytes[key->size++] = 3;
      append_bytes(key, value.integer != 0, 1);
      return;
    case ValueKind::text:
    case ValueKind::bytes:
      key->bytes[key->size++] = value.kind == ValueKind::text ? 4 : 5;
      append_bytes(key, value.text.size(), 4);
      memcpy(key->bytes + key->size, value.text.data(), value.text.size());
      key->size += value.text.size();
      return;
    case ValueKind::null:
    case ValueKind::omitted: break;
  }
  ereport(ERROR,
          (errcode(ERRCODE_NOT_NULL_VIOLATION), errmsg("a key column of a table that rowmesh replicates is null")));
}

void append_column(const TypeIo& type, Datum datum, bool is_null, KeyBytes* key) {
  static std::string& scratch = *new std::string();  // outlives every jump
  int level = depends_on_settings(type.form) ? pin_settings(type.form) : 0;
  Value value = datum_to_value(type, datum, is_null);
  if (level) AtEOXact_GUC(true, level);
  append_value(key, canonical_key_value(type, value, scratch));
}

}  // namespace

CapturedTable* captured_table(TriggerData* data) {
  Oid relation = RelationGetRelid(data->tg_relation);
  if (likely(last && last->relation == relation && last->valid)) return last;
  if (!tables) make_hash();
  bool found;
  auto* table = static_cast<CapturedTable*>(hash_search(tables, &relation, HASH_ENTER, &found));
  if (!found) {
    table->valid = false;
    table->memory = nullptr;
  }
  // Filling opens relations, which may deliver an invalidation of this very table: then once more.
  for (int attempt = 0; !table->valid && attempt < 10; attempt++) fill(table, data);
  last = table;
  return table;
}

void read_key(const CapturedTable* table, HeapTuple tuple, TupleDesc descriptor, KeyBytes* key) {
  bool is_null;
  if (likely(table->integer_key)) {
    Datum datum = heap_getattr(tuple, table->key[0], descriptor, &is_null);
    PgForm form = table->key_types[0].form;
    key->integer = true;
    key->number = form == PgForm::int8   ? DatumGetInt64(datum)
                  : form == PgForm::int4 ? DatumGetInt32(datum)
                                         : DatumGetInt16(datum);
    return;
  }
  key->integer = false;
  key->size = 0;
  for (int i = 0; i < table->key_columns; i++) {
    Datum datum = heap_getattr(tuple, table->key[i], descriptor, &is_null);
    append_column(table->key_types[i], datum, is_null, key);
  }
}

}  // namespace rowmesh
