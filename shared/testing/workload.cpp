#include "shared/testing/workload.hpp"

#include "shared/model/limits.hpp"
#include "shared/testing/cluster.hpp"

namespace rowmesh::testing {
namespace {

constexpr const char* codes[] = {"ann", "bob", "cid", "dora"};
constexpr const char* tags[] = {"red", "blue", "green"};
constexpr const char* seats[] = {"left", "right", "middle"};

Value text(const std::string& value) { return Value::of_text(value); }

template <typename Rows>
auto any(Rows& rows, SeededRandom& random) {
  return std::next(rows.begin(), static_cast<std::ptrdiff_t>(random.below(rows.size())));
}

}  // namespace

void Workload::create_tables(MemoryStore& store, const Plan& plan) {
  Table things;
  things.wire_name = "things";
  things.columns = {{"id", ColumnType::integer, "integer", true, false},
                    {"a", ColumnType::text, "text", false, false},
                    {"b", ColumnType::text, "text", false, false},
                    {"who", ColumnType::text, "text", false, false}};
  things.key = {0};
  things.integer_key = true;
  if (plan.hold) things.on_key_collision = KeyCollision::hold;
  if (plan.merge) things.on_key_collision = KeyCollision::merge;
  if (plan.rows) things.merge = MergePolicy::row;
  if (plan.numbered) {
    things.columns.push_back({"under", ColumnType::integer, "integer", false, false});
    things.columns.push_back({"under_whom", ColumnType::text, "text", false, false});
  }
  if (plan.marked) {
    things.columns.push_back({"mark", ColumnType::text, "text", false, false});
    things.uniques = {{"things_mark", {static_cast<ColumnIndex>(things.columns.size() - 1)}}};
  }
  TableId things_id = store.create_table(things).id;
  if (plan.numbered) store.alter_table("things", [&](Table& table) { table.references = {{4, things_id}}; });
  Table parts;
  parts.wire_name = "parts";
  parts.columns = {{"code", ColumnType::text, "text", true, false},
                   {"a", ColumnType::text, "text", false, false},
                   {"thing", ColumnType::integer, "integer", false, false},
                   {"of", ColumnType::text, "text", false, false}};
  parts.key = {0};
  parts.references = {{2, things_id}};
  if (plan.numbered) {
    parts.columns[0] = things.columns[0];
    parts.integer_key = true;
    parts.on_key_collision = things.on_key_collision;
    parts.merge = things.merge;
  }
  store.create_table(parts);
  Table names;
  names.wire_name = "names";
  names.columns = {{"code", ColumnType::text, "text", true, false},
                   {"a", ColumnType::text, "text", false, false},
                   {"b", ColumnType::text, "text", false, false},
                   {"tag", ColumnType::text, "text", false, false}};
  names.key = {0};
  if (plan.rows) names.merge = MergePolicy::row;
  if (plan.uniques) names.uniques = {{"names_tag", {3}}};
  if (plan.uniques && plan.two_uniques) names.uniques.push_back({"names_b", {2}});
  store.create_table(names);
}

void Workload::rename_column(MemoryStore& store, const std::string& table, bool renamed) {
  std::string name = renamed ? "b_renamed" : "b";
  if (store.table(table).columns[2].name != name)
    store.alter_table(table, [&](Table& altered) { altered.columns[2].name = name; });
}

// A constraint that only this node has, for a while: about one value in eight breaks it.
void Workload::toggle_check(MemoryStore& store, SeededRandom& random) {
  const char* table = random.chance(500) ? "things" : "names";
  if (random.chance(600)) return store.remove_checks(table);
  auto digit = static_cast<char>('0' + random.below(8));
  store.add_check(table, "no_" + std::string(1, digit), [digit](RowView row) {
    return row[1].kind != ValueKind::text || row[1].text.empty() || row[1].text.back() != digit;
  });
}

std::string Workload::difference(const MemoryStore& left, const MemoryStore& right, const std::string& table) {
  auto show = [](RowView row) {
    std::string line;
    for (const Value& value : row)
      line += (line.empty() ? "" : ",") + (value.is_null()                    ? "-"
                                           : value.kind == ValueKind::integer ? std::to_string(value.integer)
                                                                              : Ledger::name_of(value.text));
    return "(" + line + ")";
  };
  auto& here = left.rows(table);
  auto& there = right.rows(table);
  for (auto& [key, row] : here) {
    auto other = there.find(key);
    if (other == there.end()) return show(row.values.view()) + " is missing";
    for (std::size_t i = 0; i < row.values.size(); i++)
      if (!same_value(row.values[i], other->second.values[i]))
        return show(row.values.view()) + " is " + show(other->second.values.view());
  }
  for (auto& [key, row] : there)
    if (!here.count(key)) return show(row.values.view()) + " is too much";
  return "";
}

std::string Workload::fresh() {
  std::string value = "v" + std::to_string(node_ * 1000000 + ++values_);
  page_.written.push_back(value);
  if (big_ && values_ % 4 == 0) value.append(limits::omitted_value_bytes, Ledger::padding);
  return value;
}

void Workload::insert(const std::string& table, const OwnedRow& row) {
  store_->insert(table, row.view());
  story_ += " +" + table.substr(0, 1) + key_to_text(key_of(store_->table(table), row.view())) + "=" +
            Ledger::name_of(row[1].text) + "," + Ledger::name_of(row[2].text);
}

void Workload::update(const std::string& table, const Key& key, std::size_t column, const Value& value) {
  OwnedRow row = store_->rows(table).at(key).values;
  Row old = {row[column]};
  Ledger::saw_go(page_, old);
  Ledger::replace(page_, old[0], value);
  row.set(column, value);
  store_->update(table, decode_key(key), row.view());
  story_ += " ~" + table.substr(0, 1) + key_to_text(key) + "." + std::to_string(column) + "=" +
            (value.is_null() ? "-" : Ledger::name_of(value.text));
}

// Under a natural key a delete takes every life that was known here, also what does not show.
bool Workload::all_lives_go(const std::string& table) const {
  return table == "names" || (merge_ && table == "things") || (merge_ && numbered_ && table == "parts");
}

void Workload::remove(const std::string& table, const Key& key) {
  Ledger::saw_go(page_, store_->rows(table).at(key).values.view());
  if (all_lives_go(table))
    for (auto& side : store_->load_side())
      if (side.table == store_->table(table).id && side.key == key) Ledger::saw_go(page_, side.payload);
  store_->remove(table, decode_key(key));
  story_ += " -" + table.substr(0, 1) + key_to_text(key);
}

Value Workload::mark(SeededRandom& random) const {
  return random.chance(500) ? Value::of_text(tags[random.below(std::size(tags))]) : Value::of_null();
}

void Workload::change_things(SeededRandom& random) {
  auto& rows = store_->rows("things");
  std::uint64_t what = random.below(100);
  if (rows.empty() || what < 45) {
    // The table's maximum plus one: what two sites in step both take.
    std::int64_t id = rows.empty() ? 1 : decode_key(rows.rbegin()->first)[0].integer + 1;
    std::string a = fresh(), b = fresh(), who = "who " + a;
    Row row = {Value::of_integer(id), text(a), text(b), text(who)};
    if (numbered_) {
      bool under = !rows.empty() && random.chance(500);
      auto other = under ? any(rows, random) : rows.end();
      row.push_back(under ? other->second.values[0] : Value::of_null());
      row.push_back(under ? other->second.values[3] : Value::of_null());
    }
    if (marked_) row.push_back(mark(random));
    insert("things", OwnedRow(row));
    if (random.chance(300)) insert_part(id, who);
    return;
  }
  auto chosen = any(rows, random);
  Key key = chosen->first;
  if (numbered_ && random.chance(250)) return change_references(chosen->second.values, random);
  if (marked_ && random.chance(250)) return update("things", key, chosen->second.values.size() - 1, mark(random));
  if (what < 60) return insert_part(chosen->second.values[0].integer, std::string(chosen->second.values[3].text));
  if (what < 80) {
    std::size_t column = 1 + random.below(2);
    std::string value = fresh();
    return update("things", key, column, text(value));
  }
  if (what < 90) return remove("things", key);
  // A key change: delete and insert.
  OwnedRow row = chosen->second.values;
  Ledger::carry(page_, row.view());
  row.set(0, Value::of_integer(decode_key(rows.rbegin()->first)[0].integer + 1 +
                               static_cast<std::int64_t>(random.below(3))));
  std::string who = "who moved " + fresh();  // what referred to it does not mean it any more
  page_.written.pop_back();
  row.set(3, text(who));
  if (numbered_ && !row[4].is_null()) {  // the reference is written anew, and means what stands there here
    Row under = {row[4]};
    auto there = rows.find(encode_key(under));
    row.set(5, there == rows.end() ? Value::of_null() : there->second.values[3]);
  }
  store_->update("things", decode_key(key), row.view());
  story_ += " >t" + key_to_text(key) + " to " + std::to_string(row[0].integer);
}

std::string Workload::part_code(std::uint64_t number) const { return "p" + std::to_string(node_ * 1000000 + number); }

std::set<std::string> Workload::parts_written() const {
  std::set<std::string> codes;
  for (std::uint64_t number = 1; number <= parts_; number++) codes.insert(part_code(number));
  return codes;
}

// A row that refers to a thing, and says in words which one it means.
void Workload::insert_part(std::int64_t thing, const std::string& who) {
  auto& rows = store_->rows("parts");
  std::int64_t next = !numbered_ || rows.empty() ? 1 : decode_key(rows.rbegin()->first)[0].integer + 1;
  std::string code = part_code(++parts_), a = fresh();
  Row row = {numbered_ ? Value::of_integer(next) : text(code), text(a), Value::of_integer(thing), text(who)};
  insert("parts", OwnedRow(row));
}

// What refers to a row gets another one, or goes.
void Workload::change_references(const OwnedRow& to, SeededRandom& random) {
  const char* table = random.chance(500) ? "parts" : "things";
  auto& rows = store_->rows(table);
  if (rows.empty()) return;
  auto chosen = any(rows, random);
  Key key = chosen->first;
  if (table == std::string("parts") && random.chance(250)) return remove("parts", key);
  std::size_t column = table == std::string("parts") ? 2 : 4;
  OwnedRow row = chosen->second.values;
  if (same_value(row[column], to[0])) return;  // the same number again is no change, whatever is meant
  story_ += " ~" + std::string(table).substr(0, 1) + key_to_text(key) + " of " + std::to_string(to[0].integer);
  Row values(row.view().begin(), row.view().end());
  values[column] = to[0], values[column + 1] = to[3];
  store_->update(table, decode_key(key), values);
}

// Empty: each part refers to the thing that it means, if that is still there.
std::string Workload::wrong_reference(const MemoryStore& store, const std::set<std::string>& contested) {
  std::map<std::string, std::int64_t> things;
  for (auto& [key, row] : store.rows("things")) things[std::string(row.values[3].text)] = row.values[0].integer;
  for (const char* table : {"parts", "things"})
    for (auto& [key, row] : store.rows(table)) {
      std::size_t column = table == std::string("parts") ? 2 : 4;
      if (row.values.size() <= column || row.values[column].kind != ValueKind::integer ||
          contested.contains(table + key_to_text(key)))
        continue;
      auto meant = things.find(std::string(row.values[column + 1].text));
      if (meant != things.end() && meant->second != row.values[column].integer)
        return key_to_text(key) + " of " + table + " means " + meant->first + ", which is number " +
               std::to_string(meant->second) + ", and refers to " + std::to_string(row.values[column].integer);
    }
  return "";
}

// Its own row: the one that is given may be the one that is removed.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void Workload::replace_name(const Key& key, OwnedRow row) {  // cppcheck-suppress passedByValue
  remove("names", key);
  insert("names", row);
}

