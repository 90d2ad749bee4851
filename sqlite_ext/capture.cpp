#include "sqlite_ext/capture.hpp"

#include <algorithm>
#include <set>

#include "sqlite_ext/schema.hpp"

namespace rowmesh::sqlite {
namespace {

TableId id_of(sqlite3* db, const std::string& name) {
  Statement query(db, "SELECT id FROM main.rowmesh_table WHERE name=?1 COLLATE NOCASE");
  query.bind(1, name);
  return query.step() ? static_cast<TableId>(query.integer(0)) : 0;
}

// Numbers are never given twice, so a mask of an older trigger cannot name the wrong column.
void number_columns(sqlite3* db, const Layout& layout) {
  Statement last(db, "SELECT coalesce(max(idx), -1) FROM main.rowmesh_column WHERE table_id=?1");
  last.bind(1, static_cast<std::int64_t>(layout.table.id));
  last.step();
  std::int64_t number = last.integer(0);
  last.reset();
  Statement insert(db, "INSERT INTO main.rowmesh_column(table_id, idx, name) VALUES(?1, ?2, ?3)");
  for (std::size_t i = 0; i < layout.table.columns.size(); i++) {
    if (layout.number[i] >= 0) continue;
    insert.bind(1, static_cast<std::int64_t>(layout.table.id))
        .bind(2, ++number)
        .bind(3, layout.table.columns[i].name)
        .run();
  }
}

// The number of a column that is gone stays taken; its row keeps a name that no column can have.
void forget_dropped_columns(sqlite3* db, const Layout& layout) {
  std::vector<std::int64_t> dropped;
  {
    Statement query(db, "SELECT idx, name FROM main.rowmesh_column WHERE table_id=?1 AND name<>''");
    query.bind(1, static_cast<std::int64_t>(layout.table.id));
    while (query.step())
      if (layout.table.column_index(query.text(1)) < 0) dropped.push_back(query.integer(0));
  }
  Statement update(db, "UPDATE main.rowmesh_column SET name='' WHERE table_id=?1 AND idx=?2");
  for (std::int64_t number : dropped) update.bind(1, static_cast<std::int64_t>(layout.table.id)).bind(2, number).run();
}

struct Installed {
  std::string name, sql;
  std::int64_t position;  // in sqlite_master: the younger, the higher
};

std::vector<Installed> installed_triggers(sqlite3* db, const std::string& where) {
  std::vector<Installed> triggers;
  Statement query(
      db, "SELECT name, sql, rowid FROM main.sqlite_master WHERE type='trigger' AND " + where + " ORDER BY rowid");
  while (query.step()) triggers.push_back({query.string(0), query.string(1), query.integer(2)});
  return triggers;
}

// A column that was renamed keeps its number, and so what others have not heard of it yet. SQLite puts the new name
// into our triggers: the renames are those with which their text is what we would write now.
void follow_column_renames(sqlite3* db, const Layout& layout, std::vector<std::string>& notices) {
  constexpr std::size_t at_once = 4;
  std::vector<std::string> before, now;
  std::vector<std::int64_t> numbers;
  {
    Statement query(db, "SELECT idx, name FROM main.rowmesh_column WHERE table_id=?1 AND name<>'' ORDER BY idx");
    query.bind(1, static_cast<std::int64_t>(layout.table.id));
    while (query.step()) {
      if (layout.table.column_index(query.text(1)) >= 0) continue;
      numbers.push_back(query.integer(0));
      before.push_back(query.string(1));
    }
  }
  for (std::size_t i = 0; i < layout.number.size(); i++)
    if (layout.number[i] < 0) now.push_back(layout.table.columns[i].name);
  if (before.empty() || before.size() != now.size() || now.size() > at_once) return;
  std::sort(now.begin(), now.end());
  auto installed = installed_triggers(db, "name='rowmesh_" + std::to_string(layout.table.id) + "_update'");
  if (installed.empty()) return;
  do {
    Savepoint attempt(db);
    Statement update(db, "UPDATE main.rowmesh_column SET name=?3 WHERE table_id=?1 AND idx=?2");
    for (std::size_t i = 0; i < now.size(); i++)
      update.bind(1, static_cast<std::int64_t>(layout.table.id)).bind(2, numbers[i]).bind(3, now[i]).run();
    bool fits = false;
    for (const Trigger& trigger : capture_triggers(*read_layout(db, layout.table.id)))
      fits = fits || (trigger.name == installed[0].name && trigger.sql == installed[0].sql);
    if (!fits) continue;
    attempt.release();
    for (std::size_t i = 0; i < now.size(); i++)
      notices.push_back("column " + before[i] + " of table " + layout.table.local_name + " was renamed to " + now[i]);
    return;
  } while (std::next_permutation(now.begin(), now.end()));
}

void widen_log(sqlite3* db, std::size_t key_columns) {
  std::set<std::string> have;
  {
    Statement query(db, "PRAGMA main.table_info(rowmesh_log)");
    while (query.step()) have.insert(query.string(1));
  }
  for (std::size_t i = 1; i <= key_columns; i++)
    if (std::string name = "k" + std::to_string(i); !have.count(name))
      execute(db, "ALTER TABLE main.rowmesh_log ADD COLUMN " + name);
}

bool ours(const std::string& name) { return name.starts_with("rowmesh_"); }

bool in_line(const std::vector<Trigger>& wanted, const std::vector<Installed>& installed) {
  std::size_t at = 0;
  for (const Installed& trigger : installed) {
    // The application's triggers must be older than ours: the youngest fires first, and RAISE(IGNORE) in one that fires
    // before ours would keep the row from the log.
    if (!ours(trigger.name)) {
      if (at > 0) return false;
      continue;
    }
    if (at == wanted.size() || wanted[at].name != trigger.name || wanted[at].sql != trigger.sql) return false;
    at++;
  }
  return at == wanted.size();
}

void remove_one(sqlite3* db, TableId id) {
  drop_triggers(db, id);
  std::string number = std::to_string(id);
  execute(db, "DELETE FROM main.rowmesh_log WHERE tbl>=" + number + "*64 AND tbl<(" + number + "+1)*64");
  execute(db, "DELETE FROM main.rowmesh_side WHERE table_id=" + number);
  execute(db, "DELETE FROM main.rowmesh_column WHERE table_id=" + number);
  execute(db, "DELETE FROM main.rowmesh_reference WHERE table_id=" + number + " OR to_id=" + number);
  execute(db, "DELETE FROM main.rowmesh_table WHERE id=" + number);
}

// A table that was renamed took its triggers with it: they know its new name.
void follow_renames(sqlite3* db, std::vector<std::string>& notices) {
  struct Renamed {
    std::int64_t id;
    std::string before, now;
  };
  std::vector<Renamed> renamed;
  {
    Statement query(
        db,
        "SELECT r.id, r.name, t.tbl_name FROM main.rowmesh_table r JOIN main.sqlite_master t ON t.type='trigger' AND "
        "t.name='rowmesh_' || r.id || '_insert' WHERE t.tbl_name<>r.name");
    while (query.step()) renamed.push_back({query.integer(0), query.string(1), query.string(2)});
  }
  Statement update(db, "UPDATE main.rowmesh_table SET name=?2 WHERE id=?1");
  for (auto& [id, before, now] : renamed) {
    // A rebuild that was seen half done: what it made for the time between was taken for a table of its own.
    if (TableId rebuilt = id_of(db, now); rebuilt != 0 && rebuilt != static_cast<TableId>(id)) {
      remove_one(db, static_cast<TableId>(id));
      continue;
    }
    // A table rebuilt as "rename the old one, create anew, copy, drop the old one": the name is what counts, not the
    // old triggers.
    if (describe_table(db, before)) {
      drop_triggers(db, static_cast<TableId>(id));
      continue;
    }
    update.bind(1, id).bind(2, now).run();
    notices.push_back("table " + before + " was renamed to " + now + "; its name among the servers stays");
  }
}

// Renamed and dropped between two looks: a table that has the name which the servers know takes its place.
void follow_new_tables(sqlite3* db) {
  std::vector<std::int64_t> ids;
  {
    Statement query(db,
                    "SELECT r.id FROM main.rowmesh_table r WHERE NOT EXISTS (SELECT 1 FROM main.sqlite_master t WHERE "
                    "t.type='table' AND "
                    "t.name=r.name COLLATE NOCASE) AND EXISTS (SELECT 1 FROM main.sqlite_master t WHERE t.type='table' "
                    "AND t.name=r.wire_name) "
                    "AND NOT EXISTS (SELECT 1 FROM main.rowmesh_table o WHERE o.name=r.wire_name AND o.id<>r.id)");
    while (query.step()) ids.push_back(query.integer(0));
  }
  Statement update(db, "UPDATE main.rowmesh_table SET name=wire_name WHERE id=?1");
  for (std::int64_t id : ids) update.bind(1, id).run();
}

TableId add_one(sqlite3* db, const std::string& name, const AddTable& options) {
  std::string reason = why_not_replicable(db, name);
  if (!reason.empty()) throw Error(ErrorKind::config, "not_replicable", reason);
  TableInfo info = *describe_table(db, name);
  std::string wire_name = options.wire_name.empty() ? info.name : options.wire_name;
  TableId id = id_of(db, name);
  Statement taken(db, "SELECT name FROM main.rowmesh_table WHERE wire_name=?1 AND id<>?2");
  taken.bind(1, wire_name).bind(2, static_cast<std::int64_t>(id));
  if (taken.step())
    throw Error(
        ErrorKind::config, "name_taken",
        "table " + taken.string(0) + " has the name '" + wire_name + "' among the servers already: give another name");
  taken.reset();
  std::string merge = options.merge == MergePolicy::row ? "row" : "column";
  if (id == 0) {
    Statement insert(db,
                     "INSERT INTO main.rowmesh_table(name, wire_name, merge, on_key_collision) VALUES(?1, ?2, ?3, ?4)");
    insert.bind(1, info.name).bind(2, wire_name).bind(3, merge).bind(4, options.on_key_collision).run();
    id = id_of(db, name);
  } else {
    Statement update(
        db, "UPDATE main.rowmesh_table SET wire_name=?2, merge=?3, on_key_collision=?4, suspended=0 WHERE id=?1");
    update.bind(1, static_cast<std::int64_t>(id))
        .bind(2, wire_name)
        .bind(3, merge)
        .bind(4, options.on_key_collision)
        .run();
  }
  number_columns(db, *read_layout(db, id));
  widen_log(db, info.key.size());
  install_triggers(db, *read_layout(db, id));
  return id;
}

void suspend(sqlite3* db, const std::string& name, bool suspended) {
  TableId id = id_of(db, name);
  if (id == 0) throw Error(ErrorKind::config, "not_replicated", "table " + name + " is not replicated");
  Savepoint savepoint(db);
  execute(db, "UPDATE main.rowmesh_table SET suspended=" + std::string(suspended ? "1" : "0") +
                  " WHERE id=" + std::to_string(id));
  if (auto layout = read_layout(db, id)) {
    if (!suspended) number_columns(db, *layout);
    install_triggers(db, *read_layout(db, id));
  }
  bump_generation(db);
  savepoint.release();
}

// In which a migration tool notes what it has done to this database: on another one it is not done by that. By name
// they can be added all the same. sql/rowmesh--0.1.0.sql has the same list.
bool notes_migrations(const std::string& name) {
  static const std::set<std::string> names = {"django_migrations",     "alembic_version",       "schema_migrations",
                                              "ar_internal_metadata",  "flyway_schema_history", "databasechangelog",
                                              "databasechangeloglock", "_prisma_migrations",    "__efmigrationshistory",
                                              "knex_migrations",       "knex_migrations_lock",  "sequelizemeta",
                                              "goose_db_version"};
  std::string small = name;
  for (char& letter : small)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
  return names.contains(small);
}

// What Alembic and Django call a table while they rebuild another.
bool rebuilds_another(sqlite3* db, const std::string& name) {
  for (std::string_view prefix : {"_alembic_tmp_", "new__"})
    if (name.starts_with(prefix) && id_of(db, name.substr(prefix.size())) != 0) return true;
  return false;
}

void add_all(sqlite3* db) {
  Statement taken(db, "SELECT 1 FROM main.rowmesh_table WHERE wire_name=?1");
  for (const std::string& name : replicable_tables(db)) {
    if (id_of(db, name) == 0 && (notes_migrations(name) || rebuilds_another(db, name))) continue;
    bool free = !taken.bind(1, name).step();
    taken.reset();
    if (free && id_of(db, name) == 0) add_one(db, name, {});
  }
}

}  // namespace

TableId add_table(sqlite3* db, const std::string& name, const AddTable& options) {
  Savepoint savepoint(db);
  ensure_schema(db);
  TableId id = 0;
  if (name == "*") {
    set_state_value(db, "all_tables", "1");
    add_all(db);
  } else {
    id = add_one(db, name, options);
  }
  bump_generation(db);
  savepoint.release();
  return id;
}

void remove_table(sqlite3* db, const std::string& name) {
  Savepoint savepoint(db);
  std::vector<TableId> ids;
  if (name == "*") {
    set_state_value(db, "all_tables", "0");
    Statement query(db, "SELECT id FROM main.rowmesh_table");
    while (query.step()) ids.push_back(static_cast<TableId>(query.integer(0)));
  } else {
    ids.push_back(id_of(db, name));
    if (ids[0] == 0) throw Error(ErrorKind::config, "not_replicated", "table " + name + " is not replicated");
    set_state_value(db, "all_tables", "0");  // or it would come back with the next change of the schema
  }
  for (TableId id : ids) remove_one(db, id);
  bump_generation(db);
  savepoint.release();
}

void add_reference(sqlite3* db, const std::string& table, const std::string& column, const std::string& to_table) {
  Savepoint savepoint(db);
  auto layout_of = [&](const std::string& name) {
    auto layout = read_layout(db, id_of(db, name));
    if (!layout)
      throw Error(ErrorKind::config, "not_replicated",
                  "table " + name + " is not replicated: call rowmesh_add_table first");
    return std::move(*layout);
  };
  Layout child = layout_of(table), parent = layout_of(to_table);
  if (child.table.column_index(column) < 0)
    throw Error(ErrorKind::config, "wrong_argument", "table " + table + " has no column " + column);
  if (!parent.table.integer_key)
    throw Error(ErrorKind::config, "wrong_argument",
                "the key of table " + to_table +
                    " is not one integer column: its rows are never renumbered, so there is nothing to follow");
  Statement insert(db, "INSERT OR REPLACE INTO main.rowmesh_reference(table_id, name, to_id) VALUES(?1, ?2, ?3)");
  insert.bind(1, static_cast<std::int64_t>(child.table.id))
      .bind(2, column)
      .bind(3, static_cast<std::int64_t>(parent.table.id))
      .run();
  bump_generation(db);
  savepoint.release();
}

void suspend_table(sqlite3* db, const std::string& name) { suspend(db, name, true); }
void resume_table(sqlite3* db, const std::string& name) { suspend(db, name, false); }

std::vector<std::string> replicable_tables(sqlite3* db) {
  std::vector<std::string> names, good;
  {
    Statement query(db, "SELECT name FROM main.sqlite_master WHERE type='table' ORDER BY rowid");
    while (query.step()) names.push_back(query.string(0));
  }
  for (const std::string& name : names)
    if (why_not_replicable(db, name).empty()) good.push_back(name);
  return good;
}

bool install_triggers(sqlite3* db, const Layout& layout) {
  auto wanted = capture_triggers(layout);
  std::string own = "name GLOB 'rowmesh_" + std::to_string(layout.table.id) + "_*'";
  auto on_table = installed_triggers(db, "(tbl_name=" + quoted_text(layout.info.name) + " OR " + own + ")");
  if (in_line(wanted, on_table)) return false;
  drop_triggers(db, layout.table.id);
  // With the schema's name, which SQLite leaves out of what it stores: a temporary table of the same name must not get
  // the trigger.
  constexpr std::string_view create = "CREATE TRIGGER ";
  for (const Trigger& trigger : wanted) execute(db, std::string(create) + "main." + trigger.sql.substr(create.size()));
  return true;
}

void drop_triggers(sqlite3* db, TableId table) {
  auto triggers = installed_triggers(db, "name GLOB 'rowmesh_" + std::to_string(table) + "_*'");
  for (const Installed& trigger : triggers) execute(db, "DROP TRIGGER IF EXISTS main." + quoted_name(trigger.name));
}

void repair_capture(sqlite3* db, std::vector<std::string>& notices) {
  follow_renames(db, notices);
  follow_new_tables(db);
  for (const Layout& found : read_layouts(db)) {
    follow_column_renames(db, found, notices);
    Layout before = *read_layout(db, found.table.id);
    forget_dropped_columns(db, before);
    if (before.has_new_columns()) number_columns(db, before);
    widen_log(db, before.table.key.size());
    Layout layout = *read_layout(db, before.table.id);
    bool had_any = !installed_triggers(db, "name='rowmesh_" + std::to_string(layout.table.id) + "_insert'").empty();
    if (!install_triggers(db, layout)) continue;
    if (had_any || layout.suspended) continue;
    execute(
        db,
        "UPDATE main.rowmesh_table SET rebuilt_ms=CAST((julianday('now')-2440587.5)*86400000 AS INTEGER) WHERE id=" +
            std::to_string(layout.table.id));
    notices.push_back(
        "table " + layout.table.local_name +
        " was rebuilt and lost its capture triggers; they are back. What was written in between was not captured: "
        "run rowmesh_verify for this table");
  }
  if (state_value(db, "all_tables") == "1") add_all(db);
}

}  // namespace rowmesh::sqlite