// The same table with two UNIQUE columns: rows that want each other's values, swaps, chains over both columns.
void Workload::change_seats(SeededRandom& random) {
  auto& rows = store_->rows("names");
  auto any = [&](auto& values) { return Value::of_text(values[random.below(std::size(values))]); };
  auto seat = [&](auto& values) { return random.chance(700) ? any(values) : Value::of_null(); };
  Value code = any(codes);
  auto here = rows.find(encode_key({&code, 1}));
  if (here == rows.end()) {
    std::string a = fresh();
    Row row = {code, text(a), seat(seats), seat(tags)};
    OwnedRow owned(row);
    return insert("names", owned);
  }
  Key key = here->first;
  std::uint64_t what = random.below(100);
  if (what < 15) return remove("names", key);
  if (what < 30) return update("names", key, 1, text(fresh()));
  if (what < 65) return update("names", key, 2 + random.below(2), random.chance(500) ? seat(seats) : seat(tags));
  // Two rows change places, by way of none.
  auto other = std::next(rows.begin(), static_cast<std::ptrdiff_t>(random.below(rows.size())));
  if (other->first == key) return;
  Key other_key = other->first;
  std::size_t column = 2 + random.below(2);
  OwnedRow mine = here->second.values, theirs = other->second.values;
  update("names", key, column, Value::of_null());
  update("names", other_key, column, mine[column]);
  update("names", key, column, theirs[column]);
}

void Workload::change_names(const Plan& plan, SeededRandom& random) {
  if (plan.two_uniques && plan.uniques) return change_seats(random);
  auto& rows = store_->rows("names");
  Row key_values = {Value::of_text(codes[random.below(std::size(codes))])};
  Key key = encode_key(key_values);
  Value tag =
      plan.uniques && random.chance(600) ? Value::of_text(tags[random.below(std::size(tags))]) : Value::of_null();
  auto here = rows.find(key);
  std::uint64_t what = random.below(1000);
  std::string a = fresh(), b = fresh();
  Row row = {key_values[0], text(a), text(b), tag};
  if (here == rows.end()) return insert("names", OwnedRow(row));
  if (what < 330) {
    page_.written.pop_back();  // only one of the two is used
    return update("names", key, 1 + random.below(2), text(a));
  }
  page_.written.pop_back();
  page_.written.pop_back();
  if (what < 550) return update("names", key, 3, tag);
  if (what < 800) return remove("names", key);
  if (what < 850) {
    Row other = {Value::of_text(codes[random.below(std::size(codes))])};
    if (rows.count(encode_key(other))) return;
    OwnedRow moved = here->second.values;
    moved.set(0, other[0]);
    Ledger::carry(page_, moved.view());
    store_->update("names", key_values, moved.view());
    story_ += " >n" + key_to_text(key) + " to " + std::string(other[0].text);
    return;
  }
  if (what < 930 || !plan.truncates) {
    page_.written.push_back(Ledger::name_of(a));
    page_.written.push_back(Ledger::name_of(b));
    return replace_name(key, OwnedRow(row));
  }
  if (what < 950) truncate_names();
}

// SQLite has no TRUNCATE, nor anything that is prepared.
void Workload::truncate_names() {
  for (auto& [key, row] : store_->rows("names")) Ledger::saw_go(page_, row.values.view());
  story_ += " truncate n";
  if (store_->flavour() == Flavour::single_writer) {
    std::vector<Key> keys;
    for (auto& [key, row] : store_->rows("names")) keys.push_back(key);
    for (const Key& key : keys) store_->remove("names", decode_key(key));
    return;
  }
  for (auto& side : store_->load_side())
    if (side.table == store_->table("names").id) Ledger::saw_go(page_, side.payload);
  store_->truncate("names");
}

std::string Workload::end_prepared(Ledger& ledger, SeededRandom& random) {
  auto chosen = std::next(prepared_.begin(), static_cast<std::ptrdiff_t>(random.below(prepared_.size())));
  auto [id, what] = *chosen;
  bool abort = random.chance(200);
  if (abort)
    store_->abort_prepared(id);
  else
    store_->commit_prepared(id);  // throws from inside the core's transaction: another time
  prepared_.erase(chosen);
  if (abort) return "";
  ledger.take(what.first, "node " + std::to_string(node_));
  return "(prepared)" + what.second;
}

std::string Workload::operator()(const Plan& plan, Ledger& ledger, SeededRandom& random, std::size_t node) {
  node_ = node;
  big_ = plan.big;
  merge_ = plan.merge;
  numbered_ = plan.numbered;
  marked_ = plan.marked;
  if (!prepared_.empty() && random.chance(500)) {
    try {
      return end_prepared(ledger, random);
    } catch (const Error&) {
      return "";
    }
  }
  page_ = {};
  story_.clear();
  try {
    store_->begin_local();
    for (std::uint64_t left = 1 + random.below(3); left > 0; left--) {
      if (plan.integer_keys && node != plan.leaf() && (!plan.natural_keys || random.chance(500)))
        change_things(random);
      else
        change_names(plan, random);
    }
    if (plan.prepared && store_->flavour() == Flavour::snapshot && random.chance(60)) {
      prepared_[store_->prepare_local()] = {page_, story_};
      return "";
    }
    store_->commit_local();
  } catch (const Error&) {
    store_->abort_local();
    return "";
  }
  ledger.take(page_, "node " + std::to_string(node));
  return story_;
}

void Workload::finish(Ledger& ledger, SeededRandom& random) {
  while (!prepared_.empty()) end_prepared(ledger, random);
}

}  // namespace rowmesh::testing
